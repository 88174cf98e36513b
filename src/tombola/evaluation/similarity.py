"""How alike two networks are: in their weights, and in what they predict."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def distance(a: Mapping[str, Any], b: Mapping[str, Any], paths: Iterable[str]) -> float:
    """2-norm of the difference of all weights of the leaves `paths` together: sqrt of the sum of (a - b)^2."""
    return float(np.sqrt(sum(_square(np.asarray(a[path], np.float64) - b[path]) for path in paths)))


def cosine(a: Mapping[str, Any], b: Mapping[str, Any], paths: Iterable[str]) -> float:
    """<a, b> / (|a| |b|) over the leaves `paths` together, in [-1, 1]; NaN where one of them is 0."""
    paths = list(paths)
    product = sum(float(np.vdot(np.asarray(a[path], np.float64), b[path])) for path in paths)
    norms = [np.sqrt(sum(_square(np.asarray(tree[path], np.float64)) for path in paths)) for tree in (a, b)]
    return product / float(norms[0] * norms[1]) if all(norms) else float("nan")


def disagreement(a: np.ndarray, b: np.ndarray) -> float:
    """Share of examples that two networks put into different classes, in [0, 1]; `a` and `b` are predicted classes, (n,)."""
    return float(np.mean(a != b))


def _square(values: np.ndarray) -> float:
    return float(np.vdot(values, values))
