"""Whether a changed row of a table could be one: what an attack has to keep to."""

from collections.abc import Mapping, Sequence

import numpy as np

PERCENTILE = 95
"""The percentile of the distances of training rows to their class beyond which a row is an outlier."""


class Plausibility:
    """What rows of a data set are like, fitted on training rows."""

    def __init__(self, inputs: np.ndarray, targets: np.ndarray, relations: Sequence[Mapping[int, float]] = ()) -> None:
        """`inputs` (n, d) in the unit that the data come in; `relations`: feature -> coefficient, sum of c x >= 0."""
        self._low, self._high, self._relations = inputs.min(0), inputs.max(0), relations
        self._classes: dict[int, tuple[np.ndarray, np.ndarray, float]] = {}
        for kind in np.unique(targets):
            own = inputs[targets == kind]
            # Of few rows a covariance has no inverse: it is drawn towards its diagonal, and a constant feature has a small variance.
            spread = 0.9 * np.cov(own.T) + 0.1 * np.diag(own.var(0) + 1e-6 * np.maximum(inputs.var(0), 1e-12))
            inverse = np.linalg.inv(spread)
            away = _distance(own, own.mean(0), inverse)
            self._classes[int(kind)] = own.mean(0), inverse, float(np.percentile(away, PERCENTILE))

    def inside(self, rows: np.ndarray) -> np.ndarray:
        """(n,) whether every feature is within the range of the training rows."""
        slack = 1e-4 * (self._high - self._low)
        return ((rows >= self._low - slack) & (rows <= self._high + slack)).all(axis=1)

    def near(self, rows: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """(n,) whether a row is no outlier of the class that it is predicted to be, by its Mahalanobis distance."""
        found = np.zeros(len(rows), bool)
        for kind, (mean, inverse, most) in self._classes.items():
            of_kind = predicted == kind
            found[of_kind] = _distance(rows[of_kind], mean, inverse) <= most
        return found

    def kept(self, rows: np.ndarray, before: np.ndarray) -> np.ndarray:
        """(n,) whether a row keeps those relations that it kept before."""
        found = np.ones(len(rows), bool)
        for relation in self._relations:
            places, factors = [*relation], np.array([*relation.values()], float)
            found &= (rows[:, places] @ factors >= -1e-6) | (before[:, places] @ factors < -1e-6)
        return found

    def __call__(self, rows: np.ndarray, before: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """(n,) whether all three hold."""
        return self.inside(rows) & self.near(rows, predicted) & self.kept(rows, before)


def _distance(rows: np.ndarray, mean: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    away = rows - mean
    return np.asarray(np.einsum("ni,ij,nj->n", away, inverse, away))
