"""Which modules of PyTorch become layers of NNX, and where each of torch's tensors is kept, in what orientation."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from tombola.models.pytorch.graph import FLATTEN, Call, Graph, Ref

Kind = Literal["linear", "conv", "embed", "batch_norm", "layer_norm", "group_norm"]


@dataclass(frozen=True)
class Tensor:
    """One parameter or buffer: what torch calls it, and where it is in the tree."""

    name: str
    """Such as ``features.0.weight``."""
    path: str
    """Such as ``features/0/kernel``."""
    shape: tuple[int, ...]
    """In torch."""
    role: Literal["kernel", "parameter", "buffer"]
    """A `kernel` can be pruned; any other `parameter` trains beside it."""
    dtype: str
    axes: tuple[int, ...] = ()
    """Torch's axes in the order of ours; empty: as they are."""
    rows: tuple[int, ...] = ()
    """(channels, *pixels) of a flattened image that a linear layer reads: its rows have the channels innermost; empty: as in torch."""

    def from_torch(self, given: np.ndarray) -> np.ndarray:
        """Torch's array as it is kept here."""
        found = given.transpose(self.axes) if self.axes else given
        if self.rows:
            found = np.moveaxis(found.reshape(*self.rows, -1), 0, -2).reshape(found.shape)
        return np.ascontiguousarray(found)

    def to_torch(self, kept: Any) -> Any:
        """The inverse; of arrays of NumPy or JAX, whose sizes may be smaller."""
        if self.rows:
            channels, *pixels = self.rows
            channels = kept.shape[0] // math.prod(pixels)
            laid = kept.reshape(*pixels, channels, -1)
            kept = laid.transpose(laid.ndim - 2, *range(laid.ndim - 2), laid.ndim - 1).reshape(kept.shape)
        return kept.transpose(tuple(np.argsort(self.axes).tolist())) if self.axes else kept

    @property
    def kept(self) -> tuple[int, ...]:
        """Its shape here."""
        return tuple(self.shape[axis] for axis in self.axes) if self.axes else self.shape


@dataclass(frozen=True)
class Leaf:
    """A module that becomes a layer of NNX."""

    path: str
    kind: Kind
    options: tuple[Any, ...]
    """What its call in torch says beside its tensors."""
    tensors: Mapping[str, Tensor]
    """Attribute of the layer -> what it holds."""
    target: str
    """The operation that calls it in training."""


@dataclass(frozen=True)
class Plan:
    """How a module's tensors are kept."""

    leaves: Mapping[str, Leaf]
    """Path -> layer."""
    others: tuple[Tensor, ...]
    """Tensors that no layer of NNX holds."""
    calls: Mapping[str, str]
    """Call in training or evaluation -> path of the layer that computes it."""
    order: tuple[str, ...]
    """Every tensor's path, in the order in which the network reads them."""
    kinds: Mapping[str, str]
    """Layer -> kind, where it is not the one of its NNX layer."""

    @property
    def tensors(self) -> Iterator[Tensor]:
        """All, as they are read."""
        found = {one.path: one for one in self.others} | {one.path: one for leaf in self.leaves.values() for one in leaf.tensors.values()}
        return (found[path] for path in self.order)


_ATTRIBUTES: dict[Kind, tuple[tuple[str, str], ...]] = {
    "linear": (("weight", "kernel"), ("bias", "bias")),
    "conv": (("weight", "kernel"), ("bias", "bias")),
    "embed": (("weight", "embedding"),),
    "batch_norm": (("weight", "scale"), ("bias", "bias"), ("running_mean", "mean"), ("running_var", "var")),
    "layer_norm": (("weight", "scale"), ("bias", "bias")),
    "group_norm": (("weight", "scale"), ("bias", "bias")),
}
"""Torch's names of a layer's tensors, and NNX's."""


def _linear(call: Call) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return (call.args[1], _at(call, 2)), ()


def _conv(call: Call) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    options = tuple(_hashable(_at(call, place, given)) for place, given in ((3, 1), (4, 0), (5, 1), (6, 1)))
    return (call.args[1], _at(call, 2)), options


def _embed(call: Call) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return (call.args[0],), ()


def _batch_norm(call: Call) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    momentum = call.args[5 if call.target.endswith("no_training.default") else 6]
    epsilon = call.args[6 if call.target.endswith("no_training.default") else 7]
    return call.args[1:5], (momentum, epsilon)


def _layer_norm(call: Call) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return (_at(call, 2), _at(call, 3)), (_hashable(call.args[1]), _at(call, 4, 1e-5))


