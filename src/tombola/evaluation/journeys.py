"""The journeys of weights: what happens to each on the way to a final mask, followed look by look.

One look is in memory at a time, and about 15 bytes for each weight; each is a whole tree on disk, 4 bytes for each weight.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from tombola.core import masks
from tombola.core.masks import Mask
from tombola.core.trees import Tree


@dataclass
class Journeys:
    """What became of each weight; arrays by path, of the leaf's shape unless another is said."""

    final: Mask
    """What is kept in the end: the weights whose fate is to stay."""
    steps: list[int] = field(default_factory=list)
    """Iterations that were looked at."""
    auc: dict[str, list[float]] = field(default_factory=dict)
    """Path -> of each look, `auc` of |w_t| for membership in the final mask."""
    pooled: list[float] = field(default_factory=list)
    """The same of all leaves together."""
    comebacks: dict[str, list[float]] = field(default_factory=dict)
    """Path -> of each look, the share of the final mask's weights that would have been pruned then: that come back."""
    decided: dict[str, np.ndarray] = field(default_factory=dict)
    """The first look from which on a weight is among the largest, or is not, as in the end; int32 iterations."""
    flips: dict[str, np.ndarray] = field(default_factory=dict)
    """How often the sign changed from look to look; of a weight that is 0 the sign stays what it was."""
    last_flip: dict[str, np.ndarray] = field(default_factory=dict)
    """The look at which it changed last; -1: never."""


def follow(looks: Iterable[tuple[int, Tree]], final: Mask, density: Mapping[str, float] | float) -> Journeys:
    """Follow the weights of one training.

    At each look those weights are inside that magnitude pruning would keep: of all leaves together where `density` is one number, else
    of each leaf its own share. Ties are broken by a fixed stream.

    Args:
        looks: (iteration, weights), in order; the leaves of `final` are looked at.
        final: path -> bool.
    """
    found = Journeys(final, auc={path: [] for path in final}, comebacks={path: [] for path in final})
    before: Mask = {}
    signs: Tree = {}
    for step, weights in looks:
        found.steps.append(step)
        inside = magnitudes({path: weights[path] for path in final}, density)
        stay, size = (np.concatenate([np.ravel(tree[path]) for path in final]) for tree in (final, weights))
        found.pooled.append(auc(np.abs(size)[stay], np.abs(size)[~stay]))
        for path, stays in final.items():
            found.auc[path].append(auc(np.abs(weights[path])[stays], np.abs(weights[path])[~stays]))
            found.comebacks[path].append(float(np.mean(~inside[path][stays])) if stays.any() else float("nan"))
            sign = np.sign(weights[path]).astype(np.int8)
            if not before:
                found.decided[path] = np.full(stays.shape, step, np.int32)
                found.flips[path], found.last_flip[path] = np.zeros(stays.shape, np.int32), np.full(stays.shape, -1, np.int32)
                signs[path] = sign
                continue
            found.decided[path][inside[path] != before[path]] = step
            turned = (sign != 0) & (signs[path] != 0) & (sign != signs[path])
            found.flips[path] += turned
            found.last_flip[path][turned] = step
            signs[path] = np.where(sign != 0, sign, signs[path])
        before = inside
    return found


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """The chance that a member's score is above that of another, ties counting half: 0.5 where scores say nothing, 1 where all.

    NaN where one group is empty. It needs no threshold: the area under the curve of true against false positives (Mann & Whitney 1947).
    """
    members, others = np.ravel(members), np.sort(np.ravel(others))
    if not members.size or not others.size:
        return float("nan")
    below, upto = np.searchsorted(others, members, "left"), np.searchsorted(others, members, "right")
    return float((below + upto).sum(dtype=np.float64) / (2.0 * members.size * others.size))


def survival(moved: Iterable[Mask], updates: int) -> tuple[float, float]:
    """(share of the connections that grew at an update and are still there `updates` updates later, how many grew).

    Args:
        moved: the masks after each update, in order, that before the first of them first. Those grown too late to be followed are left
            out.
    """
    alive, grown, before = 0, 0, None
    waiting: list[tuple[int, Mask]] = []  # how many grew at an update, and which of them are left
    for mask in moved:
        if before is not None:
            waiting = [(count, {path: leaf & mask[path] for path, leaf in left.items()}) for count, left in waiting]
            born = {path: leaf & ~before[path] for path, leaf in mask.items()}
            waiting.append((masks.kept(born), born))
            if len(waiting) > updates:
                count, left = waiting.pop(0)
                alive, grown = alive + masks.kept(left), grown + count
        before = mask
    return alive / grown if grown else float("nan"), grown


def magnitudes(weights: Tree, density: Mapping[str, float] | float) -> Mask:
    """What magnitude pruning keeps: of all leaves together where `density` is one number, else of each leaf its own share."""
    random = masks.Ties(np.random.default_rng(0))
    dense = {path: np.ones(leaf.shape, bool) for path, leaf in weights.items()}
    sizes = {path: np.abs(leaf) for path, leaf in weights.items()}
    if not isinstance(density, Mapping):
        return masks.highest(sizes, dense, round(density * masks.size(dense)), random)
    found: Mask = {}
    for path, leaf in dense.items():
        found |= masks.highest({path: sizes[path]}, {path: leaf}, round(density[path] * leaf.size), random)
    return found
