"""Optimal brain surgery as a value action: kept weights make up for those that a mask takes."""

from tombola.core.errors import TombolaError
from tombola.core.parts import value_actions
from tombola.core.trees import Tree
from tombola.procedures.actions import Context
from tombola.pruning import surgeon


@value_actions.register
def brain_surgery(
    context: Context, weights: Tree, *, batch: str = "0", size: int | None = None, dampening: float = surgeon.DAMPENING
) -> Tree:
    """The weights after optimal brain surgery: those that are kept make up for those that the run's mask takes away.

    dw_K = G_K^T (n lambda 1 + G_K G_K^T)^-1 G_P w_P in each leaf, G the gradients of n examples (`Context.examples`) of the kept (K) and
    the pruned (P) weights: the least that sum_i (g_i dw)^2 / 2n + lambda |dw_K|^2 / 2 can be if all of P become 0 at once.

    Args:
        weights: W, at which the gradients are taken; they should be trained.
        size: n; None: 1,000, or as many as fit in 256 MiB.
        dampening: lambda in units of the leaf's mean squared gradient of an example, above 0.

    Source: Hassibi & Stork 1993, for all pruned weights together, with the empirical Fisher of a layer.
    """
    if context.mask is None:
        raise TombolaError("value action 'brain_surgery' makes up for what a mask takes, so the run needs a mask")
    slopes, found = context.examples(weights, batch, size), dict(weights)
    for path, kept in context.mask.items():
        found[path] = surgeon.compensated(weights[path], slopes[path], kept, dampening)
    return found
