"""Panels by variant and metric, and one legend below them, where it covers no data."""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from tombola.report.axes import linear_part, log_ticks
from tombola.studies.base import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_WIDTHS = {1: 3.7, 2: 6.4, 3: 8.6}
"""Inches of a figure of so many columns of panels."""
_HEIGHT = 2.3
_TITLE = 0.17
_LEGEND_LINE = 0.16
_AROUND = 0.7
"""Inches of a panel's width that its y labels and margins take."""
_FLAT = 3.0
"""Limits are shared by the variants of a metric unless they are so many times as long as those of the typical variant."""


@dataclass(frozen=True)
class Facet:
    """A pair of axes: what a panel shows of a variant."""

    ax: "Axes"
    variant: str
    panel: Panel
    leftmost: bool
    """Or another metric than the axes to its left."""
    lowest: bool


def facets(panels: Sequence[Panel], titles: Mapping[str, str]) -> tuple["Figure", list[Facet], float]:
    """An empty figure, its axes, and how long their x axes will be at least, in inches.

    One panel: the variants side by side, three to a row. Several: a row for each variant (more, where there are more
    than three panels).

    Args:
        titles: of the variants; "" for none.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    places = _places(panels, list(titles))
    taken = {(row, column) for row, column, _, _ in places}
    rows, columns = (1 + max(place[axis] for place in taken) for axis in (0, 1))
    layout = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.04)
    canvas = Figure(figsize=(_WIDTHS[columns], (_HEIGHT + _TITLE * any(titles.values())) * rows + 0.2), layout=layout)
    axes = canvas.subplots(rows, columns, squeeze=False)
    for row, column in {(row, column) for row in range(rows) for column in range(columns)} - taken:
        axes[row, column].remove()
    inches = _WIDTHS[columns] / columns - _AROUND
    found = []
    for row, column, variant, panel in places:
        ax = axes[row, column]
        if titles[variant] and panel == panels[0]:
            title = titles[variant] if len(panels) > 1 else textwrap.fill(titles[variant], int(inches / 0.066), break_on_hyphens=False)
            ax.set_title(title, loc="left", fontsize=8, fontweight="bold")
        found.append(Facet(ax, variant, panel, len(panels) > 1 or column == 0, (row + 1, column) not in taken))
    return canvas, found, inches


def _places(panels: Sequence[Panel], variants: Sequence[str]) -> list[tuple[int, int, str, Panel]]:
    """(row, column, variant, panel)"""
    if len(panels) == 1:
        return [(index // 3, index % 3, variant, panels[0]) for index, variant in enumerate(variants)]
    deep = math.ceil(len(panels) / 3)
    return [
        (deep * place + index // 3, index % 3, variant, panel)
        for place, variant in enumerate(variants)
        for index, panel in enumerate(panels)
    ]


def nothing(why: str) -> "Figure":
    """A figure in the place of one that has nothing to show (levels beyond those that a small scale runs)."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(_WIDTHS[1], 0.6))
    canvas.text(0.5, 0.5, why, ha="center", va="center")
    return canvas


def legend(canvas: "Figure", handles: Sequence["Line2D"], title: str | None = None) -> None:
    """One legend under all panels, in as many columns as the figure has room for; none where nothing is drawn."""
    if not handles:
        return
    width, height = canvas.get_size_inches()
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), int(width / (0.06 * longest + 0.58))))
    lines = math.ceil(len(handles) / columns)
    columns, lines = math.ceil(len(handles) / lines), lines + (title is not None)
    canvas.set_size_inches(width, height + _LEGEND_LINE * (lines - 1))
    canvas.legend(handles=handles, loc="outside lower center", ncols=columns, title=title, title_fontsize=8)


def y_axes(drawn: Sequence[Facet], values: Sequence[Iterable[float]], top: float = 0.06, zero: bool = False) -> None:
    """The y axes of one metric's facets around their values: the same for all variants, as far as none is flattened."""
    each = [list(of_facet) for of_facet in values]
    everything = [value for of_facet in each for value in of_facet]
    log = drawn[0].panel.log
    spans = [span for span in (_span(of_facet, log) for of_facet in each) if span]
    shared = bool(spans) and _span(everything, log) <= _FLAT * median(spans)
    for facet, own in zip(drawn, each, strict=True):
        label = facet.panel.label if facet.leftmost or not shared else ""
        value_axis(facet.ax.yaxis, label, everything if shared and _shown(own, log) else own, log, top, zero)


def _shown(values: Iterable[float], log: bool) -> list[float]:
    """The finite values; on a log axis the positive ones."""
    return [value for value in values if math.isfinite(value) and (value > 0 or not log)]


def _span(values: Iterable[float], log: bool) -> float:
    shown = _shown(values, log)
    if not shown:
        return 0.0
    return math.log(max(shown) / min(shown)) if log else max(shown) - min(shown)


def value_axis(axis: "XAxis | YAxis", label: str, values: Sequence[float], log: bool, top: float = 0.06, zero: bool = False) -> None:
    """An axis around the finite values, with `top` of their range above them; `zero`: from 0 on, or close above.

    A log axis is linear below the smallest positive value where there are values of 0 (an early stop at iteration 0),
    so that they have a place on it. The label is broken where it is longer than the axis; where there is nothing to
    show, the panel says so.
    """
    axis.set_label_text(textwrap.fill(label, 36))
    shown = _shown(values, log=False)
    if not shown:
        axis.set_ticks([])
        axis.set_ticks([], minor=True)
        axis.axes.text(0.5, 0.5, "no finite values", transform=axis.axes.transAxes, ha="center", va="center")
        return
    positive = _shown(values, log=True)
    least = min(positive) if log and positive and len(positive) < len(shown) else 0.0
    set_scale = getattr(axis.axes, f"set_{axis.axis_name}scale")
    if least:
        set_scale("symlog", linthresh=least, linscale=linear_part(max(shown) / least))
    elif log and positive:
        set_scale("log", nonpositive="clip")
    _limits(axis, min(shown), max(shown), top, zero)
    if log and positive:
        log_ticks(axis, least)
    elif log:
        axis.set_ticks([0])


def _limits(axis: "XAxis | YAxis", low: float, high: float, top: float, zero: bool) -> None:
    """As far below and above as looks alike on the axis' own scale."""
    scale = axis.get_transform()
    low, high = (float(end) for end in scale.transform([low, high]))
    air = high - low if high - low > 1e-9 * abs(high) else 0.1 * abs(high) or 0.1
    limits = scale.inverted().transform([0.0 if zero else low - 0.06 * air, high + top * air])
    getattr(axis.axes, f"set_{axis.axis_name}lim")(*limits)
