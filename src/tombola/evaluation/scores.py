"""What networks do on one part of the data."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tombola.core.objective import Objective


class Scores(NamedTuple):
    """What P networks do on one part of the data, n examples."""

    objective: Objective
    classes: int
    """The number of classes; 0 where targets are none."""
    loss: np.ndarray
    """(P,) mean loss; in nats, of classification. NaN where a network's outputs or its loss are not finite."""
    measures: Mapping[str, np.ndarray]
    """Name -> (P, n): of each example."""
    prediction: np.ndarray
    """(P, n, ...): what the network says; its class, of classification."""
    inside: Mapping[str, np.ndarray]
    """Name -> (P, n, ...): what the networks say on the way, of what was asked for."""
    targets: np.ndarray
    """(n, ...) the targets; on the training part those that were trained on, noise included."""
    labels: np.ndarray | None
    """(n,) the examples' classes, whatever is learnt; None where the data have none."""

    @property
    def error(self) -> np.ndarray:
        """(P,) the headline: of classification the share of examples that are misclassified, in [0, 1]."""
        return self.mean(next(iter(self.objective.measured)))

    @property
    def shown(self) -> np.ndarray:
        """(P,) the headline as curves have it: of classification the accuracy."""
        found: np.ndarray = self.objective.headline_of(self.error)
        return found

    @property
    def balanced_error(self) -> np.ndarray:
        """(P,) the mean of `by_class` over the classes that have examples."""
        return np.nanmean(self.by_class, axis=1)

    @property
    def by_class(self) -> np.ndarray:
        """(P, classes) the headline on each class's examples, NaN for one without any. Where targets are classes."""
        return self._by_class(next(iter(self.objective.measured)))

    def _by_class(self, name: str) -> np.ndarray:
        values, counts = self.measures[name], np.bincount(self.targets, minlength=self.classes)
        sums = np.stack([values[:, self.targets == one].sum(axis=1, dtype=np.float64) for one in range(self.classes)], axis=1)
        return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)

    @property
    def confusion(self) -> np.ndarray:
        """(P, classes, classes): how many examples of a class (row) each network puts into a class (column). Where targets are classes."""
        pairs = self.targets * self.classes + self.prediction
        counts = [np.bincount(one, minlength=self.classes**2) for one in pairs]
        return np.array(counts).reshape(-1, self.classes, self.classes)

    @property
    def chance(self) -> float:
        """The headline of the best constant answer."""
        return self.objective.chance(self.targets)

    def mean(self, name: str) -> np.ndarray:
        """(P,) a measure, averaged over the examples; or over classes, where the objective does."""
        if self.objective.by_class:
            return np.nanmean(self._by_class(name), axis=1)
        return self.measures[name].mean(axis=1, dtype=np.float64)

    def disagreement(self, first: int, second: int) -> float:
        """How far the predictions of two points lie apart, in the unit of the headline; NaN where one of them has none."""
        if not np.isfinite(self.loss[[first, second]]).all():
            return float("nan")
        return self.objective.disagreement(self.prediction[first], self.prediction[second])
