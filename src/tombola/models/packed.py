"""A network whose sparse kernels are stored by their weights alone: the same outputs to rounding, at the cost of what is kept.

Training it is training the network under its mask: weights that are pruned to 0 take no part in either. Their products,
their gradients and their optimiser's moments are not computed, and dead inputs and units cost nothing but their bias.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from tombola.core.masks import Mask
from tombola.core.trees import Tree
from tombola.kernels.sparse import bands, places, product
from tombola.models.computing import PLAIN, Computing
from tombola.models.network import Network

ROWS, STARTS = ".rows", ".starts"
"""What stands behind a kernel's path in those of its indices (see `tombola.kernels.sparse.product`)."""

Sizes = tuple[tuple[str, int], ...]
"""(path of a kernel, weights that its storage has room for)."""


class PackedNetwork(Network):
    """The same layers; kernels that are packed are (stored,), with two leaves of indices, which do not train."""

    def __init__(self, plain: Network, sizes: Sizes) -> None:
        self.plain, self.packed = plain, tuple(path for path, _ in sizes)
        index = lambda size: jax.ShapeDtypeStruct((size,), np.dtype(np.int32))  # noqa: E731
        shapes = dict(plain.shapes)
        for path, size in sizes:
            inputs, outputs = plain.shapes[path].shape
            shapes |= {path: jax.ShapeDtypeStruct((size,), plain.shapes[path].dtype)}
            shapes |= {path + ROWS: index(size), path + STARTS: index(bands(inputs, outputs, size) * outputs + 1)}
        indices = {path: (path + ROWS, path + STARTS) if path in self.packed else () for path in plain.shapes}
        self.layers = tuple(
            replace(layer, paths=(*layer.paths, *(extra for path in layer.paths for extra in indices[path]))) for layer in plain.layers
        )
        self.shapes = {path: shapes[path] for layer in self.layers for path in layer.paths}
        self.prunable, self.trainable, self.units = plain.prunable, plain.trainable, ()
        self.convolutional, self.stochastic, self.linear = plain.convolutional, plain.stochastic, frozenset()

    def apply(
        self,
        weights: Mapping[str, Any],
        inputs: jax.Array,
        *,
        train: bool,
        dropout_key: jax.Array | None = None,
        how: Computing = PLAIN,
    ) -> tuple[Any, Tree]:
        """As the plain network's, with sparse products for the kernels that are packed."""
        sparse = {
            path: partial(product, rows=weights[path + ROWS], starts=weights[path + STARTS], outputs=self.plain.shapes[path].shape[1])
            for path in self.packed
        }
        return self.plain.apply(weights, inputs, train=train, dropout_key=dropout_key, how=how._replace(products=sparse))

    @property
    def running(self) -> tuple[str, ...]:
        """As the plain network's."""
        return self.plain.running


@cache
def packed(plain: Network, sizes: Sizes) -> PackedNetwork:
    """The network with some kernels packed; equal arguments give the identical object."""
    return PackedNetwork(plain, sizes)


def stored(start: Any, mask: Any) -> np.ndarray:
    """Which weights of a kernel have to be stored: those that train, and those that are held at another value than 0."""
    return np.asarray(mask) | (np.asarray(start) != 0)


def pack(start: Tree, mask: Mask, sizes: Sizes) -> tuple[Tree, Mask]:
    """Weights and mask of one replica, as `PackedNetwork` has them."""
    weights, kept = dict(start), dict(mask)
    for path, size in sizes:
        inputs, outputs = np.shape(start[path])
        rows, columns, starts = places(stored(start[path], mask[path]), bands(inputs, outputs, size))
        padding = (0, size - rows.size)
        weights[path] = np.pad(np.asarray(start[path])[rows, columns], padding)
        weights[path + ROWS], weights[path + STARTS] = np.pad(rows, padding), starts
        kept[path] = np.pad(np.asarray(mask[path])[rows, columns], padding)
    return weights, kept


def unpack(weights: Tree, start: Tree) -> Tree:
    """The plain network's weights; what was not stored has its value from `start`, bit for bit."""
    plain = {path: weights[path] for path in start}
    for path in start:
        if path + ROWS not in weights:
            continue
        kernel, counts = np.array(start[path]), np.diff(weights[path + STARTS])
        columns = np.repeat(np.arange(counts.size) % kernel.shape[1], counts)
        kernel[weights[path + ROWS][: columns.size], columns] = weights[path][: columns.size]
        plain[path] = kernel
    return plain
