"""Path-named trees: flat dicts from a path (``"hidden1/kernel"``) to an array.

A *weights* tree holds the whole state of a network: kernels, biases, normalisation and its running statistics.
Stacked trees carry a leading replica axis on every leaf.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

Tree = dict[str, Any]
"""Path -> array."""


def stack(trees: Sequence[Mapping[str, Any]]) -> Tree:
    """Stack R trees of one structure: one tree with leaves (R, ...)."""
    return {path: np.stack([np.asarray(tree[path]) for tree in trees]) for path in trees[0]}


def replica(tree: Mapping[str, Any], index: int) -> Tree:
    """Replica `index` of a stacked tree."""
    return {path: leaf[index] for path, leaf in tree.items()}


def replicas(tree: Mapping[str, Any]) -> int:
    """R, the length of the leading axis."""
    return len(next(iter(tree.values())))


def per_replica(function: Callable[..., Tree], *trees: Mapping[str, Any]) -> Tree:
    """Apply a function of single trees to each replica of stacked ones, and stack what it returns."""
    return stack([function(*(replica(tree, index) for tree in trees)) for index in range(replicas(trees[0]))])


def packed(tree: Mapping[str, Any], paths: Iterable[str]) -> np.ndarray:
    """The leaves with the given paths one after the other, (n,)."""
    return np.concatenate([np.asarray(tree[path]).reshape(-1) for path in paths])


def unpacked(packed: Any, shapes: Mapping[str, tuple[int, ...]]) -> Tree:
    """The inverse of `packed`: views of the array, NumPy's or JAX's."""
    ends = itertools.accumulate(map(math.prod, shapes.values()))
    return {path: packed[end - math.prod(shape) : end].reshape(shape) for end, (path, shape) in zip(ends, shapes.items(), strict=True)}


def select(tree: Mapping[str, Any], paths: Iterable[str]) -> Tree:
    """The subtree with the given paths, in their order."""
    return {path: tree[path] for path in paths}


def finite(tree: Mapping[str, Any]) -> bool:
    """Whether no value is NaN or infinite."""
    return all(np.isfinite(leaf).all() for leaf in tree.values())


def equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Bitwise equality (so that NaN equals itself, and 0.0 differs from -0.0)."""
    return a.keys() == b.keys() and all(np.asarray(a[path]).tobytes() == np.asarray(b[path]).tobytes() for path in a)
