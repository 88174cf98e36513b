"""The moment at which masks of a training have settled: their distance relative to chance."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tombola.core import masks
from tombola.core.errors import unknown
from tombola.core.keys import generator
from tombola.core.masks import Mask
from tombola.pruning import selection

THRESHOLD, LOOK_BACK = 0.1, 5


def magnitude_mask(weights: Mapping[str, Any], paths: Iterable[str], density: float, seed: int, scope: str = "global") -> Mask:
    """The largest |w| of the leaves, round(density * weights) of each or of all together; ties by the stream ``ties/magnitude``."""
    if scope not in ("layer", "global"):
        raise unknown("scope of early_bird", scope, ["layer", "global"])
    ties = masks.Ties(generator(seed, "ties/magnitude"))
    found: Mask = {}
    for group in [[*paths]] if scope == "global" else [[path] for path in paths]:
        dense = selection.dense({path: weights[path].shape for path in group})
        found |= masks.highest({path: abs(weights[path]) for path in group}, dense, round(density * masks.size(dense)), ties)
    return found


def distance(first: Mask, second: Mask) -> float:
    """The share of weights that one of two masks keeps and the other does not, over what chance makes of it, p (1 - q) + q (1 - p).

    p and q are their densities: of equal ones 2 p (1 - p). 0 for equal masks; about 1 for random ones. NaN where both keep all, or nothing.
    """
    apart = sum(np.count_nonzero(first[path] != second[path]) for path in first) / masks.size(first)
    p, q = masks.density(first), masks.density(second)
    chance = p * (1 - q) + q * (1 - p)
    return apart / chance if chance else float("nan")


def settled(found: Sequence[Mask], threshold: float, look_back: int) -> tuple[int, bool]:
    """(look, whether masks had settled there): the first whose distances to the `look_back` before are all below the threshold."""
    for index in range(look_back, len(found)):
        if all(distance(found[index], found[index - back]) < threshold for back in range(1, look_back + 1)):
            return index, True
    return len(found) - 1, False
