"""Which iteration a step of a task is: from the recipe, and the data's size where it speaks of epochs. No network, no JAX."""

from functools import lru_cache
from pathlib import Path

from tombola.core.step import Step
from tombola.core.task import Task
from tombola.data.dataset import load, sizes


def iteration(task: Task, step: Step, data_dir: Path | None) -> int:
    """Iterations since the start of training. Raises if the step lies after its end."""
    return step.iterations(_per_epoch(task, step, data_dir), last_iteration(task, data_dir))


def last_iteration(task: Task, data_dir: Path | None) -> int:
    """T, the length of the task's training."""
    return task.recipe.steps.iterations(_per_epoch(task, task.recipe.steps, data_dir))


def _per_epoch(task: Task, step: Step, data_dir: Path | None) -> int:
    """Whole batches in an epoch. Data are read only for a step that needs it: a large set takes seconds."""
    return _counted(task, data_dir) if "ep" in step else 1


@lru_cache(maxsize=256)
def _counted(task: Task, data_dir: Path | None) -> int:
    return sizes(load(task.data, data_dir), task.data)[0] // task.recipe.batch
