"""What each operation of torch's is in JAX: the registry, and operations on arrays whose layout does not matter.

A user's own needs no more than a function of arrays with torch's axes:

    @tb.torch_rules.register("aten.frac")
    def frac(x): return x - jnp.trunc(x)
"""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tombola.core.parts import torch_rules
from tombola.models.pytorch.value import Value, as_value, plainly, together

Rule = Callable[..., Any]


def values(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule that is given values (`tombola.models.pytorch.value`) and says itself how they are held."""

    def register(rule: Rule) -> Rule:
        rule.takes_values = True  # type: ignore[attr-defined]
        for name in names:
            torch_rules.add(name, rule)
        return rule

    return register


def arrays(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule of arrays with torch's axes in torch's order."""

    def register(rule: Rule) -> Rule:
        for name in names:
            torch_rules.add(name, rule)
        return rule

    return register


def compute(rule: Rule, draw: Callable[[], jax.Array], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a rule gives, as values."""
    if getattr(rule, "takes_values", False):
        return rule(draw, *args, **kwargs) if hasattr(rule, "draws") else rule(*args, **kwargs)
    return as_value(rule(*plainly(args), **plainly_named(kwargs)))


def plainly_named(kwargs: dict[str, Any]) -> dict[str, Any]:
    """`plainly` of arguments by name."""
    return {name: plainly(one) for name, one in kwargs.items()}


def _elementwise(function: Callable[..., Any]) -> Rule:
    def rule(*given: Any, **kwargs: Any) -> Value:
        laid, held = together(given)
        return held(jnp.asarray(function(*laid, **kwargs)))

    rule.__doc__ = "Element by element, in whatever layout."
    return rule


def _added(x: Any, y: Any, alpha: Any = 1) -> Any:
    return x + (y if alpha == 1 else alpha * y)


def _subtracted(x: Any, y: Any, alpha: Any = 1) -> Any:
    return x - (y if alpha == 1 else alpha * y)


def _divided(x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    return {None: jnp.divide, "floor": jnp.floor_divide, "trunc": lambda a, b: jnp.trunc(a / b)}[rounding_mode](x, y)


def _clamped(x: Any, min: Any = None, max: Any = None) -> Any:
    return jnp.clip(x, min, max)


def _elu(x: Any, alpha: Any = 1.0, scale: Any = 1.0, input_scale: Any = 1.0) -> Any:
    return scale * jnp.where(x > 0, x, alpha * jnp.expm1(jnp.where(x > 0, 0.0, x) * input_scale))


def _softplus(x: Any, beta: Any = 1, threshold: Any = 20) -> Any:
    return jnp.where(x * beta > threshold, x, jax.nn.softplus(x * beta) / beta)


def _converted(x: Any, dtype: Any = None, *_: Any, **__: Any) -> Any:
    return x if dtype is None else x.astype(dtype)


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "relu": jax.nn.relu,
    "relu6": lambda x: jnp.clip(x, 0, 6),
    "hardtanh": lambda x, low=-1.0, high=1.0: jnp.clip(x, low, high),
    "gelu": lambda x, approximate="none": jax.nn.gelu(x, approximate == "tanh"),
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "sigmoid": jax.nn.sigmoid,
    "log_sigmoid": jax.nn.log_sigmoid,
    "tanh": jnp.tanh,
    "elu": _elu,
    "selu": jax.nn.selu,
    "celu": lambda x, alpha=1.0: jax.nn.celu(x, alpha),
    "leaky_relu": lambda x, slope=0.01: jnp.where(x > 0, x, slope * x),
    "softplus": _softplus,
    "hardswish": lambda x: x * jnp.clip(x + 3, 0, 6) / 6,
    "hardsigmoid": lambda x: jnp.clip(x + 3, 0, 6) / 6,
    "threshold": lambda x, threshold, value: jnp.where(x > threshold, x, value),
    "exp": jnp.exp,
    "expm1": jnp.expm1,
    "log": jnp.log,
    "log1p": jnp.log1p,
    "log2": jnp.log2,
    "sqrt": jnp.sqrt,
    "rsqrt": jax.lax.rsqrt,
    "reciprocal": jnp.reciprocal,
    "square": jnp.square,
    "abs": jnp.abs,
    "neg": jnp.negative,
    "sign": jnp.sign,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "atan": jnp.arctan,
    "erf": jax.lax.erf,
    "floor": jnp.floor,
    "ceil": jnp.ceil,
    "round": jnp.round,
    "trunc": jnp.trunc,
    "isnan": jnp.isnan,
    "logical_not": jnp.logical_not,
    "bitwise_not": jnp.bitwise_not,
    "add": _added,
    "sub": _subtracted,
    "rsub": lambda x, y, alpha=1: _subtracted(y, x, alpha),
    "mul": jnp.multiply,
    "div": _divided,
    "floor_divide": jnp.floor_divide,
    "remainder": jnp.remainder,
    "pow": jnp.power,
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "eq": jnp.equal,
    "ne": jnp.not_equal,
    "lt": jnp.less,
    "le": jnp.less_equal,
    "gt": jnp.greater,
    "ge": jnp.greater_equal,
    "logical_and": jnp.logical_and,
    "logical_or": jnp.logical_or,
    "bitwise_and": jnp.bitwise_and,
    "bitwise_or": jnp.bitwise_or,
    "where": jnp.where,
    "masked_fill": lambda x, mask, value: jnp.where(mask, jnp.asarray(value, x.dtype), x),
    "lerp": lambda x, end, weight: x + weight * (end - x),
    "addcmul": lambda x, one, other, value=1: x + value * one * other,
    "clamp": _clamped,
    "clamp_min": _clamped,
    "clamp_max": lambda x, max: jnp.minimum(x, max),
    "fill": lambda x, value: jnp.full_like(x, value),
    "zeros_like": lambda x, **_: jnp.zeros_like(x),
    "empty_like": lambda x, **_: jnp.zeros_like(x),
    "ones_like": lambda x, **_: jnp.ones_like(x),
    "full_like": lambda x, value, **_: jnp.full_like(x, value),
    "clone": lambda x: x,
    "contiguous": lambda x: x,
    "alias": lambda x: x,
    "lift_fresh_copy": lambda x: x,
    "detach": jax.lax.stop_gradient,
    "_to_copy": _converted,
    "to": _converted,
    "type_as": lambda x, other: x.astype(other.dtype),
}
"""Operations in which the place of an element does not matter."""

for _name, _function in ELEMENTWISE.items():
    values(f"aten.{_name}")(_elementwise(_function))

NUMBERS: dict[str, Callable[..., Any]] = {
    **{f"operator.{one.__name__}": one for one in (operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod)},
    **{f"operator.{one.__name__}": one for one in (operator.neg, operator.truediv, operator.pow, operator.getitem)},
    **{f"operator.{one.__name__}": one for one in (operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge)},
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.trunc": math.trunc,
    "torch.sym_max": max,
    "torch.sym_min": min,
    "torch.sym_float": float,
    "torch.sym_int": int,
    "torch.sym_not": operator.not_,
}
"""What is computed of the batch's size, and the parts of what has several."""


def _number(function: Callable[..., Any]) -> Rule:
    @functools.wraps(function)
    def rule(*given: Any) -> Any:
        return function(*given)

    rule.__module__, rule.__doc__ = __name__, "Of whole numbers, or one part of several."
    return rule


for _name, _function in NUMBERS.items():
    values(_name)(_number(_function))


@values("aten.sym_size")
def sym_size(x: Value, dim: int) -> int:
    """Length of one axis."""
    return x.shape[dim]


@values("tombola.flatten")
def flatten(x: Value) -> Value:
    """An image as one axis."""
    return x.flatten()


@values("aten.cat")
def cat(values: list[Value], dim: int = 0) -> Value:
    """Arrays joined along one of torch's axes."""
    rank = len(values[0].shape)
    if not any(one.last for one in values):
        return Value(jnp.concatenate(plainly(values), dim))
    place = (0, rank - 1, *range(1, rank - 1))[dim % rank]
    return Value(jnp.concatenate([one.channels_last() for one in values], place), last=True)


@values("aten.prelu")
def prelu(x: Value, weight: Value) -> Value:
    """ReLU with a slope of its own below 0 for each channel."""
    slope = weight.plain()
    slope = slope if len(x.shape) < 2 else slope.reshape(1, -1, *[1] * (len(x.shape) - 2))
    (array, slope), held = together([x, Value(slope)])
    return held(jnp.where(array > 0, array, slope * array))
