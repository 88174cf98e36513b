"""The data order of a replica, the streams of its noise, and what else it keeps all along."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tombola.core import keys
from tombola.core.task import Task
from tombola.data.order import epoch_order
from tombola.data.split import Split
from tombola.training.program import Fixed
from tombola.training.replica import Replica


class Orders:
    """The data order of one replica, an epoch at a time, each drawn once."""

    def __init__(self, replica: Replica, train: np.ndarray) -> None:
        self._draw = partial(epoch_order, replica.seed, noise_stream(replica, "data_order", "data_order"), examples=train)
        self._examples = len(train)
        self._drawn: dict[int, np.ndarray] = {}

    def of(self, epochs: range, last: int) -> np.ndarray:
        """(epochs, train) int32; of an epoch after the last, zeros."""
        self._drawn = {epoch: self._drawn[epoch] if epoch in self._drawn else self._draw(epoch) for epoch in epochs if epoch <= last}
        there = np.zeros((len(epochs), self._examples), np.int32)
        there[: len(self._drawn)] = list(self._drawn.values())
        return there


def noise_stream(replica: Replica, name: str, kind: str) -> str:
    """The stream of a kind of noise: the replica's own, or the usual one."""
    suffix = replica.noise.get(kind, "")
    return f"{name}/{suffix}" if suffix else name


def fixed_of(task: Task, replicas: Sequence[Replica], splits: Sequence[Split]) -> Fixed:
    """What replicas keep all along, stacked."""
    streams = {"augmentation": "augmentation", "dropout": "dropout", "batch": "augmentation"}
    return Fixed(
        keys=np.stack([[keys.stream(one.seed, noise_stream(one, *stream)) for stream in streams.items()] for one in replicas]),
        targets=None if task.objective.targets == "inputs" else np.stack([np.asarray(part.targets) for part in splits]),
        rate=np.array([replica.rate or task.recipe.learning_rate for replica in replicas], np.float32),
        begin=np.array([replica.begin for replica in replicas], np.int32),
    )
