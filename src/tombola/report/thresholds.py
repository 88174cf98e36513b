"""What counts as stable, or as equal: a thin line across a panel, within its axis, explained in the caption."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tombola.report.style import PALE
from tombola.studies.base import Panel

if TYPE_CHECKING:
    from matplotlib.axis import XAxis, YAxis


def with_threshold(values: Iterable[float], panel: Panel) -> list[float]:
    """The values that an axis is to show, on its scale, and the panel's threshold, unless none of them is finite."""
    shown = list(values)
    if panel.threshold is None or not any(map(math.isfinite, shown)):
        return shown
    return [*shown, panel.scale * panel.threshold]


def draw_threshold(axis: "XAxis | YAxis", values: Iterable[float], panel: Panel) -> None:
    """The line, horizontal on a y axis and vertical on an x axis, if any of the axis' values is finite."""
    if panel.threshold is not None and any(map(math.isfinite, values)):
        across = axis.axes.axhline if axis.axis_name == "y" else axis.axes.axvline
        across(panel.scale * panel.threshold, color=PALE, linewidth=0.8, zorder=1.4)


def threshold_marks(panels: Sequence[Panel], direction: str, where: str = "") -> str:
    """A sentence for the caption, with a blank before it; "" where there is no threshold. `where`: if not across a panel.

    >>> threshold_marks([Panel("gap", "gap (pp)", scale=100, threshold=0.02)], "horizontal")
    ' Thin horizontal line: the threshold, 2.'
    """
    values = list(dict.fromkeys(f"{panel.scale * panel.threshold:,.6g}" for panel in panels if panel.threshold is not None))
    if not values:
        return ""
    line, threshold = ("line", "threshold") if len(values) == 1 else ("lines", "thresholds")
    return f" Thin {direction} {line}{where}: the {threshold}, {' and '.join(values)}."
