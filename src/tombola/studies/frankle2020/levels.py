"""Are the ends of successive levels of iterative pruning linearly connected? (Paul et al. 2023)"""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from tombola.evaluation.barrier import Form
from tombola.studies import Effect, Evidence, Figure, Levels, Panel, PruningStudy, Row, Step, aside, claim, study, tickets
from tombola.studies.frankle2020.common import DISTANCE, NOT_TRAVELLED, SMOKE, Paths, Sparse, steps_of
from tombola.studies.frankle2020.trends import worst

UNREWOUND = "k0it"


@study("frankle2020.levels", task="digits-noise-mlp", answers="Are the networks of successive rounds of pruning linearly connected?")
class SuccessiveLevels(PruningStudy, Paths):
    """Barrier and distance between the end of a level and the end of the level before, for tickets rewound to several steps."""

    paper = "Paul et al. 2023"
    scales = {"smoke": {**SMOKE, "k": ("0it", "1it"), "levels": 2}}
    columns = NOT_TRAVELLED
    counted = "rounds"
    chosen = Sparse.chosen

    levels: Levels = 13
    """Rounds of pruning after the dense run."""
    k: Annotated[tuple[Step, ...], Field(max_length=6)] = ()
    """The steps that tickets are rewound to. If none is named, they are 0 and an eighth of training."""
    form: Form = "linear"
    """Which height of the barrier is judged. Networks of two levels differ in error anyway, which `linear` leaves out."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps k, each once, from the first to the last."""
        return steps_of(self.k, self.task, (0.0, 0.125))

    @property
    def arms(self) -> dict[str, str]:
        return {f"k{k}": f"rewound to {k}" for k in self.steps}

    def rows(self) -> Iterable[Row]:
        for replicate in range(self.replicates):
            for k in self.steps:
                chain = tickets(self, replicate, rewind=k)
                for level in range(1, self.levels + 1):
                    path = self.path_between(chain[level], chain[level - 1])
                    yield Row(f"k{k}", replicate, level, chain[level], measurement=path)

    def figures(self) -> Sequence[Figure]:
        panels = (self.barrier, DISTANCE, Panel("acc_final", "mean test accuracy (%)", 100))
        caption = f"Both networks were trained in the same order of the data. {self.evaluated}"
        return (Figure("levels", "From each level to the one before", panels, caption=caption),)

    @claim(
        "LMC-O3",
        "section 3",
        "With rewinding to an early step, each level of iterative pruning is linearly connected to the one before.",
    )
    def connected(self, table: Evidence) -> Iterable[Effect]:
        for arm in table.table.arm.unique():
            values = table.of(self.barrier, arm)
            name = f"{table.called(arm)}: barrier to the level before below {100 * self.stable:g} pp"
            highest = worst(100 * self.stable - values)
            at_worst = table.effect(f"{name}, where it is highest{table.said(highest.columns)}", "pp", highest)
            yield at_worst if arm != UNREWOUND else aside(at_worst)
            yield aside(table.effect(f"{name}, mean over levels", "pp", 100 * self.stable - values))
