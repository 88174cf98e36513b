"""What studies of dense networks share: the run of a replicate, and on which error a task with noisy labels is judged."""

from typing import Any

from tombola.core.keys import replicate_seed
from tombola.core.task import Task
from tombola.procedures.run import Run
from tombola.studies.base import Study


def dense_run(study: Study, replicate: int, task: Task | None = None) -> Run:
    """The dense run of a replicate, which all steps, arms and studies share; of the study's task if no other is given."""
    return Run(task=task or study.task, seed=replicate_seed(study.seed, replicate))


def for_noise(task: Task) -> dict[str, Any]:
    """What a study of a task with label noise says: errors on the training set."""
    return {"part": "train"} if task.data.label_noise else {}
