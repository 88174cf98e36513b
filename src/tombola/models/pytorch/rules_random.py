"""Operations that draw random numbers in training."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tombola.models.pytorch.rules import Rule, values
from tombola.models.pytorch.value import Value


def random(*names: str, rate: int | None = None) -> Callable[[Rule], Rule]:
    """Register a rule of values whose first argument gives a new key with each call.

    `rate`: place of the probability, among the arguments in torch, at whose 0 it draws nothing.
    """

    def register(rule: Rule) -> Rule:
        rule.draws = lambda call: rate is None or (len(call.args) > rate and call.args[rate] not in (0, None))  # type: ignore[attr-defined]
        return values(*names)(rule)

    return register


def _dropped(draw: Callable[[], jax.Array], x: Value, rate: float, shape: tuple[int, ...]) -> Value:
    if rate == 1:
        return Value(jnp.zeros_like(x.array), x.last, x.flat)
    kept = jax.random.bernoulli(draw(), 1 - rate, shape)
    return Value(jnp.where(kept, x.array / (1 - rate), 0), x.last, x.flat)


@random("aten.native_dropout", rate=1)
def native_dropout(draw: Callable[[], jax.Array], x: Value, rate: float, train: bool | None = True) -> tuple[Value, None]:
    """Each element is 0 with probability `rate`; what is left is scaled by 1 / (1 - rate)."""
    return dropout(draw, x, rate, train is not False), None


@random("aten.dropout", rate=1)
def dropout(draw: Callable[[], jax.Array], x: Value, rate: float, train: bool) -> Value:
    """The same."""
    return _dropped(draw, x, rate, x.array.shape) if train and rate else x


@random("aten.feature_dropout", rate=1)
def feature_dropout(draw: Callable[[], jax.Array], x: Value, rate: float, train: bool) -> Value:
    """The same of whole channels."""
    channels = Value(x.channels_last(), last=True)
    one = (len(x.array), *[1] * (x.array.ndim - 2), x.shape[1])
    return _dropped(draw, channels, rate, one) if train and rate else x


@random("aten.bernoulli")
def bernoulli(draw: Callable[[], jax.Array], x: Value, p: float | None = None) -> Value:
    """Draws of 0 and 1, with probability `p`, or each with its own."""
    drawn = jax.random.bernoulli(draw(), x.array if p is None else p, x.array.shape)
    return Value(drawn.astype(x.array.dtype), x.last, x.flat)


@random("aten.rand")
def rand(draw: Callable[[], jax.Array], shape: list[int], dtype: Any = None) -> Value:
    """Uniform draws from [0, 1)."""
    return Value(jax.random.uniform(draw(), shape))


@random("aten.randn")
def randn(draw: Callable[[], jax.Array], shape: list[int], dtype: Any = None) -> Value:
    """Standard normal draws."""
    return Value(jax.random.normal(draw(), shape))


@random("aten.rand_like")
def rand_like(draw: Callable[[], jax.Array], x: Value, dtype: Any = None) -> Value:
    """Uniform draws from [0, 1), as many as there are in `x`."""
    return Value(jax.random.uniform(draw(), x.array.shape), x.last, x.flat)


@random("aten.randn_like")
def randn_like(draw: Callable[[], jax.Array], x: Value, dtype: Any = None) -> Value:
    """Standard normal draws, as many as there are in `x`."""
    return Value(jax.random.normal(draw(), x.array.shape), x.last, x.flat)


@random("aten.rrelu")
def rrelu(draw: Callable[[], jax.Array], x: Value, low: float = 1 / 8, high: float = 1 / 3, train: bool = False) -> Value:
    """A ReLU whose negative slope is drawn in training."""
    slope = jax.random.uniform(draw(), x.array.shape, minval=low, maxval=high) if train else (low + high) / 2
    return Value(jnp.where(x.array > 0, x.array, slope * x.array), x.last, x.flat)
