"""Conv-2, Conv-4 and Conv-6: scaled-down VGGs without normalisation (Frankle & Carbin 2019, figure 2)."""

from collections.abc import Callable, Sequence

import jax
from flax import nnx

from tombola.core.parts import models
from tombola.core.task import Count
from tombola.models.parts import Rate, check_images, check_widths, conv, max_pool, pooled
from tombola.models.units import chain


class Convs(nnx.Module):
    """Pairs of 3x3 convolutions, each pair followed by 2x2 max pooling; two hidden layers; output. ReLU throughout.

    `widths` are the channels of each convolution, then the units of hidden1 and hidden2.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, widths: Sequence[int], dropout: float, rngs: nnx.Rngs) -> None:
        check_images(shape)
        height, breadth, channels = shape
        *convolutions, hidden1, hidden2 = widths
        self.convolutions = len(convolutions)
        for index, outputs in enumerate(convolutions):
            setattr(self, f"conv{index + 1}", conv(channels, outputs, bias=True, rngs=rngs))
            channels = outputs
            if index % 2:
                height, breadth = pooled(height), pooled(breadth)
        self.hidden1 = nnx.Linear(height * breadth * channels, hidden1, rngs=rngs)
        self.hidden2 = nnx.Linear(hidden1, hidden2, rngs=rngs)
        self.output = nnx.Linear(hidden2, classes, rngs=rngs)
        names = (f"conv{index}" for index in range(1, self.convolutions + 1))
        self.feeds = chain([*names, "hidden1", "hidden2", "output"])
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


def _of_pairs(pairs: int) -> Callable[..., nnx.Module]:
    def convs(
        shape: tuple[int, ...],
        classes: int,
        *,
        width: Count = 64,
        widths: tuple[Count, ...] | None = None,
        dropout: Rate = 0.0,
        rngs: nnx.Rngs,
    ) -> nnx.Module:
        if widths is None:
            widths = (*(width * 2 ** (index // 2) for index in range(2 * pairs)), 4 * width, 4 * width)
        check_widths(widths, 2 * pairs + 2)
        return Convs(shape, classes, widths, dropout, rngs)

    convs.__doc__ = f"""Pairs of convolutions with width * 2^(p-1) channels in pair p, of {pairs}; two hidden layers of 4 * width units.

    `widths` sets each of these sizes instead, in forward order. `dropout` acts after the two hidden layers: the paper
    gives the rate (.5) but not the place; after the fully connected layers is where VGG has it.
    """
    return convs


for _pairs in (1, 2, 3):
    models.register(f"conv{2 * _pairs}")(_of_pairs(_pairs))
