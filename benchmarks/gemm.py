"""Arithmetic limit of a step, in a process of its own: ``gemm.py smoke|full``; JSON on stdout.

The step's matrix products alone, one core, one thread, by the same compiler in the same kind of loop as the training's:
no optimiser, no activation, no data. What the step takes beyond their sum is what could still be saved. A convolution
counts as the products of its patches (im2col), `_ROWS` patches at a time: all of them at once would measure memory, two to
four times slower, which a convolution that makes its patches as it goes need not touch.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
from networks import networks
from setting import confine, effort, summary

from tombola.kernels.device import prepare

_SECONDS, _GUESS = 0.02, 60e9
"""Length of one measurement, and the FLOP/s from which its number of products follows."""
_ROWS = 1024

Product = tuple[str, int, int, int]


def main() -> None:
    smoke = sys.argv[1] == "smoke"
    spent = effort(smoke)
    confine(1)
    prepare()
    found = {}
    for name, network in networks(smoke).items():
        # Alike layers share a measurement.
        measured = {product: repeated(product, spent.repeats) for product in dict.fromkeys(network.products)}
        steps = zip(*(measured[product] for product in network.products), strict=True)
        found[name] = {
            "flops_per_step": network.operations,
            "products": [
                {"product": kind, "shape": [m, k, n], "times": network.products.count((kind, m, k, n))}
                | {"flop_per_second": summary([2 * m * k * n / one for one in times])}
                for (kind, m, k, n), times in measured.items()
            ],
            "limit_seconds": summary([sum(one) for one in steps]),
        }
    print(json.dumps(found))


def repeated(product: Product, repeats: int) -> list[float]:
    """Seconds that one product takes, once a repeat; the first, which compiles, is left out."""
    kind, *sizes = product
    rows = 1 if kind == "x.T @ d" else 0  # where batch and pixels are among m, k, n
    blocks = max(1.0, sizes[rows] / _ROWS)
    sizes[rows] = min(sizes[rows], _ROWS)
    measure = seconds(kind, *sizes)
    return [blocks * measure() for _ in range(repeats + 1)][1:]


def seconds(kind: str, m: int, k: int, n: int) -> Callable[[], float]:
    """() -> seconds that one product takes."""
    import jax
    import jax.numpy as jnp

    # The operands lie in memory as they do in the step: transposing is part of the product.
    product = {"x @ W": lambda a, b: a @ b, "x.T @ d": lambda a, b: a.T @ b, "d @ W.T": lambda a, b: a @ b.T}[kind]
    random = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(0.05 * random.standard_normal(shape, np.float32))  # noqa: E731
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
