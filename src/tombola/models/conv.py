"""Conv-2, Conv-4 and Conv-6: scaled-down VGGs without normalisation (Frankle & Carbin 2019, figure 2)."""

from typing import Annotated

import jax
from flax import nnx
from pydantic import Field

from tombola.core.task import Count
from tombola.models.parts import check_images, conv, max_pool, pooled
from tombola.models.registry import models

Rate = Annotated[float, Field(ge=0, lt=1)]
"""Share of the units that dropout switches off."""


class Convs(nnx.Module):
    """Pairs of 3x3 convolutions, each pair followed by 2x2 max pooling; two hidden layers; output. ReLU throughout.

    Pair p has width * 2^(p-1) channels, the hidden layers 4 * width units.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, pairs: int, width: int, dropout: float, rngs: nnx.Rngs) -> None:
        check_images(shape)
        height, breadth, channels = shape
        self.convolutions = 2 * pairs
        for index in range(self.convolutions):
            outputs = width * 2 ** (index // 2)
            setattr(self, f"conv{index + 1}", conv(channels, outputs, bias=True, rngs=rngs))
            channels = outputs
            if index % 2:
                height, breadth = pooled(height), pooled(breadth)
        self.hidden1 = nnx.Linear(height * breadth * channels, 4 * width, rngs=rngs)
        self.hidden2 = nnx.Linear(4 * width, 4 * width, rngs=rngs)
        self.output = nnx.Linear(4 * width, classes, rngs=rngs)
        if dropout:
            self.dropout1 = nnx.Dropout(dropout, rngs=rngs)
            self.dropout2 = nnx.Dropout(dropout, rngs=rngs)
        self.has_dropout = dropout > 0

    def __call__(self, images: jax.Array) -> jax.Array:
        hidden = images
        for index in range(1, self.convolutions + 1):
            hidden = jax.nn.relu(getattr(self, f"conv{index}")(hidden))
            if index % 2 == 0:
                hidden = max_pool(hidden)
        hidden = jax.nn.relu(self.hidden1(hidden.reshape(hidden.shape[0], -1)))
        if self.has_dropout:
            hidden = self.dropout1(hidden)
        hidden = jax.nn.relu(self.hidden2(hidden))
        if self.has_dropout:
            hidden = self.dropout2(hidden)
        return self.output(hidden)


@models.register
def conv2(shape: tuple[int, ...], classes: int, *, width: Count = 64, dropout: Rate = 0.0, rngs: nnx.Rngs) -> nnx.Module:
    """`width` is the first layer's channels and scales all others; `dropout` acts after the two hidden layers.

    The paper gives the rate (.5) but not the place; after the fully connected layers is where VGG has it.
    """
    return Convs(shape, classes, 1, width, dropout, rngs)


@models.register
def conv4(shape: tuple[int, ...], classes: int, *, width: Count = 64, dropout: Rate = 0.0, rngs: nnx.Rngs) -> nnx.Module:
    """As `conv2`, with a second pair of convolutions."""
    return Convs(shape, classes, 2, width, dropout, rngs)


@models.register
def conv6(shape: tuple[int, ...], classes: int, *, width: Count = 64, dropout: Rate = 0.0, rngs: nnx.Rngs) -> nnx.Module:
    """As `conv4`, with a third pair of convolutions."""
    return Convs(shape, classes, 3, width, dropout, rngs)
