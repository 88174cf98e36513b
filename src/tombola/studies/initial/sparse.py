"""Sparse networks from scratch: initial values that know the mask, and optimisers that let signs turn over."""

from collections.abc import Iterable, Mapping, Sequence

from tombola.studies import Action, Effect, Evidence, Figure, Row, Run, Task, aside, claim, study
from tombola.studies.initial.common import NOTE, Tuned
from tombola.studies.tickets import ACC_FINAL, Positive, chain_rows, randomly_masked, reinitialised
from tombola.studies.transplant.common import COLLAPSED

FIVE = (0.03, 0.08)
MASKS = {"ticket": "ticket", "reinit": "its mask, fresh draw", "random": "random mask"}
HELP = 0.5
"""Percentage points that count as help."""


@study(
    "initial.sparse",
    task="digits-mlp",
    answers="What helps a sparse network that is not a ticket: values by kept inputs, or signs that can turn?",
)
class Sparse(Tuned):
    """Tickets, their masks over a fresh draw, and random masks, by momentum, by Sign-In and by HAM; with momentum also over values that
    are scaled to the kept inputs of each unit. The tickets of an optimiser are found by itself, at its own learning rate.
    """

    arms = {**MASKS, **{f"{name}_fan_in": f"{label}, values by kept inputs" for name, label in MASKS.items()}}
    variants = {"momentum": "momentum", "sign_in": "Sign-In", "ham": "HAM"}

    base: Positive = 0.03
    """The learning rate of momentum, which `factors` multiply."""
    alpha: Positive = 20.0
    """The strength alpha of the optimiser HAM. The paper has 200, for networks whose gradients are ten times smaller for each weight."""

    def settings(self) -> Mapping[str, tuple[Task, Action | None]]:
        recipe = self.task.recipe
        options = {"momentum": {}, "sign_in": {}, "ham": {"alpha": self.alpha}}
        return {
            name: (self.task.but(recipe=recipe.but(optimizer=name, optimizer_options=of, learning_rate=self.base)), None)
            for name, of in options.items()
        }

    def sparse(self, replicate: int, variant: str, chain: Sequence[Run]) -> Iterable[Row]:
        yield from chain_rows("ticket", replicate, chain[:1], variant)
        for level in self.within(self.compared):
            ticket = chain[level]
            found = {"ticket": ticket, "reinit": reinitialised(ticket, level), "random": randomly_masked(self, ticket, level)}
            for arm, run in found.items():
                yield Row(arm, replicate, level, run, variant=variant)
                if variant == "momentum":
                    stream = f"reinit/{level}/0" if arm == "reinit" else "init"
                    kept = Action(name="fan_in", options={"stream": stream})
                    if arm != "reinit" and self.pruning.rewind != "0it":
                        kept = Action(name="fan_in", of=(chain[0].at(self.pruning.rewind),))
                    mask = Action(name="parent_mask", of=(run.its_mask(),))
                    yield Row(f"{arm}_fan_in", replicate, level, run.but(mask=mask, kept=kept), variant=variant)

    def figures(self) -> Sequence[Figure]:
        plain, scaled = tuple(MASKS), tuple(arm for arm in self.arms if arm not in MASKS)
        both = (ACC_FINAL, COLLAPSED)
        return [
            Figure("optimisers", "Sparse networks by optimiser", both, arms=plain, caption=NOTE),
            Figure("fan_in", "Values by kept inputs", both, arms=(*plain, *scaled), variants=("momentum",)),
            self.rates_figure(),
        ]

    @claim(
        "INIT-C5",
        "IDEAS I4; Evci et al. 2022",
        "Values scaled to the kept inputs of each unit help random masks and fresh draws, not tickets.",
        note=f"{NOTE} It is judged with momentum, at 3 to 8 % density. An initialiser helps if it is above the network without it; it "
        "does not if it is less than the margin above.",
    )
    def fan_in_helps_what_is_no_ticket(self, table: Evidence) -> Iterable[Effect]:
        one = table.only(variant="momentum")
        at = one.levels(*FIVE)
        yield one.above("random_fan_in", "random", ACC_FINAL, at)
        yield one.above("reinit_fan_in", "reinit", ACC_FINAL, at)
        yield one.within("ticket", "ticket_fan_in", ACC_FINAL, at)

    @claim(
        "INIT-C6",
        "IDEAS I4; Sign-In and HAM",
        "Sign-In and HAM help random masks by half a percentage point and more, and tickets less.",
        note=f"{NOTE} It is compared with momentum, at 3 to 8 % density.",
    )
    def turning_signs_help_random_masks(self, table: Evidence) -> Iterable[Effect]:
        momentum = table.only(variant="momentum")
        at = momentum.levels(*FIVE)
        for name in ("sign_in", "ham"):
            own, label = table.only(variant=name), self.variants[name]
            gain = {arm: own.of(ACC_FINAL, arm, at) - momentum.of(ACC_FINAL, arm, at) for arm in MASKS}
            lacks = own.lacking(("random", "ticket"), ACC_FINAL, at)
            yield table.effect(f"{label} above momentum: random mask", "pp", gain["random"], least=HELP, lacks=lacks)
            yield table.effect(f"{label}: gain of random mask above that of ticket", "pp", gain["random"] - gain["ticket"], lacks=lacks)
            yield aside(table.effect(f"{label} above momentum: fresh draw", "pp", gain["reinit"], least=HELP))
