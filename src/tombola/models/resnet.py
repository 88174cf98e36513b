"""Residual networks: the 6n+2-layer ones for CIFAR-10, and ResNet-18 ... 152 (He et al. 2016)."""

from dataclasses import dataclass
from typing import Literal

import jax
from flax import nnx

from tombola.core.errors import TombolaError
from tombola.core.parts import models
from tombola.core.task import Count
from tombola.models.parts import Norm, batch_norm, check_images, check_widths, conv, max_pool
from tombola.models.units import chain

Depth = Literal[18, 34, 50, 101, 152]
DEEP: dict[Depth, tuple[int, ...]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Depth -> blocks in each stage; from 50 on they are bottlenecks."""


@dataclass(frozen=True)
class Design:
    """What tells one residual network from another."""

    width: int
    """Channels of the first convolution and, inside the blocks, of the first stage; each later stage doubles them."""
    stages: tuple[int, ...]
    """Blocks in each stage."""
    norm: Norm
    bottleneck: bool = False
    """1x1, 3x3, 1x1 convolutions, the last to 4 times the channels, in place of 3x3, 3x3."""
    large: bool = False
    """Begin with a 7x7 convolution and a 3x3 pooling, both of stride 2, in place of a 3x3 convolution."""
    inner: tuple[int, ...] | None = None
    """Channels of every convolution but the last in each block, block after block; None: from `width`."""

    @property
    def kernels(self) -> tuple[int, ...]:
        return (1, 3, 1) if self.bottleneck else (3, 3)

    def stream(self, stage: int) -> int:
        """Channels of the residual stream: what each block of the stage gives back."""
        return self.width * 2**stage * (4 if self.bottleneck else 1)

    def channels(self, stage: int, block: int) -> tuple[int, ...]:
        """Output channels of each convolution in a block."""
        inside = len(self.kernels) - 1
        first = inside * (sum(self.stages[:stage]) + block)
        inner = (self.width * 2**stage,) * inside if self.inner is None else self.inner[first : first + inside]
        return (*inner, self.stream(stage))


class Block(nnx.Module):
    """Convolutions with normalisation, ReLU between; plus the shortcut; ReLU.

    The shortcut is the identity where shapes agree, and a strided 1x1 convolution with normalisation where not.
    The units of a block are the channels of every convolution but its last: the residual stream, which each block of a
    stage reads and adds to, is left whole.
    """

    def __init__(self, inputs: int, outputs: tuple[int, ...], stride: int, design: Design, rngs: nnx.Rngs) -> None:
        bias = not design.norm
        strided = design.kernels.index(3)
        self.depth = len(outputs)
        before = (inputs, *outputs)
        for index, kernel in enumerate(design.kernels):
            step = stride if index == strided else 1
            layer = conv(before[index], outputs[index], kernel=kernel, stride=step, bias=bias, rngs=rngs)
            setattr(self, f"conv{index + 1}", layer)
            setattr(self, f"norm{index + 1}", batch_norm(outputs[index], design.norm, rngs))
        self.feeds = chain(f"conv{index}" for index in range(1, self.depth + 1))
        self.projects = stride != 1 or inputs != outputs[-1]
        if self.projects:
            self.shortcut = conv(inputs, outputs[-1], kernel=1, stride=stride, bias=bias, rngs=rngs)
            self.shortcut_norm = batch_norm(outputs[-1], design.norm, rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        hidden = images
        for index in range(1, self.depth + 1):
            hidden = getattr(self, f"norm{index}")(getattr(self, f"conv{index}")(hidden))
            if index < self.depth:
                hidden = jax.nn.relu(hidden)
        return jax.nn.relu(hidden + (self.shortcut_norm(self.shortcut(images)) if self.projects else images))


class Stage(nnx.Module):
    """block1, block2, ...; the first block of every stage but the first halves height and width."""

    def __init__(self, inputs: int, stage: int, design: Design, rngs: nnx.Rngs) -> None:
        self.length = design.stages[stage]
        for index in range(self.length):
            stride = 2 if stage > 0 and index == 0 else 1
            setattr(self, f"block{index + 1}", Block(inputs, design.channels(stage, index), stride, design, rngs))
            inputs = design.stream(stage)

    def __call__(self, images: jax.Array) -> jax.Array:
        for index in range(1, self.length + 1):
            images = getattr(self, f"block{index}")(images)
        return images


class ResNet(nnx.Module):
    """conv, norm, stage1, stage2, ..., average over the pixels, output."""

    def __init__(self, shape: tuple[int, ...], classes: int, design: Design, rngs: nnx.Rngs) -> None:
        check_images(shape)
        if design.inner is not None:
            check_widths(design.inner, (len(design.kernels) - 1) * sum(design.stages))
        kernel, stride = (7, 2) if design.large else (3, 1)
        self.conv = conv(shape[2], design.width, kernel=kernel, stride=stride, bias=not design.norm, rngs=rngs)
        self.norm = batch_norm(design.width, design.norm, rngs)
        self.large, self.length, channels = design.large, len(design.stages), design.width
        for stage in range(self.length):
            setattr(self, f"stage{stage + 1}", Stage(channels, stage, design, rngs))
            channels = design.stream(stage)
        self.output = nnx.Linear(channels, classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        hidden = jax.nn.relu(self.norm(self.conv(images)))
        if self.large:
            hidden = max_pool(hidden, window=3, stride=2, padding=1)
        for index in range(1, self.length + 1):
            hidden = getattr(self, f"stage{index}")(hidden)
        return self.output(hidden.mean((1, 2)))


@models.register
def resnet(
    shape: tuple[int, ...],
    classes: int,
    *,
    depth: int = 20,
    width: Count = 16,
    widths: tuple[Count, ...] | None = None,
    norm: Norm = True,
    rngs: nnx.Rngs,
) -> nnx.Module:
    """The CIFAR-10 network of depth 6n + 2: three stages of n blocks with width, 2 width and 4 width channels.

    `widths` sets the channels inside each block, in forward order; the residual stream stays as `width` makes it. `norm` is as
    `tombola.models.parts.Norm` says.
    Shortcuts between stages are 1x1 convolutions with batch norm, which makes the 270,896 prunable weights of
    ResNet-20 (Frankle et al. 2020); Frankle & Carbin 2019 call the same network ResNet-18.
    """
    if depth < 8 or depth % 6 != 2:
        raise TombolaError(f"model 'resnet': option depth = {depth}, but it must be 6n + 2: 8, 14, 20, ...; see also deep_resnet")
    return ResNet(shape, classes, Design(width, ((depth - 2) // 6,) * 3, norm, inner=widths), rngs)


@models.register
def deep_resnet(
    shape: tuple[int, ...],
    classes: int,
    *,
    depth: Depth = 50,
    width: Count = 64,
    widths: tuple[Count, ...] | None = None,
    norm: Norm = True,
    rngs: nnx.Rngs,
) -> nnx.Module:
    """ResNet-18, 34, 50, 101 or 152 for ImageNet (Frankle et al. 2020; Zhang et al. 2019).

    Bottlenecks stride in their 3x3 convolution. Images below 64 pixels get a 3x3 first convolution without stride or
    pooling, which is how these networks are used on CIFAR-10. `widths` is as in `resnet`; a bottleneck has two.
    """
    design = Design(width, DEEP[depth], norm, bottleneck=depth >= 50, large=min(shape[:2]) >= 64, inner=widths)
    return ResNet(shape, classes, design, rngs)
