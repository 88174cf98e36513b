"""What a task's programs are compiled for, found once."""

from functools import lru_cache
from pathlib import Path

from tombola.core.task import Task
from tombola.data.dataset import load
from tombola.training.cohort import setup, total_iterations
from tombola.training.setup import Setup


@lru_cache(maxsize=256)
def resolved(task: Task, data_dir: Path | None) -> tuple[Setup, int]:
    """What a task's programs are compiled for, and its last iteration."""
    found = setup(task, load(task.data, data_dir))
    return found, total_iterations(task, found)


@lru_cache(maxsize=256)
def program_of(task: Task, data_dir: Path | None) -> Setup:
    """What a task's program is compiled for: runs of which it is equal train together, whatever their learning rates."""
    found, _ = resolved(task, data_dir)
    return found._replace(recipe=found.recipe.but(learning_rate=1.0))
