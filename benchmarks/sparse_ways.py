"""The ways to compute with a masked layer that `sparse.py` compares: dense, JAX's sparse formats, SciPy's, Tombola's own."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

BATCH, SIZES = 60, (784, 300, 100, 10)
SECONDS = 0.02
"""Roughly, of one measurement."""

Masks = list[np.ndarray]
"""(inputs, outputs) bool of each layer."""


class Layer(NamedTuple):
    """A masked layer with a batch of inputs (B, in) and of gradients of its outputs (B, out)."""

    mask: np.ndarray
    weights: np.ndarray
    inputs: np.ndarray
    gradients: np.ndarray


def layer_of(mask: np.ndarray) -> Layer:
    random = np.random.default_rng(1)
    draw = lambda *shape: 0.05 * random.standard_normal(shape, np.float32)  # noqa: E731
    inputs, outputs = mask.shape
    return Layer(mask, draw(inputs, outputs) * mask, draw(BATCH, inputs), draw(BATCH, outputs))


def compacted(masks: Masks) -> Masks:
    """The masks without inputs that nothing reads, and without units that read or feed nothing; one of each is kept."""
    masks = list(masks)
    before: list[tuple[int, ...]] = []
    while before != (now := [mask.shape for mask in masks]):
        before = now
        for index, mask in enumerate(masks):
            alive = mask.any(1) & (masks[index - 1].any(0) if index else True)
            alive[0] |= not alive.any()
            masks[index] = mask[alive]
            if index:
                masks[index - 1] = masks[index - 1][:, alive]
    return masks


def timed(step: Callable[[], Any]) -> Callable[[], float]:
    """() -> seconds of a step, from as many as take a while."""
    step()
    began = time.perf_counter()
    step()
    count = max(1, round(SECONDS / (time.perf_counter() - began)))

    def measure() -> float:
        began = time.perf_counter()
        for _ in range(count):
            step()
        return (time.perf_counter() - began) / count

    return measure


def jax_ways(layer: Layer) -> dict[str, Callable[[], float]]:
    """Compiled by XLA, in a loop inside the program, as training is."""
    kept = layer.weights[np.nonzero(layer.mask)]
    return {way: _looped(step, layer.weights if way == "dense" else kept, layer) for way, step in jax_steps(layer).items()}


def jax_steps(layer: Layer) -> dict[str, Callable[..., tuple[Any, Any, Any]]]:
    """Way -> (weights, inputs, gradients of the outputs) -> outputs, gradient of the weights, gradient of the inputs.

    Dense weights are (in, out); sparse ones, and their gradient, are those of the kept places in the order of `np.nonzero`.
    """
    import jax.numpy as jnp
    from jax.experimental import sparse

    rows, columns = np.nonzero(layer.mask)
    mask, places = jnp.asarray(layer.mask), jnp.asarray(np.stack([rows, columns], 1))
    transposed = jnp.asarray(np.stack([columns, rows], 1))
    shape, back = layer.mask.shape, layer.mask.shape[::-1]
    starts = jnp.asarray(np.searchsorted(rows, np.arange(shape[0] + 1)).astype(np.int32))
    numbers = jnp.asarray(columns.astype(np.int32))
    order = np.argsort(columns, kind="stable")
    back_starts = jnp.asarray(np.searchsorted(columns[order], np.arange(shape[1] + 1)).astype(np.int32))
    back_numbers = jnp.asarray(rows[order].astype(np.int32))

    def sampled(x: Any, d: Any) -> Any:
        """The gradient at the kept places alone."""
        return jnp.sum(x.T[rows] * d.T[columns], axis=1)

    def dense(w: Any, x: Any, d: Any) -> tuple[Any, Any, Any]:
        return x @ w, (x.T @ d) * mask, d @ w.T

    def bcoo(w: Any, x: Any, d: Any) -> tuple[Any, Any, Any]:
        # (out, in) @ (in, B): the sparse operand on the left, as its products want it.
        forward = sparse.BCOO((w, transposed), shape=back) @ x.T
        inputs = sparse.BCOO((w, places), shape=shape, indices_sorted=True, unique_indices=True) @ d.T
        return forward.T, sampled(x, d), inputs.T

    def bcsr(w: Any, x: Any, d: Any) -> tuple[Any, Any, Any]:
        forward = sparse.BCSR((w[order], back_numbers, back_starts), shape=back) @ x.T
        inputs = sparse.BCSR((w, numbers, starts), shape=shape) @ d.T
        return forward.T, sampled(x, d), inputs.T

    return {"dense": dense, "BCOO": bcoo, "BCSR": bcsr}


def packed_way(layer: Layer) -> Callable[[], float]:
    """The kernel that Tombola trains networks in sparse storage with, in the same loop."""
    rows, columns, _ = packed_places(layer)
    return _looped(packed_step(layer), layer.weights[rows, columns], layer)


def packed_places(layer: Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from tombola.kernels.sparse import bands, places

    return places(layer.mask, bands(*layer.mask.shape, int(layer.mask.sum())))


def packed_step(layer: Layer) -> Callable[..., tuple[Any, Any, Any]]:
    """As those of `jax_steps`; its weights are in the order of `packed_places`."""
    import jax
    import jax.numpy as jnp

    from tombola.kernels.sparse import available, product

    if not available():
        raise SystemExit("sparse products need a C compiler: install one, or name it in CC")
    rows, _, starts = map(jnp.asarray, packed_places(layer))

    def packed(w: Any, x: Any, d: Any) -> tuple[Any, Any, Any]:
        forward, pull = jax.vjp(lambda w, x: product(x, w, rows, starts, layer.mask.shape[1]), w, x)
        return forward, *pull(d)

    return packed


def _looped(step: Callable[..., Any], weights: np.ndarray, layer: Layer) -> Callable[[], float]:
    import jax
    import jax.numpy as jnp

    @jax.jit
    def several(count: Any, w: Any, x: Any, d: Any) -> Any:
        def body(_: Any, carry: Any) -> Any:
            w, x, d = carry
            forward, gradient, inputs = step(w, x, d)
            # A little of each result goes into the next operands: else the compiler would take the products out of the loop.
            return w - 1e-6 * gradient, x.at[0, 0].set(inputs[0, 0]), d.at[0, 0].set(forward[0, 0])

        return jax.lax.fori_loop(0, count, body, (w, x, d))

    operands = [jnp.asarray(one) for one in (weights, layer.inputs, layer.gradients)]

    def run(count: int) -> float:
        began = time.perf_counter()
        jax.block_until_ready(several(count, *operands))
        return (time.perf_counter() - began) / count

    found: list[int] = []

    def measure() -> float:
        if not found:  # compiled when first asked for: a way that nobody times costs nothing
            run(1)
            found.append(max(5, round(SECONDS / run(5))))
        return run(found[0])

    return measure


def scipy_way(layer: Layer) -> Callable[[], float]:
    """CSR times dense, and the gradient at the kept places by products of gathered rows."""
    from scipy.sparse import csr_array

    forward, inputs = csr_array(layer.weights.T), csr_array(layer.weights)
    rows, columns = np.nonzero(layer.mask)
    x, d = np.ascontiguousarray(layer.inputs.T), np.ascontiguousarray(layer.gradients.T)

    def step() -> Any:
        return forward @ x, np.einsum("ib,ib->i", x[rows], d[columns]), inputs @ d

    return timed(step)
