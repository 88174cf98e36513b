"""Which modules of PyTorch become layers of NNX."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tombola.models.pytorch.graph import FLATTEN, Call, Graph, Ref
from tombola.models.pytorch.roles import kinds, role
from tombola.models.pytorch.tensors import Kind, Leaf, Plan, Tensor

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
    others = {name: role(train, tensor) for name, tensor in tensors.items() if name not in inside}
    names = [name for name in [*read, *tensors] if name in tensors]
    named = {**others, **inside}
    order = tuple(dict.fromkeys(named[name].path for name in names))
    return Plan(leaves, tuple(others.values()), calls, order, kinds(leaves, others.values(), train))


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
