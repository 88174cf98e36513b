"""One replica of a cohort: what it is given, what it leaves, and what it goes on from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tombola.core.masks import Mask
from tombola.core.task import Task
from tombola.core.trees import Tree

NOISE = ("data_order", "augmentation", "dropout")
"""The streams that make up a run's SGD noise."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on: bitwise the same as if it had never stopped."""

    iteration: int
    state: tuple[np.ndarray, ...]
    """The leaves of `State`, in JAX's order."""
    rows: tuple[tuple[float, ...], ...]
    snapshots: Mapping[int, Tree]
    masks: Mapping[int, Mask] = field(default_factory=dict)
    """The masks at the iterations of `snapshots`, where the mask moves."""
    signals: tuple[tuple[float, ...], ...] = ()
    """What detectors have seen (`tombola.training.watch`)."""
    before: Tree = field(default_factory=dict)
    """The weights at their last stop."""


@dataclass(frozen=True)
class Replica:
    """One replica of a cohort."""

    seed: int
    start: Tree
    mask: Mask
    begin: int = 0
    """Iteration at which it begins: schedule and data order go on from there, optimiser state starts empty."""
    noise: Mapping[str, str] = field(default_factory=dict)
    """Stream of `NOISE` -> suffix: another suffix is another draw of that noise under the same seed."""
    keep: frozenset[int] = frozenset()
    """Iterations at which its weights are wanted."""
    resume: Checkpoint | None = None
    rate: float | None = None
    """The replica's learning rate, where that is not the task's."""


@dataclass(frozen=True)
class Outcome:
    """What one replica's training gave."""

    rows: tuple[tuple[float, ...], ...]
    """One row an evaluation, with the columns `columns`."""
    summary: Mapping[str, float]
    snapshots: Mapping[int, Tree]
    masks: Mapping[int, Mask] = field(default_factory=dict)
    """The masks at the iterations of `snapshots` and at the last, where the mask moves."""
    signals: tuple[tuple[float, ...], ...] = ()
    """What detectors saw, a row a stop."""
    signal_names: tuple[str, ...] = ()
    """The names of the columns of `signals`."""


def columns(task: Task) -> tuple[str, ...]:
    """The columns of `Outcome.rows`: step, val_loss, val_acc, test_loss, test_acc, say; NaN where the test set was not evaluated. Where the
    mask moves, its density too.
    """
    scores = (f"{part}_{name}" for part in ("val", "test") for name in task.objective.columns)
    return ("step", *scores, *(("density",) if task.recipe.mask_schedule else ()))
