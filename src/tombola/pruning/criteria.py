"""Criteria: (initial, final) weights of one leaf -> scores of the same shape. The highest scores are kept.

One that has a third argument `gradient` gets the gradient of the mean loss at `final` there; `squares`, the mean of the squared
gradients of single examples' losses; `examples`, the gradient of each, (n, *shape), 0 where the weight is pruned already; `activity`,
the mean |a| of the unit that a weight leads into (`procedures.actions.Context`).
Equal scores are ordered at random by the streams ``ties/{path}`` of the run, wherever they may be more than an accident (`may_tie`).

A criterion is one function. Zhou et al. 2019, section 2 is the source unless another is named; w_i is the initial and
w_f the final value of a weight. Each works on NumPy and on JAX arrays. Of most criteria X there are also
X_same_sign and X_diff_sign, which keep, by X, first the weights that kept, or changed, their sign.
"""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.keys import generator
from tombola.core.loading import summary
from tombola.core.masks import Mask
from tombola.core.parts import criteria as criteria
from tombola.core.registry import plain
from tombola.core.trees import Tree
from tombola.pruning import surgeon

Criterion = Callable[..., Any]

SLOPES = ("gradient", "squares", "examples", "activity")
"""What a criterion may have as a third argument."""
_ranked: set[str] = set()
"""Names of the criteria whose score of a weight depends on the other weights of its layer."""
_plateaus: set[str] = set()
"""Names of those that give many weights one score."""


def may_tie(name: str, initializer: str) -> bool:
    """Whether scores may be equal by more than accident: by the criterion's nature, or as initial weights have one magnitude.

    Of the others two float32 numbers are equal now and then; their runs were stored when position decided that, and it goes on to.
    """
    return name in _plateaus or "@" in name or initializer == "signed_constant"


def score_leaves(name: str, initial: Tree, final: Tree, before: Mask, slopes: Callable[[str], Tree]) -> Tree:
    """The scores of all leaves of a mask; `slopes` is asked once for what `slope_of` says, and only for a criterion that takes it."""
    slope = slopes(wanted) if (wanted := slope_of(name)) else dict.fromkeys(before)
    if wanted == "examples":
        slope = {path: slope[path] * kept for path, kept in before.items()}
    return {path: scores(name, initial[path], final[path], kept, slope[path]) for path, kept in before.items()}


def slope_of(name: str) -> str | None:
    """The third argument of a criterion, one of `SLOPES`; None if it has none."""
    return next((one for one in SLOPES if one in inspect.signature(criteria[name]).parameters), None)


def scores(name: str, initial: Any, final: Any, before: Any = None, gradient: Any = None) -> Any:
    """The scores of one leaf. Raises if a user's criterion fails or gives another shape.

    Args:
        before: what earlier rounds have left (bool); a criterion of ranks ranks that alone. None: everything.
        gradient: what the criterion has as a third argument.
    """
    given = [initial, final, gradient] if slope_of(name) else [initial, final]
    if given[-1] is None:
        raise TombolaError(f"criterion {plain(name)!r} asks for a gradient, which there is none of here; use tb.score, tb.imp or a study")
    ranked = before is not None and name in _ranked
    given = [_read_only(one)[before] if ranked else _read_only(one) for one in given]
    try:
        found = criteria[name](*given)
    except Exception as error:
        raise TombolaError(
            f"criterion {plain(name)!r} must take (initial, final) and return scores, but it fails: {summary(error)}"
        ) from error
    if ranked:
        ranks, found = found, np.zeros(np.shape(final))
        found[before] = ranks
    if np.shape(found) != np.shape(final):
        raise TombolaError(
            f"criterion {plain(name)!r} returns shape {np.shape(found)} for weights of shape {np.shape(final)}; one score a weight"
        )
    return found


def _read_only(values: Any) -> np.ndarray:
    """A view through which a criterion cannot write into its caller's weights."""
    view = np.asarray(values).view()
    view.flags.writeable = False
    return view


def _by_sign(criterion: Criterion) -> Criterion:
    """Register a criterion, and the two that keep, by it, first the weights that kept, or changed, their sign."""
    for suffix, symbol, holds in (("same", "=", np.equal), ("diff", "!=", np.not_equal)):
        criteria.register(_restricted(criterion, f"{suffix}_sign", symbol, holds))
    return criteria.register(criterion)


def _restricted(criterion: Criterion, suffix: str, symbol: str, holds: Callable[[Any, Any], Any]) -> Criterion:
    def restricted(initial: Any, final: Any) -> Any:
        scores = np.asarray(criterion(initial, final), np.float64)
        return np.where(holds(np.sign(final), np.sign(initial)), scores, _below(scores))

    restricted.__name__ = restricted.__qualname__ = f"{criterion.__name__}_{suffix}"
    restricted.__doc__ = f"As `{criterion.__name__}` where sign(w_f) {symbol} sign(w_i); all other weights rank below all of those."
    return restricted


def _below(scores: np.ndarray) -> np.ndarray:
    """The same order, finite, and below the scores of any layer. Were they equal, chance would decide among them."""
    return 1e30 * (np.arctan(scores) - 2)


def _with_plateaus(criterion: Criterion) -> Criterion:
    _plateaus.add(criterion.__name__)
    return criteria.register(criterion)


