"""Convolutions, pooling and resizing, with channels last."""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tombola.core.errors import TombolaError
from tombola.models.pytorch.rules import values
from tombola.models.pytorch.value import Value

_DIGITS = "0123456789"


def each(given: Any, count: int) -> tuple[int, ...]:
    """One number for each axis of pixels."""
    found = tuple(given) if isinstance(given, list | tuple) else (given,)
    return found * count if len(found) == 1 else found


def pads(padding: Any, count: int, kernel: Sequence[int], dilation: Sequence[int]) -> list[tuple[int, int]]:
    """(before, after) on each axis of pixels; torch's ``same`` has the odd one after."""
    if padding == "valid":
        return [(0, 0)] * count
    if padding == "same":
        total = [gap * (size - 1) for size, gap in zip(kernel, dilation, strict=True)]
        return [(one // 2, one - one // 2) for one in total]
    return [(one, one) for one in each(padding, count)]


def _numbers(count: int) -> tuple[str, str, str]:
    pixels = _DIGITS[:count]
    return f"N{pixels}C", f"OI{pixels}", f"N{pixels}C"


def _with_bias(out: jax.Array, bias: Value | None) -> Value:
    return Value(out if bias is None else out + bias.plain(), last=True)


def _convolve(
    x: Value, weight: Value, bias: Value | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Value:
    kernel = weight.plain()
    count = kernel.ndim - 2
    gaps = each(dilation, count)
    around = pads(padding, count, kernel.shape[2:], gaps)
    out = lax.conv_general_dilated(
        x.channels_last(),
        kernel,
        each(stride, count),
        around,
        rhs_dilation=gaps,
        dimension_numbers=_numbers(count),
        feature_group_count=groups,
    )
    return _with_bias(out, bias)


@values("aten.conv1d", "aten.conv2d", "aten.conv3d")
def conv(x: Value, weight: Value, bias: Value | None = None, *given: Any) -> Value:
    """Convolution with a computed or shared kernel; that of a layer is its ``nnx.Conv``."""
    return _convolve(x, weight, bias, *given)


@values("aten.conv_transpose1d", "aten.conv_transpose2d", "aten.conv_transpose3d")
def conv_transpose(
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Value:
    """The transposed convolution: what the gradient of a convolution computes."""
    kernel = weight.plain()  # inputs, outputs of one group, pixels
    count = kernel.ndim - 2
    gaps, more = each(dilation, count), each(output_padding, count)
    inputs, outputs, *window = kernel.shape
    kernel = kernel.reshape(groups, inputs // groups, outputs, *window).swapaxes(1, 2).reshape(groups * outputs, inputs // groups, *window)
    around = [
        (gap * (size - 1) - pad, gap * (size - 1) - pad + extra)
        for gap, size, pad, extra in zip(gaps, window, each(padding, count), more, strict=True)
    ]
    out = lax.conv_general_dilated(
        x.channels_last(),
        jnp.flip(kernel, tuple(range(2, kernel.ndim))),
        (1,) * count,
        around,
        lhs_dilation=each(stride, count),
        rhs_dilation=gaps,
        dimension_numbers=_numbers(count),
        feature_group_count=groups,
    )
    return _with_bias(out, bias)


def _windows(
    array: jax.Array, axis: int, size: int, stride: int, pad: int, gap: int, ceil: bool, fill: float
) -> tuple[list[jax.Array], int]:
    """The slices whose elements lie in one window each, and how many windows there are."""
    length = array.shape[axis]
    reach = gap * (size - 1) + 1
    count = (length + 2 * pad - reach) // stride + 1
    if ceil:
        count = math.ceil((length + 2 * pad - reach) / stride) + 1
        count -= (count - 1) * stride >= length + pad  # no window begins in the padding after
    after = max(0, (count - 1) * stride + reach - length - pad)
    widths = [(0, 0)] * array.ndim
    widths[axis] = (pad, after)
    if pad or after:
        array = jnp.pad(array, widths, constant_values=fill)
    last = (count - 1) * stride + 1
    return [lax.slice_in_dim(array, first * gap, first * gap + last, stride, axis) for first in range(size)], count


def _pool(
    array: jax.Array, window: Any, stride: Any, padding: Any, dilation: Any, ceil: bool, fill: float, join: Callable[[Any, Any], Any]
) -> jax.Array:
    count = array.ndim - 2
    strides = each(stride if stride not in ([], (), None) else window, count)
    # Slices, axis by axis: the gradient of a windowed maximum scatters, which is many times slower on a CPU.
    for axis, size, step, pad, gap in zip(
        range(1, count + 1), each(window, count), strides, each(padding, count), each(dilation, count), strict=True
    ):
        array = reduce(join, _windows(array, axis, size, step, pad, gap, ceil, fill)[0])
    return array


@values("aten.max_pool1d", "aten.max_pool2d", "aten.max_pool3d")
def max_pool(x: Value, window: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil: bool = False) -> Value:
    """The largest of each window."""
    return Value(_pool(x.channels_last(), window, stride, padding, dilation, ceil, -math.inf, jnp.maximum), last=True)


@values("aten.max_pool2d_with_indices")
def max_pool2d_with_indices(x: Value, *given: Any) -> tuple[Value, None]:
    """The same; the places are not computed."""
    return max_pool(x, *given), None


@values("aten.avg_pool1d", "aten.avg_pool2d", "aten.avg_pool3d")
def avg_pool(
    x: Value,
    window: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil: bool = False,
    count_padding: bool = True,
    divisor: int | None = None,
) -> Value:
    """The mean of each window."""
    array = x.channels_last()
    total = _pool(array, window, stride, padding, 1, ceil, 0.0, jnp.add)
    if divisor is not None:
        return Value(total / divisor, last=True)
    if count_padding and not ceil:
        return Value(total / math.prod(each(window, array.ndim - 2)), last=True)
    if count_padding:
        raise TombolaError("aten.avg_pool with ceil_mode counts its padding in a way of its own; set ceil_mode=False")
    return Value(total / _pool(jnp.ones_like(array), window, stride, padding, 1, ceil, 0.0, jnp.add), last=True)


@values("aten.adaptive_avg_pool1d", "aten.adaptive_avg_pool2d", "aten._adaptive_avg_pool2d", "aten.adaptive_avg_pool3d")
def adaptive_avg_pool(x: Value, size: Sequence[int | None]) -> Value:
    """Means of windows that divide the image into as many as are asked for."""
    return _adapted(x, size, jnp.mean)


@values("aten.adaptive_max_pool1d", "aten.adaptive_max_pool2d", "aten.adaptive_max_pool3d")
def adaptive_max_pool(x: Value, size: Sequence[int | None]) -> tuple[Value, None]:
    """Maxima of windows that divide the image into as many as are asked for."""
    return _adapted(x, size, jnp.max), None


def _adapted(x: Value, size: Sequence[int | None], over: Callable[..., Any]) -> Value:
    array = x.channels_last()
    for axis, wanted in enumerate(each(size, array.ndim - 2), 1):
        length = array.shape[axis]
        if wanted is None or wanted == length:
            continue
        parts = [slice(i * length // wanted, -(-(i + 1) * length // wanted)) for i in range(wanted)]
        array = jnp.concatenate([over(array[(slice(None),) * axis + (part,)], axis=axis, keepdims=True) for part in parts], axis)
    return Value(array, last=True)


@values("aten.upsample_nearest1d", "aten.upsample_nearest2d", "aten.upsample_nearest3d")
def upsample_nearest(x: Value, size: Sequence[int] | None = None, *scales: Any) -> Value:
    """An image resized to the nearest pixel."""
    array = x.channels_last()
    for axis, wanted in enumerate(_sizes(array, size, scales), 1):
        array = jnp.take(array, jnp.arange(wanted) * array.shape[axis] // wanted, axis)
    return Value(array, last=True)


@values("aten.upsample_bilinear2d", "aten.upsample_linear1d")
def upsample_linear(x: Value, size: Sequence[int] | None = None, corners: bool = False, *scales: Any) -> Value:
    """An image resized by linear interpolation."""
    array = x.channels_last()
    for axis, wanted in enumerate(_sizes(array, size, scales), 1):
        length = array.shape[axis]
        places = jnp.arange(wanted, dtype=jnp.float32)
        places = places * ((length - 1) / max(wanted - 1, 1)) if corners else jnp.maximum((places + 0.5) * length / wanted - 0.5, 0)
        low = jnp.floor(places).astype(jnp.int32)
        shape = [1] * array.ndim
        shape[axis] = wanted
        share = (places - low).reshape(shape)
        array = jnp.take(array, low, axis) * (1 - share) + jnp.take(array, jnp.minimum(low + 1, length - 1), axis) * share
    return Value(array, last=True)


def _sizes(array: jax.Array, size: Sequence[int] | None, scales: tuple[Any, ...]) -> list[int]:
    pixels = array.shape[1:-1]
    if size is not None:
        return list(each(size, len(pixels)))
    factors = scales[0] if scales and isinstance(scales[0], list | tuple) else scales
    return [int(length * factor) for length, factor in zip(pixels, factors, strict=True)]


@values("aten.pixel_shuffle")
def pixel_shuffle(x: Value, factor: int) -> Value:
    """Channels laid out as pixels."""
    array = x.channels_last()
    batch, height, width, channels = array.shape
    parts = array.reshape(batch, height, width, channels // factor**2, factor, factor)
    return Value(parts.transpose(0, 1, 4, 2, 5, 3).reshape(batch, height * factor, width * factor, -1), last=True)


@values("aten.channel_shuffle")
def channel_shuffle(x: Value, groups: int) -> Value:
    """Channels of the groups in turn."""
    array = x.channels_last()
    return Value(array.reshape(*array.shape[:-1], groups, -1).swapaxes(-1, -2).reshape(array.shape), last=True)


@values("aten.im2col")
def im2col(x: Value, window: Sequence[int], dilation: Sequence[int], padding: Sequence[int], stride: Sequence[int]) -> Value:
    """The pixels of each window as one column."""
    around = [(one, one) for one in padding]
    patches = lax.conv_general_dilated_patches(x.plain(), window, stride, around, rhs_dilation=dilation)
    return Value(patches.reshape(*patches.shape[:2], -1))
