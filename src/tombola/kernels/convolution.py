"""Algorithms of a convolution: the same sums, computed in the way that a platform is fastest at.

Which one is used is part of the plan (`tombola.training.plan`); networks are written with ``nnx.Conv`` and know nothing of it.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap

from tombola.kernels import native

Algorithm = Literal["direct", "native", "patch_gradients", "patches", "in_turn"]
"""How convolutions are computed:

* `direct`: as XLA does. Under `vmap`, replicas become groups of one grouped convolution.
* `native`: in C, ``convolution.c``, on a CPU with a compiler (`available`), on as many threads as are given: the same bits on any number.
* `patch_gradients`: forward as XLA does; gradients by matrix products with patches, a few images at a time. XLA's CPU back
  end computes the gradient of a kernel as a convolution with a window as large as the image, several times slower.
* `patches`: matrix products with patches throughout. Under `vmap` they are batched products.
* `in_turn`: as `direct`; under `vmap` one replica after the other.
"""

ROWS = 2048
"""Pixels whose patches `patch_gradients` holds at once: they stay in a core's cache."""

_LAYOUT = ("NHWC", "HWIO", "NHWC")


class _Window(NamedTuple):
    strides: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]


def available() -> bool:
    """Whether there is the algorithm `native`: compiled before, or by a C compiler now."""
    return native.available("convolution")


def convolution(algorithm: Algorithm, threads: int = 1) -> Callable[..., Any]:
    """A function to stand for ``lax.conv_general_dilated``, as `conv_general_dilated` of ``nnx.Conv``.

    Images (batch, height, width, channels) with kernels (height, width, inputs, outputs) go by the algorithm; whatever
    else it is given (dilated, grouped, of one or three dimensions, of a given precision) goes the direct way, as does with
    `native` what is not float32, is cut off by negative padding, or leaves no pixel.
    """
    if algorithm == "direct":
        return lax.conv_general_dilated

    def convolve(images: Any, kernel: Any, window_strides: Any, padding: Any, **options: Any) -> Any:
        if not _plain(images, kernel, options):
            return lax.conv_general_dilated(images, kernel, window_strides, padding, **options)
        if isinstance(padding, str):
            padding = lax.padtype_to_pads(images.shape[1:3], kernel.shape[:2], window_strides, padding)
        window = _Window(tuple(window_strides), tuple((int(low), int(high)) for low, high in padding))
        known = algorithm != "native" or _in_c(window, images, kernel)
        return _convolution(algorithm if known else "direct", window, threads)(images, kernel)

    return convolve


def _plain(images: Any, kernel: Any, options: dict[str, Any]) -> bool:
    dilations = [*(options.get("lhs_dilation") or ()), *(options.get("rhs_dilation") or ())]
    numbers = lax.conv_dimension_numbers(images.shape, kernel.shape, options.get("dimension_numbers"))
    return (
        images.ndim == 4
        and numbers == lax.conv_dimension_numbers(images.shape, kernel.shape, _LAYOUT)
        and set(dilations) <= {1}
        and options.get("feature_group_count", 1) == 1
        and options.get("batch_group_count", 1) == 1
        and options.get("precision") is None
        and options.get("preferred_element_type") is None
    )


def _in_c(window: _Window, images: Any, kernel: Any) -> bool:
    padded = [size + low + high for size, (low, high) in zip(images.shape[1:3], window.padding, strict=True)]
    fits = all(size >= tap for size, tap in zip(padded, kernel.shape[:2], strict=True))
    return fits and min(map(min, window.padding)) >= 0 and images.dtype == kernel.dtype == jnp.float32


@lru_cache(maxsize=256)
def _convolution(algorithm: Algorithm, window: _Window, threads: int) -> Callable[[Any, Any], Any]:
    """(images, kernel) -> outputs, with the gradients of the algorithm."""
    if algorithm in ("patches", "direct"):
        return partial(_by_patches if algorithm == "patches" else _direct, window)
    forward = partial(_direct, window)
    gradients: Callable[..., tuple[Any, Any]] = partial(_direct_gradients, window)
    if algorithm == "native":
        forward, gradients = partial(_native, window, threads), partial(_native_gradients, window, threads)
    elif algorithm == "patch_gradients":
        gradients = partial(_patch_gradients, window)
    else:
        forward, gradients = sequential_vmap(forward), sequential_vmap(gradients)
    convolve = jax.custom_vjp(forward)
    convolve.defvjp(lambda images, kernel: (forward(images, kernel), (images, kernel)), lambda given, out: gradients(*given, out))
    return convolve


def _direct(window: _Window, images: Any, kernel: Any) -> Any:
    return lax.conv_general_dilated(images, kernel, *window, dimension_numbers=_LAYOUT)


def _direct_gradients(window: _Window, images: Any, kernel: Any, out: Any) -> tuple[Any, Any]:
    """The gradients of images and kernel, given that of the outputs."""
    return jax.vjp(partial(_direct, window), images, kernel)[1](out)


def _native(window: _Window, threads: int, images: Any, kernel: Any) -> Any:
    return _call("convolution", window, threads, jax.eval_shape(partial(_direct, window), images, kernel), images, kernel)


def _native_gradients(window: _Window, threads: int, images: Any, kernel: Any, out: Any) -> tuple[Any, Any]:
    of_images = _call("convolution_gradient_of_images", window, threads, images, out, kernel)  # dropped by XLA where nobody asks for it
    return of_images, _call("convolution_gradient_of_kernel", window, threads, kernel, images, out)


