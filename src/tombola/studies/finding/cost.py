"""Accuracy against what it cost to find the mask: every method on one axis, with the same controls."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from tombola.pruning.early_bird import LOOK_BACK, THRESHOLD, magnitude_mask, settled
from tombola.studies import Effect, Evidence, Figure, Panel, Results, Row, Run, Values, claim, dense_run, hardest, study
from tombola.studies.effort import SPENT, efforts
from tombola.studies.finding.common import AT_START, METHODS, Finding, control, looks
from tombola.studies.moving.common import labels
from tombola.studies.testbeds import near_chance
from tombola.studies.tickets import ACC_FINAL, Several, run_metrics

SHUFFLED = Panel("acc_shuffled", "accuracy of the mask, shuffled within layers (%)", 100)
REINIT = Panel("acc_reinit", "accuracy of the mask over fresh weights (%)", 100)
ITERATIVE = ("imp", "lrr")
KEPT = ("shuffled", "reinit")


@study("finding.cost", task="digits-mlp", answers="What does it cost to find a ticket, and what is it worth?")
class Cost(Finding):
    """Each method's network at each density, and beside it the same mask shuffled within layers, and over fresh initial weights.

    Costs are examples that were trained on times the density of the mask, of all trainings that the network needed, in trainings of the
    dense network; iterations and seconds stand beside it in the table. A network near chance has collapsed, and
    its chain of rounds stops.
    """

    scales = {"smoke": {"replicates": 2, "densities": (0.1,), "per_round": 0.9, "methods": ("random", "snip", "one_shot", "gradual")}}
    columns = (*Finding.columns, "acc_shuffled", "acc_reinit", "collapsed")

    methods: Several[str] = tuple(METHODS)
    """The ways of finding a ticket that are compared."""

    @property
    def arms(self) -> Mapping[str, str]:
        return labels(METHODS, self.methods) | {"dense": "dense network"}

    def rows(self) -> Iterable[Row]:
        """All methods and densities, of iterative ones the first; controls are rows that the table leaves out."""
        for replicate in range(self.replicates):
            yield Row("dense", replicate, 0, dense_run(self, replicate))
            for arm in self.methods:
                yield from self._rows(arm, replicate, [1] if arm in ITERATIVE else range(1, len(self.densities) + 1))

    def more(self, rows: Sequence[Row], results: Results) -> Iterable[Row]:
        """The next density of iterative methods, where networks have not collapsed."""
        there = {(row.arm, row.replicate, row.level): row.run for row in rows}
        for (arm, replicate, level), run in there.items():
            further = arm in ITERATIVE and level < len(self.densities) and (arm, replicate, level + 1) not in there
            if further and run in results and not near_chance(100 * results[run].shown("test"), self.task):
                yield from self._rows(arm, replicate, [level + 1])

    def foreseen(self, rows: Sequence[Row]) -> Iterable[Row]:
        """The densities that are left, if no network collapses."""
        last = {(row.arm, row.replicate): row.level for row in rows if row.arm in ITERATIVE}
        for (arm, replicate), level in last.items():
            yield from self._rows(arm, replicate, range(level + 1, len(self.densities) + 1))

    def _rows(self, arm: str, replicate: int, levels: Iterable[int]) -> Iterable[Row]:
        found = self.found(arm, replicate)
        for level in levels:
            yield Row(arm, replicate, level, found[level])
            for name in KEPT:
                yield Row(f"{arm}/{name}", replicate, level, control(self, name, found[level], level))

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[str, ...]]:
        return {row.run: tuple(looks(self)) for row in rows if row.arm == "dense" and "early_bird" in self.methods}

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        if "/" in row.arm:
            return []
        until = {dense_run(self, row.replicate): self.early(row, results)} if row.arm == "early_bird" else None
        values = {**run_metrics(row, results), **efforts(row.run, results, until)}
        if row.level:
            for name in KEPT:
                values[f"acc_{name}"] = results[control(self, name, row.run, row.level)].shown("test")
        return {**values, "collapsed": float(near_chance(100 * values["acc_final"], self.task))}

    def early(self, row: Row, results: Results) -> int:
        """The iteration at which early bird's masks had settled."""
        dense, density = results[dense_run(self, row.replicate)], self.densities[row.level - 1]
        paths, steps = results.network_info(self.task).prunable, looks(self)
        found = [magnitude_mask(dense.weights(str(step)), paths, density, row.run.seed, self.scope) for step in steps]
        return steps[settled(found, THRESHOLD, LOOK_BACK)[0]].iterations(results.network_info(self.task).steps_per_epoch, dense.end)

    def figures(self) -> Sequence[Figure]:
        caption = "Cost is examples times density, over all trainings that the network needed; 1 is one training of the dense network."
        spent = [
            Figure(
                f"spent_{100 * density:g}",
                f"Accuracy at {100 * density:g} % density against cost",
                (ACC_FINAL,),
                kind="scatter",
                across=SPENT,
                levels=(0, level),
                caption=caption,
            )
            for level, density in enumerate(self.densities, 1)
        ]
        return [*spent, Figure("controls", "The same masks shuffled, and over fresh weights", (ACC_FINAL, SHUFFLED, REINIT))]

    @claim(
        "FIND-C2",
        "proposed here",
        "What pays is a random mask, gradual pruning, one shot with learning-rate rewinding, and iterations of it, each better than the "
        "one before; pruning at initialisation is above random masks at 10 % density only, and no better at 5 % and less.",
        note="Better means by more than one test example, at 5 % density and less. A random mask is no worse if it is less than the "
        "margin below.",
    )
    def front(self, table: Evidence) -> Iterable[Effect]:
        front = ("random", "gradual", "one_shot_lrr", "lrr")
        small, moderate = table.levels(0, 0.0501), table.levels(0.0501, 0.999)
        for worse, better in pairwise(front):
            yield table.above(better, worse, ACC_FINAL, small)
        yield from hardest(table.within("random", arm, ACC_FINAL, small) for arm in AT_START)
        yield from hardest(table.above(arm, "random", ACC_FINAL, moderate) for arm in AT_START)
