"""Arrays in a replay: torch's axes in torch's order, or channels last as JAX computes images."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp


@dataclass(frozen=True, eq=False)
class Value:
    """An array that torch would have as (batch, channels, ...), and how it is held here."""

    array: jax.Array
    last: bool = False
    """Whether torch's axis 1 is the last one here."""
    flat: tuple[int, ...] = ()
    """(channels, *pixels) of a flattened image, whose axis 1 has the channels innermost here and outermost in torch; else empty."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that torch has."""
        own = self.array.shape
        return (own[0], own[-1], *own[1:-1]) if self.last else own

    def plain(self) -> jax.Array:
        """The array with torch's axes in torch's order."""
        if self.flat:
            channels, *pixels = self.flat
            return jnp.moveaxis(self.array.reshape(-1, *pixels, channels), -1, 1).reshape(self.array.shape)
        return jnp.moveaxis(self.array, -1, 1) if self.last else self.array

    def channels_last(self) -> jax.Array:
        """The array with torch's axis 1 last."""
        return self.array if self.last else jnp.moveaxis(self.plain(), 1, -1)

    def flattened(self, flat: tuple[int, ...]) -> jax.Array:
        """A flattened image with its channels innermost."""
        if self.flat == flat:
            return self.array
        return jnp.moveaxis(self.plain().reshape(-1, *flat), 1, -1).reshape(self.array.shape)

    def flatten(self) -> "Value":
        """All axes but the first as one."""
        shape = self.shape
        size = (shape[0], math.prod(shape[1:]))
        if not self.last or math.prod(shape[2:]) == 1:
            return Value(self.plain().reshape(size))
        return Value(self.array.reshape(size), flat=shape[1:])


def together(values: Sequence[Any]) -> tuple[list[Any], Callable[[Any], Value]]:
    """Arrays that can be broadcast together, and what makes a value of theirs; what is no value is left as it is."""
    given = [one for one in values if isinstance(one, Value)]
    rank = max((len(one.shape) for one in given), default=0)
    flat = next((one.flat for one in given if one.flat), ())
    if flat and all(one.flat == flat or one.array.ndim == 0 for one in given):
        return [_array(one) for one in values], lambda array: Value(array, flat=flat)
    if any(one.last and len(one.shape) == rank for one in given):
        return [_lifted(one, rank) if isinstance(one, Value) else one for one in values], lambda array: Value(array, last=True)
    return [one.plain() if isinstance(one, Value) else one for one in values], Value


def _array(one: Any) -> Any:
    return one.array if isinstance(one, Value) else one


def _lifted(one: Value, rank: int) -> jax.Array:
    """The array with axes of length 1 before its own, as broadcasting has it, and channels last; a single number as it is."""
    if one.last and len(one.shape) == rank:
        return one.array
    plain = one.plain()
    return plain if plain.ndim == 0 else jnp.moveaxis(plain.reshape((1,) * (rank - plain.ndim) + plain.shape), 1, -1)


def plainly(given: Any) -> Any:
    """Values, also within lists, as arrays in torch's order."""
    if isinstance(given, Value):
        return given.plain()
    if isinstance(given, list | tuple):
        return type(given)(map(plainly, given))
    return given


def as_value(given: Any) -> Any:
    """Arrays, also within tuples, as values."""
    if isinstance(given, list | tuple):
        return tuple(map(as_value, given))
    return Value(given) if isinstance(given, jax.Array) else given
