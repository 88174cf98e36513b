"""Operations that move, choose and sum the elements of arrays."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tombola.models.pytorch.rules import Rule, arrays, values
from tombola.models.pytorch.value import Value

_END = 2**31
"""What torch writes for the end of an axis is beyond this."""


def _axes(dim: Any) -> Any:
    return None if dim is None or dim == [] or dim == () else tuple(dim) if isinstance(dim, list | tuple) else dim


def _summed(function: Callable[..., Any]) -> Rule:
    def rule(x: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
        return function(x if dtype is None else x.astype(dtype), axis=_axes(dim), keepdims=keepdim)

    rule.__doc__ = "Over some axes, or all."
    return rule


SUMS: dict[str, Callable[..., Any]] = {
    "sum": jnp.sum,
    "mean": jnp.mean,
    "amax": jnp.max,
    "amin": jnp.min,
    "prod": jnp.prod,
    "any": jnp.any,
    "all": jnp.all,
    "logsumexp": jax.nn.logsumexp,
}

for _name, _function in SUMS.items():
    arrays(f"aten.{_name}")(_summed(_function))


def _extreme(function: Callable[..., Any], place: Callable[..., Any]) -> Rule:
    def rule(x: Any, dim: Any = None, keepdim: bool = False) -> Any:
        return function(x) if dim is None else (function(x, axis=dim, keepdims=keepdim), place(x, axis=dim, keepdims=keepdim))

    rule.__doc__ = "Of all, or along one axis, with its place."
    return rule


arrays("aten.max")(_extreme(jnp.max, jnp.argmax))
arrays("aten.min")(_extreme(jnp.min, jnp.argmin))


@arrays("aten.var")
def var(x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None) -> Any:
    """Variance, unbiased unless told otherwise."""
    return jnp.var(x, axis=_axes(dim), ddof=int(unbiased) if correction is None else correction, keepdims=keepdim)


@arrays("aten.std")
def std(x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None) -> Any:
    """Standard deviation, unbiased if nothing else is said."""
    return jnp.sqrt(var(x, dim, unbiased, keepdim, correction=correction))


@arrays("aten.var_mean")
def var_mean(x: Any, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None) -> Any:
    """Variance and mean."""
    return var(x, dim, unbiased, keepdim, correction=correction), jnp.mean(x, axis=_axes(dim), keepdims=keepdim)


@arrays("aten.linalg_vector_norm")
def linalg_vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """Norm of vectors."""
    if ord == 2:
        return jnp.sqrt(jnp.sum(jnp.square(x), axis=_axes(dim), keepdims=keepdim))
    return jnp.sum(jnp.abs(x) ** ord, axis=_axes(dim), keepdims=keepdim) ** (1 / ord)


def _cut(x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> tuple[slice, ...]:
    stop = None if end is None or end >= _END else end
    return (slice(None),) * (dim % x.ndim) + (slice(start, stop, step),)


def _split(x: Any, sizes: Any, dim: int = 0) -> Any:
    if isinstance(sizes, int):
        return jnp.split(x, list(range(sizes, x.shape[dim], sizes)), dim)
    return jnp.split(x, np.cumsum(sizes)[:-1].tolist(), dim)


def _chunk(x: Any, chunks: int, dim: int = 0) -> Any:
    return _split(x, math.ceil(x.shape[dim] / chunks), dim)


def _squeezed(x: Any, dim: Any = None) -> Any:
    places = range(x.ndim) if dim is None else [one % x.ndim for one in ([dim] if isinstance(dim, int) else dim)]
    return jnp.squeeze(x, tuple(place for place in places if x.shape[place] == 1))


def _expanded(x: Any, sizes: Sequence[int], implicit: bool = False) -> Any:
    ahead = len(sizes) - x.ndim
    return jnp.broadcast_to(x, [x.shape[i - ahead] if size == -1 else size for i, size in enumerate(sizes)])


def _unflattened(x: Any, dim: int, sizes: Sequence[int]) -> Any:
    dim %= x.ndim
    return x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :])


def _flattened(x: Any, start: int = 0, end: int = -1) -> Any:
    start, end = start % max(x.ndim, 1), end % max(x.ndim, 1)
    return x.reshape(*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :])


def _indexed(x: Any, indices: Sequence[Any]) -> Any:
    return x[tuple(slice(None) if one is None else one for one in indices)]


def _weight_norm(v: Any, g: Any, dim: int = 0) -> Any:
    axes = tuple(axis for axis in range(v.ndim) if axis != dim % v.ndim)
    return v * (g / jnp.sqrt(jnp.sum(jnp.square(v), axes, keepdims=True)))


def _product_added(a: Any, one: Any, other: Any, *, beta: Any = 1, alpha: Any = 1) -> Any:
    return beta * a + alpha * jnp.matmul(one, other)


ARRAYS: dict[str, Callable[..., Any]] = {
    "view": lambda x, shape: x.reshape(shape) if isinstance(shape, list | tuple) else x.view(shape),
    "reshape": lambda x, shape: x.reshape(shape),
    "_unsafe_view": lambda x, shape: x.reshape(shape),
    "flatten": _flattened,
    "unflatten": _unflattened,
    "permute": lambda x, dims: jnp.transpose(x, dims),
    "transpose": lambda x, one, other: jnp.swapaxes(x, one, other),
    "t": jnp.transpose,
    "movedim": jnp.moveaxis,
    "squeeze": _squeezed,
    "unsqueeze": lambda x, dim: jnp.expand_dims(x, dim),
    "expand": _expanded,
    "expand_as": lambda x, other: jnp.broadcast_to(x, other.shape),
    "repeat": lambda x, times: jnp.tile(x, times),
    "repeat_interleave": lambda x, times, dim=None, **_: jnp.repeat(x, times, dim),
    "stack": lambda some, dim=0: jnp.stack(some, dim),
    "chunk": _chunk,
    "split": _split,
    "split_with_sizes": _split,
    "unbind": lambda x, dim=0: [jnp.take(x, i, dim) for i in range(x.shape[dim])],
    "slice": lambda x, *given: x[_cut(x, *given)],
    "narrow": lambda x, dim, start, length: x[_cut(x, dim, start, start + length)],
    "slice_scatter": lambda x, given, *where: x.at[_cut(x, *where)].set(given),
    "select": lambda x, dim, index: jnp.take(x, index, dim),
    "select_scatter": lambda x, given, dim, index: x.at[(slice(None),) * (dim % x.ndim) + (index,)].set(given),
    "index_select": lambda x, dim, index: jnp.take(x, index, dim),
    "index": _indexed,
    "index_put": lambda x, where, given, accumulate=False: getattr(x.at[tuple(where)], "add" if accumulate else "set")(given),
    "gather": lambda x, dim, index, **_: jnp.take_along_axis(x, index, dim),
    "roll": lambda x, shifts, dims=(): jnp.roll(x, tuple(shifts), tuple(dims) or None),
    "flip": lambda x, dims: jnp.flip(x, tuple(dims)),
    "tril": lambda x, diagonal=0: jnp.tril(x, diagonal),
    "triu": lambda x, diagonal=0: jnp.triu(x, diagonal),
    "cumsum": lambda x, dim, **_: jnp.cumsum(x, dim),
    "argmax": lambda x, dim=None, keepdim=False: jnp.argmax(x, dim, keepdims=keepdim),
    "one_hot": lambda x, classes: jax.nn.one_hot(x, classes, dtype=jnp.int32),
    "softmax": lambda x, dim, dtype=None: jax.nn.softmax(x, dim),
    "_softmax": lambda x, dim, half=False: jax.nn.softmax(x, dim),
    "log_softmax": lambda x, dim, dtype=None: jax.nn.log_softmax(x, dim),
    "_log_softmax": lambda x, dim, half=False: jax.nn.log_softmax(x, dim),
    "glu": lambda x, dim=-1: jax.nn.glu(x, dim),
    "matmul": jnp.matmul,
    "mm": jnp.matmul,
    "bmm": jnp.matmul,
    "mv": jnp.matmul,
    "dot": jnp.dot,
    "addmm": _product_added,
    "baddbmm": _product_added,
    "vdot": jnp.dot,
    "_weight_norm": _weight_norm,
    "linear": lambda x, weight, bias=None: jnp.matmul(x, weight.T) + (0 if bias is None else bias),
    "einsum": lambda equation, operands, path=None: jnp.einsum(equation, *operands),
    "embedding": lambda weight, index, *_: jnp.take(weight, index, 0),
    "arange": lambda *given, dtype=None, **_: jnp.arange(*given).astype(dtype),
    "zeros": lambda shape, dtype=None: jnp.zeros(shape, dtype),
    "ones": lambda shape, dtype=None: jnp.ones(shape, dtype),
    "full": lambda shape, value, dtype=None: jnp.full(shape, value, dtype),
    "empty": lambda shape, dtype=None: jnp.zeros(shape, dtype),
    "scalar_tensor": lambda value, dtype=None: jnp.asarray(value, dtype),
    "new_zeros": lambda x, shape, dtype=None: jnp.zeros(shape, dtype or x.dtype),
    "new_ones": lambda x, shape, dtype=None: jnp.ones(shape, dtype or x.dtype),
    "new_empty": lambda x, shape, dtype=None: jnp.zeros(shape, dtype or x.dtype),
    "new_full": lambda x, shape, value, dtype=None: jnp.full(shape, value, dtype or x.dtype),
    "copy": lambda x, given, *_: jnp.broadcast_to(given, x.shape).astype(x.dtype),
}
"""Operations on arrays with torch's axes."""


