"""Products of a dense batch with a sparse matrix on a CPU, at a cost of its stored weights: ``sparse.c``, compiled on first use.

XLA has no fast sparse products on a CPU, and neither have the sparse formats of JAX, SciPy and PyTorch where gradients at
the stored places are needed (benchmarks/NOTES.md).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tombola.kernels import native

BAND = 96
"""Rows of a band, where there are several: of a tile of 64 examples, so many fit the nearest cache (24 of 32 KiB)."""
BANDED = 1 / 12
"""Least density at which bands are worth it: each column of each band is begun anew."""


def available() -> bool:
    """Whether there are sparse products: compiled before, or by a C compiler now."""
    return native.available("sparse")


def bands(inputs: int, outputs: int, room: int) -> int:
    """Bands in which a matrix (inputs, outputs) is stored that has room for so many weights."""
    return -(-inputs // BAND) if room >= BANDED * inputs * outputs else 1


def places(kept: np.ndarray, bands: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The places of a matrix's weights, (n, m) bool, in the order in which they are stored: rows, columns, starts.

    By band, one or of `BAND` rows each; within a band by column, and by row within that. `starts`: (bands * m + 1,), the
    first place of each column of each band, then the number of all.
    """
    (inputs, outputs), height = kept.shape, BAND if bands > 1 else len(kept)
    parts = np.zeros((bands * height, outputs), bool)
    parts[:inputs] = kept
    banded = parts.reshape(bands, height, outputs)
    band, columns, rows = np.nonzero(banded.swapaxes(1, 2))
    starts = np.concatenate([[0], np.cumsum(np.count_nonzero(banded, axis=1))])
    return (rows + height * band).astype(np.int32), columns.astype(np.int32), starts.astype(np.int32)


def product(inputs: Any, values: Any, rows: Any, starts: Any, outputs: int) -> Any:
    """``inputs W``, differentiable by inputs and values.

    Args:
        inputs: (..., n) float32.
        values, rows, starts: (stored,) float32, (stored,) and (bands * m + 1,) int32: the weights of W, (n, m), as `places`
            has them. Of `values` and `rows` what lies behind is padding, with a gradient of 0.
        outputs: m.
    """
    flat = _product(inputs.reshape(-1, inputs.shape[-1]), values, rows, starts, outputs)
    return flat.reshape(*inputs.shape[:-1], -1)


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def _product(inputs: Any, values: Any, rows: Any, starts: Any, outputs: int) -> Any:
    return _call("sparse_product", (inputs.shape[0], outputs), inputs, values, rows, starts)


def _forward(inputs: Any, values: Any, rows: Any, starts: Any, outputs: int) -> tuple[Any, tuple[Any, ...]]:
    return _product(inputs, values, rows, starts, outputs), (inputs, values, rows, starts)


def _backward(outputs: int, given: tuple[Any, ...], out: Any) -> tuple[Any, ...]:
    inputs, values, rows, starts = given
    of_values = _call("sparse_gradient_of_values", values.shape, inputs, out, rows, starts)
    of_inputs = _call("sparse_gradient_of_inputs", inputs.shape, out, values, rows, starts)  # dropped by XLA where nobody asks for it
    return of_inputs, of_values, None, None


_product.defvjp(_forward, _backward)


def _call(name: str, shape: tuple[int, ...], *operands: Any) -> Any:
    return native.call(name, jax.ShapeDtypeStruct(shape, jnp.float32), *operands)


def trial() -> bool:
    """Whether a sparse product and its gradients are those of the dense one, in one band and in two."""
    shape = inputs, outputs = BAND + 9, 5
    kept = np.arange(inputs * outputs).reshape(shape) % 3 == 0
    matrix, batch = np.where(kept, np.cos(np.arange(kept.size)).reshape(shape), 0).astype(np.float32), 7
    given, out = (np.sin(np.arange(batch * size)).reshape(batch, size).astype(np.float32) for size in shape)
    wanted = given @ matrix, out @ matrix.T, given.T @ out
    for count in (1, 2):
        rows, columns, starts = places(kept, count)
        found, back = jax.vjp(lambda inputs, values: product(inputs, values, rows, starts, outputs), given, matrix[rows, columns])  # noqa: B023
        if not all(
            np.allclose(*pair, rtol=1e-4, atol=1e-4)
            for pair in zip((found, *back(out)), (*wanted[:2], wanted[2][rows, columns]), strict=True)
        ):
            return False
    return True
