"""The numbers of a picture of journeys: single weights and the ranks of all, by what became of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tombola.core.masks import Mask

FATES = {"pruned": "small all along", "falls": "large at first", "kept": "large all along", "returns": "comes back"}
"""Fate -> its label, those on top last."""
SHOWN = 25
"""Weights of each fate that are drawn."""


def fates(final: np.ndarray, early: np.ndarray) -> dict[str, np.ndarray]:
    """Fate -> which weights have it, by whether they are among the largest in the end, and at an early look."""
    return {"pruned": ~final & ~early, "falls": ~final & early, "kept": final & early, "returns": final & ~early}


def rows_of_fates(final: Mask, weights: Sequence[Mapping[str, np.ndarray]], steps: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Rows with columns arm (the fate), weight, x, value, low and high, for a figure of kind `journeys`.

    Single weights: |w| in standard deviations of their layer's values at the first look. Where `weight` is -1: the median, and the 10th
    and 90th percentile, of the rank of |w| among all weights, 0 the smallest and 1 the largest, of all weights of a fate.
    """
    paths = list(final)
    flat = np.stack([np.concatenate([np.abs(tree[path]).reshape(-1) for path in paths]) for tree in weights])
    unit = np.concatenate([np.full(weights[0][path].size, weights[0][path].std() or 1.0) for path in paths])
    ranks = flat.argsort(axis=1).argsort(axis=1) / max(1, flat.shape[1] - 1)
    stays = np.concatenate([final[path].reshape(-1) for path in paths])
    tenth = int(np.searchsorted(steps, 0.1 * steps[-1]))
    early = ranks[tenth] > 1 - stays.mean()
    random = np.random.default_rng(0)
    for fate, group in fates(stays, early).items():
        places = np.flatnonzero(group)
        for place in sorted(random.permutation(places)[:SHOWN].tolist()):
            for x, size in zip(steps, flat[:, place] / unit[place], strict=True):
                yield {"arm": fate, "weight": place, "x": x, "value": float(size), "low": np.nan, "high": np.nan}
        for x, row in zip(steps, ranks, strict=True):
            low, median, high = np.percentile(row[places], (10, 50, 90)) if len(places) else (np.nan,) * 3
            yield {"arm": fate, "weight": -1, "x": x, "value": float(median), "low": float(low), "high": float(high)}
