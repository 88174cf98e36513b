"""Arms of a study compared by replicate."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from tombola.evaluation.statistics import holm, interval, sign_flip
from tombola.evaluation.verdict import Effect

if TYPE_CHECKING:
    import pandas as pd


def by_replicate(table: "pd.DataFrame", metric: str, arm: str) -> "pd.DataFrame":
    """Replicates (rows) x levels (columns) of one arm's metric; several draws of a replicate are averaged."""
    return table[table.arm == arm].pivot_table(index="replicate", columns="level", values=metric, aggfunc="mean", dropna=False)


def densities(table: "pd.DataFrame", column: str = "density") -> dict[int, float]:
    """Level -> density, averaged over replicates (they agree where pruning is layer-wise); or another column."""
    return {int(level): float(value) for level, value in table.groupby("level")[column].mean().items()}


def levels_within(table: "pd.DataFrame", low: float, high: float) -> list[int]:
    """Levels of density above `low` and up to `high`, the dense level left out."""
    return [level for level, density in densities(table).items() if low < density <= high and level > 0]


def at_levels(values: "pd.DataFrame", levels: Sequence[int]) -> "pd.DataFrame":
    """The columns of those of the levels that an arm has."""
    return values[[level for level in levels if level in values.columns]]


def effect_over_levels(
    name: str,
    unit: str,
    values: "pd.DataFrame",
    table: "pd.DataFrame",
    *,
    least: float = 0.0,
    note: str = "",
    decides: bool = True,
    along: Literal["density", "step"] = "density",
) -> Effect:
    """The effect averaged over levels within each replicate, with its interval over replicates.

    One number decides, so nothing is corrected for; the levels are shown beside it, Holm-adjusted as a family.

    Args:
        values: replicates x levels, oriented so that the claim expects them above 0.
        along: what tells the levels: the table's column of that name.
    """
    if values.shape[1] == 0 or values.shape[0] == 0:
        note = note or "no level that the claim is about was run"
        return Effect(name, unit, np.nan, -np.inf, np.inf, 0, 1.0, least=least, note=note, decides=decides, along=along)
    mean = values.mean(axis=1)
    found = interval(mean)
    adjusted = holm([sign_flip(values[level]) for level in values.columns])
    place = densities(table, along)
    per_level = tuple((place[level], float(values[level].mean()), p) for level, p in zip(values.columns, adjusted, strict=True))
    return Effect(name, unit, found.mean, found.low, found.high, found.n, sign_flip(mean), per_level, least, note, decides, along)


def effect_of(name: str, unit: str, values: Sequence[float], *, least: float = 0.0, note: str = "", decides: bool = True) -> Effect:
    """The effect of one number a replicate, above 0 as the claim expects, with its interval; none at all: not measured."""
    found = interval(values)
    p = sign_flip(values)
    return Effect(name, unit, found.mean, found.low, found.high, found.n, p, (), least, note, decides)


def difference(table: "pd.DataFrame", metric: str, better: str, worse: str, levels: Sequence[int]) -> "pd.DataFrame":
    """Better - worse at each level, paired by replicate."""
    return combine_arms(table, metric, better, worse, levels, lambda a, b: a - b)


def sooner(table: "pd.DataFrame", metric: str, first: str, second: str, levels: Sequence[int]) -> "pd.DataFrame":
    """+1 where `first` needs fewer iterations than `second`, -1 where it needs more, 0 where neither (also if both never arrive).

    Each draw of `second` is compared, and the signs are averaged: one that never arrives is one win, whatever the others do.
    """
    one, rows = by_replicate(table, metric, first), table[table.arm == second]
    draws = []
    for _, draw in rows.groupby(rows.draw if "draw" in rows else rows.level * 0):
        other = by_replicate(draw, metric, second)
        common = [level for level in levels if level in one.columns and level in other.columns]
        draws.append(np.sign((other[common] - one[common]).fillna(0.0)))
    return sum(draws) / len(draws) if draws else one.iloc[:, :0]


def combine_arms(
    table: "pd.DataFrame",
    metric: str,
    a: str,
    b: str,
    levels: Sequence[int],
    function: Callable[["pd.DataFrame", "pd.DataFrame"], "pd.DataFrame"],
) -> "pd.DataFrame":
    """function(a, b) over the levels that both arms have."""
    one, other = by_replicate(table, metric, a), by_replicate(table, metric, b)
    common = [level for level in levels if level in one.columns and level in other.columns]
    return function(one[common], other[common])


def interpolated(table: "pd.DataFrame", metric: str, arm: str, onto: str, x: str = "density") -> "pd.DataFrame":
    """One arm's metric at the points of another's x: replicates x the levels of `onto`, linear in log x, by replicate.

    For arms that pass through different densities. NaN where `arm` does not reach so far.
    """
    values, places, targets = by_replicate(table, metric, arm), by_replicate(table, x, arm), by_replicate(table, x, onto)
    found = targets.astype(float).copy()
    for replicate in found.index:
        known = sorted(zip(np.log(places.loc[replicate]), values.loc[replicate], strict=True))
        logs, ys = np.array(known, float).T
        there = np.isfinite(logs) & np.isfinite(ys)
        found.loc[replicate] = np.interp(np.log(targets.loc[replicate]), logs[there], ys[there], left=np.nan, right=np.nan)
    return found
