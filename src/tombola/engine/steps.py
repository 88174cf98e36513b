"""Which iteration a step of a run is: from the recipe, and the data's size where it speaks of epochs. No network, no JAX."""

from functools import lru_cache
from pathlib import Path

from tombola.core.step import Step
from tombola.core.task import Task
from tombola.data.dataset import load, sizes
from tombola.procedures.run import Run


def iteration(run: Run, step: Step, data_dir: Path | None) -> int:
    """Iterations since the start of training. Raises if the step lies after the run's end."""
    return step.iterations(_per_epoch(run.task, step, data_dir), last_iteration(run, data_dir))


def first_iteration(run: Run, data_dir: Path | None) -> int:
    """The iteration at which the run begins."""
    return run.begin.iterations(_per_epoch(run.task, run.begin, data_dir), _length(run.task, data_dir))


def last_iteration(run: Run, data_dir: Path | None) -> int:
    """The iteration after which the run ends: T, the length of the task's training, or an earlier one."""
    return run.until.iterations(_per_epoch(run.task, run.until, data_dir), _length(run.task, data_dir))


def _length(task: Task, data_dir: Path | None) -> int:
    return task.recipe.steps.iterations(_per_epoch(task, task.recipe.steps, data_dir))


def _per_epoch(task: Task, step: Step, data_dir: Path | None) -> int:
    """Whole batches in an epoch. Data are read only for a step that needs it: a large set takes seconds."""
    return _counted(task, data_dir) if "ep" in step else 1


@lru_cache(maxsize=256)
def _counted(task: Task, data_dir: Path | None) -> int:
    return sizes(load(task.data, data_dir), task.data)[0] // task.recipe.batch