def _call(handler: str, window: _Window, threads: int, like: Any, *operands: Any) -> Any:
    (high, _), (wide, _) = window.padding
    return native.call(handler, jax.ShapeDtypeStruct(like.shape, jnp.float32), *operands, numbers=(*window.strides, high, wide, threads))


def _by_patches(window: _Window, images: Any, kernel: Any) -> Any:
    high, wide, inputs, outputs = kernel.shape
    patches = _patches(images, (high, wide), window)
    return (patches.reshape(-1, high * wide * inputs) @ kernel.reshape(-1, outputs)).reshape(*patches.shape[:3], outputs)


def _patch_gradients(window: _Window, images: Any, kernel: Any, out: Any) -> tuple[Any, Any]:
    """The same as `_direct_gradients`, by patches. With stride 1, patches of the outputs' gradient serve both:

    ``dx = patches(g) flipped(w)`` and ``dw = flipped(x' patches(g))``, where x' is (channels, pixels). Else, or where there
    are more outputs than inputs, so that patches of the images are smaller: ``dw = patches(x)' g``.
    """
    high, wide, inputs, outputs = kernel.shape
    if window.strides != (1, 1) or inputs < outputs:
        return _direct_gradients(window, images, kernel, out)[0], _kernel_gradient(window, kernel, images, out)
    mirrored = tuple((size - 1 - low, size - 1 - top) for size, (low, top) in zip((high, wide), window.padding, strict=True))
    flipped = kernel[::-1, ::-1].transpose(0, 1, 3, 2).reshape(-1, inputs)

    def some(sum_: Any, part: tuple[Any, Any]) -> tuple[Any, Any]:
        images, out = part
        patches = _rows(_patches(out, (high, wide), _Window((1, 1), mirrored)))
        return sum_ + _rows(images).T @ patches, (patches @ flipped).reshape(images.shape)

    total, gradient = _few_at_a_time(some, (inputs, high * wide * outputs), images, out)
    return gradient, total.reshape(inputs, high, wide, outputs).transpose(1, 2, 0, 3)[::-1, ::-1]


def _kernel_gradient(window: _Window, kernel: Any, images: Any, out: Any) -> Any:
    def some(sum_: Any, part: tuple[Any, Any]) -> tuple[Any, None]:
        images, out = part
        return sum_ + _rows(_patches(images, kernel.shape[:2], window)).T @ _rows(out), None

    return _few_at_a_time(some, (kernel[..., 0].size, kernel.shape[-1]), images, out)[0].reshape(kernel.shape)


def _few_at_a_time(some: Callable[..., tuple[Any, Any]], shape: tuple[int, ...], images: Any, out: Any) -> tuple[Any, Any]:
    """Scan `some` over parts of the batch, summing into zeros of `shape`; what else it gives is put together again."""
    batch, high, wide = (max(sizes) for sizes in zip(images.shape[:3], out.shape[:3], strict=True))
    few = max(size for size in range(1, batch + 1) if batch % size == 0 and (size == 1 or size * high * wide <= ROWS))
    parts = jax.tree.map(lambda leaf: leaf.reshape(-1, few, *leaf.shape[1:]), (images, out))
    total, rest = lax.scan(some, jnp.zeros(shape, images.dtype), parts)
    return total, jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rest)


def _patches(images: Any, sizes: tuple[int, int], window: _Window) -> Any:
    """(batch, height, width, channels) -> (batch, height', width', sizes[0] * sizes[1] * channels)."""
    (high, wide), (down, along) = sizes, window.strides
    padded = lax.pad(images, jnp.zeros((), images.dtype), ((0, 0, 0), *((low, top, 0) for low, top in window.padding), (0, 0, 0)))
    batch, rows, columns, channels = padded.shape
    last_row, last_column = (rows - high) // down * down, (columns - wide) // along * along
    corners = [(row, column) for row in range(high) for column in range(wide)]
    taken = [
        lax.slice(padded, (0, row, column, 0), (batch, row + last_row + 1, column + last_column + 1, channels), (1, down, along, 1))
        for row, column in corners
    ]
    # Held as an array: fused into the product, each patch would be gathered anew for every output.
    return lax.optimization_barrier(jnp.concatenate(taken, -1)) if len(taken) > 1 else taken[0]


def _rows(images: Any) -> Any:
    return images.reshape(-1, images.shape[-1])


def trial() -> bool:
    """Whether convolutions in C and their gradients are XLA's, with stride 1 and 2."""
    images = jnp.sin(jnp.arange(2 * 6 * 5 * 3, dtype=jnp.float32)).reshape(2, 6, 5, 3)
    kernel = jnp.cos(jnp.arange(3 * 3 * 3 * 17, dtype=jnp.float32)).reshape(3, 3, 3, 17)
    for stride, threads in ((1, 1), (2, 2)):
        window = _Window((stride, stride), ((1, 1), (1, 1)))
        out = _direct(window, images, kernel)
        found = _native(window, threads, images, kernel), *_native_gradients(window, threads, images, kernel, out)
        wanted = out, *_direct_gradients(window, images, kernel, out)
        if not all(bool(jnp.allclose(one, other, rtol=1e-4, atol=1e-3)) for one, other in zip(found, wanted, strict=True)):
            return False
    return True
