"""Early-bird tickets: the mask of the first moment at which the masks of a training have settled."""

from collections.abc import Sequence
from typing import Literal

from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.parts import mask_actions, value_actions
from tombola.core.trees import Tree
from tombola.procedures.actions import Context
from tombola.pruning.early_bird import LOOK_BACK, THRESHOLD, magnitude_mask, settled

Scope = Literal["layer", "global"]


@mask_actions.register
def early_bird(
    context: Context,
    *looks: Tree,
    density: float,
    threshold: float = THRESHOLD,
    look_back: int = LOOK_BACK,
    scope: Scope = "global",
) -> Mask:
    """The mask of the largest |w| at the first look at which the masks have settled; at the last look if they never do.

    Settled at look i: the mask's `tombola.pruning.early_bird.distance` to each of the `look_back` looks before is below `threshold`.

    Args:
        looks: weights of one run at evenly spaced steps, the earliest first.
        density: of the masks; round(density * weights) are kept, of each layer or (`global`) of all together.
        threshold: in units of the distance of two random masks of that density, which is 1 whatever the density is.

    Source: You et al. 2020, section 3; their distance is not relative to chance, and their masks are of channels.
    """
    return _first_settled(context, looks, density, threshold, look_back, scope)[0]


@value_actions.register("early_bird")
def early_bird_weights(
    context: Context,
    *looks: Tree,
    density: float,
    threshold: float = THRESHOLD,
    look_back: int = LOOK_BACK,
    scope: Scope = "global",
) -> Tree:
    """The weights of the look whose mask the mask action `early_bird` takes, to train on from: the options are its own."""
    return _first_settled(context, looks, density, threshold, look_back, scope)[1]


def _first_settled(
    context: Context, looks: Sequence[Tree], density: float, threshold: float, look_back: int, scope: Scope
) -> tuple[Mask, Tree]:
    """Mask and weights of the look that is taken."""
    if isinstance(density, bool) or not isinstance(density, int | float) or not 0 < density < 1:
        raise TombolaError(f"early_bird: density = {density!r}; write a share above 0 and below 1")
    if isinstance(look_back, bool) or not isinstance(look_back, int) or not 1 <= look_back < len(looks):
        raise TombolaError(f"early_bird: look_back = {look_back!r} of {len(looks)} looks; write a whole number from 1 to {len(looks) - 1}")
    found = [magnitude_mask(weights, context.network.prunable, density, context.seed, scope) for weights in looks]
    index = settled(found, threshold, look_back)[0]
    return found[index], looks[index]
