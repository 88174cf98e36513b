"""Actions: how masks and starting values are made from parents. One function each, registered by one line.

An action takes a `Context`, its parents in order, and its options; it returns a tree. It reads randomness only
from the run's own named streams, so the same description always gives the same bits.
"""

from typing import Any, Literal, get_args

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.keys import generator
from tombola.core.masks import Mask
from tombola.core.parts import mask_actions as mask_actions
from tombola.core.parts import value_actions as value_actions
from tombola.core.registry import plain
from tombola.core.task import KINDS, Rates
from tombola.core.trees import Tree
from tombola.models.network import Network
from tombola.procedures.context import Context as Context
from tombola.pruning import controls, criteria, selection, structured
from tombola.pruning.pruning import Pruning
from tombola.surgery import values

Order = Literal["position", "random"]


@mask_actions.register
def prune(
    context: Context, initial: Tree, final: Tree, before: Mask, *, ties: Order = "position", inverted: bool = False, **options: Any
) -> Mask:
    """One round of pruning: the lowest scores among the weights (or whole units) that `before` keeps are removed.

    Args:
        initial, final: weights that the criterion scores.
        ties: how equal scores are ordered: by `position`, or at `random`, from the run's streams ``ties/{path}``.
        inverted: the highest scores are removed: the control of a criterion.
        options: those of `Pruning.options`.
    """
    pruning = Pruning(**options)
    scores = criteria.score_leaves(pruning.criterion, initial, final, before, lambda which: getattr(context, which)(final))
    if not isinstance(inverted, bool) or (inverted and pruning.structure == "units"):
        raise TombolaError(f"prune: inverted = {inverted!r}; write true or false, and true of single weights only, not of units by a norm")
    _check_plateau(context, scores, initial, final, before, pruning)
    if inverted:
        scores = {path: 0.0 - leaf for path, leaf in scores.items()}
    return prune_round(context, scores, before, pruning, ties)


@mask_actions.register
def shuffle(context: Context, like: Mask, *, stream: str) -> Mask:
    """A random mask with the same count in each layer, drawn from the run's stream `stream`."""
    return controls.shuffle(like, context.seed, stream)


@mask_actions.register
def shuffle_degrees(context: Context, like: Mask, *, stream: str) -> Mask:
    """A random mask in which each input and output of a layer keeps its number of connections, from the run's stream `stream`."""
    return controls.same_degrees(like, context.seed, stream)


@mask_actions.register
def shuffle_units(context: Context, like: Mask, *, stream: str) -> Mask:
    """Random units, as many in each layer, drawn from the run's stream `stream`; `like` is made of whole units."""
    return structured.shuffle_units(like, context.network.units, context.seed, stream)


@mask_actions.register
def parent_mask(context: Context, mask: Mask) -> Mask:
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
def reinit(context: Context, weights: Tree | None = None, *, stream: str, keep_sign: bool = False) -> Tree:
    """theta_0': a fresh draw from each layer's own initialiser (Frankle & Carbin 2019, section 2).

    Args:
        weights: W_k: what is not prunable is as there, and so are the signs; None: the initial weights. Without them, and
            without `keep_sign`, random biases are drawn anew too.
        keep_sign: the draw's magnitudes under the weights' own signs.
    """
    if weights is None and not keep_sign:
        return context.network.init(context.seed, stream)
    return values.drawn(context.network, _first(context, weights), context.seed, stream, keep_sign)


@value_actions.register
def permute(context: Context, weights: Tree | None = None, *, stream: str, keep_sign: bool = False) -> Tree:
    """All values of each layer in random order, whatever the mask keeps: what the authors of Zhou et al. 2019 call reinit."""
    return values.permuted(context.network, _first(context, weights), context.seed, stream, keep_sign)


@value_actions.register
def reshuffle(context: Context, weights: Tree | None = None, *, stream: str, keep_sign: bool = False) -> Tree:
    """The values of each layer's kept weights in random order among their places (Zhou et al. 2019, section 3)."""
    if context.mask is None:
        raise TombolaError("value action 'reshuffle' permutes the values of kept weights, so the run needs a mask")
    return values.reshuffled(context.network, _first(context, weights), context.mask, context.seed, stream, keep_sign)


