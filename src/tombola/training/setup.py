"""What of a task and its data a program is compiled for, and how much of a training one call of it does."""

import math
from typing import NamedTuple

import jax

from tombola.core.data_info import DataInfo
from tombola.core.objective import Objective
from tombola.core.step import Timeline
from tombola.core.task import Model, Recipe
from tombola.models.build import build, removable
from tombola.models.masked import masked
from tombola.models.network import Network
from tombola.models.sparse_storage import Sizes, sparse_network
from tombola.training.frozen import trained_paths
from tombola.training.replica import NOISE

_MOST_ITERATIONS, _MOST_EPOCHS, _MOST_OPERATIONS = 1000, 16, 5 * 10**10
"""The most of one call: progress is reported between calls, the last about half a second on a core; orders are drawn before they begin."""


class Setup(NamedTuple):
    """What of a task and its data a program is compiled for: cohorts of equal setup share one program."""

    model: Model
    recipe: Recipe
    objective: Objective
    """The objective, with what it takes from the data filled in."""
    data: DataInfo
    train: int
    augment: str
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and standard deviation by channel that make uint8 inputs the network's; None: inputs are used as they are."""
    sparse: Sizes = ()
    """Kernels that are stored by their weights alone."""

    @property
    def network(self) -> Network:
        """The network, built once; under a mask that is learnt, if the recipe says so; or with some kernels in sparse storage."""
        plain = build(self.model, self.data)
        if self.sparse:
            return sparse_network(plain, self.sparse)
        return plain if self.recipe.supermask is None else masked(plain, self.recipe.supermask)

    @property
    def target(self) -> jax.ShapeDtypeStruct:
        """Shape and dtype of one example's target."""
        classes = self.objective.targets == "classes"
        return jax.ShapeDtypeStruct((), "int32") if classes else jax.ShapeDtypeStruct(self.data.outputs, "float32")

    @property
    def trained(self) -> frozenset[str]:
        """The leaves that training updates. Raises if layers cannot be frozen."""
        return trained_paths(self.network, self.recipe.frozen)

    @property
    def moving(self) -> dict[str, str]:
        """Leaf whose mask may move -> the kind of layer that it is in."""
        trained = self.trained
        return {path: layer.kind for layer in self.network.layers for path in layer.prunable if path in trained}

    @property
    def removable(self) -> tuple[str, ...]:
        """The layers and blocks that can be taken out of the network, each by itself."""
        return removable(self.model, self.data)

    @property
    def noise(self) -> frozenset[str]:
        """The streams of SGD noise that training draws from; the others change nothing."""
        there = {
            "data_order": True,
            "augmentation": self.augment != "none" or self.objective.changes_batches,
            "dropout": self.network.stochastic,
        }
        return frozenset(stream for stream in NOISE if there[stream])

    @property
    def by_rows(self) -> bool:
        """Whether a step changes those rows of the network's tables that a batch reads, and looks at no others: plain gradient descent
        of a network that is nothing but tables.
        """
        plain = self.recipe.optimizer == "sgd" and not self.recipe.weight_decay and not self.objective.reads
        return plain and not self.network.shapes.keys() - self.network.tables

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; what is left over waits for the next epoch's order."""
        return self.train // self.recipe.batch

    @property
    def timeline(self) -> Timeline:
        """How long the recipe trains."""
        return Timeline(self.recipe.steps.iterations(self.steps_per_epoch), self.steps_per_epoch)

    @property
    def chunk(self) -> int:
        """Most iterations between two stops."""
        return max(1, min(self.recipe.evaluate_every.iterations(self.steps_per_epoch), _MOST_ITERATIONS))

    @property
    def span(self) -> int:
        """Most iterations that one call trains, evaluations on the way included: more than a chunk where that is a matter of moments."""
        operations = 6 * self.recipe.batch * sum(math.prod(leaf.shape) for leaf in self.network.shapes.values())
        return max(self.chunk, min(_MOST_ITERATIONS, _MOST_EPOCHS * self.steps_per_epoch, _MOST_OPERATIONS // operations))

    @property
    def epochs_ahead(self) -> int:
        """Epochs whose order is held ready: as many as a call can touch."""
        return (self.span - 1) // self.steps_per_epoch + 2
