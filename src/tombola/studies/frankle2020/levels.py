"""Are the ends of successive levels of iterative pruning linearly connected? (Paul et al. 2023)"""

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tombola.core.step import Step
from tombola.evaluation.barrier import Form
from tombola.evaluation.paired import by_replicate, effect_over_levels
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.measurement import Measurement
from tombola.studies.base import Cell, Figure, Panel, Scale, Study, study
from tombola.studies.frankle2020.common import (
    DISTANCE,
    METRICS,
    REWOUND_TO_K,
    Paths,
    at_smoke,
    dense_run,
    for_noise,
    instability_panel,
    measure,
    steps_of,
)
from tombola.studies.tickets import Levels, PruningConfig, tickets

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "Paul et al. 2023"


class SuccessiveLevels(PruningConfig, Paths):
    """Paths from the end of one level to the end of the next, for tickets rewound to several steps."""

    chosen = REWOUND_TO_K

    levels: Levels = 13
    """Rounds of pruning after the dense run."""
    k: Annotated[tuple[Step, ...], Field(max_length=6)] = ()
    """Steps to rewind to; none named: 0 and an eighth of training."""
    form: Form = "linear"
    """Which height of the barrier is judged. Levels differ in error by themselves, which `linear` leaves out."""


def _configure(scale: Scale, task: str) -> SuccessiveLevels:
    found = named_task(task, scale)
    return SuccessiveLevels(task=found, **for_noise(found), **at_smoke(scale, k=("0it", "1it"), levels=2))


@study(
    "frankle2020.levels",
    answers="Are the networks of successive rounds of pruning linearly connected?",
    claims=("LMC-O3",),
    task="digits-noise-mlp",
    configure=_configure,
)
def levels(config: SuccessiveLevels) -> Study:
    """Barrier and distance between the end of a level and the end of the level before, against density."""
    steps = steps_of(config.k, config.task, (0.0, 0.125))
    cells: list[Cell] = []
    for replicate in range(config.replicates):
        dense = dense_run(config, replicate)
        for k in steps:
            chain = tickets(config, replicate, levels=config.levels, rewind=k)
            for level in range(1, config.levels + 1):
                ends = (chain[level].at("end"), chain[level - 1].at("end"))
                measurement = Measurement(task=config.task, seed=dense.seed, name="path", of=ends, options=config.options())
                cells.append(Cell(f"k{k}", replicate, level, chain[level], measurement=measurement))
    return Study(
        name="frankle2020.levels",
        config=config,
        cells=tuple(cells),
        metrics=tuple(name for name in METRICS if not name.startswith(("since_", "of_"))),
        measure=partial(measure, config),
        claims=partial(claims, config),
        arms={f"k{k}": f"rewound to {k}" for k in steps},
        figures=(
            Figure(
                "levels",
                "From each level to the one before",
                (instability_panel(config), DISTANCE, Panel("acc_final", "mean test accuracy (%)", 100)),
                caption=f"Both networks were trained in the same order of the data. {config.said()}",
            ),
        ),
    )


def claims(config: SuccessiveLevels, table: "pd.DataFrame") -> list[Verdict]:
    """LMC-O3 on the table of the study."""
    effects = []
    for arm in table.arm.unique():
        values = 100 * (config.stable - by_replicate(table, "instability", arm))
        name = f"rewound to {arm.removeprefix('k')}: barrier to the level before less than {100 * config.stable:g} pp, by"
        effects.append(effect_over_levels(name, "pp", values, table[table.arm == arm], decides=arm != "k0it"))
    sentence = "With rewinding to an early step, each level of iterative pruning is linearly connected to the one before."
    return [Verdict("LMC-O3", sentence, f"{SOURCE}, section 3", tuple(effects), "Mean over all levels.")]