def _group_norm(call: Call) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return (_at(call, 2), _at(call, 3)), (call.args[1], _at(call, 4, 1e-5))


_CALLS: dict[str, tuple[Kind, Callable[[Call], tuple[tuple[Any, ...], tuple[Any, ...]]]]] = {
    "aten.linear": ("linear", _linear),
    "aten.conv1d": ("conv", _conv),
    "aten.conv2d": ("conv", _conv),
    "aten.conv3d": ("conv", _conv),
    "aten.embedding": ("embed", _embed),
    "aten.batch_norm": ("batch_norm", _batch_norm),
    "aten._native_batch_norm_legit_functional": ("batch_norm", _batch_norm),
    "aten._native_batch_norm_legit_no_training": ("batch_norm", _batch_norm),
    "aten.layer_norm": ("layer_norm", _layer_norm),
    "aten.native_layer_norm": ("layer_norm", _layer_norm),
    "aten.group_norm": ("group_norm", _group_norm),
}
"""Operation -> the layer that it may be, and (its tensors, what else it is told)."""

_THROUGH = ("chunk", "split", "split_with_sizes", "slice", "select", "unbind", "narrow", "operator.getitem")
_PRODUCTS: tuple[str, ...] = (
    "matmul",
    "mm",
    "bmm",
    "mv",
    "addmm",
    "baddbmm",
    "einsum",
    "embedding",
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
)
_PRODUCTS += ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "lstm", "gru", "rnn_tanh", "rnn_relu")
_ALONG = ("relu", "gelu", "silu", "tanh", "sigmoid", "hardtanh", "leaky_relu", "elu", "native_dropout", "dropout", "clone", "contiguous")


def _at(call: Call, place: int, otherwise: Any = None) -> Any:
    return call.args[place] if len(call.args) > place else otherwise


def _hashable(given: Any) -> Any:
    return tuple(given) if isinstance(given, list) else given


def plan(train: Graph, evaluation: Graph, tensors: Mapping[str, Tensor]) -> Plan:
    """How the tensors of a module are kept, of its graphs.

    Args:
        train: the graph that decides; the same layers are found in `evaluation`.
        tensors: by name, all parameters and the buffers that are read, as they would be kept beside layers.
    """
    held = {name: {own for own in tensors if own.rpartition(".")[0] == name} for name in {own.rpartition(".")[0] for own in tensors}}
    leaves: dict[str, Leaf] = {}
    calls: dict[str, str] = {}
    read: dict[str, None] = {}
    for graph in (train, evaluation):
        for call in graph.calls:
            found = _leaf(graph, call, tensors, held)
            if (
                found is not None
                and leaves.setdefault(found.path, found).options == found.options
                and leaves[found.path].kind == found.kind
            ):
                calls[_of(graph is train, call)] = found.path
            read.update(dict.fromkeys(graph.owner(ref) for ref in call.refs()))
    inside = {tensor.name: tensor for leaf in leaves.values() for tensor in leaf.tensors.values()}
    others = {name: _other(train, tensor) for name, tensor in tensors.items() if name not in inside}
    names = [name for name in [*read, *tensors] if name in tensors]
    named = {**others, **inside}
    order = tuple(dict.fromkeys(named[name].path for name in names))
    return Plan(leaves, tuple(others.values()), calls, order, _kinds(leaves, others.values(), train))


def _of(train: bool, call: Call) -> str:
    return f"{'train' if train else 'evaluation'} {call.name}"


def layer_of(plan: Plan, train: bool, call: Call) -> Leaf | None:
    """The layer that computes a call."""
    path = plan.calls.get(_of(train, call))
    return None if path is None else plan.leaves[path]


def _leaf(graph: Graph, call: Call, tensors: Mapping[str, Any], held: Mapping[str, set[str]]) -> Leaf | None:
    """The layer that a call may be: its tensors are just those of one module."""
    if call.operation not in _CALLS:
        return None
    kind, told = _CALLS[call.operation]
    given, options = told(call)
    owners = [_owner(graph, ref) for ref in given]
    module = next((one.rpartition(".")[0] for one in owners if one), "")
    names = [f"{module}.{torchs}" if module else torchs for torchs, _ in _ATTRIBUTES[kind]]
    there = {name: ours for name, owner, (_, ours) in zip(names, owners, _ATTRIBUTES[kind], strict=True) if owner == name}
    if not module or any(owner and owner != name for owner, name in zip(owners, names, strict=True)) or held[module] != set(there):
        return None
    if any(ref is not None and not owner for ref, owner in zip(given, owners, strict=True)):
        return None  # computed, such as a standardised kernel
    if kind == "batch_norm" and not {"mean", "var"} <= set(there.values()):
        return None
    path = module.replace(".", "/")
    made = {ours: _inside(replace(tensors[name], path=f"{path}/{ours}"), ours) for name, ours in there.items()}
    first = next(iter(made.values()))
    if kind == "layer_norm" and (len(first.shape) != 1 or len(options[0]) != 1):
        return None
    if kind == "linear" and (rows := _flattened(graph, call.args[0])):
        made["kernel"] = replace(made["kernel"], rows=rows)
    return Leaf(path, kind, options, made, call.target)


