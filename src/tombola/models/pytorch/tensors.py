"""Where each tensor of a PyTorch module is kept, in what orientation, and which layer of NNX holds it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["linear", "conv", "embed", "batch_norm", "layer_norm", "group_norm"]


@dataclass(frozen=True)
class Tensor:
    """One parameter or buffer: what torch calls it, and where it is in the tree."""

    name: str
    """The name in torch, such as ``features.0.weight``."""
    path: str
    """The path in the tree, such as ``features/0/kernel``."""
    shape: tuple[int, ...]
    """The shape in torch."""
    role: Literal["kernel", "parameter", "buffer"]
    """A `kernel` can be pruned; any other `parameter` trains beside it."""
    dtype: str
    axes: tuple[int, ...] = ()
    """Torch's axes in the order of ours; empty: as they are."""
    rows: tuple[int, ...] = ()
    """(channels, *pixels) of a flattened image that a linear layer reads: its rows have the channels innermost; empty: as in torch."""

    def from_torch(self, given: np.ndarray) -> np.ndarray:
        """Torch's array as it is kept here."""
        found = given.transpose(self.axes) if self.axes else given
        if self.rows:
            found = np.moveaxis(found.reshape(*self.rows, -1), 0, -2).reshape(found.shape)
        return np.ascontiguousarray(found)

    def to_torch(self, kept: Any) -> Any:
        """The inverse; of arrays of NumPy or JAX, whose sizes may be smaller."""
        if self.rows:
            channels, *pixels = self.rows
            channels = kept.shape[0] // math.prod(pixels)
            laid = kept.reshape(*pixels, channels, -1)
            kept = laid.transpose(laid.ndim - 2, *range(laid.ndim - 2), laid.ndim - 1).reshape(kept.shape)
        return kept.transpose(tuple(np.argsort(self.axes).tolist())) if self.axes else kept

    @property
    def kept(self) -> tuple[int, ...]:
        """The shape in which it is kept here."""
        return tuple(self.shape[axis] for axis in self.axes) if self.axes else self.shape


@dataclass(frozen=True)
class Leaf:
    """A module that becomes a layer of NNX."""

    path: str
    kind: Kind
    options: tuple[Any, ...]
    """What its call in torch says beside its tensors."""
    tensors: Mapping[str, Tensor]
    """Attribute of the layer -> what it holds."""
    target: str
    """The operation that calls it in training."""


@dataclass(frozen=True)
class Plan:
    """How a module's tensors are kept."""

    leaves: Mapping[str, Leaf]
    """Path -> layer."""
    others: tuple[Tensor, ...]
    """Tensors that no layer of NNX holds."""
    calls: Mapping[str, str]
    """Call in training or evaluation -> path of the layer that computes it."""
    order: tuple[str, ...]
    """Every tensor's path, in the order in which the network reads them."""
    kinds: Mapping[str, str]
    """Layer -> kind, where it is not the one of its NNX layer."""

    @property
    def tensors(self) -> Iterator[Tensor]:
        """All, as they are read."""
        found = {one.path: one for one in self.others} | {one.path: one for leaf in self.leaves.values() for one in leaf.tensors.values()}
        return (found[path] for path in self.order)
