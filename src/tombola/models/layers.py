"""The layers of a module, found by walking it in the order in which it declares its parts."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flax import nnx

from tombola.core.errors import TombolaError, unknown
from tombola.core.task import KINDS, Kind
from tombola.models.layer import Layer

_KINDS: dict[type[nnx.Module], Kind] = {
    nnx.Linear: "dense",
    nnx.LinearGeneral: "dense",
    nnx.Einsum: "dense",
    nnx.Conv: "conv",
    nnx.ConvTranspose: "conv",
    nnx.Embed: "embedding",
}
_NORMS = (nnx.BatchNorm, nnx.LayerNorm, nnx.RMSNorm, nnx.GroupNorm, nnx.InstanceNorm)
_CONTAINERS = (nnx.List, nnx.Dict, nnx.Sequential, list, tuple, dict)


class Beside(nnx.Param):
    """A parameter that is no kernel, whatever its shape: it trains beside one and is never pruned."""


class Identity(nnx.Module):
    """Gives back its first argument. `layers` is how many layers were here before: their blocks stay blocks."""

    def __init__(self, layers: int) -> None:
        self.layers = layers

    def __call__(self, first: Any, *others: Any, **options: Any) -> Any:
        return first


@dataclass
class _Walk:
    leaves: Mapping[str, Any]
    layers: list[Layer] = field(default_factory=list)
    around: list[tuple[str, ...]] = field(default_factory=list)
    """The modules that contain each layer, innermost first; without the network itself and mere containers."""
    unclaimed: list[str] = field(default_factory=list)
    """Leaves that come before the first layer: they go to it."""
    gone: list[tuple[str, ...]] = field(default_factory=list)
    """The modules that contain each layer that was taken out, as in `around`."""
    matrices: dict[str, tuple[int, int]] = field(default_factory=dict)

    def visit(self, node: Any, path: str, around: tuple[str, ...]) -> None:
        if isinstance(node, Identity):
            self.gone += [around] * node.layers
            return
        kind = next((kind for known, kind in _KINDS.items() if isinstance(node, known)), None)
        if kind is not None:
            if isinstance(node, nnx.LinearGeneral) and not node.batch_axis:
                self.matrices[join(path, "kernel")] = (math.prod(node.in_features), math.prod(node.out_features))
            self._open(path or "network", kind, tuple(_leaves(node, path, self.leaves)), around)
            return
        inside = (path, *around) if path and not isinstance(node, _CONTAINERS) else around
        for name, child in children(node):
            here = join(path, name)
            if here not in self.leaves:
                self.visit(child, here, inside)
            elif isinstance(child, nnx.Param) and len(child.shape) >= 2 and not (isinstance(child, Beside) or isinstance(node, _NORMS)):
                self._open(here, "dense", (here,), inside)
            else:
                self._attach(here)

    def _open(self, name: str, kind: Kind, paths: tuple[str, ...], around: tuple[str, ...]) -> None:
        kernel = tuple(path for path in paths if path == name or path.rpartition("/")[2] in ("kernel", "embedding"))
        if paths:  # else it shares the weights of another layer, which lists them
            kind = "shortcut" if "shortcut" in name.split("/") else kind
            self.layers.append(Layer(name, kind, (*self.unclaimed, *paths), kernel, block=name))
            self.around.append(around)
            self.unclaimed.clear()

    def _attach(self, path: str) -> None:
        if self.layers:
            self.layers[-1] = replace(self.layers[-1], paths=(*self.layers[-1].paths, path))
        else:
            self.unclaimed.append(path)


def find_layers(module: nnx.Module, leaves: Mapping[str, Any]) -> tuple[tuple[Layer, ...], dict[str, tuple[int, int]]]:
    """The layers in order of declaration, and the (inputs, outputs) of kernels that are matrices in another shape.

    `leaves` holds the paths that count. Below an attribute named ``shortcut`` every layer is a `shortcut`; a parameter of two or
    more axes that a module holds itself is a dense layer; all other leaves belong to the layer before them. A block is the innermost
    module that holds two layers or more, unless the network names its blocks itself, as in ``blocks = ("encoder", "decoder")``.
    """
    walk = _Walk(leaves)
    walk.visit(module, "", ())
    blocks = _declared(module)
    held = Counter(outer for around in (*walk.around, *walk.gone) for outer in around)
    layers = []
    for layer, around in zip(walk.layers, walk.around, strict=True):
        candidates = around if blocks is None else [block for block in blocks if f"{layer.name}/".startswith(f"{block}/")]
        block = next((outer for outer in candidates if blocks is not None or held[outer] > 1), layer.name)
        layers.append(replace(layer, block=block))
    return tuple(layers), walk.matrices


def declared_kinds(declared: Iterable[tuple[str, Any]], layers: Sequence[Layer]) -> dict[str, Kind]:
    """Layer -> kind, of (path of a module, its attribute `kinds`), such as ``kinds = {"head": "output", "stem": "conv"}``.

    Names are those of layers below that module. Raises for another form, and for names that are no layer or no kind.
    """
    found: dict[str, Kind] = {}
    for path, kinds in declared:
        if not isinstance(kinds, dict):
            raise TombolaError(f'kinds = {kinds!r}, but it must be a dict of layers and their kinds, such as {{"head": "output"}}')
        for name, kind in kinds.items():
            if join(path, name) not in (known := [layer.name for layer in layers]):
                raise unknown("layer in kinds", join(path, name), known)
            if kind not in KINDS:
                raise unknown("kind of layer", kind, KINDS)
            found[join(path, name)] = kind
    return found


def with_outputs(layers: Sequence[Layer], kinds: Mapping[str, Kind], last: Collection[str], earlier: Collection[str]) -> tuple[Layer, ...]:
    """The layers of their kinds: as declared in `kinds`, or else `output` if their kernels are among the `last`.

    Where `kinds` declares an output, there is no other. An output layer that was declared before others goes to the end, if no layer
    comes after its kernel (`earlier`).
    """
    found = set() if "output" in kinds.values() else set(last)
    named = [replace(one, kind=kinds.get(one.name, "output" if found.intersection(one.prunable) else one.kind)) for one in layers]
    return tuple(sorted(named, key=lambda one: one.kind == "output" and not set(earlier).intersection(one.prunable)))


def attributes(module: nnx.Module, name: str) -> Iterator[tuple[str, Any]]:
    """(path, value) for each module that has an attribute of this name, outermost first; a shared module comes once."""
    seen: set[int] = set()

    def visit(node: Any, path: str) -> Iterator[tuple[str, Any]]:
        if id(node) in seen or isinstance(node, nnx.Variable):
            return
        if isinstance(node, nnx.Module):
            seen.add(id(node))
            if (value := getattr(node, name, None)) is not None:
                yield path, value
        for child_name, child in children(node):
            yield from visit(child, join(path, child_name))

    return visit(module, "")


def _declared(module: nnx.Module) -> tuple[str, ...] | None:
    blocks = getattr(module, "blocks", None)  # many networks hold their blocks themselves under this name
    return blocks if isinstance(blocks, tuple) and all(isinstance(name, str) for name in blocks) else None


def join(path: str, name: str) -> str:
    """The path of a part of the module at `path`, which is "" for the network itself."""
    return f"{path}/{name}" if path else name


def children(node: Any) -> Iterator[tuple[str, Any]]:
    """(name, part) of a module or container, in order of declaration."""
    if isinstance(node, nnx.Pytree):
        return ((name, child) for name, child in vars(node).items() if not name.startswith("_pytree__"))
    if isinstance(node, dict):
        return ((str(name), child) for name, child in node.items())
    if isinstance(node, (list, tuple)):
        return ((str(index), child) for index, child in enumerate(node))
    return iter(())


def _leaves(node: Any, path: str, leaves: Mapping[str, Any]) -> Iterator[str]:
    for name, child in children(node):
        here = join(path, name)
        if here in leaves:
            yield here
        else:
            yield from _leaves(child, here, leaves)
