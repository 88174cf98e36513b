"""Intervals and tests over replicates."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product

import numpy as np

_EXACT = 14
"""Replicates up to which all 2^n sign flips are enumerated; beyond, 2^14 of them are drawn."""


@dataclass(frozen=True)
class Interval:
    """A mean with a two-sided 95 % t-interval over n replicates."""

    mean: float
    low: float
    high: float
    n: int


def interval(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean and Student-t interval. With one value, or an infinite one, the interval is unbounded; NaN values are left out."""
    kept = np.asarray(values, float)
    kept = kept[~np.isnan(kept)]
    if len(kept) == 0:
        return Interval(np.nan, -np.inf, np.inf, 0)
    with np.errstate(invalid="ignore"):  # inf and -inf together have no mean
        mean = float(kept.mean())
    if len(kept) == 1 or np.isinf(kept).any():
        return Interval(mean, -np.inf, np.inf, len(kept))
    half = float(_t_quantile((1 + confidence) / 2, len(kept) - 1) * kept.std(ddof=1) / np.sqrt(len(kept)))
    return Interval(mean, mean - half, mean + half, len(kept))


MOST_REPLICATES_TOLD = 1_000
"""The most replicates that are told as enough to decide: a larger number is no advice."""


def replicates_to_decide(found: Interval, least: float) -> int | None:
    """How many replicates in all it takes until the 95 % t-interval lies on one side of `least`, if the mean and the standard deviation
    over replicates stay as they are. None where that is more than 1,000, or cannot be said.

    >>> replicates_to_decide(Interval(1.0, -0.5, 2.5, 6), 0.0)
    11
    """
    if found.n < 2 or not np.isfinite([found.low, found.high]).all():
        return None
    deviation = (found.high - found.low) / 2 * np.sqrt(found.n) / _t_quantile(0.975, found.n - 1)
    enough = (
        n for n in range(found.n, MOST_REPLICATES_TOLD + 1) if _t_quantile(0.975, n - 1) * deviation < abs(found.mean - least) * np.sqrt(n)
    )
    return next(enough, None)


@cache
def _t_quantile(p: float, degrees: int) -> float:
    """The p-quantile of Student's t, from `scipy.special`: to import all of `scipy.stats` takes a second."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, p))


def sign_flip(differences: Sequence[float]) -> float:
    """Two-sided p-value of paired differences under random sign flips: exact up to 14 pairs.

    p = share of sign patterns s with |mean(s * d)| >= |mean(d)|. With n pairs p is at least 2 / 2^n. NaN values are
    left out; with an infinite one there is no mean to test, and p = 1.
    """
    d = np.asarray(differences, float)
    d = d[~np.isnan(d)]
    if len(d) == 0 or np.isinf(d).any():
        return 1.0
    sums = np.abs(_signs(len(d)) @ d)
    # Sums that are equal on paper differ by rounding, of the size of their terms: as ties they count.
    return float(np.mean(sums >= sums[0] - 1e-12 * np.abs(d).sum()))


@lru_cache(maxsize=16)
def _signs(pairs: int) -> np.ndarray:
    """(patterns, pairs) of +1 and -1, the first all +1."""
    if pairs <= _EXACT:
        return np.array(list(product((1.0, -1.0), repeat=pairs)))
    signs = np.random.Generator(np.random.Philox(key=0)).choice((1.0, -1.0), size=(2**_EXACT, pairs))
    signs[0] = 1.0
    return signs


def jackknife(statistic: Callable[[Sequence[int]], float], units: Sequence[int]) -> list[float]:
    """Pseudo-values n T - (n - 1) T_(-i), one a unit: where T pairs or crosses units, intervals and tests over units are made of them.

    Their mean is T without its bias of order 1 / n. For a T that is a mean over units they are the units' own values. Tukey 1958;
    for means over pairs of units Arvesen 1969.

    Args:
        statistic: T of some of the units; NaN where they are too few.
    """
    n, units = len(units), list(units)
    whole = statistic(units)
    return [n * whole - (n - 1) * statistic(units[:place] + units[place + 1 :]) for place in range(n)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: the family-wise error over all the p-values is kept at the level they are read at.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rho of two columns; NaN values are left out by pairs, and NaN where one column is constant.

    >>> rank_correlation([1, 2, 3], [10, 30, 20]), rank_correlation([1, 2], [5, 5])
    (0.5, nan)
    """
    pairs = np.array([a, b], float)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    if pairs.shape[1] < 2 or (np.ptp(pairs, axis=1) == 0).any():
        return float("nan")
    return float(np.corrcoef([_ranks(values) for values in pairs])[1, 0])


def _ranks(values: np.ndarray) -> np.ndarray:
    """1 for the smallest, and so on; equal values share the mean of their ranks."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
