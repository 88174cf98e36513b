"""Arithmetic limit of a step, in a process of its own: ``gemm.py smoke|full``; JSON on stdout.

The step's matrix products alone, one core, one thread, by the same compiler in the same kind of loop as the training's:
no optimiser, no activation, no data. What the step takes beyond their sum is what could still be saved.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from setting import NETWORKS, confine, effort, summary

from tombola.core.backend import prepare

_SECONDS, _GUESS = 0.02, 60e9
"""Length of one measurement, and the FLOP/s from which its number of products follows."""


def main() -> None:
    spent = effort(sys.argv[1] == "smoke")
    confine(1)
    prepare()
    found = {}
    for name, network in NETWORKS.items():
        flops = [2 * m * k * n for _, m, k, n in network.products]
        passes = [[seconds(*product)() for product in network.products] for _ in range(spent.repeats + 1)][1:]
        found[name] = {
            "flops_per_step": sum(flops),
            "products": [
                {"product": kind, "shape": [m, k, n], "flop_per_second": summary([count / one[place] for one in passes])}
                for place, ((kind, m, k, n), count) in enumerate(zip(network.products, flops, strict=True))
            ],
            "limit_seconds": summary([sum(one) for one in passes]),
        }
    print(json.dumps(found))


@lru_cache
def seconds(kind: str, m: int, k: int, n: int) -> Callable[[], float]:
    """() -> seconds that one product takes."""
    import jax
    import jax.numpy as jnp

    # The operands lie in memory as they do in the step: transposing is part of the product.
    product = {"x @ W": lambda a, b: a @ b, "x.T @ d": lambda a, b: a.T @ b, "d @ W.T": lambda a, b: a @ b.T}[kind]
    random = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(0.05 * random.standard_normal(shape), jnp.float32)  # noqa: E731
    left = draw(k, m) if kind == "x.T @ d" else draw(m, k)
    right = draw(n, k) if kind == "d @ W.T" else draw(k, n)
    count = max(10, round(_SECONDS * _GUESS / (2 * m * k * n)))

    @jax.jit
    def several(left: jax.Array, right: jax.Array) -> tuple[jax.Array, jax.Array]:
        def body(_: int, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            left, _ = carry
            out = product(left, right)
            # One element goes from each product into the next: else the compiler would take the product out of the loop.
            return left.at[0, 0].set(out[0, 0]), out

        return jax.lax.fori_loop(0, count, body, (left, jnp.zeros((m, n))))

    def measure() -> float:
        began = time.perf_counter()
        jax.block_until_ready(several(left, right))
        return (time.perf_counter() - began) / count

    return measure


if __name__ == "__main__":
    main()