def _owner(graph: Graph, given: Any) -> str:
    """What a parameter or buffer is called in the module; running statistics also as an earlier call of their module has left them."""
    if own := graph.owner(given):
        return own
    made = graph.made.get(given.name) if isinstance(given, Ref) else None
    if made is None or made.target != "operator.getitem" or made.args[1] not in (3, 4):
        return ""
    norm = graph.made[made.args[0].name]
    return _owner(graph, norm.args[made.args[1]]) if norm.operation == "aten._native_batch_norm_legit_functional" else ""


def _inside(tensor: Tensor, attribute: str) -> Tensor:
    if attribute == "kernel":
        return replace(tensor, role="kernel", axes=(*range(2, len(tensor.shape)), 1, 0))
    return replace(tensor, role="kernel") if attribute == "embedding" else tensor


def _flattened(graph: Graph, ref: Ref) -> tuple[int, ...]:
    """(channels, *pixels) of the image that was flattened on the way here; empty if none was."""
    while ref.name in graph.made:
        call = graph.made[ref.name]
        if call.target == FLATTEN:
            shape = graph.shapes[call.args[0].name][1:]
            return tuple(size or 1 for size in shape) if math.prod(size or 1 for size in shape[1:]) > 1 else ()
        if call.operation.removeprefix("aten.") not in (*_ALONG, "operator.getitem") or not isinstance(call.args[0], Ref):
            return ()
        ref = call.args[0]
    return ()


def _other(graph: Graph, tensor: Tensor) -> Tensor:
    rank = len(tensor.shape)
    product = _product(graph, tensor.name) if rank >= 2 and tensor.role == "parameter" else None
    if product is None:
        return tensor
    pixels = tuple(range(2, rank))
    if product in ("linear", "lstm", "gru", "rnn_tanh", "rnn_relu") and rank == 2:
        return replace(tensor, role="kernel", axes=(1, 0))
    if product in ("conv1d", "conv2d", "conv3d"):
        return replace(tensor, role="kernel", axes=(*pixels, 1, 0))
    return replace(tensor, role="kernel", axes=(*pixels, 0, 1) if product.startswith("conv_transpose") else ())


def _product(graph: Graph, name: str) -> str | None:
    """The first product with examples that a parameter, a part of it, or what is computed of it takes part in; a transposed one as
    ``matmul``.
    """
    found = {key: False for key, own in graph.parameters.items() if own == name}  # name here -> whether its axes were moved
    size = math.prod(graph.shapes[next(iter(found))]) if found else 0  # type: ignore[arg-type]  # no batch in it
    for call in graph.calls:
        moved = [found[ref.name] for ref in call.refs() if ref.name in found]
        operation = call.operation.removeprefix("aten.")
        if not moved:
            continue
        if call.name in graph.of_examples:
            if operation in _PRODUCTS:
                return "matmul" if any(moved) and operation == "linear" else operation
        elif operation in _THROUGH or math.prod(one or 0 for one in graph.shapes.get(call.name, (0,))) == size:
            found[call.name] = any(moved) or operation in ("transpose", "t", "permute")
    return None


def _kinds(leaves: Mapping[str, Leaf], others: Sequence[Tensor] | Any, graph: Graph) -> dict[str, str]:
    """Shortcuts by the name that PyTorch's networks give them, and convolutions whose kernels no layer of NNX holds."""
    layers = [path for path, leaf in leaves.items() if "kernel" in leaf.tensors]
    found = {path: "shortcut" for path in layers if "downsample" in path.split("/")}
    kernels = [one for one in others if one.role == "kernel"]
    products = {one.path: _product(graph, one.name) or "" for one in kernels}
    found |= {path: "conv" for path, product in products.items() if product.startswith("conv")}
    return found | {path: "embedding" for path, product in products.items() if product == "embedding"}
