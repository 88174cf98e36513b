"""Augmentation on the device: a registered function of a key and a batch, pure, that works under ``jit`` and ``vmap``.

A user's own file adds one, for inputs of any shape:

    @tb.augmentations.register
    def jitter(key, inputs):
        return inputs + 0.1 * jax.random.normal(key, inputs.shape)
"""

from typing import TYPE_CHECKING

from tombola.core.errors import TombolaError
from tombola.core.loading import summary
from tombola.core.parts import augmentations as augmentations
from tombola.core.registry import plain

if TYPE_CHECKING:
    import jax

PADDING = 4
"""Pixels of zeros on each side before the crop of `flip_crop`."""

AREA = (0.08, 1.0)
"""Share of the image that `resized_crop` takes, at least and at most."""

ASPECT = (3 / 4, 4 / 3)
"""Width over height of what it takes, as shares of the image's own."""

_TRIES = 10


def check_augment(name: str, data: str, shape: tuple[int, ...], batch: int) -> None:
    """Raise unless an augmentation is ``none``, or registered and fit for batches of a data set's examples of the given shape."""
    if name == "none":
        return
    augmentations.check(name, "none")
    import jax

    given = jax.ShapeDtypeStruct((batch, *shape), "float32")
    try:
        found = jax.eval_shape(augmentations[name], jax.eval_shape(lambda: jax.random.key(0)), given)
    except TombolaError as error:
        raise TombolaError(f"{error}, but an example of {data} has shape {shape}; set augment to 'none'") from None
    except Exception as error:
        raise TombolaError(f"augmentation {plain(name)!r} fails on a batch of {data}, {given.shape}: {summary(error)}") from error
    if getattr(found, "shape", None) != given.shape:
        said = getattr(found, "shape", type(found).__name__)
        raise TombolaError(f"augmentation {plain(name)!r} must return a batch of the shape that it is given, {given.shape}, not {said}")


@augmentations.register
def flip_crop(key: "jax.Array", images: "jax.Array") -> "jax.Array":
    """Mirror each image left to right with probability 1/2, pad it by 4 pixels and crop it at random to its old size.

    ``images`` (B, H, W, C) -> (B, H, W, C), each with its own mirror and its own shift, uniform over -4..4 in each
    direction; works under ``jit`` and ``vmap``. Padding is 0, which for standardised images is the mean colour.
    Source: He et al. 2016, section 4.2, as Frankle & Carbin 2019 use it, section 4.
    """
    return _flipped_and_cropped("flip_crop", key, images, PADDING)


@augmentations.register
def flip_crop_2(key: "jax.Array", images: "jax.Array") -> "jax.Array":
    """`flip_crop` with padding by 2 pixels in the place of 4: for images of 16x16, of which it is the same share."""
    return _flipped_and_cropped("flip_crop_2", key, images, PADDING // 2)


def _flipped_and_cropped(name: str, key: "jax.Array", images: "jax.Array", padding: int) -> "jax.Array":
    import jax
    import jax.numpy as jnp

    batch, height, width = _image_shape(name, images)
    mirror_key, shift_key = jax.random.split(key)
    mirror = jax.random.bernoulli(mirror_key, 0.5, (batch, 1))
    shift = jax.random.randint(shift_key, (2, batch, 1), -padding, padding + 1)
    rows, columns = jnp.arange(height) + shift[0], jnp.arange(width) + shift[1]
    inside = _inside(rows, height)[:, :, None, None] & _inside(columns, width)[:, None, :, None]
    # One gather does mirror and shift together: padded copies would pass over the batch twice more.
    columns = jnp.where(mirror, width - 1 - columns, columns)
    rows, columns = jnp.clip(rows, 0, height - 1), jnp.clip(columns, 0, width - 1)
    shifted = images[jnp.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return jnp.where(inside, shifted, 0)


@augmentations.register
def resized_crop(key: "jax.Array", images: "jax.Array") -> "jax.Array":
    """Take a random part of each image, resize it to the whole, and mirror it left to right with probability 1/2.

    ``images`` (B, H, W, C) -> (B, H, W, C). The part's area is uniform over `AREA` and its aspect log-uniform over `ASPECT`,
    drawn again (10 times at most) where it does not fit in; its place is uniform. Bilinear, smoothed where it shrinks;
    works under ``jit`` and ``vmap``. Source: Szegedy et al. 2015, section 6; the usual augmentation for ImageNet.
    """
    import jax
    import jax.numpy as jnp

    batch, height, width = _image_shape("resized_crop", images)
    area_key, aspect_key, place_key, mirror_key = jax.random.split(key, 4)
    area = jax.random.uniform(area_key, (_TRIES, batch), minval=AREA[0], maxval=AREA[1])
    aspect = jnp.exp(jax.random.uniform(aspect_key, (_TRIES, batch), minval=jnp.log(ASPECT[0]), maxval=jnp.log(ASPECT[1])))
    sides = jnp.sqrt(jnp.stack([area / aspect, area * aspect]))  # height and width, as shares of the image's
    first = jnp.argmax((sides <= 1).all(0), axis=0)
    side = jnp.minimum(sides[:, first, jnp.arange(batch)], 1)
    corner = jax.random.uniform(place_key, (2, batch)) * (1 - side)
    mirror = jax.random.bernoulli(mirror_key, 0.5, (batch, 1, 1, 1))
    size = jnp.array([height, width], jnp.float32)

    def resized(image: "jax.Array", side: "jax.Array", corner: "jax.Array") -> "jax.Array":
        return jax.image.scale_and_translate(image, image.shape, (0, 1), 1 / side, -corner * size / side, "linear")

    parts = jax.vmap(resized)(images, side.T, corner.T)
    return jnp.where(mirror, parts[:, :, ::-1], parts)


def _image_shape(name: str, images: "jax.Array") -> tuple[int, int, int]:
    if len(images.shape) != 4:
        raise TombolaError(f"augment {name!r} needs images (height, width, channels)")
    return images.shape[:3]


def _inside(index: "jax.Array", length: int) -> "jax.Array":
    return (index >= 0) & (index < length)
