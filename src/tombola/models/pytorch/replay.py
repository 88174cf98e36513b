"""An NNX module that computes what a PyTorch module does, call by call."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tombola.core.errors import TombolaError
from tombola.core.parts import torch_rules
from tombola.models.layers import Beside
from tombola.models.pytorch.graph import Call, Graph, Ref
from tombola.models.pytorch.leaves import layer_of
from tombola.models.pytorch.rules import Rule, compute
from tombola.models.pytorch.rules_images import each, pads
from tombola.models.pytorch.tensors import Leaf, Plan, Tensor
from tombola.models.pytorch.value import Value
from tombola.models.units import Feeds


class Part(nnx.Module):
    """What holds layers, as a module of PyTorch does."""


class BatchNorm(nnx.BatchNorm):
    """Batch norm as torch has it: its running variance is the unbiased one, that of the batch is not."""

    def __call__(self, x: Any, *given: Any, **options: Any) -> jax.Array:
        before, momentum, count = self.var[...], self.momentum, x.size // x.shape[-1]
        out = super().__call__(x, *given, **options)
        if not self.use_running_average and count > 1:
            kept = momentum * before
            self.var[...] = kept + (self.var[...] - kept) * (count / (count - 1))
        return out


@dataclass(frozen=True, eq=False)
class Recorded:
    """A module as it was exported: what a network of any widths is made of."""

    name: str
    train: Graph
    evaluation: Graph
    images: bool
    """Whether examples (height, width, channels) are (channels, height, width) to torch."""
    plan: Plan
    feeds: Feeds
    containers: frozenset[str]
    """Paths of modules that merely hold others in order or by name."""
    rules: Mapping[str, Rule]
    """Target of a call -> what computes it."""
    names: Mapping[str, str]
    """Every name of a parameter or buffer -> the one that it is known by here: others share its tensor."""

    @property
    def draws(self) -> bool:
        """Whether training draws random numbers."""
        known = ((self.rules[call.target], call) for call in self.train.calls if call.target in self.rules)
        return any(rule.draws(call) for rule, call in known if hasattr(rule, "draws"))


def find_rules(name: str, graphs: Sequence[Graph], plan: Plan, own: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rule of every operation, the user's own first. Raises for all at once that have none."""
    found: dict[str, Rule] = {}
    unknown: dict[str, None] = {}
    for train, graph in zip((True, False), graphs, strict=True):
        for call in graph.calls:
            rule = next((rules[key] for key in (call.target, call.operation) for rules in (own, torch_rules) if key in rules), None)
            if rule is not None:
                found[call.target] = rule
            elif layer_of(plan, train, call) is None:
                unknown[call.operation] = None
    if unknown:
        listed = ", ".join(unknown)
        raise TombolaError(
            f"{name} uses {'an operation' if len(unknown) == 1 else 'operations'} without a rule: {listed}; register each as a function "
            f'of arrays with torch\'s axes: @tombola.torch_rules.register("{next(iter(unknown))}") above def rule(x, ...): return jnp. ...'
        )
    return found


