"""Arms of a study compared by replicate."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tombola.evaluation.statistics import holm, interval, sign_flip
from tombola.evaluation.verdict import LEAST_UNITS, Effect

if TYPE_CHECKING:
    import pandas as pd


def by_replicate(table: "pd.DataFrame", metric: str, arm: str) -> "pd.DataFrame":
    """Replicates (rows) x levels (columns) of one arm's metric; several draws of a replicate are averaged."""
    import pandas as pd

    there = (table.arm == arm).to_numpy()
    values = table[metric].to_numpy(float)[there]
    replicates, row = np.unique(table.replicate.to_numpy()[there], return_inverse=True)
    levels, column = np.unique(table.level.to_numpy()[there], return_inverse=True)
    known = ~np.isnan(values)
    # Claims ask for this thousands of times: pandas' pivot_table takes ten times as long.
    total, count = np.zeros((2, len(replicates), len(levels)))
    np.add.at(total, (row[known], column[known]), values[known])
    np.add.at(count, (row[known], column[known]), 1)
    with np.errstate(invalid="ignore"):
        return pd.DataFrame(total / count, pd.Index(replicates, name="replicate"), pd.Index(levels, name="level"))


def densities(table: "pd.DataFrame", column: str = "density") -> dict[int, float]:
    """Level -> density, averaged over replicates (they agree where pruning is layer-wise); or another column."""
    return {int(level): float(value) for level, value in table.groupby("level")[column].mean().items()}


def levels_within(table: "pd.DataFrame", low: float, high: float) -> list[int]:
    """Levels of density above `low` and up to `high`, the dense level left out."""
    return [level for level, density in densities(table).items() if low < density <= high and level > 0]


def at_levels(values: "pd.DataFrame", levels: Sequence[int]) -> "pd.DataFrame":
    """The columns of those of the levels that an arm has."""
    return values[[level for level in levels if level in values.columns]]


def effect(
    name: str,
    unit: str,
    values: "pd.DataFrame | pd.Series | Sequence[float]",
    *,
    least: float = 0.0,
    note: str = "",
    judged: bool = True,
    lacks: str = "",
    places: Mapping[int, float] | None = None,
    along: Literal["density", "step"] = "density",
) -> Effect:
    """An effect with its interval and test over replicates.

    One number a replicate decides, its mean over levels, so nothing is corrected for; the levels are shown beside it, Holm-adjusted as
    a family. Fewer than `LEAST_UNITS` replicates, or values that do not differ at all, decide nothing.

    Args:
        values: replicates x levels, or one number a replicate, oriented so that the claim expects them above `least`.
        lacks: a precondition that is missing.
        places: level -> density or step, by which levels are told.
    """
    frame: Any = values if hasattr(values, "columns") else None
    means = np.asarray(values, float) if frame is None else frame.mean(axis=1).to_numpy(float) if frame.shape[1] else np.zeros(0)
    means = means[~np.isnan(means)]
    found = interval(means)
    lacks = lacks or _too_little(means)
    per_level: tuple[tuple[float, float, float], ...] = ()
    if frame is not None and places:
        adjusted = holm([sign_flip(frame[level] - least) for level in frame.columns])
        per_level = tuple((places[level], float(frame[level].mean()), p) for level, p in zip(frame.columns, adjusted, strict=True))
    p = sign_flip(means - least)
    return Effect(name, unit, found.mean, found.low, found.high, found.n, p, per_level, least, note, judged, lacks, along=along)


def _too_little(means: np.ndarray) -> str:
    if len(means) == 0:
        return "nothing was measured"
    if len(means) < LEAST_UNITS:
        return f"{len(means)} of the {LEAST_UNITS} replicates that it takes"
    return "all replicates have the same value, which has no interval" if np.ptp(means) == 0 else ""


def at_an_end(what: str, values: Mapping[str, Any], counts: float, low: float = 0.0, high: float = 100.0) -> str:
    """Why nothing can be told of values that lie together at one end of what they can be; "" if they do not.

    Args:
        what: they are, as the reason says it.
        values: name -> values in %, whose means are looked at.
        counts: the difference that would count, in pp: nearer than that to an end is at it.
        low, high: the ends.
    """
    known = {name: np.asarray(of, float) for name, of in values.items()}
    means = {name: float(np.nanmean(of)) for name, of in known.items() if not np.isnan(of).all()}
    least, most = min(means.values(), default=high), max(means.values(), default=low)
    if not means or (most > low + counts and least < high - counts):
        return ""
    said = " and ".join(f"{mean:.3g} % ({name})" for name, mean in means.items())
    return f"no room: {what} is {said}, within the {counts:.2g} pp that would count of {low if most <= low + counts else high:.3g} %"


def growth(values: "pd.DataFrame", at: Sequence[int], than: Sequence[int]) -> "pd.DataFrame":
    """Values at some levels less their mean over others, by replicate; without columns where one side was not run."""
    later, sooner = at_levels(values, at), at_levels(values, than)
    return later.sub(sooner.mean(axis=1), axis=0) if sooner.shape[1] else later.iloc[:, :0]


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
        at = np.log(targets.loc[replicate])
        found.loc[replicate] = np.interp(at, logs[there], ys[there], left=np.nan, right=np.nan) if there.any() else np.nan
    return found
