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
    return native.call("rows", jax.ShapeDtypeStruct((*indices.shape, *table.shape[1:]), table.dtype), table, indices)
