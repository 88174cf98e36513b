"""Fully connected networks: LeNet-300-100 and its relatives."""

import math
from collections.abc import Sequence

import jax
from flax import nnx

from tombola.core.task import Count
from tombola.models.registry import models


class MLP(nnx.Module):
    """Flattened inputs, hidden1, hidden2, ... with ReLU, output."""

    def __init__(self, inputs: int, widths: Sequence[int], classes: int, rngs: nnx.Rngs) -> None:
        self.depth = len(widths)
        for index, width in enumerate(widths, 1):
            setattr(self, f"hidden{index}", nnx.Linear(inputs, width, rngs=rngs))
            inputs = width
        self.output = nnx.Linear(inputs, classes, rngs=rngs)

    def __call__(self, inputs: jax.Array) -> jax.Array:
        hidden = inputs.reshape(inputs.shape[0], -1)
        for index in range(1, self.depth + 1):
            hidden = jax.nn.relu(getattr(self, f"hidden{index}")(hidden))
        return self.output(hidden)


@models.register
def mlp(shape: tuple[int, ...], classes: int, *, widths: tuple[Count, ...] = (300, 100), rngs: nnx.Rngs) -> nnx.Module:
    """Hidden layers of the given widths; the default is LeNet-300-100 (Frankle & Carbin 2019, figure 2)."""
    return MLP(math.prod(shape), widths, classes, rngs)
