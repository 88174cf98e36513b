"""Normalisation that no layer of NNX computes: with computed, shared or several parameters."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from tombola.core.errors import TombolaError
from tombola.models.pytorch.rules import values
from tombola.models.pytorch.value import Value


def _affine(array: jax.Array, weight: Value | None, bias: Value | None) -> jax.Array:
    array = array if weight is None else array * weight.plain()
    return array if bias is None else array + bias.plain()


def _normalised(array: jax.Array, axes: Any, epsilon: float) -> jax.Array:
    mean = array.mean(axes, keepdims=True)
    return (array - mean) * lax.rsqrt(jnp.square(array - mean).mean(axes, keepdims=True) + epsilon)


@values("aten.layer_norm")
def layer_norm(
    x: Value, shape: Sequence[int], weight: Value | None = None, bias: Value | None = None, epsilon: float = 1e-5, *_: Any
) -> Value:
    """Layer normalisation: over the last axes of each example."""
    array = x.plain()
    return Value(_affine(_normalised(array, tuple(range(-len(shape), 0)), epsilon), weight, bias))


@values("aten.native_layer_norm")
def native_layer_norm(x: Value, shape: Sequence[int], weight: Value | None, bias: Value | None, epsilon: float) -> tuple[Value, None, None]:
    """The same."""
    return layer_norm(x, shape, weight, bias, epsilon), None, None


@values("aten.rms_norm")
def rms_norm(x: Value, shape: Sequence[int], weight: Value | None = None, epsilon: float | None = None) -> Value:
    """The array divided by its root mean square over the last axes."""
    array = x.plain()
    mean = jnp.square(array).mean(tuple(range(-len(shape), 0)), keepdims=True)
    return Value(_affine(array * lax.rsqrt(mean + (jnp.finfo(array.dtype).eps if epsilon is None else epsilon)), weight, None))


@values("aten.group_norm")
def group_norm(x: Value, groups: int, weight: Value | None = None, bias: Value | None = None, epsilon: float = 1e-5, *_: Any) -> Value:
    """Group normalisation: over the pixels and channels of each group of channels."""
    array = x.channels_last()
    parts = array.reshape(*array.shape[:-1], groups, -1)
    axes = (*range(1, array.ndim - 1), array.ndim)
    return Value(_affine(_normalised(parts, axes, epsilon).reshape(array.shape), weight, bias), last=True)


@values("aten.instance_norm")
def instance_norm(
    x: Value, weight: Value | None, bias: Value | None, mean: Value | None, var: Value | None, own: bool, _: float, epsilon: float, *__: Any
) -> Value:
    """Instance normalisation: over the pixels of each channel."""
    if not own or mean is not None:
        raise TombolaError("aten.instance_norm with running statistics has no rule; set track_running_stats=False")
    array = x.channels_last()
    return Value(_affine(_normalised(array, tuple(range(1, array.ndim - 1)), epsilon), weight, bias), last=True)


def _batch_norm(
    x: Value, weight: Value | None, bias: Value | None, mean: Value | None, var: Value | None, own: bool, momentum: float, epsilon: float
) -> tuple[Any, ...]:
    plain = len(x.shape) == 2
    array = x.plain() if plain else x.channels_last()
    if not own:
        assert mean is not None
        assert var is not None
        centred = (array - mean.plain()) * lax.rsqrt(var.plain() + epsilon)
        return Value(_affine(centred, weight, bias), last=not plain), None, None
    axes = tuple(range(array.ndim - 1))
    out = Value(_affine(_normalised(array, axes, epsilon), weight, bias), last=not plain)
    if mean is None or var is None:
        return out, None, None
    found = (array.mean(axes), array.var(axes, ddof=1))
    after = [Value((1 - momentum) * old.plain() + momentum * new) for old, new in zip((mean, var), found, strict=True)]
    return out, *after


@values("aten._native_batch_norm_legit_functional")
def batch_norm_in_training(x: Value, *given: Any) -> Any:
    """Batch normalisation by the statistics of the batch, with the running ones as they are after it (the variance unbiased)."""
    out, mean, var = _batch_norm(x, *given)
    return out, None, None, mean, var


@values("aten._native_batch_norm_legit")
def batch_norm_without_statistics(
    x: Value, weight: Value | None, bias: Value | None, own: bool, momentum: float, epsilon: float
) -> tuple[Value, None, None]:
    """Batch normalisation by the statistics of the batch, where there are no others."""
    return _batch_norm(x, weight, bias, None, None, own, momentum, epsilon)[0], None, None


@values("aten.batch_norm")
def batch_norm(x: Value, *given: Any) -> Value:
    """Batch normalisation by the running statistics, or those of the batch."""
    return _batch_norm(x, *given[:-1])[0]


@values("aten._native_batch_norm_legit_no_training")
def batch_norm_in_evaluation(
    x: Value, weight: Value | None, bias: Value | None, mean: Value, var: Value, momentum: float, epsilon: float
) -> tuple[Value, None, None]:
    """Batch normalisation by the running statistics."""
    return _batch_norm(x, weight, bias, mean, var, False, momentum, epsilon)[0], None, None
