"""Augmentation on the device: a pure function of a key and a batch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax

PADDING = 4
"""Pixels of zeros on each side before the crop."""


def flip_crop(key: "jax.Array", images: "jax.Array") -> "jax.Array":
    """Mirror each image left to right with probability 1/2, pad it by 4 pixels and crop it at random to its old size.

    ``images`` (B, H, W, C) -> (B, H, W, C), each with its own mirror and its own shift, uniform over -4..4 in each
    direction; works under ``jit`` and ``vmap``. Padding is 0, which for standardised images is the mean colour.
    Source: He et al. 2016, section 4.2, as Frankle & Carbin 2019 use it, section 4.
    """
    import jax
    import jax.numpy as jnp

    batch, height, width, _ = images.shape
    mirror_key, shift_key = jax.random.split(key)
    mirror = jax.random.bernoulli(mirror_key, 0.5, (batch, 1))
    shift = jax.random.randint(shift_key, (2, batch, 1), -PADDING, PADDING + 1)
    rows, columns = jnp.arange(height) + shift[0], jnp.arange(width) + shift[1]
    inside = _inside(rows, height)[:, :, None, None] & _inside(columns, width)[:, None, :, None]
    # One gather does mirror and shift together: padded copies would pass over the batch twice more.
    columns = jnp.where(mirror, width - 1 - columns, columns)
    rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
    shifted = images[jnp.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return jnp.where(inside, shifted, 0)


def _inside(index: "jax.Array", length: int) -> "jax.Array":
    return (index >= 0) & (index < length)