@value_actions.register
def signed_constant(context: Context, weights: Tree | None = None, *, keep_sign: bool = True, stream: str = "") -> Tree:
    """+-a, a = the standard deviation of the layer's initialiser: own signs, or fair coins (Zhou et al. 2019, section 3)."""
    return values.constant(context.network, _first(context, weights), context.seed, stream, keep_sign)


@value_actions.register
def random_signs(context: Context, weights: Tree | None = None, *, stream: str) -> Tree:
    """The weights' magnitudes under fair random signs."""
    return values.resigned(context.network, _first(context, weights), context.seed, stream)


@value_actions.register
def zero_moved(context: Context, weights: Tree, final: Tree, *, moved: values.Moved = "towards", stream: str = "") -> Tree:
    """The weights with those set to 0 that moved towards 0 on their way to `final` (Zhou et al. 2019, section 4).

    As `pruned` values this is the paper's V1; as `kept` values with V1 its V2. In a chain whose rounds look at the run
    before, what a round set to 0 stays 0 (|0| < |w|), and what it froze stays frozen (w_f = w did not move). That holds of
    `towards` alone: the controls would turn over, or draw anew, what an earlier round held, so give them the `final` of
    the run that they are compared with.

    Args:
        weights, final: W_k, and where the same weights ended.
        moved: `towards`: |w_f| < |w|; or a control: `away`, the others; `random`, as many at random places, drawn by
            themselves among the kept and among the pruned weights of each leaf, from `stream`.
    """
    return values.zeroed(context.network, weights, final, moved, context.mask, context.seed, stream)


@value_actions.register
def noise(context: Context, *, scale: float, stream: str) -> Tree:
    """theta_0 + scale sigma z: z standard normal, sigma the standard deviation of the layer's initialiser.

    Prunable leaves only (Frankle & Carbin 2019, appendix).
    """
    weights = dict(context.network.init(context.seed))
    for path in context.network.prunable:
        z = generator(context.seed, f"{stream}/{path}").standard_normal(weights[path].shape)
        weights[path] = (weights[path] + scale * context.network.std(path) * z).astype(weights[path].dtype)
    return weights


@value_actions.register
def perturb(context: Context, weights: Tree, *, size: float, which: Literal["all", "one"] = "all", stream: str) -> Tree:
    """W + size sigma z on the kept prunable weights, sigma the standard deviation of the layer's initialiser, all else as in W.

    Args:
        size: at 0 these are the weights, bit for bit.
        which: `all`: z is standard normal; `one`: z is 1 or -1 at one weight, and 0 elsewhere. It is drawn among those that the
            training loss depends on (`Context.gradient` is not 0): one that reads a blank pixel would change nothing.
        stream: of the run, which z is drawn from.
    """
    if which not in ("all", "one"):
        raise unknown("which of perturb", which, ("all", "one"))
    if isinstance(size, bool) or not isinstance(size, int | float) or not size >= 0:
        raise TombolaError(f"perturb: size = {size!r}; write a number of at least 0, in standard deviations of the initialiser")
    random, found = generator(context.seed, stream), dict(weights)
    kept = {path: np.ones(weights[path].shape, bool) if context.mask is None else context.mask[path] for path in context.network.prunable}
    if which == "one":
        slopes = context.gradient(weights)
        kept = {path: leaf & (slopes[path] != 0) for path, leaf in kept.items()}
        if not any(leaf.any() for leaf in kept.values()):
            raise TombolaError("perturb: the loss depends on no weight that is kept, so that none can be moved; take another start")
    counts = [int(leaf.sum()) for leaf in kept.values()]
    z = np.zeros(sum(counts)) if which == "one" else random.standard_normal(sum(counts))
    if which == "one":
        z[random.integers(len(z))] = random.choice((-1.0, 1.0))
    for (path, leaf), own in zip(kept.items(), np.split(z, np.cumsum(counts)[:-1]), strict=True):
        move = np.zeros(leaf.shape)
        move[leaf] = size * context.network.std(path) * own
        found[path] = (weights[path] + move).astype(weights[path].dtype)
    return found


