"""What the convolutional networks are made of."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from pydantic import Field

from tombola.core.errors import TombolaError

BATCH_NORM_MOMENTUM = 0.9
"""The share of running statistics that stays at a batch."""

Rate = Annotated[float, Field(ge=0, lt=1)]
"""Share of the units that dropout switches off."""


def check_widths(widths: Sequence[int], hidden: int) -> None:
    """Raise unless there is one size for each hidden layer."""
    if len(widths) != hidden:
        raise TombolaError(f"option widths has {len(widths)} sizes, but this network has {hidden} to set; give one for each")


def check_images(shape: tuple[int, ...]) -> None:
    """Raise unless examples are (height, width, channels)."""
    if len(shape) != 3:
        raise TombolaError(f"a convolutional network needs examples of shape (height, width, channels), not {shape}; use an mlp")


def conv(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, bias: bool = False, rngs: nnx.Rngs) -> nnx.Conv:
    """A convolution padded by (kernel - 1) / 2 zeros on every side, as in PyTorch: "SAME" would pad strided ones on one side only.

    Images are standardised before, so that a zero is the data set's mean.
    """
    padding = (kernel - 1) // 2
    return nnx.Conv(inputs, outputs, (kernel, kernel), strides=stride, padding=padding, use_bias=bias, rngs=rngs)


Norm = bool | Literal["uniform"]
"""Batch norm after each convolution, with its scale at 1 (True) or drawn from U[0, 1] (``uniform``), as the code of Frankle et al. 2020
does; without it (False) convolutions have biases. Running statistics: r <- 0.9 r + 0.1 (statistic of the batch), where the variance
is the biased one, over n and not n - 1, which PyTorch takes."""


def batch_norm(channels: int, norm: Norm, rngs: nnx.Rngs) -> Callable[[jax.Array], jax.Array]:
    """Batch normalisation over all axes but channels, epsilon 1e-5; the identity if there is none."""
    if not norm:
        return identity
    scale = nnx.initializers.uniform(1.0) if norm == "uniform" else nnx.initializers.ones
    return nnx.BatchNorm(channels, momentum=BATCH_NORM_MOMENTUM, scale_init=scale, rngs=rngs)


def identity(images: jax.Array) -> jax.Array:
    """What stands where there is no normalisation."""
    return images


def pooled(size: int, window: int = 2, stride: int = 2) -> int:
    """Height or width after pooling; raises where nothing is left."""
    if size < window:
        raise TombolaError("the images are too small for this network: pooling leaves no pixel; use a network that pools less")
    return (size - window) // stride + 1


def max_pool(images: jax.Array, window: int = 2, stride: int = 2, padding: int = 0) -> jax.Array:
    """Maximum over window x window patches of (batch, height, width, channels); what does not fill a patch is cut off.

    Written as maxima of strided slices, rows then columns: the gradient of ``nnx.max_pool`` scatters, which on one
    CPU core took 41 ms for (60, 32, 32, 64); this takes 4 ms.
    """
    if padding:
        images = jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)), constant_values=-jnp.inf)
    for axis in (1, 2):
        count = pooled(images.shape[axis], window, stride)
        slices = [jax.lax.slice_in_dim(images, first, first + (count - 1) * stride + 1, stride, axis) for first in range(window)]
        images = slices[0]
        for other in slices[1:]:
            images = jnp.maximum(images, other)
    return images