@criteria.register
def large_final(initial: Any, final: Any) -> Any:
    """|w_f|: magnitude pruning (Frankle & Carbin 2019, section 2)."""
    return abs(final)


@_by_sign
def small_final(initial: Any, final: Any) -> Any:
    """-|w_f|."""
    return -abs(final)


@_by_sign
def large_init(initial: Any, final: Any) -> Any:
    """|w_i|: pruning before training (Frankle & Carbin 2019, appendix)."""
    return abs(initial)


@_by_sign
def small_init(initial: Any, final: Any) -> Any:
    """-|w_i|."""
    return -abs(initial)


def _by_rank(criterion: Criterion) -> Criterion:
    """Register a criterion of ranks, and its two restrictions by sign."""
    names = {criterion.__name__ + suffix for suffix in ("", "_same_sign", "_diff_sign")}
    _ranked.update(names)
    _plateaus.update(names)
    return _by_sign(criterion)


def _rank(values: np.ndarray) -> np.ndarray:
    """The share of the values that are smaller, in [0, 1): relative, so that layers of different size can be compared."""
    flat = np.asarray(values).reshape(-1)
    return (np.searchsorted(np.sort(flat), flat) / flat.size).reshape(np.shape(values))


@_by_rank
def large_init_large_final(initial: Any, final: Any) -> Any:
    """min(a |w_f|, |w_i|), with a such that both bind equally often: the smaller of the two relative ranks among the layer's
    remaining weights.
    """
    return np.minimum(_rank(abs(final)), _rank(abs(initial)))


@_by_rank
def small_init_small_final(initial: Any, final: Any) -> Any:
    """-max(a |w_f|, |w_i|), with a such that both bind equally often: minus the larger of those two relative ranks."""
    return -np.maximum(_rank(abs(final)), _rank(abs(initial)))


@_by_sign
def magnitude_increase(initial: Any, final: Any) -> Any:
    """|w_f| - |w_i|."""
    return abs(final) - abs(initial)


@_by_sign
def movement(initial: Any, final: Any) -> Any:
    """|w_f - w_i|."""
    return abs(final - initial)


@_with_plateaus
def large_final_same_sign(initial: Any, final: Any) -> Any:
    """max(0, w_f sign(w_i)): large where the weight kept its sign, 0 where it changed (section 5)."""
    return np.maximum(0, final * np.sign(initial))


@_with_plateaus
def large_final_diff_sign(initial: Any, final: Any) -> Any:
    """max(0, -w_f sign(w_i)): large where the weight changed its sign, 0 where it kept it (section 5)."""
    return np.maximum(0, -final * np.sign(initial))


@criteria.register
def snip(initial: Any, final: Any, gradient: Any) -> Any:
    """|w g|, g = dL/dw, the gradient of the mean loss on a batch of training examples (Lee et al. 2019, equation 6).

    Source: SNIP is this at initialisation: ``prune_at="0it"``. At the end of training it is the first-order Taylor criterion
    (Molchanov et al. 2017). The paper's division by the sum of all scores changes no order.
    """
    return abs(final * gradient)


@criteria.register
def optimal_brain_damage(initial: Any, final: Any, squares: Any) -> Any:
    """w^2 E[g_i^2] / 2: the second order of what the loss gains if a weight is removed, by the diagonal of the empirical Fisher.

    g_i is the gradient of one example's loss, not of a batch's mean: the square is taken per example, and then the mean.
    Source: LeCun et al. 1990, equation 5, with the empirical Fisher in the place of the Hessian's diagonal.
    """
    return final**2 * squares / 2


@criteria.register
def optimal_brain_surgeon(initial: Any, final: Any, examples: Any) -> Any:
    """w^2 / (2 [F^-1]_ii): what the loss gains, to second order, if a weight is removed and all others of its layer make up for it.

    F = sum g_i g_i^T / n + lambda 1, the dampened empirical Fisher of the layer over n examples, inverted exactly
    (`tombola.pruning.surgeon`). The value action `brain_surgery` makes up for what is removed.
    Source: Hassibi & Stork 1993, with the empirical Fisher in the place of the Hessian.
    """
    return surgeon.losses(np.asarray(final), np.asarray(examples))


@_with_plateaus
def activity(initial: Any, final: Any, activity: Any) -> Any:
    """The mean |a| of the unit that a weight leads into, over examples: a score of whole units (``structure="units"``).

    Source: Hu et al. 2016 rank units by how often they are 0; this is by their size.
    """
    return np.asarray(activity)


@criteria.register
def random(initial: Any, final: Any) -> Any:
    """Uniform in [0, 1), whatever the values are: the control.

    A criterion is given no key: the draw is keyed by the SHA-256 of the leaf's shape and initial values (float32, C order).
    So every layer and every replicate has its own, and rounds, which all see the same initial values, prune further in
    the same order: a mask made round by round is the one made at once. Layers of one shape whose initial values are
    bitwise equal (all 0, say) get equal scores.
    """
    values = np.ascontiguousarray(initial, np.float32)
    return generator(0, f"random/{values.shape}/{hashlib.sha256(values.tobytes()).hexdigest()}").random(values.shape)
