"""What a heat map shows: its values and marks, their scale, and the numbers in its cells."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tombola.report.axes import count_label
from tombola.report.groups import titled
from tombola.report.result import rows_of
from tombola.report.text import number
from tombola.report.thresholds import with_threshold
from tombola.studies.base import Figure, Findings, Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.colors import Normalize

_SIZES = (4.5, 6.5)
"""Points of the numbers: the least that is legible, and the largest."""
_EM = 0.64
"""Width of a digit in sizes of the font; a point, a comma or a minus takes about half of it."""


@dataclass(frozen=True)
class Map:
    """What one variant and arm have."""

    title: str
    """"" for a single one."""
    values: "tuple[pd.DataFrame, ...]"
    """For each panel, on its scale: rows by columns."""
    marks: tuple[str, ...]
    """Of the rows; "" for none."""

    @property
    def rows(self) -> list[str]:
        """From top to bottom."""
        return list(self.values[0].index)

    @property
    def columns(self) -> list[str]:
        """From left to right."""
        return list(self.values[0].columns)


def maps_of(figure: Figure, report: Findings) -> list[Map]:
    """The maps in the study's order; rows and columns as they first come; draws averaged before replicates are."""
    found = []
    for title, details in titled(rows_of(figure, report), report, ("variant", "arm")):
        layers, columns = details["row"].unique(), details["column"].unique()
        metrics = list(dict.fromkeys(panel.metric for panel in figure.panels))
        mean = details.groupby(["row", "column", "replicate"])[metrics].mean()
        mean = mean.groupby(level=["row", "column"]).mean()
        values = [panel.scale * mean[panel.metric].unstack("column").reindex(index=layers, columns=columns) for panel in figure.panels]
        marks = details.groupby("row").mark.first().reindex(layers).fillna("") if "mark" in details.columns else [""] * len(layers)
        found.append(Map(title, tuple(values), tuple(marks)))
    return found


def scale_of(panel: Panel, values: Sequence["pd.DataFrame"]) -> "Normalize":
    """From light to dark over a panel's finite values and its threshold: logarithmic where the panel says so and all are
    above 0, else linear, from 0 on where that is not far below.
    """
    from matplotlib.colors import LogNorm, Normalize

    every = np.concatenate([of_map.to_numpy(float).ravel() for of_map in values])
    ends = with_threshold(every[np.isfinite(every)], panel) or [0.0]
    low, high = float(min(ends)), float(max(ends))
    if panel.log and low > 0:
        return LogNorm(low, high) if low < high else LogNorm(low / 2, high * 2)
    low = 0.0 if 0 <= low <= 0.5 * high else low
    return Normalize(low, high if low < high else low + 1)


def written(values: Sequence["pd.DataFrame"], scale: "Normalize") -> list["pd.DataFrame"]:
    """The numbers of a panel's cells: three digits of the largest and as many decimals of all, or two or three digits of
    each where the scale is logarithmic; "" where nothing was measured.
    """
    from matplotlib.colors import LogNorm

    every = np.abs(np.concatenate([of_map.to_numpy(float).ravel() for of_map in values]))
    most = max(every[np.isfinite(every)], default=0.0)
    places = min(3, max(0, 2 - math.floor(math.log10(0.99 * most)))) if most else 0

    def form(value: float) -> str:
        if math.isnan(value):
            return ""
        return digits(value) if isinstance(scale, LogNorm) else number(value, places)

    return [of_map.map(form) for of_map in values]


def digits(value: float) -> str:
    """Two or three digits of a positive number.

    >>> [digits(value) for value in (0.00012, 0.034, 7.25, 1520.0, 3.2e12, math.inf)]
    ['0.00012', '0.034', '7.2', '1.5k', '3e12', 'inf']
    """
    if math.isinf(value):
        return "inf"
    return count_label(value) if 1e-4 <= value < 1e9 else f"{value:.0e}".replace("e+", "e").replace("e-0", "e-")


def size_of(texts: Sequence["pd.DataFrame"], width: float, height: float) -> float:
    """Points at which all of some numbers fit into a cell of so many points; 0 where that is too small to read."""
    longest = max(
        (sum(_EM / 2 if sign in ".,-" else _EM for sign in text) for of_map in texts for text in of_map.to_numpy().ravel()), default=0
    )
    size = min(_SIZES[1], (width - 2) / max(longest, _EM), height - 2)
    return size if size >= _SIZES[0] else 0.0
