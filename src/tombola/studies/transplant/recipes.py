"""The recipe that finds a mask against the recipe that trains it: why do networks at a high learning rate have no tickets?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from tombola.procedures.imp import imp_chain, pruned_mask
from tombola.studies import ACC_FINAL, Action, Effect, Evidence, Positive, Row, Run, Share, Step, Task, aside, claim, study
from tombola.studies.transplant.common import NOTE, Transplants, initialised, masked

RECIPES = {"high": "high rate", "low": "low rate", "warm": "warm-up"}
GOOD, BAD = "low", "high"


@study("transplant.recipes", task="mnist1d-mlp", answers="Does a high learning rate spoil the choice of a ticket's mask, or its training?")
class RecipeTransplants(Transplants):
    """Masks that one recipe found on an initialisation, trained by another recipe from the same initialisation.

    Recipes are momentum at a high rate, at a low one, and at the high one after a warm-up. Variants are the recipes that train. Beside
    them, trained at the low rate: masks of chains that change the rate half way, masks of the high rate found with rewinding, and what
    is left of the low and the high rate's masks when only degrees or layer densities are kept.
    """

    scales = {
        "smoke": {"replicates": 2, "levels": 2, "compared": (2,)},
        "small": {"replicates": 6, "levels": 12, "compared": (6, 9, 12)},
        "paper": {"replicates": 8, "levels": 14, "compared": (4, 6, 8, 10, 12, 14)},
    }
    arms = {
        **{name: f"mask of the {label}" for name, label in RECIPES.items()},
        "reinit": "mask of the low rate, fresh init",
        "random": "random mask",
        "late": "mask of the low rate, then the high",
        "early": "mask of the high rate, then the low",
        "rewound": "mask of the high rate, rewound to k > 0",
        **{f"degrees_{name}": f"degrees of the {RECIPES[name]}'s mask" for name in (GOOD, BAD)},
        **{f"random_{name}": f"layer densities of the {RECIPES[name]}'s mask" for name in (GOOD, BAD)},
    }
    variants = {name: f"trained at the {label}" if name != "warm" else "trained with warm-up" for name, label in RECIPES.items()}

    high: Positive = 0.3
    """The high learning rate."""
    low: Positive = 0.03
    """The low learning rate."""
    rise: Share = 0.1
    """Length of the linear warm-up, as a share of training."""
    k: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The step that the rewound chain goes back to, as a share of training."""

    @property
    def recipes(self) -> Mapping[str, Task]:
        """Name to the task under it."""
        steps, found = self.task.recipe.steps, {}
        for name, rate, length in (
            ("high", self.high, Step("0it")),
            ("low", self.low, Step("0it")),
            ("warm", self.high, steps.times(self.rise)),
        ):
            found[name] = self.task.but(recipe=self.task.recipe.but(optimizer="momentum", learning_rate=rate, warmup=length))
        return found

    def rows(self) -> Iterable[Row]:
        tasks = self.recipes
        for index in range(self.replicates):
            chains = {name: self.chain(index, task=task) for name, task in tasks.items()}
            fresh = initialised(self, self.replicates + index, task=tasks[GOOD]).kept
            for name, chain in chains.items():
                yield Row(name, index, 0, chain[0], variant=name)
            others = self._other_chains(index, chains)
            for level in self.within(self.compared):
                of = {name: chain[level].its_mask() for name, chain in chains.items()}
                for trains, chain in chains.items():
                    place = f"{level}/{index}"
                    for finds, mask in of.items():
                        yield Row(finds, index, level, masked(chain[level], mask, f"{finds}/{place}"), variant=trains)
                    started = chain[level].but(kept=fresh, begin=Step("0it"))
                    yield Row("reinit", index, level, masked(started, of[GOOD], f"reinit/{place}"), variant=trains)
                    shuffled = Action(name="shuffle", of=(of[GOOD],), options={"stream": f"mask/{place}"})
                    yield Row("random", index, level, masked(chain[level], shuffled, f"random/{place}"), variant=trains)
                yield from self._at_the_low_rate(index, level, chains, others)

    def _other_chains(self, index: int, chains: Mapping[str, Sequence[Run]]) -> dict[str, list[Run]]:
        half = self.levels // 2
        return {
            "late": self._switched(chains[GOOD][: half + 1], chains[BAD]),
            "early": self._switched(chains[BAD][: half + 1], chains[GOOD]),
            "rewound": imp_chain(chains[BAD][0], self.levels, self.pruning.but(rewind=self.task.recipe.steps.times(self.k))),
        }

    def _switched(self, first: Sequence[Run], then: Sequence[Run]) -> list[Run]:
        """A chain whose later rounds train as another's do: masks from its own last run, start and recipe of the other."""
        chain = list(first)
        while len(chain) <= self.levels:
            chain.append(then[len(chain)].but(mask=pruned_mask(self.pruning, then[0], chain[-1])))
        return chain

    def _at_the_low_rate(
        self, index: int, level: int, chains: Mapping[str, Sequence[Run]], others: Mapping[str, Sequence[Run]]
    ) -> Iterable[Row]:
        ticket, place = chains[GOOD][level], f"{level}/{index}"
        for arm, chain in others.items():
            yield Row(arm, index, level, masked(ticket, chain[level].its_mask(), f"{arm}/{place}"), variant=GOOD)
        for finds in (GOOD, BAD):
            for arm, name in ((f"degrees_{finds}", "shuffle_degrees"), (f"random_{finds}", "shuffle")):
                mask = Action(name=name, of=(chains[finds][level].its_mask(),), options={"stream": f"{arm}/{place}"})
                yield Row(arm, index, level, masked(ticket, mask, f"{arm}/{place}"), variant=GOOD)

    def _each(self, table: Evidence) -> dict[str, Evidence]:
        return {name: table.only(variant=name) for name in RECIPES}

    def _spoilt(self, table: Evidence, at: Sequence[int]) -> str:
        """Why nothing can be said of what the high rate spoils: its dense networks fail too, or its tickets do not."""
        at_each = self._each(table)
        if not at:
            return "no level that the claim is about was run"
        dense = [at_each[name].of(ACC_FINAL, name, [0]).to_numpy().mean() for name in (GOOD, BAD)]
        gap = (at_each[GOOD].of(ACC_FINAL, GOOD, at) - at_each[BAD].of(ACC_FINAL, BAD, at)).to_numpy().mean()
        if dense[0] - dense[1] > 3 * table.margin:
            return f"dense networks fail at the high rate too, by {dense[0] - dense[1]:.1f} pp; lower it"
        return "" if gap > table.margin else f"tickets of the high rate are as good, within {max(gap, 0.0):.1f} pp; raise it"

    @claim(
        "WARM-C1",
        "IDEAS F4",
        "At a learning rate at which dense networks train and tickets fail, it is the choice of the mask that fails: accuracy varies more "
        "with the recipe that found the mask than with the one that trains it; the good mask wins at the high rate too, and the bad one "
        "loses with warm-up.",
        note=f"{NOTE} It is judged at a tenth of the weights and less. The main effects are compared by their squares, of the low and "
        "the high rate. To win is to be above the better of fresh initial values and a random mask; to lose is to be less than "
        "the margin above it.",
    )
    def masks_are_spoilt(self, table: Evidence) -> Iterable[Effect]:
        at, each = self.few(table), self._each(table)
        lacks = self._spoilt(table, at)
        acc = {(trains, finds): each[trains].of(ACC_FINAL, finds, at) for trains in (GOOD, BAD) for finds in (GOOD, BAD)}
        by_mask = (acc[GOOD, GOOD] + acc[BAD, GOOD] - acc[GOOD, BAD] - acc[BAD, BAD]) / 2
        by_training = (acc[GOOD, GOOD] + acc[GOOD, BAD] - acc[BAD, GOOD] - acc[BAD, BAD]) / 2
        yield table.effect(
            "recipe of the mask above recipe of the training", "pp^2", by_mask**2 - by_training**2, least=table.resolution**2, lacks=lacks
        )
        best = {name: each[name].of(ACC_FINAL, "reinit", at).clip(lower=each[name].of(ACC_FINAL, "random", at)) for name in RECIPES}
        good = each[BAD].of(ACC_FINAL, GOOD, at) - best[BAD]
        yield table.effect("good mask at the high rate above the best control", "pp", good, least=table.resolution, lacks=lacks)
        bad = table.margin - (each["warm"].of(ACC_FINAL, BAD, at) - best["warm"])
        yield table.effect("bad mask with warm-up less than the margin above the best control", "pp", bad, lacks=lacks)
        yield aside(table.effect("recipe of the mask", "pp", by_mask))
        yield aside(table.effect("recipe of the training", "pp", by_training))

    @claim(
        "TRANS-C7",
        "IDEAS I9",
        "Masks go from one learning rate to another asymmetrically: to the high rate they can be carried, from it they cannot.",
        note=f"{NOTE} It is judged at a tenth of the weights and less: such a mask is within the margin of the one that the training "
        "recipe found itself, or it is further below.",
    )
    def masks_go_one_way(self, table: Evidence) -> Iterable[Effect]:
        at, each = self.few(table), self._each(table)
        yield each[BAD].within(GOOD, BAD, ACC_FINAL, at)
        yield each[GOOD].above(GOOD, BAD, ACC_FINAL, at, least=table.margin)

    @claim(
        "WARM-C2",
        "IDEAS F4",
        "What goes wrong at the high rate does so in the first half of the rounds: a chain that is at the high rate there finds as "
        "bad a mask as one that always is, one that is at the low rate there as good a mask as one that always is.",
        note=f"{NOTE} Networks are trained at the low rate, and judged at a tenth of the weights and less.",
    )
    def it_goes_wrong_early(self, table: Evidence) -> Iterable[Effect]:
        at, low, lacks = self.few(table), table.only(variant=GOOD), self._spoilt(table, self.few(table))
        yield low.within(BAD, "early", ACC_FINAL, at, lacks=lacks)
        yield low.within("late", GOOD, ACC_FINAL, at, lacks=lacks)

    @claim(
        "WARM-C3",
        "IDEAS F4",
        "What the bad mask lacks is neither in its layer densities nor in its degrees: masks that share these alone with the good and "
        "with the bad mask are alike.",
        note=f"{NOTE} Networks are trained at the low rate, and judged at a tenth of the weights and less. The densities of layers "
        "differ only under global pruning.",
    )
    def entries_are_bad(self, table: Evidence) -> Iterable[Effect]:
        at, low, lacks = self.few(table), table.only(variant=GOOD), self._spoilt(table, self.few(table))
        for left in ("random", "degrees"):
            yield low.within(f"{left}_{BAD}", f"{left}_{GOOD}", ACC_FINAL, at, lacks=lacks)

    @claim(
        "WARM-C4",
        "IDEAS F4",
        "Rewinding to a step k > 0 repairs the mask at the high rate.",
        note=f"{NOTE} Networks are trained at the low rate from the initial values, and judged at a tenth of the weights and less. "
        "The mask has to be above the one that is found at the high rate without warm-up, and within the margin of that of the "
        "low rate.",
    )
    def rewinding_repairs(self, table: Evidence) -> Iterable[Effect]:
        at, low, lacks = self.few(table), table.only(variant=GOOD), self._spoilt(table, self.few(table))
        yield low.above("rewound", BAD, ACC_FINAL, at, lacks=lacks)
        yield low.within("rewound", GOOD, ACC_FINAL, at, lacks=lacks)
