"""Early-bird tickets: the mask of the first moment at which the masks of a training have settled."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tombola.core import masks
from tombola.core.errors import TombolaError, unknown
from tombola.core.keys import generator
from tombola.core.masks import Mask
from tombola.core.parts import mask_actions, value_actions
from tombola.core.trees import Tree
from tombola.procedures.actions import Context
from tombola.pruning import selection

THRESHOLD, LOOK_BACK = 0.1, 5


@mask_actions.register
def early_bird(
    context: Context,
    *looks: Tree,
    density: float,
    threshold: float = THRESHOLD,
    look_back: int = LOOK_BACK,
    scope: Literal["layer", "global"] = "global",
) -> Mask:
    """The mask of the largest |w| at the first look at which the masks have settled; at the last look if they never do.

    Settled at look i: the mask's `distance` to each of the `look_back` looks before is below `threshold`.

    Args:
        looks: weights of one run at evenly spaced steps, the earliest first.
        density: of the masks; round(density * weights) are kept, of each layer or (`global`) of all together.
        threshold: in units of the distance of two random masks of that density, which is 1 whatever the density is.

    Source: You et al. 2020, section 3; their distance is not relative to chance, and their masks are of channels.
    """
    _check("early_bird", looks, density, look_back)
    found = [magnitude_mask(weights, context.network.prunable, density, context.seed, scope) for weights in looks]
    return found[settled(found, threshold, look_back)[0]]


@value_actions.register("early_bird")
def early_bird_weights(
    context: Context,
    *looks: Tree,
    density: float,
    threshold: float = THRESHOLD,
    look_back: int = LOOK_BACK,
    scope: Literal["layer", "global"] = "global",
) -> Tree:
    """The weights of the look whose mask the mask action `early_bird` takes, to train on from: the options are its own."""
    _check("early_bird", looks, density, look_back)
    found = [magnitude_mask(weights, context.network.prunable, density, context.seed, scope) for weights in looks]
    return looks[settled(found, threshold, look_back)[0]]


def magnitude_mask(weights: Mapping[str, Any], paths: Iterable[str], density: float, seed: int, scope: str = "global") -> Mask:
    """The largest |w| of the leaves, round(density * weights) of each or of all together; ties by the stream ``ties/magnitude``."""
    if scope not in ("layer", "global"):
        raise unknown("scope of early_bird", scope, ["layer", "global"])
    ties = generator(seed, "ties/magnitude")
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


def _check(name: str, looks: Sequence[Tree], density: float, look_back: int) -> None:
    if isinstance(density, bool) or not isinstance(density, int | float) or not 0 < density < 1:
        raise TombolaError(f"{name}: density = {density!r}; write a share above 0 and below 1")
    if isinstance(look_back, bool) or not isinstance(look_back, int) or not 1 <= look_back < len(looks):
        raise TombolaError(f"{name}: look_back = {look_back!r} of {len(looks)} looks; write a whole number from 1 to {len(looks) - 1}")
