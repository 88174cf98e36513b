"""Units of a PyTorch module, seen in its graph: which layer alone reads the outputs of which."""

from collections.abc import Iterator

from tombola.models.pytorch.graph import FLATTEN, Call, Graph, Ref
from tombola.models.pytorch.leaves import layer_of
from tombola.models.pytorch.tensors import Leaf, Plan
from tombola.models.units import Feeds

_ANYWHERE = ("aten.relu", "aten.clone", "aten.contiguous", "aten.alias", "aten.dropout", "aten.native_dropout", "operator.getitem")
_PIXELS: tuple[str, ...] = ("aten.max_pool1d", "aten.max_pool2d", "aten.max_pool2d_with_indices", "aten.adaptive_avg_pool1d")
_PIXELS += ("aten.adaptive_avg_pool2d", "aten._adaptive_avg_pool2d", "aten.feature_dropout")


def feeds(graph: Graph, plan: Plan) -> Feeds:
    """Pairs of layers, as a module declares them in `feeds`: after batch norm, ReLU, pooling, dropout and flattening, the second
    alone reads the units of the first. What is not sure to be so is left out: residual streams, other activations, grouped convolutions.
    """
    readers: dict[str, list[Call]] = {}
    for call in graph.calls:
        for ref in call.refs():
            readers.setdefault(ref.name, []).append(call)
    users = graph.users
    called = [leaf.path for call in graph.calls if (leaf := layer_of(plan, True, call))]
    found = []
    for call in graph.calls:
        leaf = layer_of(plan, True, call)
        if leaf is None or not _has_units(leaf) or called.count(leaf.path) > 1:
            continue
        reader = _reader(graph, plan, call, leaf, readers, users)
        if reader is not None and called.count(reader) == 1:
            found.append((leaf.path, reader))
    once = [second for _, second in found]
    return tuple(pair for pair in found if once.count(pair[1]) == 1)


def _has_units(leaf: Leaf) -> bool:
    return leaf.kind == "linear" or (leaf.kind == "conv" and leaf.options[3] == 1)


def _reader(graph: Graph, plan: Plan, call: Call, leaf: Leaf, readers: dict[str, list[Call]], users: dict[str, int]) -> str | None:
    """The layer that alone reads a call's units, through ReLU and whatever leaves units apart."""
    rectified = False
    image = leaf.kind == "conv"
    for following in _chain(call, readers, users):
        kind = layer_of(plan, True, following)
        if kind is not None and kind.kind == "batch_norm":
            if (not image and len(graph.shapes[following.name]) != 2) or not _attached(plan, leaf, kind):
                return None
        elif kind is not None:
            fits = _has_units(kind) and (kind.kind == "conv" if image else kind.kind == "linear")
            return kind.path if fits and rectified and following.args[0] != following.args[1] else None
        elif following.target == FLATTEN:
            image = False
        elif following.operation == "aten.relu":
            rectified = True
        elif following.operation == "aten.mean":
            axes = following.args[1] if len(following.args) > 1 else ()
            if not image or sorted(axis % len(graph.shapes[following.args[0].name]) for axis in axes) != list(
                range(2, len(graph.shapes[following.args[0].name]))
            ):
                return None
            image = len(following.args) > 2 and bool(following.args[2])
        elif not (following.operation in _ANYWHERE or (image and (following.operation in _PIXELS or _unpadded(following)))):
            return None
    return None


def _chain(call: Call, readers: dict[str, list[Call]], users: dict[str, int]) -> Iterator[Call]:
    """What reads a value, and what reads that, as long as nothing else does."""
    while users[call.name] <= 1 or _parts(readers.get(call.name, [])):
        following = [one for one in readers.get(call.name, []) if one.target != "operator.getitem" or one.args[1] == 0]
        if len(following) != 1 or following[0].args[0] != Ref(call.name):
            return
        call = following[0]
        yield call


def _parts(calls: list[Call]) -> bool:
    """Whether a value of several parts is taken apart: the first is the one that goes on."""
    return bool(calls) and all(one.target == "operator.getitem" for one in calls) and sum(one.args[1] == 0 for one in calls) == 1


def _unpadded(call: Call) -> bool:
    padding = call.args[3] if len(call.args) > 3 else 0
    return call.operation.startswith("aten.avg_pool") and not any(padding if isinstance(padding, list | tuple) else [padding])


def _attached(plan: Plan, leaf: Leaf, norm: Leaf) -> bool:
    """Whether the tree holds the normalisation with the layer: no other kernel comes between them."""
    kernels = [one.path for one in plan.tensors if one.role == "kernel" or one.path == norm.tensors["mean"].path]
    place = kernels.index(norm.tensors["mean"].path)
    return place > 0 and kernels[place - 1] == leaf.tensors["kernel"].path
