"""VGG-11, 13, 16 and 19 for small images: batch norm, and one fully connected layer."""

from collections.abc import Sequence
from typing import Literal

import jax
from flax import nnx

from tombola.core.parts import models
from tombola.core.task import Count
from tombola.models.parts import Norm, batch_norm, check_images, check_widths, conv, max_pool
from tombola.models.units import chain

Depth = Literal[11, 13, 16, 19]
STAGES: dict[Depth, tuple[int, ...]] = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Depth -> convolutions in each stage; max pooling stands between stages."""


class VGG(nnx.Module):
    """Stages of 3x3 convolution, batch norm, ReLU; average over the pixels; output.

    `widths` are the channels of each convolution.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, depth: Depth, widths: Sequence[int], norm: Norm, rngs: nnx.Rngs) -> None:
        check_images(shape)
        channels = shape[2]
        self.stages = STAGES[depth]
        for index, outputs in enumerate(widths, 1):
            setattr(self, f"conv{index}", conv(channels, outputs, bias=not norm, rngs=rngs))
            setattr(self, f"norm{index}", batch_norm(outputs, norm, rngs))
            channels = outputs
        self.output = nnx.Linear(channels, classes, rngs=rngs)
        self.feeds = chain([*(f"conv{index}" for index in range(1, len(widths) + 1)), "output"])

    def __call__(self, images: jax.Array) -> jax.Array:
        hidden, index = images, 0
        for stage, convolutions in enumerate(self.stages):
            if stage:
                hidden = max_pool(hidden)
            for _ in range(convolutions):
                index += 1
                hidden = jax.nn.relu(getattr(self, f"norm{index}")(getattr(self, f"conv{index}")(hidden)))
        return self.output(hidden.mean((1, 2)))


@models.register
def vgg(
    shape: tuple[int, ...],
    classes: int,
    *,
    depth: Depth = 19,
    width: Count = 64,
    widths: tuple[Count, ...] | None = None,
    norm: Norm = True,
    rngs: nnx.Rngs,
) -> nnx.Module:
    """`width` is the first stage's channels (then 2, 4, 8, 8 times as many); `widths` sets each convolution's instead.
    `norm` is as `tombola.models.parts.Norm` says.

    Simonyan & Zisserman 2014, as adapted to CIFAR-10 by Frankle & Carbin 2019, figure 2.
    """
    if widths is None:
        widths = tuple(width * min(2**stage, 8) for stage, count in enumerate(STAGES[depth]) for _ in range(count))
    check_widths(widths, sum(STAGES[depth]))
    return VGG(shape, classes, depth, widths, norm, rngs)