class Replay(nnx.Module):
    """The module, with NNX layers where PyTorch has its own, and its other tensors under their names."""

    def __init__(self, recorded: Recorded, shapes: Mapping[str, tuple[int, ...]], rngs: nnx.Rngs) -> None:
        """`shapes`: of every tensor, path -> shape here: torch's, or a smaller one."""
        self.recorded = recorded
        self.deterministic = False
        for tensor in recorded.plan.tensors:
            self._place(tensor, shapes, rngs)
        self.feeds, self.kinds = recorded.feeds, dict(recorded.plan.kinds)
        if recorded.draws:
            self.random = rngs["dropout"].fork()

    def _place(self, tensor: Tensor, shapes: Mapping[str, tuple[int, ...]], rngs: nnx.Rngs) -> None:
        """Make what holds a tensor, and what is around it."""
        *around, name = tensor.path.split("/")
        node: Any = self
        for depth, part in enumerate(around, 1):
            path = "/".join(around[:depth])
            if not hasattr(node, part):
                leaf = self.recorded.plan.leaves.get(path)
                outer = nnx.Dict() if path in self.recorded.containers else Part()
                setattr(node, part, outer if leaf is None else _layer(leaf, shapes, rngs))
            node = getattr(node, part)
        if tensor.path not in _held(self.recorded.plan):
            setattr(node, name, _VARIABLES[tensor.role](jnp.zeros(shapes[tensor.path], tensor.dtype)))

    def __call__(self, inputs: jax.Array) -> jax.Array:
        recorded, train = self.recorded, not self.deterministic
        graph = recorded.train if train else recorded.evaluation
        found: dict[str, Any] = {graph.input: Value(inputs, last=recorded.images)}
        found |= {name: Value(jnp.asarray(constant)) for name, constant in graph.constants.items()}
        tensors = {one.name: one for one in recorded.plan.tensors}
        owners = {**graph.parameters, **graph.buffers}

        def read(given: Any) -> Any:
            if isinstance(given, Ref):
                if given.name not in found:
                    tensor = tensors[owners[given.name]]
                    return Value(tensor.to_torch(self._node(tensor.path)[...]))
                return found[given.name]
            return type(given)(map(read, given)) if isinstance(given, list | tuple) else given

        for call in graph.calls:
            leaf = layer_of(recorded.plan, train, call)
            if leaf is not None:
                place = 1 if leaf.kind == "embed" else 0
                found[call.name] = _called(leaf, self._node(leaf.path), read(call.args[place]), call)
            else:
                arguments = {name: read(one) for name, one in call.kwargs.items()}
                found[call.name] = compute(recorded.rules[call.target], self._key, tuple(map(read, call.args)), arguments)
        for name, ref in graph.changed.items():
            if found[ref.name] is not None:  # else its layer has changed it
                self._node(tensors[name].path)[...] = found[ref.name].plain()
        return found[graph.result.name].plain()

    def _node(self, path: str) -> Any:
        node: Any = self
        for part in path.split("/"):
            node = getattr(node, part)
        return node

    def _key(self) -> jax.Array:
        return self.random()


_VARIABLES: dict[str, Any] = {"kernel": nnx.Param, "parameter": Beside, "buffer": nnx.Variable}


def _held(plan: Plan) -> set[str]:
    return {tensor.path for leaf in plan.leaves.values() for tensor in leaf.tensors.values()}


def _layer(leaf: Leaf, shapes: Mapping[str, tuple[int, ...]], rngs: nnx.Rngs) -> nnx.Module:
    shape = {name: shapes[tensor.path] for name, tensor in leaf.tensors.items()}
    biased: dict[str, Any] = {"use_bias": "bias" in shape, "rngs": rngs}
    if leaf.kind == "linear":
        return nnx.Linear(*shape["kernel"], **biased)
    if leaf.kind == "embed":
        return nnx.Embed(*shape["embedding"], rngs=rngs)
    if leaf.kind == "conv":
        *window, inputs, outputs = shape["kernel"]
        stride, padding, dilation, groups = leaf.options
        gaps = each(dilation, len(window))
        return nnx.Conv(
            inputs * groups,
            outputs,
            window,
            strides=each(stride, len(window)),
            padding=pads(padding, len(window), window, gaps),
            kernel_dilation=gaps,
            feature_group_count=groups,
            **biased,
        )
    count = next(iter(shape.values()))[0]
    affine = {**biased, "use_scale": "scale" in shape, "epsilon": leaf.options[1]}
    if leaf.kind == "batch_norm":
        return BatchNorm(count, momentum=1 - leaf.options[0], **affine)
    if leaf.kind == "layer_norm":
        return nnx.LayerNorm(count, use_fast_variance=False, **affine)
    return nnx.GroupNorm(count, leaf.options[0], use_fast_variance=False, **affine)


def _called(leaf: Leaf, layer: Any, x: Value, call: Call) -> Any:
    """What a layer gives, in the form of the operation that it stands for."""
    if leaf.kind in ("embed", "layer_norm"):
        out = Value(layer(x.plain()))
    elif leaf.kind == "linear":
        rows = leaf.tensors["kernel"].rows
        out = Value(layer(x.flattened((x.shape[1] // _size(rows), *rows[1:])) if rows else x.plain()))
    elif leaf.kind == "batch_norm" and len(x.shape) == 2:
        out = Value(layer(x.plain()))
    else:
        out = Value(layer(x.channels_last()), last=True)
    parts = {"aten._native_batch_norm_legit_functional": 5, "aten.native_layer_norm": 3, "aten._native_batch_norm_legit_no_training": 3}
    return (out, *[None] * (parts[call.operation] - 1)) if call.operation in parts else out


def _size(rows: Sequence[int]) -> int:
    return math.prod(rows[1:])
