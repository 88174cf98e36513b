"""How alike two networks are: in their weights, in what they predict, and in what their masks keep."""

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


def expected_overlap(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[float, float]:
    """Mean and standard deviation of the number of weights that both masks keep, were their places in each leaf independent.

    Of a leaf of N weights, of which the masks keep K and L, the count is hypergeometric: its mean is K L / N, its variance
    K L (N - K) (N - L) / (N^2 (N - 1)). Leaves are independent. Source: Grosse & Backes 2021.
    """
    mean = variance = 0.0
    for path, leaf in a.items():
        n, k, m = leaf.size, int(np.count_nonzero(leaf)), int(np.count_nonzero(b[path]))
        mean += k * m / n
        variance += k * m * (n - k) * (n - m) / (n * n * max(n - 1, 1))
    return mean, float(np.sqrt(variance))


def overlap(a: Mapping[str, Any], b: Mapping[str, Any], expected: float | None = None) -> float:
    """How much of what two masks could keep in common beyond chance they do: (both - expected) / (most - expected).

    1 where one mask holds the other in each leaf, 0 at chance, below 0 where they avoid one another; NaN where nothing is left to
    chance. `most` is the smaller of both counts, leaf by leaf.

    Args:
        expected: weights that both keep by chance; None: by `expected_overlap`.
    """
    both = sum(int(np.count_nonzero(leaf & b[path])) for path, leaf in a.items())
    most = sum(min(int(np.count_nonzero(leaf)), int(np.count_nonzero(b[path]))) for path, leaf in a.items())
    chance = expected_overlap(a, b)[0] if expected is None else expected
    return (both - chance) / (most - chance) if most - chance > 1e-9 else float("nan")


def _square(values: np.ndarray) -> float:
    return float(np.vdot(values, values))
