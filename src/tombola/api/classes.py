"""`tombola.classes`: what classifiers make of each class, where the mean over all examples hides that some are rare."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.api.session import Session, how_many, weights_of
from tombola.core.task import Task
from tombola.data.dataset import load
from tombola.evaluation.weight_combinations import Part
from tombola.procedures.measurement import Measurement
from tombola.store.store import Store
from tombola.studies.figure import Figure, Panel
from tombola.studies.shown import Shown, long

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Classes(Shown):
    """Arrays over R networks and C classes. A class without examples has recall NaN, and does not count in means over classes."""

    names: tuple[str, ...]
    """C: what the classes are called."""
    confusion: np.ndarray
    """(R, C, C) int: how many examples of a class (row) a network puts into a class (column)."""

    @property
    def accuracy(self) -> np.ndarray:
        """(R,) share of all examples that are put into their class, in [0, 1]."""
        return self._right.sum(-1) / self.confusion.sum((-2, -1))

    @property
    def recall(self) -> np.ndarray:
        """(R, C) share of a class's examples that are put into it."""
        return _ratio(self._right, self.confusion.sum(-1))

    @property
    def precision(self) -> np.ndarray:
        """(R, C) share of the examples put into a class that are of it; 0 where none are put into it."""
        return np.nan_to_num(_ratio(self._right, self.confusion.sum(-2)))

    @property
    def f1(self) -> np.ndarray:
        """(R, C) harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN)."""
        return _ratio(2 * self._right, np.where(self.confusion.sum(-1) > 0, self.confusion.sum(-1) + self.confusion.sum(-2), 0))

    @property
    def balanced_accuracy(self) -> np.ndarray:
        """(R,) the mean of `recall` over classes, in [0, 1]."""
        return np.nanmean(self.recall, axis=-1)

    @property
    def macro_f1(self) -> np.ndarray:
        """(R,) the mean of `f1` over classes, in [0, 1]."""
        return np.nanmean(self.f1, axis=-1)

    @property
    def _right(self) -> np.ndarray:
        return np.diagonal(self.confusion, axis1=-2, axis2=-1)

    glance = "classes"

    def tables(self) -> "dict[str, pd.DataFrame]":
        """`networks`, a row a replicate; `classes`, a row a class, means over replicates; `confusion`, a row a cell."""
        replicas = ("replicate", range(len(self.confusion)))
        means = {name: np.nanmean(of, axis=0) for name, of in (("recall", self.recall), ("precision", self.precision), ("f1", self.f1))}
        return {
            "networks": long([replicas], accuracy=self.accuracy, balanced_accuracy=self.balanced_accuracy, macro_f1=self.macro_f1),
            "classes": long([("class", self.names)], examples=self.confusion[0].sum(-1), **means),
            "confusion": long([replicas, ("class", self.names), ("put_into", self.names)], examples=self.confusion),
        }

    def pictures(self) -> "list[tuple[Figure, pd.DataFrame]]":
        """Which classes are taken for which."""
        shares = _ratio(self.confusion, self.confusion.sum(-1, keepdims=True))
        rows = long([("replicate", range(len(shares))), ("row", self.names), ("column", self.names)], share=shares)
        panel = Panel("share", "share of the class's examples (%)", 100)
        return [(Figure("confusion", "What is taken for what", (panel,), kind="heatmap", detail="confusion", x_label="put into"), rows)]


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.broadcast_arrays(part, whole)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def classes(
    task: Task,
    weights: Mapping[str, Any],
    *,
    part: Part = "test",
    seed: int = 0,
    store: Store | Path | str | None = None,
    data_dir: Path | str | None = None,
) -> Classes:
    """Confusion of classes, recall, precision, F1, balanced accuracy and macro F1 of R networks.

    Args:
        weights: leaves (R, ...), such as ``dense.final``.
        part: `test`, `validation` or `train`.
        seed: that of the training, which says what each replicate's parts are.

    Raises:
        TombolaError: for a task whose targets are no classes.
    """
    session = Session.of(task, store, data_dir, weights)
    full = weights_of("weights", weights, session.network)
    runs = session.runs(how_many(None, weights=full), seed)
    wanted = [
        Measurement(task=session.task, seed=run.seed, name="classes", of=(ref,), options={"part": part})
        for run, ref in zip(runs, session.refer(full), strict=True)
    ]
    confusion = np.stack([one["confusion"] for one in session.measure(wanted)])
    names = load(session.task.data, session.data_dir).class_names or tuple(map(str, range(confusion.shape[-1])))
    return Classes(names, confusion)
