"""Masks: path-named trees of bool on the prunable weights, nothing on the others. True is kept.

A mask is its own array and never inferred from ``weight != 0``: a kept weight may be 0, and still trains.
Density is kept / prunable, in [0, 1].
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.trees import Tree, packed, unpacked

Mask = dict[str, np.ndarray]


def kept(mask: Mapping[str, Any]) -> int:
    """Number of kept weights."""
    return int(sum(np.count_nonzero(leaf) for leaf in mask.values()))


def size(mask: Mapping[str, Any]) -> int:
    """Number of prunable weights."""
    return int(sum(np.size(leaf) for leaf in mask.values()))


def density(mask: Mapping[str, Any]) -> float:
    """P_m = kept / prunable (Frankle & Carbin 2019, section 1)."""
    return kept(mask) / size(mask)


class Ties:
    """Random orders of what is tied, of which those that break no tie are drawn only when a later draw depends on them."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random, self._owed = random, list[int]()

    def owe(self, size: int) -> None:
        """An order of so many is drawn here, and nothing is said of it."""
        self._owed.append(size)

    @property
    def random(self) -> np.random.Generator:
        """The generator, after all that was drawn so far."""
        for size in self._owed:
            self._random.permutation(size)
        self._owed.clear()
        return self._random


def highest(scores: Mapping[str, Any], mask: Mapping[str, Any], count: int, random: np.random.Generator | Ties) -> Mask:
    """Of the weights that are kept, in all leaves together, the `count` with the highest scores; all, if there are no more.

    Ties are broken at random. NaN, of a run that diverged, ranks lowest.
    """
    ties = random if isinstance(random, Ties) else Ties(random)
    flat = np.fmax(packed(scores, mask), -np.inf)
    kept = packed(mask, mask)
    alive = np.flatnonzero(kept)
    if 0 < count < alive.size:  # no sort of all: the least score that stays, and of those that equal it the last in a random order
        least = np.partition(flat[alive], alive.size - count)[alive.size - count]
        left, equal = kept & (flat > least), kept & (flat == least)
        missing = count - np.count_nonzero(left)
        if np.count_nonzero(equal) > missing:
            order = ties.random.permutation(alive)
            left[order[equal[order]][-missing:]] = True
        else:
            left |= equal
            ties.owe(alive.size)
    else:
        left = kept & (count > 0)
        ties.owe(alive.size)
    if ties is not random:
        _ = ties.random
    return unpacked(left, {path: leaf.shape for path, leaf in mask.items()})


def check(mask: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise unless the mask is bool and covers exactly the prunable leaves of the given shapes."""
    if mask.keys() != shapes.keys():
        wrong = sorted(mask.keys() ^ shapes.keys())[0]
        raise TombolaError(f"mask: {wrong!r} is {'not prunable' if wrong in mask else 'missing'}; it must cover {', '.join(shapes)}")
    for path, leaf in mask.items():
        if (kind := str(getattr(leaf, "dtype", type(leaf).__name__))) != "bool":
            raise TombolaError(f"mask {path!r} is {kind}, but a mask is bool: True where the weight is kept")
        if leaf.shape != shapes[path]:
            raise TombolaError(f"mask {path!r} has shape {leaf.shape}, but its weight has {shapes[path]}")


def pack(mask: Mapping[str, np.ndarray]) -> Tree:
    """One bit a weight: path -> uint8 array, in C order, most significant bit first."""
    return {path: np.packbits(np.asarray(leaf).reshape(-1)) for path, leaf in mask.items()}


def unpack(packed: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> Mask:
    """The inverse of `pack`. Raises for bits that are not one for each weight."""
    for path, bits in packed.items():
        if bits.dtype != np.uint8 or bits.shape != (-(-int(np.prod(shapes[path])) // 8),):
            raise TombolaError(f"mask of {path!r}: {bits.dtype} {bits.shape} are no bits for {shapes[path]}")
    return {path: np.unpackbits(bits, count=int(np.prod(shapes[path]))).reshape(shapes[path]).astype(bool) for path, bits in packed.items()}
