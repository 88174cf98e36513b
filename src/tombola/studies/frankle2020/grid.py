"""Steps k by densities: tickets and their controls at each, with children; three studies read it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, NamedTuple

from pydantic import Field

from tombola.evaluation.paired import densities
from tombola.studies import Effect, Evidence, Frame, Panel, Results, Row, Run, Scale, Step, Task, Values
from tombola.studies.frankle2020.common import EXTREME, FEW, METRICS, ONE_SHOT, Sparse, dense_run, from_step
from tombola.studies.frankle2020.trends import crossing
from tombola.studies.tickets import Level, Several, margin, randomly_masked, reinitialised, tickets

CONTROLS = ("random", "reinit")
LATEST = 0.125
"""Share of training up to which k is looked at where arms are compared: a fresh initialisation that is left half of training
learns less for that alone, and children of any network are stable when little training is left."""
PLACES = "places of k"


class Place(NamedTuple):
    """The place of rows in the grid."""

    arm: str
    replicate: int
    round: int
    k: Step


class Grid(Sparse):
    """Tickets of several densities, rewound to several steps k, and their controls."""

    scales = {"smoke": {**FEW, "compared": (1,)}}
    columns = (*METRICS, "gap", "stable", "matching")
    arms = {"ticket": "IMP with rewinding", "random": "random pruning", "reinit": "IMP mask, fresh init", "dense": "dense network"}

    compared: Several[Level] = (3, 6, 9, 12)
    """The rounds of pruning after which networks are looked at; 20 % a round leave densities of 51, 26, 13.5 and 7 %."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """How many percentage points below the dense network's accuracy (on `part`) still match it. None: 0.2 with 10,000 test examples, else
    1."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        """The paper's own density where it has the task."""
        own = {"compared": (EXTREME[task.name],)} if task.name in EXTREME else {}
        return {**ONE_SHOT.get(task.name, {}), **own, **super().at(scale, task)}

    @property
    def variants(self) -> dict[str, str]:
        return {str(level): f"after {level} round{'s' if level > 1 else ''} of pruning" for level in self.compared}

    # -- rows ----------------------------------------------------------------------------------------------------------

    @cached_property
    def places(self) -> dict[Place, list[Row]]:
        """The rows of every place: a row a pair of children, with the place of k as their level, and the round as variant."""
        found: dict[Place, list[Row]] = {}
        for replicate, index, k, dense in self.starts():
            for (arm, level), parent in self.parents(replicate, k).items():
                found[Place(arm, replicate, level, k)] = self.pair_rows(arm, replicate, index, parent, dense, str(level))
        return found

    def parents(self, replicate: int, k: Step) -> dict[tuple[str, int], Run]:
        """(arm, round) -> the run whose children are made, for one replicate and step; the dense network is round 0."""
        chain = tickets(self, replicate, levels=max(self.compared), rewind=k)
        found = {("dense", 0): from_step(chain[0], k)}
        for level in sorted(set(self.compared)):
            ticket = chain[level]
            controls = {"random": randomly_masked(self, ticket, level), "reinit": reinitialised(ticket, level)}
            found |= {(arm, level): run for arm, run in {"ticket": ticket, **controls}.items()}
        return found

    def of_pair(self, row: Row, results: Results) -> Values:
        """The columns of a pair, its accuracy against the dense run's, and whether it is stable and matching."""
        values, dense = super().of_pair(row, results), results[dense_run(self, row.replicate)]
        apart = values["train_acc_final"] - dense.shown("train") if self.part == "train" else values["acc_final"] - dense.shown("test")
        gap = self.task.objective.better_is * apart
        matching = 100 * gap >= -self.tolerance
        return {**values, "gap": gap, "stable": float(values["instability"] < self.stable), "matching": float(matching)}

    # -- figures and claims --------------------------------------------------------------------------------------------

    @property
    def tolerance(self) -> float:
        """What still matches the dense network, in pp."""
        return margin(self.task, self.margin)

    @property
    def gap(self) -> Panel:
        """Accuracy against the dense network's, with the line above which it is matched."""
        accuracy = "training accuracy" if self.part == "train" else "test accuracy"
        return Panel("gap", f"{accuracy} - dense (pp)", 100, threshold=-self.tolerance / 100)

    def matches(self, table: Evidence, arm: str, at: Sequence[int], expected: bool = True, *, lacks: str = "", note: str = "") -> Effect:
        """How much an arm's accuracy is above the least that matches the dense network's; below it, if that is not expected."""
        above = table.of(self.gap, arm, at) + self.tolerance
        name = f"{table.called(arm)}: accuracy {'above' if expected else 'below'} dense - {self.tolerance:g} pp{table.said(above.columns)}"
        return table.effect(name, "pp", above if expected else -above, lacks=lacks or table.lacking((arm,), "gap", at), note=note)

    def early(self, table: Evidence) -> list[int]:
        """Levels of the steps k up to `LATEST`."""
        return [level for level, share in densities(table.table, "share").items() if share <= LATEST]

    def onsets(self, table: Evidence, arm: str) -> Frame:
        """The k from which on an arm is stable, and matching, by replicate, in fractions of places; NaN: at no k that was run."""
        import pandas as pd

        lines = {"stable": (table.of(self.barrier, arm), 100 * self.stable), "matching": (-table.of(self.gap, arm), self.tolerance)}
        found = {name: {place: crossing(row, line) for place, row in values.iterrows()} for name, (values, line) in lines.items()}
        return pd.DataFrame(found, columns=list(lines), dtype=float)
