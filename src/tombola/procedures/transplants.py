"""Mask actions that carry a mask from one network to another (Adnan et al. 2025; IDEAS I9)."""

from typing import Literal, get_args

import numpy as np

from tombola.core.errors import unknown
from tombola.core.masks import Mask
from tombola.core.parts import mask_actions
from tombola.core.trees import Tree
from tombola.procedures.actions import Context
from tombola.surgery.matching import match_activations, match_units
from tombola.surgery.permute import permute

By = Literal["weights", "activations"]


@mask_actions.register
def matched(context: Context, mask: Mask, weights: Tree, fixed: Tree, *, by: By = "activations", batch: str = "0", size: int = 512) -> Mask:
    """A mask with the units of its network in the order that matches them with those of another network.

    Args:
        mask: found from the network that `weights` are of.
        weights, fixed: of both networks, in training or at its end; the orders are those of ``permute(weights, ...)`` near `fixed`.
        by: `weights`: those that bring the weights nearest (`tombola.surgery.matching.match_units`), or `activations`: those of units
            that are active on the same training examples (`match_activations`), `size` of them from the stream ``gradient/{batch}``.

    Source: Adnan et al. 2025, section 4 (activations); Ainsworth et al. 2022. Test data are never looked at.
    """
    return permute(mask, context.network.units, orders_of(context, fixed, weights, by, batch, size))


def orders_of(context: Context, fixed: Tree, weights: Tree, by: By, batch: str = "0", size: int = 512) -> dict[str, np.ndarray]:
    """Layer -> the order of the units of `weights` that matches them with those of `fixed` (`matched`)."""
    if by not in get_args(By):
        raise unknown("way to match units", by, get_args(By))
    if by == "weights":
        return match_units(context.network, fixed, weights)
    reads = [{path: seen.inputs for path, seen in context.layers(tree, batch, size).items()} for tree in (fixed, weights)]
    return match_activations(context.network, fixed, weights, *reads)
