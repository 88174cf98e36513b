"""What a network is to all that trains, prunes and measures it: shapes, layers and pure functions of a flat weights tree.

The tree, path -> array, holds the whole state: trainable parameters and the running statistics of batch norm.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.trees import Tree
from tombola.models.computing import PLAIN, Computing
from tombola.models.layer import Layer
from tombola.models.units import Units


class Computed(NamedTuple):
    """What a network makes of a batch."""

    outputs: Any
    """(batch, *data.outputs)."""
    changed: Tree
    """The new running statistics by path, in training; else empty."""
    inside: Mapping[str, Any]
    """What its module says on the way (`tombola.models.sow.sow`): name -> (batch, ...)."""


@dataclass(eq=False, repr=False, kw_only=True)
class Network(ABC):
    """One network for one kind of examples. Equal only to itself: fit to be a static argument of a jit.

    `tombola.models.build.build` makes one of a description. One that changes another (`tombola.models.masked`,
    `tombola.models.sparse_storage`) holds it, and passes on what it does not change.
    """

    data: DataInfo
    """The kind of data that it is made for."""
    shapes: dict[str, jax.ShapeDtypeStruct]
    """Every leaf, in the order of `layers`."""
    layers: tuple[Layer, ...]
    """The layers in the order in which the module declares them, but for an output layer that is declared first: it is the last."""
    prunable: tuple[str, ...] = field(init=False)
    """Kernels and embeddings, in the order of `layers`."""
    trainable: frozenset[str]
    """Leaves that have gradients."""
    running: tuple[str, ...]
    """Leaves that are running statistics, in the order of `layers`."""
    units: tuple[Units, ...] = ()
    """Units that can be removed or permuted, as the modules declare in `feeds`; in the order of `layers`."""
    linear: frozenset[str] = frozenset()
    """Kernels (inputs, outputs) that are read by one product alone, of which `apply` may be given another."""
    tables: frozenset[str] = frozenset()
    """Leaves of which examples read rows alone, those that the tokens among their inputs name, as modules declare in `tables`."""
    convolutional: bool
    """Whether it has a convolutional layer."""
    stochastic: bool
    """Whether training needs a `dropout_key`."""

    def __post_init__(self) -> None:
        self.shapes = {path: self.shapes[path] for layer in self.layers for path in layer.paths}
        self.prunable = tuple(path for layer in self.layers for path in layer.prunable)
        self.running = tuple(path for path in self.shapes if path in self.running)

    def init(self, seed: int, stream: str = "init") -> Tree:
        """All weights of a replicate. Each tensor has its own key, ``keys.stream(seed, f"{stream}/{path}")``.

        Kernels follow the model's initializer; all else is as the module makes it, a random bias by its own key too.
        Arrays of the host, drawn on the CPU: the same bits whatever the device. With the initializer `own` a module
        counts its draws, so a layer added before a tensor moves it; with every other initializer no tensor moves.
        """
        return {path: self.init_tensor(path, seed, stream) for path in self.shapes}

    @abstractmethod
    def init_tensor(self, path: str, seed: int, stream: str) -> np.ndarray:
        """One tensor of `init`, bit for bit; with another `stream`, a fresh draw (re-randomisation)."""

    @abstractmethod
    def std(self, path: str) -> float:
        """Standard deviation of the distribution a tensor is drawn from; 0 for what is not random."""

    @abstractmethod
    def compute(
        self, weights: Mapping[str, Any], inputs: jax.Array, *, train: bool, dropout_key: jax.Array | None = None, how: Computing = PLAIN
    ) -> Computed:
        """`inputs` (batch, *data.shape) -> outputs, and what else there is. Pure: works under jit, grad, vmap, loops.

        With `train`, batch norm uses the statistics of the batch, and `changed` holds the new running ones by path;
        dropout draws from `dropout_key`, each random module from its own fold. Without, `changed` is empty.
        `how` products and convolutions are computed changes rounding alone.
        """

    def apply(
        self, weights: Mapping[str, Any], inputs: jax.Array, *, train: bool, dropout_key: jax.Array | None = None, how: Computing = PLAIN
    ) -> tuple[Any, Tree]:
        """(outputs, changed) of `compute`."""
        return self.compute(weights, inputs, train=train, dropout_key=dropout_key, how=how)[:2]

    def part(self, name: str, weights: Mapping[str, Any], inputs: jax.Array) -> Any:
        """What a part of the module, such as ``decoder``, makes of its own inputs, in evaluation. Raises if there is no such part."""
        raise TombolaError(f"this network has no part {name!r} that can be computed by itself")

    @abstractmethod
    def statistics(self, weights: Mapping[str, Any], inputs: jax.Array, how: Computing = PLAIN) -> Tree:
        """The statistics of one batch in the place of the running ones: path -> mean or variance over the batch.

        Every batch norm normalises by those of the batch itself; dropout is off. Empty where nothing keeps statistics.
        """
