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

from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.trees import Tree
from tombola.kernels.sparse import bands, places, product
from tombola.models.computing import PLAIN, Computing
from tombola.models.network import Computed, Network

ROWS, STARTS = ".rows", ".starts"
"""What stands behind a kernel's path in those of its indices (see `tombola.kernels.sparse.product`)."""

Sizes = tuple[tuple[str, int], ...]
"""(path of a kernel, weights that its storage has room for)."""


class SparseNetwork(Network):
    """Another network's layers; kernels in sparse storage are (stored,), with two leaves of indices, which do not train."""

    def __init__(self, plain: Network, sizes: Sizes) -> None:
        self.plain, self.sparse = plain, tuple(path for path, _ in sizes)
        shapes = dict(plain.shapes)
        indices: dict[str, tuple[str, ...]] = {}
        for path, size in sizes:
            inputs, outputs = plain.shapes[path].shape
            shapes[path] = jax.ShapeDtypeStruct((size,), plain.shapes[path].dtype)
            lengths = {path + ROWS: size, path + STARTS: bands(inputs, outputs, size) * outputs + 1}
            shapes |= {name: jax.ShapeDtypeStruct((length,), np.dtype(np.int32)) for name, length in lengths.items()}
            indices[path] = tuple(lengths)
        super().__init__(
            data=plain.data,
            layers=tuple(
                replace(layer, paths=(*layer.paths, *(extra for path in layer.paths for extra in indices.get(path, ()))))
                for layer in plain.layers
            ),
            shapes=shapes,
            trainable=plain.trainable,
            running=plain.running,
            stochastic=plain.stochastic,
            convolutional=plain.convolutional,
        )

    def init_tensor(self, path: str, seed: int, stream: str) -> np.ndarray:
        """A leaf of the plain network; what is stored of a sparse kernel follows from its mask too: see `to_sparse`."""
        if path in self.sparse or path not in self.plain.shapes:
            raise TombolaError(f"{path!r} is in sparse storage; draw the plain network's weights and store those")
        return self.plain.init_tensor(path, seed, stream)

    def std(self, path: str) -> float:
        """The standard deviation of the plain network's leaf."""
        return self.plain.std(path)

    def compute(
        self, weights: Mapping[str, Any], inputs: jax.Array, *, train: bool, dropout_key: jax.Array | None = None, how: Computing = PLAIN
    ) -> Computed:
        """What the plain network computes, with sparse products for the kernels in sparse storage."""
        return self.plain.compute(weights, inputs, train=train, dropout_key=dropout_key, how=self._sparsely(weights, how))

    def statistics(self, weights: Mapping[str, Any], inputs: jax.Array, how: Computing = PLAIN) -> Tree:
        """The plain network's statistics, with sparse products."""
        return self.plain.statistics(weights, inputs, self._sparsely(weights, how))

    def _sparsely(self, weights: Mapping[str, Any], how: Computing) -> Computing:
        products = {
            path: partial(product, rows=weights[path + ROWS], starts=weights[path + STARTS], outputs=self.plain.shapes[path].shape[1])
            for path in self.sparse
        }
        return how._replace(products=products)


@cache
def sparse_network(plain: Network, sizes: Sizes) -> SparseNetwork:
    """The network with some kernels in sparse storage; equal arguments give the identical object."""
    return SparseNetwork(plain, sizes)


def stored(start: Any, mask: Any) -> np.ndarray:
    """Which weights of a kernel have to be stored: those that train, and those that are held at another value than 0."""
    return np.asarray(mask) | (np.asarray(start) != 0)


def to_sparse(start: Tree, mask: Mask, sizes: Sizes) -> tuple[Tree, Mask]:
    """Weights and mask of one replica, as `SparseNetwork` has them."""
    weights, kept = dict(start), dict(mask)
    for path, size in sizes:
        inputs, outputs = np.shape(start[path])
        rows, columns, starts = places(stored(start[path], mask[path]), bands(inputs, outputs, size))
        padding = (0, size - rows.size)
        weights[path] = np.pad(np.asarray(start[path])[rows, columns], padding)
        weights[path + ROWS], weights[path + STARTS] = np.pad(rows, padding), starts
        kept[path] = np.pad(np.asarray(mask[path])[rows, columns], padding)
    return weights, kept


def to_dense(weights: Tree, start: Tree) -> Tree:
    """The plain network's weights; what was not stored has its value from `start`, bit for bit."""
    plain = {path: weights[path] for path in start}
    for path in start:
        if path + ROWS not in weights:
            continue
        kernel = np.array(start[path])
        where = stored_places(weights, path, kernel.shape)
        kernel[where] = weights[path][: where[0].size]
        plain[path] = kernel
    return plain


def stored_places(weights: Tree, path: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) of what is stored of a kernel, in the order that it is stored in."""
    counts = np.diff(weights[path + STARTS])
    columns = np.repeat(np.arange(counts.size) % shape[1], counts)
    return weights[path + ROWS][: columns.size], columns
