"""Rows of a table on a device: the examples of a batch."""

from math import prod
from typing import Any

import jax
import jax.numpy as jnp

from tombola.kernels import native

_LEAST = 32
"""Fewest values of a row for which it is worth calling a program in C."""


def rows(table: Any, indices: Any, in_c: bool = False) -> Any:
    """(n, ...) and (batch,) int32 -> (batch, ...), by ``rows.c`` if wanted and there: XLA's CPU back end goes value by value."""
    few = prod(table.shape[1:]) < _LEAST
    known = table.dtype in (jnp.float32, jnp.uint8, jnp.int32) and indices.dtype == jnp.int32
    if not in_c or few or not known or not native.available("rows"):
        return table[indices]
    return _copied(table, indices)


def _copied(table: Any, indices: Any) -> Any:
    return native.call("rows", jax.ShapeDtypeStruct((*indices.shape, *table.shape[1:]), table.dtype), table, indices)


def trial() -> bool:
    """Whether rows copied in C are those of the table, for each dtype that is known."""
    indices = jnp.array([3, 0, 4, 3], jnp.int32)
    tables = [jnp.arange(5 * 33).reshape(5, 33).astype(dtype) for dtype in (jnp.float32, jnp.uint8, jnp.int32)]
    return all(bool((_copied(table, indices) == table[indices]).all()) for table in tables)
