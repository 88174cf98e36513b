"""The places at which values along the steps k settle, cross a line, or are worst."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def settled(values: Sequence[bool]) -> int:
    """The place from which on all are True; the number of places if the last is False.

    >>> settled([False, True, False, True, True]), settled([True, False])
    (3, 2)
    """
    return next((place + 1 for place in reversed(range(len(values))) if not values[place]), 0)


def worst(values: "pd.DataFrame") -> "pd.DataFrame":
    """The level at which an effect is smallest by its mean over replicates: what holds there holds at every level."""
    mean = values.mean()
    return values[[mean.idxmin()]] if mean.notna().any() else values


def crossing(values: "pd.Series", line: float) -> float:
    """The fractional place from which on values are at or below a line: where the straight line from the last value above it
    to the next one crosses. 0 if all are below; NaN if the last is not.
    """
    after = settled([value <= line for value in values])
    if after in (0, len(values)):
        return 0.0 if after == 0 else float("nan")
    before, below = values.iloc[after - 1], values.iloc[after]
    return float(after if np.isnan(before) else after - 1 + (before - line) / (before - below))
