"""The study's table summarised over replicates."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tombola.evaluation.statistics import interval

if TYPE_CHECKING:
    import pandas as pd

GROUP = ("variant", "arm", "level")
_ALIKE = 1.01
"""Ratio up to which numbers count as the same: counts of small layers are rounded."""


def summarise(table: "pd.DataFrame", metrics: Sequence[str], by: Sequence[str] = GROUP) -> "pd.DataFrame":
    """Mean and 95 % t-interval over replicates; several draws of a replicate are averaged first.

    Returns:
        One row per group and metric: `by`, density, metric, mean, low, high, least, most, n (replicates that have
        a value), infinite (replicates whose value is). `least` and `most` are over the finite values.
    """
    import numpy as np
    import pandas as pd

    by, metrics = list(by), list(metrics)
    values = table.groupby([*by, "replicate"], sort=False)[["density", *metrics]].mean()
    rows = []
    for group, rest in values.groupby(level=by, sort=False):
        for metric in metrics:
            column = rest[metric].to_numpy(float)
            found, finite = interval(column), column[np.isfinite(column)]
            least, most = (finite.min(), finite.max()) if len(finite) else (np.nan, np.nan)
            ends = (found.mean, found.low, found.high, least, most)
            rows.append((*group, rest.density.mean(), metric, *ends, found.n, int(np.isinf(column).sum())))
    return pd.DataFrame(rows, columns=[*by, "density", "metric", "mean", "low", "high", "least", "most", "n", "infinite"])


def of_variant(rows: "pd.DataFrame", variant: str) -> "pd.DataFrame":
    """The rows of one variant."""
    return rows[rows.variant == variant]


def alike(table: "pd.DataFrame", column: str = "density") -> bool:
    """Whether a level has the same value of a column in all arms and variants that have it, within 1 %."""
    groups = [name for name in GROUP if name in table.columns]  # images have no variant
    mean = table.groupby(groups)[column].mean().groupby(level="level")
    return bool((mean.max().dropna() <= _ALIKE * mean.min().dropna()).all())


def densities_of(table: "pd.DataFrame") -> dict[int, float]:
    """Level -> density, averaged over replicates, from dense to sparse."""
    mean = table.groupby("level").density.mean().sort_values(ascending=False, kind="stable")
    return {int(level): float(density) for level, density in mean.items()}


def counts(table: "pd.DataFrame") -> dict[int, str]:
    """Level -> "5,611/26,600", the weights kept; empty where the table does not hold them, or arms differ in them."""
    if not {"kept", "prunable"} <= set(table.columns) or not (alike(table, "kept") and alike(table, "prunable")):
        return {}
    mean = table.groupby("level")[["kept", "prunable"]].mean().dropna()
    return {int(level): f"{row.kept:,.0f}/{row.prunable:,.0f}" for level, row in mean.iterrows()}
