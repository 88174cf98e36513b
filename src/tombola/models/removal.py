"""Layers and blocks taken out of a network: the identity stands in their place.

A part can be taken out if each of its modules is only ever called, and gives back the shape that it takes. That is seen
in one abstract evaluation of the whole network, in which every part notes what it takes and gives: a network that runs
without a part is not enough, for shapes may agree by broadcasting, or be averaged away.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tombola.core.errors import TombolaError, unknown
from tombola.core.loading import summary
from tombola.models.layer import Layer
from tombola.models.layers import Identity, attributes, children, join
from tombola.models.units import Feeds

_Place = tuple[str, Any, tuple[tuple[str, Any], ...]]
"""Path, what is there, and the (path, module) of all that is around it, outermost first."""


@dataclass(frozen=True)
class Part:
    """What `Model.without` may name: a layer, or a block that is no layer."""

    layers: tuple[Layer, ...]
    leaves: frozenset[str]


def find_parts(layers: Sequence[Layer]) -> dict[str, Part]:
    """Name -> part, in forward order, a block before its layers. A block is its module, with all the layers in there."""
    found: dict[str, Part] = {}
    for layer in layers:
        if layer.block != layer.name and layer.block not in found:
            inside = tuple(one for one in layers if one.name.startswith(f"{layer.block}/"))
            leaves = (path for one in layers for path in one.paths if path.startswith(f"{layer.block}/"))
            found[layer.block] = Part(inside, frozenset(leaves))
        found[layer.name] = Part((layer,), frozenset(layer.paths))
    return found


def check_names(names: Iterable[str], layers: Sequence[Layer], obstacles: Mapping[str, str]) -> None:
    """Raise for a name that is no part, for a layer that is named twice (by its block, too), and for what has an obstacle."""
    parts, gone = find_parts(layers), set[str]()
    for name in names:
        if name not in parts:
            raise unknown("layer or block in without", name, parts)
        here = {layer.name for layer in parts[name].layers}
        if here & gone:
            raise TombolaError(f"without: {name!r} is taken out twice; name each part once, and no layer of a block that is named")
        if obstacles[name]:
            raise TombolaError(f"without: {obstacles[name]}")
        gone |= here


def take_out(module: nnx.Module, layers: Sequence[Layer], names: Iterable[str]) -> nnx.Module:
    """The module, changed in place: the identity for each module that holds a leaf of a layer, or for that of a block.

    Other leaves keep their paths. Pairs (a, x), (x, b) of `feeds` become (a, b) where x goes.
    """
    parts, places = find_parts(layers), list(_places(module))
    identities = {}
    for name in names:
        for path, node in _modules(places, name, parts[name]).items():
            identities[id(node)] = Identity(len(parts[name].layers) if f"{name}/".startswith(f"{path}/") else 0)
    _exchange(module, identities)
    nodes = {path: node for path, node, _ in _places(module)}
    gone = {layer.name for name in names for layer in parts[name].layers}
    for path, feeds in list(attributes(module, "feeds")):
        nodes[path].feeds = _bridged(feeds, {pair for pair in sum(feeds, ()) if join(path, pair) in gone})
    return module


def find_obstacles(factory: Callable[[jax.Array], nnx.Module], layers: Sequence[Layer], key: Any, inputs: Any) -> dict[str, str]:
    """Part -> why it cannot be taken out by itself, "" if it can; `key` and `inputs` are abstract arrays."""
    parts, every = find_parts(layers), frozenset(path for layer in layers for path in layer.paths)
    found: dict[str, str] = {}

    def look(names: Iterable[str], key: jax.Array, inputs: jax.Array) -> None:
        module = factory(key)
        module.eval()
        places = list(_places(module))
        modules = {name: _modules(places, name, parts[name]) for name in names}
        found.update({name: _entangled(places, name, parts[name].leaves, every, modules[name]) for name in names})
        watched = {name: modules[name] for name in names if not found[name]}
        seen: dict[str, str] = {}
        watches = {id(node): _Watch(node, path, seen) for inside in watched.values() for path, node in inside.items()}
        _exchange(module, watches)
        module(inputs)
        for name, inside in watched.items():
            notes = (seen.get(path, f"{path} is never called") for path in inside)
            found[name] = next((f"{note}, {_HINT}" for note in notes if note), "")

    def attempt(names: Sequence[str]) -> None:
        try:
            jax.eval_shape(partial(look, names), key, inputs)
        except Exception as error:  # of the user's code: one part that bears no watching must not hide the others
            if len(names) == 1:
                found[names[0]] = f"{names[0]} is not only called ({summary(error)}), {_HINT}"
            else:
                for name in names:
                    attempt([name])

    attempt(list(parts))
    return found


_HINT = "so the identity cannot stand in its place; only parts that are called, and give back the shape that they take, can be taken out"


class _Watch(nnx.Module):
    """Stands around a module. Writes into `seen`, at its path, what speaks against the identity there; "" once it is called."""

    def __init__(self, module: nnx.Module, path: str, seen: dict[str, str]) -> None:
        self._module = module

        def note(what: str) -> None:
            seen[path] = seen.get(path) or (f"{path} {what}" if what else "")

        self._note = note

    def __call__(self, first: Any, *others: Any, **options: Any) -> Any:
        given = self._module(first, *others, **options)
        before, after = jax.tree.map(jnp.shape, first), jax.tree.map(jnp.shape, given)
        self._note("" if before == after else f"takes {before} and gives {after} for 2 examples")
        return given

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        self._note(f"is not only called, but asked for its {name}")
        return getattr(self._module, name)


def _places(node: Any, path: str = "", around: tuple[tuple[str, Any], ...] = ()) -> Iterator[_Place]:
    yield path, node, around
    if not isinstance(node, nnx.Variable) and all(node is not outer for _, outer in around):
        for name, child in children(node):
            yield from _places(child, join(path, name), (*around, (path, node)))


def _modules(places: Sequence[_Place], name: str, part: Part) -> dict[str, Any]:
    """Path -> module, of all that goes with a part: for a block that of its name, for a layer those that hold a leaf."""
    if name == part.layers[0].name:
        return dict(around[-1] for path, _, around in places if path in part.leaves)
    return {path: node for path, node, _ in places if path == name}


def _entangled(places: Sequence[_Place], name: str, leaves: frozenset[str], every: frozenset[str], modules: Mapping[str, Any]) -> str:
    """Why a part's modules cannot be exchanged, or not without the leaves of other parts; "" if they can."""
    gone = {id(node) for node in modules.values()}
    own = {id(node): path for path, node, _ in places if path in leaves}
    for path, node in modules.items():
        if not path or not callable(node):
            return (
                f"the weights of {name!r} lie in {path or 'the network itself'}, which is no module that is called; give it one of its own"
            )
    for path, node, around in places:
        if id(node) in gone and not isinstance(around[-1][1], nnx.Pytree):
            return f"{path} lies in a {type(around[-1][1]).__name__}, in which nothing can be exchanged; use nnx.List or nnx.Dict"
        goes = any(id(outer) in gone for _, outer in around)
        if id(node) in own and not goes:
            return f"{name} shares {own[id(node)]} with {path}; a part that shares weights cannot be taken out"
        if path in every and path not in leaves and goes:
            return f"{name} lies in one module with {path}, which is of another part; give it a module of its own"
    return ""


def _exchange(module: nnx.Module, new: Mapping[int, nnx.Module]) -> None:
    """Put other modules in the place of some, which are known by their ``id``, wherever they are used."""
    for _, node, around in list(_places(module)):
        if around and id(node) in new:
            (_, holder) = around[-1]
            name = next(name for name, child in children(holder) if child is node)
            setattr(holder, name, new[id(node)])


def _bridged(feeds: Feeds, gone: set[str]) -> Feeds:
    """The pairs without some layers: what fed one feeds what it fed."""
    for name in gone:
        before, after = [a for a, b in feeds if b == name], [b for a, b in feeds if a == name]
        feeds = (*(pair for pair in feeds if name not in pair), *((a, b) for a in before for b in after))
    return feeds
