"""Start masks: mask actions that need no trained network. Sparse at random, and pruned at initialisation."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from tombola.core import masks
from tombola.core.errors import TombolaError, unknown
from tombola.core.keys import generator
from tombola.core.masks import Mask
from tombola.core.parts import mask_actions
from tombola.core.task import Supermask
from tombola.core.trees import Tree
from tombola.models.network import Network
from tombola.models.supermask import chosen, nonzero
from tombola.procedures.actions import Context
from tombola.procedures.start_values import givens_of
from tombola.pruning import selection

Densities = Literal["uniform", "er", "erk"]


@mask_actions.register
def sparse(context: Context, *, density: float, densities: Densities = "erk", stream: str = "sparse") -> Mask:
    """A random mask whose layers are as dense as `densities` says: where sparse training starts, and the control of pruning.

    The density of a layer is min(1, e p), with one e for all such that round(density * weights of all layers) are kept in all:

        uniform:  p = 1
        er:       p = (n_in + n_out) / (n_in n_out), its units or channels (Erdos-Renyi)
        erk:      p = (n_in + n_out + k_1 + ...) / (n_in n_out k_1 ...), with the sides of a kernel too

    Counts are exact: each layer's share is rounded, down or up, such that their sum is; and at least 1. The places of a layer are
    drawn from the run's stream ``{stream}/{path}``.

    Source: Mocanu et al. 2018, equation 3 (er); Evci et al. 2020, section 3 (erk).
    """
    if densities not in get_args(Densities):
        raise unknown("densities of sparse", densities, get_args(Densities))
    shapes = {path: context.network.shapes[path].shape for path in context.network.prunable}
    mask = {}
    for path, count in counts(shapes, kept_of(context, "sparse", density), densities).items():
        size = int(np.prod(shapes[path]))
        leaf = np.zeros(size, bool)
        leaf[generator(context.seed, f"{stream}/{path}").choice(size, count, replace=False)] = True
        mask[path] = leaf.reshape(shapes[path])
    return mask


@mask_actions.register
def grasp(
    context: Context, weights: Tree | None = None, *, density: float, batch: str = "0", size: int | None = None, inverted: bool = False
) -> Mask:
    """GraSP: the weights stay whose removal would lower the norm of the gradient most, in all layers together.

    S = -(w * H g), g the gradient of the mean loss and H its Hessian, at `weights`, over the examples of the run's stream
    ``gradient/{batch}``. To remove a weight changes ||g||^2 by 2 S to first order; the lowest S stay, as the paper has it, and
    round(density * weights) of them. A score of 0 is a tie, which the stream ``ties/grasp`` breaks.

    Args:
        weights: W; None: the initial weights.
        size: of the examples, in whole batches of the recipe; None: 512.
        inverted: the highest S stay: the control.

    Source: Wang et al. 2020, equations 6 to 8 and algorithm 1, without its temperature on the outputs.
    """
    count = kept_of(context, "grasp", density)
    found = context.network.init(context.seed) if weights is None else weights
    product = context.hessian_product(found, context.gradient(found, batch, size), batch, size)
    scores = {path: found[path] * product[path] * (-1 if _flag("grasp", inverted) else 1) for path in context.network.prunable}
    dense = selection.dense({path: leaf.shape for path, leaf in scores.items()})
    selection.check_scores(scores, dense)
    return masks.highest(scores, dense, count, masks.Ties(generator(context.seed, "ties/grasp")))


@mask_actions.register
def synflow(context: Context, weights: Tree | None = None, *, density: float, rounds: int = 100, inverted: bool = False) -> Mask:
    """SynFlow: pruned round by round by the flow through each weight, without data, in all layers together.

    S = |w| dR/d|w|, R the sum of the outputs for an input of ones, of the network with |w| in the place of all weights (biases
    too; running statistics as they are). Round r of n keeps the round(density^(r/n) * weights) highest of those that are left,
    scored anew under their mask. Ties are broken by the stream ``ties/synflow``.

    Args:
        weights: W; None: the initial weights.
        inverted: the lowest S stay: the control, which may empty layers.

    Raises:
        TombolaError: if a layer would be empty: give more rounds, or a higher density; for inputs that are tokens.

    Source: Tanaka et al. 2020, equation 2 and algorithm 1. In a network of ReLU, convolutions and products without biases the
    scores of each layer sum to R, so that a layer is pruned less the smaller it gets.
    """
    total = sum(int(np.prod(context.network.shapes[path].shape)) for path in context.network.prunable)
    count = kept_of(context, "synflow", density)
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise TombolaError(f"synflow: rounds = {rounds!r}; write a whole number of at least 1")
    if context.network.data.vocabulary is not None:
        raise TombolaError("synflow: the inputs are tokens, and there is no token of ones; prune by snip or grasp")
    found = context.network.init(context.seed) if weights is None else weights
    mask = selection.dense({path: found[path].shape for path in context.network.prunable})
    sign, ties = -1 if _flag("synflow", inverted) else 1, masks.Ties(generator(context.seed, "ties/synflow"))
    flow = jax.jit(lambda weights, mask: flows(context.network, weights, mask))
    for index in range(1, rounds + 1):
        scores = {path: sign * np.asarray(leaf) for path, leaf in flow(found, mask).items()}
        selection.check_scores(scores, mask)
        mask = masks.highest(scores, mask, count if index == rounds else round(density ** (index / rounds) * total), ties)
        if not inverted and (empty := selection.emptied(mask)):
            raise TombolaError(f"synflow: round {index} of {rounds} empties layer {empty[0]!r}; give more rounds, or a higher density")
    return mask


@mask_actions.register
def learnt_mask(context: Context, scored: Tree, *, supermask: dict[str, Any]) -> Mask:
    """The mask that the scores of a run come to which learnt it, whatever the signs that it gives.

    Args:
        scored: that run's weights and scores; `supermask`: what its recipe calls so.
    """
    return nonzero(chosen(Supermask(**supermask), scored))


def flows(network: Network, weights: Tree, mask: Mask) -> Tree:
    """|w| dR/d|w| of each prunable leaf under a mask (`synflow`); works under jit."""
    ones = jnp.ones((1, *network.data.shape), network.data.dtype)
    size = {path: jnp.abs(leaf) * mask[path] if path in mask else jnp.abs(leaf) for path, leaf in weights.items()}

    def through(leaves: Tree) -> jax.Array:
        return jnp.sum(network.apply({**size, **leaves}, ones, train=False)[0])

    own = {path: size[path] for path in mask}
    return {path: own[path] * leaf for path, leaf in jax.grad(through)(own).items()}


def _flag(name: str, inverted: bool) -> bool:
    if not isinstance(inverted, bool):
        raise TombolaError(f"{name}: inverted = {inverted!r}; write true or false")
    return inverted


def kept_of(context: Context, name: str, density: float) -> int:
    """How many of all prunable weights a density keeps. Raises for what is none, and where some layer would have to be empty."""
    if isinstance(density, bool) or not isinstance(density, int | float) or not 0 < density <= 1:
        raise TombolaError(f"{name}: density = {density!r}; write a share above 0 and up to 1")
    sizes = [int(np.prod(context.network.shapes[path].shape)) for path in context.network.prunable]
    if (count := round(density * sum(sizes))) < len(sizes):
        raise TombolaError(f"{name}: density {density:g} keeps {count} weights of {len(sizes)} layers, and none may be empty; write more")
    return count


def counts(shapes: dict[str, tuple[int, ...]], total: int, densities: Densities) -> dict[str, int]:
    """Path -> weights that are kept, `total` in all, at least one of each leaf and at most all (`sparse`)."""
    sizes = {path: int(np.prod(shape)) for path, shape in shapes.items()}
    sides = {path: {"uniform": (1,), "er": shape[-2:], "erk": shape}[densities] for path, shape in shapes.items()}
    raw = {path: sum(one) / np.prod(one) for path, one in sides.items()}
    whole: set[str] = set()
    while True:
        free = [path for path in shapes if path not in whole]
        e = (total - sum(sizes[path] for path in whole)) / max(1, sum(raw[path] * sizes[path] for path in free))
        if not (more := {path for path in free if e * raw[path] > 1}):
            break
        whole |= more
    exact = {path: float(sizes[path]) if path in whole else e * raw[path] * sizes[path] for path in shapes}
    found = {path: min(sizes[path], max(1, int(one))) for path, one in exact.items()}
    while (left := total - sum(found.values())) != 0:  # by the largest remainder; from the largest what layers of 1 took too much
        if left > 0:
            found[max((path for path in found if found[path] < sizes[path]), key=lambda path: exact[path] - found[path])] += 1
        else:
            found[max(found, key=lambda path: found[path] - exact[path] if found[path] > 1 else -np.inf)] -= 1
    return found


@mask_actions.register
def givens(context: Context, *, density: float, stream: str) -> Mask:
    """The mask of the value action `givens` of the same density and stream: under such masks kernels are exactly orthogonal."""
    return {path: leaf != 0 for path, leaf in givens_of(context, density, stream).items()}
