"""Fully connected networks: LeNet-300-100 and its relatives."""

import math
from collections.abc import Sequence

import jax
from flax import nnx

from tombola.core.parts import models
from tombola.core.task import Count
from tombola.models.parts import Rate
from tombola.models.units import chain


class MLP(nnx.Module):
    """Flattened inputs, hidden1, hidden2, ... with ReLU, output."""

    def __init__(self, inputs: int, widths: Sequence[int], classes: int, dropout: float, rngs: nnx.Rngs) -> None:
        self.depth = len(widths)
        for index, width in enumerate(widths, 1):
            setattr(self, f"hidden{index}", nnx.Linear(inputs, width, rngs=rngs))
            inputs = width
        self.output = nnx.Linear(inputs, classes, rngs=rngs)
        self.feeds = chain([*(f"hidden{index}" for index in range(1, self.depth + 1)), "output"])
        self.has_dropout = dropout > 0
        if self.has_dropout:
            for index in range(1, self.depth + 1):
                setattr(self, f"dropout{index}", nnx.Dropout(dropout, rngs=rngs))

    def __call__(self, inputs: jax.Array) -> jax.Array:
        hidden = inputs.reshape(inputs.shape[0], -1)
        for index in range(1, self.depth + 1):
            hidden = jax.nn.relu(getattr(self, f"hidden{index}")(hidden))
            if self.has_dropout:
                hidden = getattr(self, f"dropout{index}")(hidden)
        return self.output(hidden)


@models.register
def mlp(shape: tuple[int, ...], classes: int, *, widths: tuple[Count, ...] = (300, 100), dropout: Rate = 0.0, rngs: nnx.Rngs) -> nnx.Module:
    """Hidden layers of the given widths; the default is LeNet-300-100 (Frankle & Carbin 2019, figure 2).

    `dropout` acts after each hidden layer.
    """
    return MLP(math.prod(shape), widths, classes, dropout, rngs)
