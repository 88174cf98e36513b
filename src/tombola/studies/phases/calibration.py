"""The iteration at which a detector fires, and the level at which it does so nearest to the onset of stability."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tombola.evaluation.statistics import rank_correlation


class Rule(NamedTuple):
    """A level, and on which side of it a signal has to be."""

    level: float
    falls: bool


def fired(signal: np.ndarray, rule: Rule) -> int:
    """The first place at which a signal (n,) is at the level or beyond it; n if none is. NaN is not.

    >>> fired(np.array([np.nan, 3.0, 1.0, 2.0]), Rule(1.5, True)), fired(np.array([1.0, 2.0]), Rule(3.0, False))
    (2, 2)
    """
    beyond = signal <= rule.level if rule.falls else signal >= rule.level
    return int(np.argmax(beyond)) if beyond.any() else len(signal)


def calibrated(signals: Sequence[np.ndarray], steps: Sequence[np.ndarray], onsets: Sequence[float]) -> Rule:
    """The rule whose detections are nearest to the onsets: the least mean of |log2 detected - log2 onset|.

    Args:
        signals: of each network at its stops, (n,).
        steps: log2 of its stops, and what stands for never, (n + 1,).
        onsets: log2 of its onset.

    Every value of a signal is tried as the level, from either side; the first of the best is taken, from below on.
    """
    best, least = Rule(float("nan"), True), np.inf
    finite = np.unique(np.concatenate([one[np.isfinite(one)] for one in signals]))
    for falls in (True, False):
        extremes = [np.minimum.accumulate(np.nan_to_num(one if falls else -one, nan=np.inf)) for one in signals]
        levels = finite if falls else -finite
        parts = zip(extremes, steps, onsets, strict=True)
        errors = [abs(own[(extreme[None] > levels[:, None]).sum(1)] - onset) for extreme, own, onset in parts]
        mean = np.mean(errors, axis=0) if len(levels) else np.array([np.inf])
        if mean.min() < least:
            least, best = float(mean.min()), Rule(float(finite[int(np.argmin(mean))]), falls)
    return best


def partial_rank_correlation(a: Sequence[float], b: Sequence[float], given: Sequence[float]) -> float:
    """Spearman's rho of two columns with the ranks of a third held constant; NaN where one follows from it.

    >>> round(partial_rank_correlation([1, 2, 3, 4], [1, 3, 2, 4], [4, 1, 3, 2]), 3)
    0.873
    """
    ab, ac, bc = rank_correlation(a, b), rank_correlation(a, given), rank_correlation(b, given)
    if np.isnan([ac, bc]).any():
        return ab  # what is held constant is so already
    left = (1 - ac**2) * (1 - bc**2)
    return float((ab - ac * bc) / np.sqrt(left)) if left > 1e-12 else float("nan")