@value_actions.register
def resample(context: Context, *, stream: str) -> Tree:
    """Each kept weight drawn, with replacement, from the initial values of its layer's kept weights.

    That is a fresh initialisation from the ticket's own distribution of initial values (Frankle & Carbin 2019,
    appendix). All that is not prunable is as in theta_0.
    """
    if context.mask is None:
        raise TombolaError("value action 'resample' draws from the values of kept weights, so the run needs a mask")
    weights = dict(context.network.init(context.seed))
    for path, leaf in context.mask.items():
        values = weights[path][leaf]
        if values.size:
            drawn = generator(context.seed, f"{stream}/{path}").choice(values, values.size)
            weights[path] = weights[path].copy()
            weights[path][leaf] = drawn
    return weights


def _check_plateau(context: Context, scores: Tree, initial: Tree, final: Tree, before: Mask, pruning: Pruning) -> None:
    """Raise where a criterion says nothing of weights that are to be pruned: they start from 0, or have no gradient where others do."""
    rates, slope = rates_by_path(context.network, pruning.rates), criteria.slope_of(pruning.criterion)
    by_slope = slope not in (None, "activity")  # no layer reads what the last one gives
    for path, kept in before.items():
        silent = rates[path] > 0 and kept.sum() > 1 and not np.any(np.asarray(scores[path])[kept])
        if silent and np.ptp(final[path]) > 0 and (by_slope or not np.any(initial[path])):
            raise TombolaError(
                f"criterion {plain(pruning.criterion)!r} scores all {kept.sum()} weights of {path!r} 0, so nothing tells which are to go: "
                "such weights start from 0, or there is no gradient where others do; choose large_final, or a rate of 0 for that layer"
            )


def _first(context: Context, weights: Tree | None) -> Tree:
    return context.network.init(context.seed) if weights is None else weights


def prune_round(context: Context, scores: Tree, before: Mask, pruning: Pruning, ties: Order) -> Mask:
    """One round on scores: single weights, or whole units by the norm of their weights' scores."""
    if ties not in get_args(Order):
        raise unknown("order of ties", ties, get_args(Order))
    network, scope, streams = context.network, pruning.scope or "layer", selection.ties_of(context.seed) if ties == "random" else None
    rates = rates_by_path(network, pruning.rates)
    if pruning.structure == "units":
        return structured.prune_units(scores, before, rates, network.units, pruning.norm, scope, streams)
    return selection.prune(scores, before, rates, scope, streams)


def rates_by_path(network: Network, rates: Rates) -> dict[str, float]:
    """Path of each prunable leaf -> the rate of its layer: by the layer's name, or that of its block, or else by its kind.

    Raises:
        TombolaError: a name that is neither a layer's nor a block's nor a kind's; a layer without a rate.
    """
    layers = {layer.name: layer for layer in network.layers if layer.prunable}
    blocks = {layer.block for layer in layers.values()}
    if wrong := [name for name in rates if name not in layers and name not in blocks and name not in KINDS]:
        parts = [", ".join(one) for one in (layers, sorted(blocks - layers.keys()), KINDS)]
        raise TombolaError(
            f"rates: there is no layer or kind of layer {wrong[0]!r}; the layers are {parts[0]}; "
            f"{f'their blocks {parts[1]}; ' if parts[1] else ''}the kinds {parts[2]}"
        )
    found: dict[str, float] = {}
    for name, layer in layers.items():
        told = next((one for one in (name, layer.block, layer.kind) if one in rates), None)
        if told is None:
            raise TombolaError(f"rates: no pruning rate for {layer.kind!r} layers such as {name!r}; add one (0 leaves them whole)")
        found.update(dict.fromkeys(layer.prunable, rates[told]))
    return found
