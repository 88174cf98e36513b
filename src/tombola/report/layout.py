"""Panels side by side and one legend below them, where it covers no data."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tombola.report.axes import log_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_WIDTHS = {1: 3.7, 2: 6.4, 3: 8.6}
"""Inches of a figure of so many columns of panels."""
_HEIGHT = 2.3
_LEGEND_LINE = 0.16
_AROUND = 0.7
"""Inches of a panel's width that its y labels and margins take."""


def panels(count: int) -> tuple["Figure", list["Axes"], float]:
    """An empty figure, its panels (three to a row), and how long their x axes will be at least, in inches."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns, rows = min(count, 3), math.ceil(count / 3)
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.04)
    canvas = Figure(figsize=(_WIDTHS[columns], _HEIGHT * rows + 0.2), layout=layout)
    axes = canvas.subplots(rows, columns, squeeze=False).flatten().tolist()
    for spare in axes[count:]:
        spare.remove()
    return canvas, axes[:count], _WIDTHS[columns] / columns - _AROUND


def legend(canvas: "Figure", handles: Sequence["Line2D"], title: str | None = None) -> None:
    """One legend under all panels, in as many columns as the figure has room for."""
    width, height = canvas.get_size_inches()
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), int(width / (0.06 * longest + 0.58))))
    lines = math.ceil(len(handles) / columns)
    columns, lines = math.ceil(len(handles) / lines), lines + (title is not None)
    canvas.set_size_inches(width, height + _LEGEND_LINE * (lines - 1))
    canvas.legend(handles=handles, loc="outside lower center", ncols=columns, title=title, title_fontsize=8)


def y_axis(ax: "Axes", label: str, values: Iterable[float], log: bool, top: float = 0.06) -> None:
    """The y axis around the finite values (on a log axis the positive ones), with `top` of their range above them.

    The label is broken where it is longer than the axis; where there is nothing to show, the panel says so.
    """
    ax.set_ylabel(textwrap.fill(label, 36))
    if log:
        ax.set_yscale("log", nonpositive="clip")
    shown = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    if not shown:
        ax.set_yticks([])
        ax.set_yticks([], minor=True)
        ax.text(0.5, 0.5, "no finite values", transform=ax.transAxes, ha="center", va="center")
        return
    low, high = (math.log10(end) if log else end for end in (min(shown), max(shown)))
    air = (high - low) or 0.1 * abs(high) or 0.1
    low, high = low - 0.06 * air, high + top * air
    ax.set_ylim(*((10**low, 10**high) if log else (low, high)))
    if log:
        log_ticks(ax)
