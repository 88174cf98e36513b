"""Sanity checks: what is left of a method if its mask is shuffled within layers, laid over fresh weights, or its score inverted."""

from collections.abc import Iterable, Mapping, Sequence

from tombola.studies import ACC_FINAL, Effect, Evidence, Figure, Row, Run, Several, claim, dense_run, hardest, pruned_mask, study
from tombola.studies.finding.common import AT_START, CONTROLS, METHODS, Finding, at_start, control
from tombola.studies.moving.common import labels

CHECKED = ("snip", "grasp", "synflow", "one_shot", "imp")
KEPT = ("shuffled", "reinit")
"""Controls that a mask survives which says no more than how dense layers are."""


@study("finding.sanity", task="digits-mlp", answers="Which weights does a method find, or only how many in each layer?")
class Sanity(Finding):
    """Each method's ticket and its controls, at each density. Iterative pruning has no inverted chain: its first round would end it."""

    scales = {"smoke": {"replicates": 2, "densities": (0.1,), "per_round": 0.9, "methods": ("snip", "imp")}}
    arms = {"ticket": "as found"} | CONTROLS

    methods: Several[str] = CHECKED
    """The ways of finding a mask that are compared."""

    @property
    def variants(self) -> Mapping[str, str]:
        return labels(METHODS, self.methods)

    def rows(self) -> Iterable[Row]:
        """Ticket and controls by method; the dense network stands with the ticket of each."""
        for replicate in range(self.replicates):
            for method in self.variants:
                yield Row("ticket", replicate, 0, dense_run(self, replicate), variant=method)
                for level, ticket in self.found(method, replicate).items():
                    if level:
                        yield from self._checked(method, replicate, level, ticket)

    def _checked(self, method: str, replicate: int, level: int, ticket: Run) -> Iterable[Row]:
        yield Row("ticket", replicate, level, ticket, variant=method)
        for name in KEPT:
            yield Row(name, replicate, level, control(self, name, ticket, level), variant=method)
        dense, density = dense_run(self, replicate), self.densities[level - 1]
        if method in AT_START:
            yield Row("inverted", replicate, level, ticket.but(mask=at_start(self, method, dense, density, inverted=True)), variant=method)
        elif method == "one_shot":
            mask = pruned_mask(self.pruned(density), dense, dense)
            yield Row("inverted", replicate, level, ticket.but(mask=mask.but(options={**mask.options, "inverted": True})), variant=method)

    def figures(self) -> Sequence[Figure]:
        caption = "Each layer keeps as many weights as under the method's own mask, except with the inverted score."
        return [Figure("sanity", "Masks and their controls", (ACC_FINAL,), caption=caption)]

    @claim(
        "FIND-C1",
        "after Frankle et al. 2021",
        "Tickets that are found at initialisation lose nothing if their masks are shuffled within layers, or their weights drawn anew; "
        "those of iterative pruning do.",
        note="To lose nothing is to lose less than the margin, over all densities together. A loss counts from one test example.",
    )
    def only_densities(self, table: Evidence) -> Iterable[Effect]:
        every = table.levels(0, 0.999)
        for name in KEPT:
            early = [table.only(variant=method) for method in AT_START]
            yield from hardest(of.within(name, "ticket", ACC_FINAL, every) for of in early)
        for name in KEPT:
            yield table.only(variant="imp").above("ticket", name, ACC_FINAL, every)
