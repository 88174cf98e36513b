"""Adam in C, ``adam.c``: one pass over weights, gradients and moments, where XLA's CPU back end goes over them three times."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tombola.core.trees import Tree
from tombola.kernels import native

B1, B2, EPSILON = 0.9, 0.999, 1e-8


def available(leaves: Tree) -> bool:
    """Whether there is the step in C, compiled before or by a C compiler now, for such leaves."""
    known = all(leaf.dtype == jnp.float32 for leaf in leaves.values())
    return known and native.available("adam")


def step(
    gradients: Tree,
    state: optax.ScaleByAdamState,
    weights: Tree,
    mask: Tree,
    rate: Any,
    *,
    l2: float = 0.0,
    decay: float = 0.0,
    b1: float = B1,
    b2: float = B2,
    eps: float = EPSILON,
) -> tuple[Tree, optax.ScaleByAdamState]:
    """A step of Optax's ``scale_by_adam``, up to rounding; where a mask is 0 a weight is held.

    Args:
        gradients, weights: of equal paths, float32. `mask`: of some of them.
        l2: weight decay as a term of the gradient. `decay`: as a term of the update.
    """
    count = optax.safe_increment(state.count)
    corrections = [1 / (1 - base ** count.astype(jnp.float32)) for base in (b1, b2)]
    constants = jnp.stack([jnp.asarray(one, jnp.float32) for one in (rate, *corrections, b1, 1 - b1, b2, 1 - b2, eps, l2, decay)])
    operands: list[Any] = [constants]
    results: list[Any] = []
    aliases: dict[int, int] = {}
    for path, leaf in weights.items():
        operands += [gradients[path], mask.get(path, jnp.zeros(0, bool))]
        for one in (leaf, state.mu[path], state.nu[path]):
            aliases[len(operands)] = len(results)
            operands.append(one)
            results.append(jax.ShapeDtypeStruct(one.shape, one.dtype))
    found = native.call("adam", results, *operands, aliases=aliases)
    after, mu, nu = (dict(zip(weights, found[first::3], strict=True)) for first in range(3))
    return after, optax.ScaleByAdamState(count, mu, nu)


def trial() -> bool:
    """Whether a step in C is that of Optax, where a mask is 0 and where it is 1."""
    weights = {"a": jnp.array([2.0, -1.0, 0.5]), "b": jnp.array([1.0])}
    gradient, mask = {"a": jnp.array([1e-3, 5.0, -2.0]), "b": jnp.array([-3.0])}, {"a": jnp.array([True, False, True])}
    state = optax.scale_by_adam(B1, B2, EPSILON).init(weights)
    update, wanted = optax.scale_by_adam(B1, B2, EPSILON).update(gradient, state)
    found, moments = step(gradient, state, weights, mask, 0.5)
    moved = {"a": jnp.where(mask["a"], weights["a"] - 0.5 * update["a"], weights["a"]), "b": weights["b"] - 0.5 * update["b"]}
    pairs = zip(jax.tree.leaves((found, moments)), jax.tree.leaves((moved, wanted)), strict=True)
    return all(np.allclose(one, other, rtol=1e-5, atol=1e-7) for one, other in pairs)
