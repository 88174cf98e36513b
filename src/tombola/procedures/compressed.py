"""A network as what cannot be drawn again: the mask's bits, and those values that do not follow from the seed.

A ticket at its start, or a supermask, needs its seed and its mask alone (Zhou et al. 2019, section 5). Nothing here is taken
on trust: what is left out is what `decompress` makes again, bit for bit.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.task import Supermask
from tombola.core.trees import Tree
from tombola.models.network import Network
from tombola.models.supermask import chosen, effective, factor_of
from tombola.procedures.actions import Context, value_actions
from tombola.procedures.run import Action
from tombola.surgery.bitmask import decode_mask, encode_mask, entropy


class Origin(NamedTuple):
    """What a network's values may follow from."""

    seed: int
    kept: Action | None = None
    """How its run's kept values were made, beside theta_0; only an action without parents can be carried out again."""
    pruned: Action | None = None
    """How what its pruned weights are held at was made, likewise."""
    factors: Mapping[str, float] = {}
    """Path -> what a supermask multiplies the leaf's kept weights by."""

    def candidates(self) -> dict[str, Action]:
        """Name -> the action that draws all values again from the seed."""
        given = {"initial": Action(name="initial"), "kept": self.kept, "pruned": self.pruned}
        return {name: action for name, action in given.items() if action is not None and not action.of}


def plain(spec: Supermask, weights: Tree, mask: Mask) -> tuple[Tree, Mask, dict[str, float]]:
    """(weights, mask, `Origin.factors`) of the network that a learnt mask makes of a run's weights; what the run pruned stays so."""
    found = chosen(spec, weights)
    kept = {path: (leaf != 0) & mask[path] for path, leaf in found.items()}
    return effective(spec, weights, found), kept, {path: factor_of(spec, leaf) for path, leaf in found.items()}


@dataclass(frozen=True)
class Compressed:
    """One replicate's network."""

    origin: Origin
    arrays: Tree
    """``{path}.mask``: `encode_mask` of what is kept; ``{path}.signs``: `encode_mask` of which kept weights have the other sign;
    ``{path}.kept``, ``{path}.pruned``: values, in C order, where they do not follow from the seed; ``path``: another leaf."""
    leaves: dict[str, dict[str, str]]
    """Path -> {"kept": ..., "pruned": ...}, or {"all": ...} of a leaf that is not prunable: the name of a candidate, `zero`, or
    `stored`."""

    @property
    def stored(self) -> int:
        """Number of values that do not follow from the seed."""
        return sum(leaf.size for name, leaf in self.arrays.items() if not name.endswith((".mask", ".signs")))


def compress(network: Network, origin: Origin, weights: Mapping[str, np.ndarray], mask: Mask) -> Compressed:
    """The plain network's weights under a mask, without what follows from the seed."""
    drawn = _drawn(network, origin, origin.candidates(), mask)
    arrays: Tree = {}
    leaves: dict[str, dict[str, str]] = {}
    for path in network.shapes:
        leaf, there = np.asarray(weights[path]), {name: tree[path] for name, tree in drawn.items()}
        if path not in mask:
            leaves[path] = {"all": _source(leaf, there)}
            arrays |= {path: leaf} if leaves[path]["all"] == "stored" else {}
            continue
        kept, factor = mask[path], np.float32(origin.factors.get(path, 1))
        scaled = {name: values[kept] * factor for name, values in there.items()}
        sizes = {name: np.abs(values) for name, values in scaled.items()}
        source = _source(np.abs(leaf[kept]), sizes)
        held = _source(leaf[~kept], {"zero": np.zeros_like(leaf[~kept]), **{name: values[~kept] for name, values in there.items()}})
        leaves[path] = {"kept": source, "pruned": held}
        arrays[f"{path}.mask"] = encode_mask(kept)
        if source == "stored":
            arrays[f"{path}.kept"] = leaf[kept]
        elif (flipped := np.signbit(leaf[kept]) != np.signbit(scaled[source])).any():
            arrays[f"{path}.signs"] = encode_mask(flipped)
        if held == "stored":
            arrays[f"{path}.pruned"] = leaf[~kept]
    return Compressed(origin, arrays, leaves)


