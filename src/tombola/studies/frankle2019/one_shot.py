"""One-shot against iterative pruning (section 2, figure 4; appendix)."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from tombola.studies import DENSE, Effect, Evidence, Figure, Row, aside, claim, study
from tombola.studies.frankle2019.common import Pruned
from tombola.studies.tickets import ACC_ES, ACC_FINAL, ES, TO_1P1, at_once, chain_rows, reinitialised, tickets


@study(
    "frankle2019.one_shot",
    task="mnist1d-mlp",
    answers="Does pruning once find winning tickets too, and how much smaller are those found round by round?",
)
class OneShot(Pruned):
    """The iterative ticket, the ticket of one round that takes as much, and the latter's mask re-initialised, at every level."""

    scales = {"smoke": {"replicates": 2, "levels": 2}, "paper": {"levels": 20, "reinits": 3}}
    arms = {"iterative": "iterative ticket", "one_shot": "one-shot ticket", "reinit": "one-shot mask, fresh init"}

    reinits: Annotated[int, Field(ge=0, le=1000)] = 1
    """Fresh random initialisations of each one-shot mask."""

    def rows(self) -> Iterable[Row]:
        """The iterative chain first, then the one-shot ticket and its controls at each level."""
        for replicate in range(self.replicates):
            chain = tickets(self, replicate)
            yield from chain_rows("iterative", replicate, chain)
            for level, iterative in enumerate(chain[1:], start=1):
                ticket = iterative.but(mask=at_once(self.pruning, chain[0], level))
                yield Row("one_shot", replicate, level, ticket)
                yield from (Row("reinit", replicate, level, reinitialised(ticket, level, draw), draw) for draw in range(self.reinits))

    def figures(self) -> Sequence[Figure]:
        caption = "One-shot pruning takes one round from the dense network to the level's density. Compare the paper's figure 4."
        return [Figure("one_shot", "One-shot and iterative pruning", (ES, ACC_ES, ACC_FINAL), caption=caption)]

    @claim(
        "LTH-C5",
        "section 2, figure 4",
        "One-shot pruning finds winning tickets too: they stop sooner than the dense network at 67.5 to 17.6 % density and are more "
        "accurate at 95 to 5.17 %; at small density iterative pruning finds better ones.",
    )
    def one_round_finds_tickets(self, table: Evidence) -> Iterable[Effect]:
        moderate, small = table.levels(0.17, 0.68), table.levels(0, 0.105)
        yield table.sooner("one_shot", DENSE, moderate, ES)
        yield table.above("one_shot", DENSE, ACC_ES, table.levels(0.051, 0.96))
        yield table.above("iterative", "one_shot", ACC_ES, small)
        yield aside(table.sooner("one_shot", DENSE, moderate, TO_1P1))
        if self.reinits:
            yield aside(table.above("one_shot", "reinit", ACC_ES, small), "whether it is by their initialisation that they win")
