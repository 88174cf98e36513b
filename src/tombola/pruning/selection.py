"""Selection: scores -> mask, with exact counts."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.keys import generator
from tombola.core.masks import Mask

Scope = Literal["layer", "global"]
Ties = Callable[[str], np.random.Generator]
"""Path of a leaf, or name of a layer -> the stream that decides among equal scores in it."""


def ties_of(seed: int) -> Ties:
    """The streams ``ties/{path}`` of a seed: in all rounds the same, so that a mask made round by round is the one made at once."""
    return lambda path: generator(seed, f"ties/{path}")


def prune(scores: Mapping[str, Any], mask: Mask, rates: Mapping[str, float], scope: Scope = "layer", ties: Ties | None = None) -> Mask:
    """Remove the lowest scores among the weights that are still kept.

    layer:  from each leaf, exactly ``round(rate * kept)`` of its kept weights, half rounded to even.
    global: from all leaves with a rate above 0 together, ``round(rate * kept)``, wherever the scores are lowest;
            their rates must agree. Leaves with rate 0 are not pruned and do not count.

    Args:
        scores: path -> array of finite numbers; higher is kept.
        mask: what is kept so far; the result is a subset of it.
        rates: path -> share of what is left that is removed, in [0, 1].
        ties: streams by which equal scores are ordered at random: by position, a score of plateaus would take away whole rows.
            None: by position, the earlier is pruned first.

    Raises:
        TombolaError: a score of a kept weight that is not a finite real number; rates that are none, or differ under `global`.

    Source: Frankle & Carbin 2019, sections 1 and 4.
    """
    _check_rates(mask, rates)
    check_scores(scores, mask)
    if scope == "layer":
        return {path: _without(mask[path], scores[path], rates[path], order_of(path, mask[path].size, ties)) for path in mask}
    if scope != "global":
        raise TombolaError(f"scope {scope!r}: write 'layer' or 'global'")
    paths = [path for path in mask if rates[path] > 0]
    if len({rates[path] for path in paths}) > 1:
        given = ", ".join(f"{rate:g}" for rate in sorted({rates[path] for path in paths}))
        raise TombolaError(
            f"global pruning takes one rate for all layers, or 0 to leave a layer out, but it was given {given}; "
            'set equal rates, such as rates={"dense": 0.2, "output": 0.2}'
        )
    pruned = dict(mask)
    if paths:
        flat_scores = np.concatenate([np.asarray(scores[path]).reshape(-1) for path in paths])
        flat_mask = np.concatenate([mask[path].reshape(-1) for path in paths])
        order = None if ties is None else np.concatenate([order_of(path, mask[path].size, ties) for path in paths])
        flat = _without(flat_mask, flat_scores, rates[paths[0]], order)
        ends = np.cumsum([mask[path].size for path in paths])
        for path, part in zip(paths, np.split(flat, ends[:-1]), strict=True):
            pruned[path] = part.reshape(mask[path].shape)
    return pruned


def emptied(mask: Mask) -> list[str]:
    """Leaves of which nothing is left: the network no longer carries a signal through them."""
    return [path for path, leaf in mask.items() if not leaf.any()]


def dense(shapes: Mapping[str, tuple[int, ...]]) -> Mask:
    """The mask that keeps everything."""
    return {path: np.ones(shape, bool) for path, shape in shapes.items()}


def uniform_rates(paths: Iterable[str], fraction: float) -> dict[str, float]:
    """The same rate for every path."""
    return dict.fromkeys(paths, fraction)


def check_scores(scores: Mapping[str, Any], mask: Mask) -> None:
    """Raise unless all scores of kept weights are finite real numbers: a network that diverged has no ranking."""
    for path, leaf in mask.items():
        found = np.asarray(scores[path])
        if found.dtype.kind not in "buif":
            raise TombolaError(f"scores of {path!r} are {found.dtype}; a criterion gives real numbers")
        if wrong := int(np.count_nonzero(leaf & ~np.isfinite(found))):
            raise TombolaError(
                f"{wrong} of {np.count_nonzero(leaf)} scores of kept weights of {path!r} are not finite; the network has probably "
                "diverged: lower its learning rate, or mend the criterion"
            )


def order_of(name: str, size: int, ties: Ties | None) -> np.ndarray | None:
    """Random numbers, of which the lower goes first among equal scores; None: the earlier goes first."""
    return None if ties is None else ties(name).random(size)


def ranked(scores: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    """Places from the lowest score to the highest."""
    return np.argsort(scores, kind="stable") if order is None else np.lexsort((order, scores))


def _without(mask: np.ndarray, scores: Any, rate: float, order: np.ndarray | None) -> np.ndarray:
    """The mask less its lowest scores."""
    flat, alive = np.asarray(scores).reshape(-1), np.flatnonzero(mask)
    lowest = ranked(flat[alive], None if order is None else order[alive])[: round(rate * alive.size)]
    left = mask.reshape(-1).copy()
    left[alive[lowest]] = False
    return left.reshape(mask.shape)


def _check_rates(mask: Mask, rates: Mapping[str, float]) -> None:
    for path in mask:
        rate = rates.get(path)
        if rate is None or not 0 <= rate <= 1:
            raise TombolaError(f"pruning rate of {path!r} is {rate!r}; a fraction from 0 to 1 is needed")