def decompress(network: Network, compressed: Compressed) -> tuple[Tree, Mask]:
    """(weights, mask), as they were compressed. Raises TombolaError if something is missing, damaged or of another network."""
    shapes = {path: one.shape for path, one in network.shapes.items()}
    try:
        mask = {path: decode_mask(compressed.arrays[f"{path}.mask"], shapes[path]) for path in network.prunable}
        used = {source for sources in compressed.leaves.values() for source in sources.values()}
        drawn = _drawn(network, compressed.origin, used, mask)
        weights = {}
        for path, shape in shapes.items():
            there = {name: tree[path] for name, tree in drawn.items()}
            if path not in mask:
                source = compressed.leaves[path]["all"]
                weights[path] = compressed.arrays[path].reshape(shape) if source == "stored" else there[source]
                continue
            weights[path] = np.zeros(shape, network.shapes[path].dtype)
            weights[path][mask[path]] = _kept(compressed, path, mask[path], there)
            held = compressed.leaves[path]["pruned"]
            if held != "zero":
                weights[path][~mask[path]] = compressed.arrays[f"{path}.pruned"] if held == "stored" else there[held][~mask[path]]
    except (KeyError, ValueError, TypeError) as error:
        raise TombolaError(f"a compressed network that is damaged, or of another model: {error}") from None
    return weights, mask


@dataclass(frozen=True)
class Sizes:
    """Bytes of a compressed network; the description of its model, which a dense one needs as well, is not counted."""

    dense: int
    """Bytes of all values as float32."""
    mask: int
    signs: int
    values: int
    """Bytes of the values that do not follow from the seed."""
    constants: int
    """Bytes of the seed (8), and of a factor for each rescaled leaf (4)."""
    entropy: float
    """What masks and signs take at best, if each weight's entry is drawn by itself at its layer's frequencies."""
    prunable: int

    @property
    def total(self) -> int:
        """Bytes of the whole."""
        return self.mask + self.signs + self.values + self.constants

    @property
    def mask_bits(self) -> float:
        """Bits of mask and signs for a prunable weight."""
        return 8 * (self.mask + self.signs) / self.prunable


def sizes(network: Network, compressed: Compressed, mask: Mask) -> Sizes:
    """How large a compressed network is."""

    def of(ending: str) -> int:
        return sum(leaf.nbytes for name, leaf in compressed.arrays.items() if name.endswith(ending))

    dense = sum(4 * one.size for one in network.shapes.values())
    rescaled = sum(factor != 1 for factor in compressed.origin.factors.values())
    values = of("") - of(".mask") - of(".signs")
    best = sum(entropy(_signed(compressed, path, leaf)) for path, leaf in mask.items()) / 8
    return Sizes(dense, of(".mask"), of(".signs"), values, 8 + 4 * rescaled, best, sum(leaf.size for leaf in mask.values()))


def _drawn(network: Network, origin: Origin, names: Collection[str], mask: Mask) -> dict[str, Tree]:
    """Name -> the values that a candidate draws."""
    context = Context(network, origin.seed, mask)
    actions = {name: action for name, action in origin.candidates().items() if name in names}
    return {name: value_actions[action.name](context, **action.options) for name, action in actions.items()}


def _source(values: np.ndarray, candidates: Mapping[str, np.ndarray]) -> str:
    """The first candidate that equals the values bit for bit; else `stored`."""
    bits = values.tobytes()
    return next((name for name, candidate in candidates.items() if candidate.tobytes() == bits), "stored")


def _kept(compressed: Compressed, path: str, kept: np.ndarray, drawn: Mapping[str, np.ndarray]) -> np.ndarray:
    """Values of a leaf's kept weights."""
    source = compressed.leaves[path]["kept"]
    if source == "stored":
        return compressed.arrays[f"{path}.kept"]
    values = drawn[source][kept] * np.float32(compressed.origin.factors.get(path, 1))
    return (
        np.where(decode_mask(compressed.arrays[f"{path}.signs"], values.shape), -values, values)
        if f"{path}.signs" in compressed.arrays
        else values
    )


def _signed(compressed: Compressed, path: str, kept: np.ndarray) -> np.ndarray:
    """The mask in {0, 1}, or in {-1, 0, 1} where signs are changed."""
    found = kept.astype(np.int8)
    if f"{path}.signs" in compressed.arrays:
        found[kept] = 1 - 2 * decode_mask(compressed.arrays[f"{path}.signs"], (int(kept.sum()),))
    return found