def _documented(name: str, function: Callable[..., Any]) -> Rule:
    def rule(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    rule.__doc__ = f"As torch's {name} does it."
    return rule


for _name, _function in ARRAYS.items():
    arrays(f"aten.{_name}")(_documented(_name, _function))


@values("aten.constant_pad_nd")
def constant_pad_nd(x: Value, padding: Sequence[int], value: float = 0.0) -> Value:
    """An array padded with one value."""
    return padded(x, padding, "constant", value)


@values("aten.pad")
def padded(x: Value, padding: Sequence[int], mode: str = "constant", value: float | None = None) -> Value:
    """An array padded on its last axes, the very last one first, as torch lists them."""
    rank = len(x.shape)
    widths = [(0, 0)] * rank
    for place in range(len(padding) // 2):
        widths[rank - 1 - place] = (padding[2 * place], padding[2 * place + 1])
    held = Value(x.plain()) if not x.last else x
    widths = [widths[0], *widths[2:], widths[1]] if held.last else widths
    array = held.array
    if negative := [(max(-low, 0), max(-high, 0)) for low, high in widths if low < 0 or high < 0]:
        cut = [slice(max(-low, 0), size - max(-high, 0)) for (low, high), size in zip(widths, array.shape, strict=True)]
        array, widths = array[tuple(cut)], [(max(low, 0), max(high, 0)) for low, high in widths]
        assert negative
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    options = {"constant_values": value or 0.0} if mode == "constant" else {}
    return Value(jnp.pad(array, widths, names[mode], **options), held.last)
