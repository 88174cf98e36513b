"""Steps k by densities: tickets and their controls at each, with children; three studies read it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

from tombola.core.step import Step
from tombola.core.task import Task
from tombola.procedures.run import Run
from tombola.studies.base import Cell, Results, Scale
from tombola.studies.frankle2020.common import (
    EXTREME,
    METRICS,
    ONE_SHOT,
    Sparse,
    at_smoke,
    dense_run,
    for_noise,
    from_step,
    measure,
    onset,
    pair_cells,
    steps_of,
)
from tombola.studies.tickets import Level, margin, randomly_masked, reinitialised, tickets

if TYPE_CHECKING:
    import pandas as pd

ARMS = {"ticket": "IMP with rewinding", "random": "random pruning", "reinit": "IMP mask, fresh init", "dense": "dense network"}
CONTROLS = ("random", "reinit")
LATEST = 0.125
"""Share of training up to which k is looked at where arms are compared: a fresh initialisation that is left half of training
learns less for that alone, and children of any network are stable when little training is left."""
GRID_METRICS = (*METRICS, "gap", "stable", "matching")


class Grid(Sparse):
    """Tickets of several densities, rewound to several steps k, and their controls."""

    compared: Annotated[tuple[Level, ...], Field(min_length=1)] = (3, 6, 9, 12)
    """Rounds of pruning (20 % each: 51, 26, 13.5, 7 % density) after which networks are looked at."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Percentage points below the dense network's accuracy (of `part`) that still match it; None: 0.2 with 10,000 test
    examples, else 1."""


def grid_fields(scale: Scale, task: Task) -> dict[str, Any]:
    """The fields of a `Grid` at a scale; the paper's own density where it has the task."""
    extreme = {"compared": (EXTREME[task.name],)} if task.name in EXTREME else {}
    smoke = at_smoke(scale, children=2, k=("0it", "1it"), compared=(1,))
    return {"task": task, **for_noise(task), **ONE_SHOT.get(task.name, {}), **extreme, **smoke}


class Place(NamedTuple):
    """Where rows stand in the grid."""

    arm: str
    replicate: int
    round: int
    k: Step


def parents(config: Grid, replicate: int, k: Step) -> dict[tuple[str, int], Run]:
    """(arm, round) -> the run whose children are made, for one replicate and step; the dense network is round 0."""
    chain = tickets(config, replicate, levels=max(config.compared), rewind=k)
    found = {("dense", 0): from_step(chain[0], k)}
    for level in sorted(set(config.compared)):
        ticket = chain[level]
        controls = {"random": randomly_masked(config, ticket, level), "reinit": reinitialised(ticket, level)}
        found |= {(arm, level): run for arm, run in {"ticket": ticket, **controls}.items()}
    return found


def places(config: Grid) -> dict[Place, list[Cell]]:
    """The rows of every place: a row a pair of children, with the place of k as their level, and the round as variant."""
    found: dict[Place, list[Cell]] = {}
    for replicate in range(config.replicates):
        dense = dense_run(config, replicate)
        for index, k in enumerate(steps_of(config.k, config.task)):
            for (arm, level), parent in parents(config, replicate, k).items():
                cells = pair_cells(config, arm, replicate, index, parent, dense, str(level))
                found[Place(arm, replicate, level, k)] = cells
    return found


def measure_grid(config: Grid, cell: Cell, results: Results) -> dict[str, float]:
    """The columns of a pair, its accuracy against the dense run's, and whether it is stable and matching."""
    row, dense = measure(config, cell, results), results[dense_run(config, cell.replicate)]
    apart = row["train_acc_final"] - dense.shown("train") if config.part == "train" else row["acc_final"] - dense.shown("test")
    gap = config.task.objective.better_is * apart
    matching = 100 * gap >= -margin(config.task, config.margin)
    return {**row, "gap": gap, "stable": float(row["instability"] < config.stable), "matching": float(matching)}


def settled(config: Grid, instability: Sequence[float], gap: Sequence[float]) -> tuple[int, int]:
    """From which place in the list of steps k on networks are stable, and from which on they match; the number of steps if they
    are not at the last.
    """
    tolerance = margin(config.task, config.margin) / 100
    return onset([one < config.stable for one in instability]), onset([one >= -tolerance for one in gap])


def onsets(config: Grid, table: "pd.DataFrame") -> "pd.DataFrame":
    """Columns variant, arm, replicate, stable, matching: `settled` of a replicate's mean over pairs."""
    import pandas as pd

    rows = []
    for (variant, arm, replicate), group in table.groupby(["variant", "arm", "replicate"], sort=False):
        mean = group.groupby("level")[["instability", "gap"]].mean().sort_index()
        stable, matching = settled(config, list(mean.instability), list(mean.gap))
        rows.append({"variant": variant, "arm": arm, "replicate": replicate, "stable": stable, "matching": matching})
    return pd.DataFrame(rows)
