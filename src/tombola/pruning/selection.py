"""Selection: scores -> mask, with exact counts."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.masks import Mask

Scope = Literal["layer", "global"]


def prune(scores: Mapping[str, Any], mask: Mask, rates: Mapping[str, float], scope: Scope = "layer") -> Mask:
    """Remove the lowest scores among the weights that are still kept.

    layer:  from each leaf, exactly ``round(rate * kept)`` of its kept weights, half rounded to even.
    global: from all leaves with a rate above 0 together, ``round(rate * kept)``, wherever the scores are lowest;
            their rates must agree. Leaves with rate 0 are not pruned and do not count.

    Args:
        scores: path -> array; higher is kept. Ties are broken by position: the earlier is pruned first. NaN (of a
            replicate that diverged) ranks lowest, so that one such replicate does not end a study.
        mask: what is kept so far; the result is a subset of it.
        rates: path -> share of what is left that is removed, in [0, 1].

    Source: Frankle & Carbin 2019, sections 1 and 4.
    """
    _check_rates(mask, rates)
    if scope == "layer":
        return {path: _prune_leaf(scores[path], mask[path], rates[path]) for path in mask}
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
        flat = _prune_leaf(flat_scores, flat_mask, rates[paths[0]])
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


def _prune_leaf(scores: Any, mask: np.ndarray, rate: float) -> np.ndarray:
    flat, alive = np.asarray(scores).reshape(-1), np.flatnonzero(mask)
    ranked = np.where(np.isnan(flat[alive]), -np.inf, flat[alive])
    lowest = np.argsort(ranked, kind="stable")[: round(rate * alive.size)]
    left = mask.reshape(-1).copy()
    left[alive[lowest]] = False
    return left.reshape(mask.shape)


def _check_rates(mask: Mask, rates: Mapping[str, float]) -> None:
    for path in mask:
        rate = rates.get(path)
        if rate is None or not 0 <= rate <= 1:
            raise TombolaError(f"pruning rate of {path!r} is {rate!r}; a fraction from 0 to 1 is needed")
