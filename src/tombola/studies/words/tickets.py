"""Winning tickets of word2vec, their controls, and whole dimensions in the place of weights."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from tombola.studies import Action, Effect, Evidence, Figure, Results, Row, Run, Scale, Step, Task, Values, aside, claim, study
from tombola.studies.tickets import Level, randomly_masked, reinitialised
from tombola.studies.words.common import DIMENSION, FEW, LOSS, MEN, NATS, OURS, OVERLAP, READ, RHO, WordTickets, once, read

NOTE = "At 20 % density and less. A difference of the loss counts from .005 nats a pair."


@study("words.tickets", task="words-skipgram", answers="Has word2vec winning tickets, and do its dimensions have any?")
class Tickets(WordTickets):
    """Tickets rewound to the start and to an early step, and what they are compared with at some of the levels.

    Dimensions: of the dense network those that matter least are taken from both tables, and the rest is trained from its own start or
    from another; beside a network that had as few from the beginning.
    """

    arms = {
        "ticket": "ticket, from the start",
        "late": "ticket, from an early step",
        "reinit": "its mask, fresh init",
        "shuffled": "random mask",
        "one_shot": "pruned in one round",
        "dimensions": "best dimensions, own init",
        "dimensions_reinit": "best dimensions, fresh init",
        "small": "smaller network",
    }
    scales = {"smoke": {"replicates": 2, "levels": 2, "compared": (2,)}}
    columns = (*READ, "dimension")

    compared: Annotated[tuple[Level, ...], Field(min_length=1)] = (5, 7, 9)
    """Levels at which tickets are compared with the other arms; those beyond `levels` do not count."""
    early: Step = Step("1500it")
    """The step that late tickets are rewound to; a twentieth of training on the whole text."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        """A twentieth of training on the shorter text, too."""
        short = {} if task.data.name == "wikipedia" else {"early": "15it" if scale == "smoke" else "280it"}
        return {**super().at(scale, task), **short}

    def rows(self) -> Iterable[Row]:
        at = [level for level in self.compared if level <= self.levels] or [self.levels]
        for replicate in range(self.replicates):
            chain, late = self.chain(replicate), self.chain(replicate, rewind=self.early)
            for arm, runs in (("ticket", chain), ("late", late)):
                for level, run in enumerate(runs):
                    if level or arm == "ticket":
                        yield Row(arm, replicate, level, run, measurement=read(run, chain[0], analogy=level == 0))
            for level in at:
                yield from self._beside(replicate, level, chain[0], chain[level])

    def _beside(self, replicate: int, level: int, dense: Run, ticket: Run) -> Iterator[Row]:
        whole, pruning = self.task.model.options.get("dimension", DIMENSION), self.pruning.of(self.task)
        density = (1 - max(self.rates.get(kind, 0.0) for kind in ("embedding", "output"))) ** level
        few = max(1, round(density * whole))
        action = Action(name="prune_dimensions", of=(dense.at("end"), dense.its_mask()), options={"rate": 1 - few / whole})
        model = self.task.model.but(options={**self.task.model.options, "dimension": few})
        best = dense.but(mask=action)
        runs = {
            "reinit": reinitialised(ticket, level),
            "shuffled": randomly_masked(self, ticket, level),
            "one_shot": once(dense, density, scope=pruning.scope, criterion=pruning.criterion),
            "dimensions": best,
            "dimensions_reinit": reinitialised(best, level),
            "small": Run(task=self.task.but(model=model), seed=dense.seed),
        }
        for arm, run in runs.items():
            yield Row(arm, replicate, level, run, measurement=read(run, None if arm == "small" else dense))

    def beside(self, row: Row, results: Results) -> Values:
        """The dimension of a smaller network, whose share of the larger one's stands for its density."""
        if row.arm != "small":
            return {}
        whole, few = (task.model.options.get("dimension", DIMENSION) for task in (self.task, row.run.task))
        return {"density": few / whole, "dimension": few}

    def figures(self) -> Sequence[Figure]:
        panels, said = (LOSS, MEN, OVERLAP), "Both tables are pruned together. Neighbours are the ten nearest of each of 200 words."
        weights = ("ticket", "late", "reinit", "shuffled", "one_shot")
        return (
            Figure("tickets", "Tickets of word2vec", panels, arms=weights, caption=said),
            Figure("dimensions", "Weights or whole dimensions", (LOSS, MEN), arms=("ticket", "dimensions", "dimensions_reinit", "small")),
        )

    @claim(
        "W2V-C1",
        OURS,
        "At 20 % of the weights and less, a ticket has a smaller held-out loss than its mask with a fresh initialisation, and that a "
        "smaller one than a random mask.",
        note=NOTE,
    )
    def tickets_win(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(0, FEW)
        yield table.above("reinit", "ticket", LOSS, at, least=NATS)
        yield table.above("shuffled", "reinit", LOSS, at, least=NATS)
        yield aside(table.above("ticket", "reinit", MEN, at, least=RHO))
        yield aside(table.above("ticket", "late", LOSS, at, least=NATS))
        yield aside(table.above("one_shot", "ticket", LOSS, at, least=NATS))

    @claim(
        "W2V-C6",
        OURS,
        "Whole dimensions have no ticket: those that matter most, trained again from their own start, are worth no more "
        "than with a fresh one, nor than as small a network.",
        note=f"{NOTE} No more means by less than that.",
    )
    def dimensions_have_none(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(0, FEW)
        for other in ("dimensions_reinit", "small"):
            one, reference = table.pair("dimensions", other, LOSS, at)
            name = f"{table.called('dimensions')} better by less than {NATS:g} nats than {table.called(other)}{table.said(at)}"
            yield table.effect(name, "nats", NATS - (reference - one), lacks=table.lacking(("dimensions", other), LOSS, at))
        yield aside(table.above("dimensions", "ticket", LOSS, at, least=NATS))
