"""`tombola.path`: the line between two networks, replica by replica."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as Folder
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.api.session import Session, seeds, weights_of
from tombola.core.errors import TombolaError, unknown, warn
from tombola.core.objective import Objective
from tombola.core.task import Task
from tombola.core.trees import finite, replica, replicas
from tombola.evaluation.barrier import Form, at_chance, barrier
from tombola.evaluation.weight_combinations import PARTS, Part
from tombola.procedures.measurement import BatchNorm, Measurement
from tombola.procedures.paths import path_options
from tombola.store.store import Store
from tombola.studies.figure import Figure
from tombola.studies.shown import Shown, as_arms, headline_panel, long

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Paths(Shown):
    """Lines W(a) = a W + (1 - a) W' between networks; leading axes ... are those of what was asked (replicas, pairs)."""

    a: np.ndarray
    """(P,) from 0 to 1: evenly spaced points, and the middle."""
    error: Mapping[Part, np.ndarray]
    """`train` and `test` -> (..., P): the objective's headline; of classification the share of misclassified examples, in [0, 1]."""
    loss: Mapping[Part, np.ndarray]
    """(..., P): mean loss; of classification in nats."""
    own: Mapping[Part, np.ndarray]
    """(..., 2): errors of W and W' with their own statistics of batch norm."""
    disagreement: Mapping[Part, np.ndarray]
    """(...): share of examples that the two put into different classes, or how far their outputs lie apart."""
    distance: np.ndarray
    """(...): 2-norm between the trainable weights."""
    cosine: np.ndarray
    """(...): cosine of the trainable weights."""
    chance: Mapping[Part, np.ndarray]
    """(...): the headline of the best constant answer."""
    objective: Objective

    def barrier(self, part: Part = "test", form: Form = "maximum") -> np.ndarray:
        """Height of the error barrier, (...), in percentage points or in the headline's unit; see `tombola.evaluation.barrier.barrier`."""
        if part not in PARTS:
            raise unknown("part of the data", part, PARTS)
        return self.objective.headline.factor * barrier(self.error[part], self.a, form)

    def tables(self) -> "dict[str, pd.DataFrame]":
        """`barriers`, a row a pair of networks, and `points`, a row a point on the line between them."""
        names = ("replicate", "pair")[: self.distance.ndim]
        axes: list[tuple[str, Any]] = [(name, range(count)) for name, count in zip(names, self.distance.shape, strict=True)]
        by_part = {f"{part}_{name}": of[part] for part in PARTS for name, of in (("error", self.error), ("loss", self.loss))}
        barriers = {f"{part}_barrier": self.barrier(part) for part in PARTS}
        return {
            "barriers": long(axes, **barriers, distance=self.distance, cosine=self.cosine),
            "points": long([*axes, ("a", self.a)], **by_part),
        }

    def pictures(self) -> "list[tuple[Figure, pd.DataFrame]]":
        """The error along the line, on the training and on the test set."""
        rows = as_arms(self.to_pandas("points").rename(columns={"a": "x"}), "error", {part: f"{part}_error" for part in PARTS})
        panel = headline_panel(self.objective, "error", "", error=True)
        label = "a, from the second network (0) to the first (1)"
        return [(Figure("path", "The line between two networks", (panel,), kind="profile", detail="path", x_label=label), rows)]


def path(
    task: Task,
    first: Mapping[str, Any],
    second: Mapping[str, Any],
    *,
    seed: int,
    points: int = 30,
    batch_norm: BatchNorm = "recompute",
    train_examples: int | None = None,
    matched: bool = False,
    store: Store | Folder | str | None = None,
    data_dir: Folder | str | None = None,
) -> Paths:
    """Error and loss along the line from one network to another, for R replicas side by side.

    Args:
        first, second: weights W and W', leaves (R, ...), such as ``trajectory.final``; a equals 1 at the first.
        seed: that of the training: with it replicate r has its training examples and their labels.
        points: evenly spaced values of a, ends included (Frankle et al. 2020 use 30); the middle is evaluated as well, so that an
            even number n gives n + 1 networks.
        batch_norm: statistics of batch norm on the path: computed anew over training examples (`recompute`), or
            interpolated as the weights are (`interpolate`).
        train_examples: training examples to evaluate on; None: all.
        matched: whether the second network's units are permuted first, to match the first one's (Ainsworth et al. 2023). Those of
            a residual stream, which many layers read, stay in their order.

    Raises:
        TombolaError: the two networks are equal, or have both diverged, or are not of this task.
    """
    session = Session.of(task, store, data_dir, first, second)
    network = session.network
    ends = [weights_of(name, tree, network) for name, tree in (("first", first), ("second", second))]
    if replicas(ends[0]) != replicas(ends[1]):
        raise TombolaError(f"first has {replicas(ends[0])} replicas and second {replicas(ends[1])}; a path needs as many of each")
    for index in range(replicas(ends[0])):
        if not any(finite(replica(end, index)) for end in ends):
            raise TombolaError(f"replicate {index} diverged in both networks: no weights to go between; train with a lower learning rate")
    options = path_options(points, batch_norm, train_examples) | ({"matched": True} if matched else {})
    pairs = zip(seeds(seed, replicas(ends[0])), *map(session.refer, ends), strict=True)
    measurements = [Measurement(task=session.task, seed=one, name="path", of=tuple(pair), options=options) for one, *pair in pairs]
    return gathered(session.measure(measurements), task.objective)


def gathered(found: Sequence[Mapping[str, np.ndarray]], objective: Objective, shape: tuple[int, ...] | None = None) -> Paths:
    """Lines side by side; their axis is given `shape` if there is one."""

    def stacked(name: str) -> np.ndarray:
        values = np.stack([one[name] for one in found])
        return values if shape is None else values.reshape(*shape, *values.shape[1:])

    def by_part(name: str) -> dict[Part, np.ndarray]:
        return {part: stacked(f"{part}_{name}") for part in PARTS}

    paths = Paths(
        a=found[0]["a"],
        error=by_part("error"),
        loss=by_part("loss"),
        own=by_part("own"),
        disagreement=by_part("disagreement"),
        distance=stacked("distance"),
        cosine=stacked("cosine"),
        chance=by_part("chance"),
        objective=objective,
    )
    if (lost := at_chance(paths.own["test"].mean(-1), paths.chance["test"], objective)).any():
        warn(f"the ends of {lost.sum()} of {lost.size} paths are at chance: from there no error can rise, and a low barrier says nothing")
    return paths
