"""A module's constructor as one program from a key to its leaves, of which single leaves can be asked."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal, jaxpr_as_fun

QUICK: dict[str, Any] = {"xla_backend_optimization_level": 1}
"""Compiler options for programs that run once: compiled in a fifth of the time, with the same bits and about the same speed."""
if jax.__version_info__ < (0, 11):
    QUICK["xla_cpu_use_fusion_emitters"] = False  # LLVM's older emitters of loops, which compile faster; later ones have no others


class Program:
    """The program of ``make(key_data) -> {path: array}``, traced once."""

    random: frozenset[str]
    """The leaves whose values depend on the key."""

    def __init__(self, make: Callable[[jax.Array], Mapping[str, jax.Array]]) -> None:
        traced, leaves = jax.make_jaxpr(make, return_shape=True)(np.zeros(2, np.uint32))
        paths = sorted(leaves)  # the order in which JAX flattens a dict
        self._all = jaxpr_as_fun(traced)
        self._index = {path: index for index, path in enumerate(paths)}
        reached = set(traced.jaxpr.invars)
        for equation in traced.jaxpr.eqns:
            if any(not isinstance(given, Literal) and given in reached for given in equation.invars):
                reached.update(equation.outvars)
        made = zip(paths, traced.jaxpr.outvars, strict=True)
        self.random = frozenset(path for path, value in made if not isinstance(value, Literal) and value in reached)
        self.only = cache(self._only)

    def _only(self, *paths: str) -> Callable[[np.ndarray], list[jax.Array]]:
        """The compiled program of some leaves: JAX leaves out what they do not need."""

        def some(key_data: jax.Array) -> list[jax.Array]:
            made = self._all(key_data)
            return [made[self._index[path]] for path in paths]

        return jax.jit(some, compiler_options=QUICK)
