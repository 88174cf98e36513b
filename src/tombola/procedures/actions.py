"""Actions: how masks and starting values are made from parents. One function each, registered by one line.

An action takes a `Context`, its parents in order, and its options; it returns a tree. It reads randomness only
from the run's own named streams, so the same description always gives the same bits.
"""

from typing import NamedTuple

from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.registry import Registry
from tombola.core.trees import Tree
from tombola.models.network import Network
from tombola.pruning import controls, criteria, selection

mask_actions: Registry = Registry("mask action")
value_actions: Registry = Registry("value action")


class Context(NamedTuple):
    """What an action may know of the run it works for."""

    network: Network
    seed: int
    mask: Mask | None = None
    """The run's mask; None while the mask itself is being made."""


@mask_actions.register
def prune(
    context: Context,
    initial: Tree,
    final: Tree,
    before: Mask,
    *,
    rates: dict[str, float],
    criterion: str = "large_final",
    source: str = "",
    scope: selection.Scope = "layer",
) -> Mask:
    """One round of pruning: the lowest scores among the weights that `before` keeps are removed.

    Args:
        initial, final: weights that the criterion scores.
        rates: share of the remaining weights to remove, by kind of layer.
        source: digest of a user's own criterion (`criteria.source`): it must be the one that is registered now.
    """
    if source != criteria.source(criterion):
        raise TombolaError(f"criterion {criterion!r} is not the one that this run was described with; describe the run anew")
    scores = {path: criteria.scores(criterion, initial[path], final[path]) for path in before}
    return selection.prune(scores, before, rates_by_path(context.network, rates), scope)


@mask_actions.register
def shuffle(context: Context, like: Mask, *, stream: str) -> Mask:
    """A random mask with the same count in each layer, drawn from the run's stream `stream`."""
    return controls.shuffle(like, context.seed, stream)


@mask_actions.register
def same(context: Context, mask: Mask) -> Mask:
    """The mask of the parent."""
    return mask


@value_actions.register
def initial(context: Context) -> Tree:
    """theta_0: the run's initial weights."""
    return context.network.init(context.seed)


@value_actions.register
def rewind(context: Context, weights: Tree) -> Tree:
    """The parent's weights at its step, bitwise: kernels, biases, normalisation and its statistics."""
    return weights


@value_actions.register
def reinit(context: Context, *, stream: str) -> Tree:
    """theta_0': a fresh draw from each layer's own initialiser (Frankle & Carbin 2019, section 2)."""
    return context.network.init(context.seed, stream)


def rates_by_path(network: Network, rates: dict[str, float]) -> dict[str, float]:
    """Path of each prunable leaf -> rate of its kind of layer."""
    found: dict[str, float] = {}
    for layer in network.layers:
        if layer.prunable and layer.kind not in rates:
            raise TombolaError(f"rates: no pruning rate for {layer.kind!r} layers such as {layer.name!r}; add one (0 leaves them whole)")
        found.update(dict.fromkeys(layer.prunable, rates.get(layer.kind, 0.0)))
    return found
