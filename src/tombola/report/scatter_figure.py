"""One metric of a study against another: a point for each replicate."""

from typing import TYPE_CHECKING

import numpy as np

from tombola.core.errors import TombolaError
from tombola.report.axes import x_ticks
from tombola.report.layout import Facet, facets, legend, value_axis, y_axes
from tombola.report.result import arms_of, rows_of, titles
from tombola.report.style import Look, look
from tombola.report.thresholds import draw_threshold, with_threshold
from tombola.studies.base import Figure, Findings, Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D

_CLEAR = 0.3
"""Opacity of a point within its network_info: where many lie on each other, all are seen."""


def draw_scatter(figure: Figure, report: Findings) -> "Canvas":
    """Colour and marker tell the arm; variants share a panel, unless the figure names several, which then have their own."""
    from matplotlib.lines import Line2D

    table = rows_of(figure, report)
    apart = len(figure.variants) > 1
    of_variants = titles(table, report) if apart else {"": ""}
    present = {arm for panel in figure.panels for arm in points(figure, panel, table).arm}
    looks = {arm: (look(index), label) for index, (arm, label) in enumerate(arms_of(report).items()) if arm in present}
    canvas, drawn, inches = facets(figure.panels, of_variants)
    for panel in figure.panels:
        group = [facet for facet in drawn if facet.panel == panel]
        found = points(figure, panel, table)
        rows = [found[found.variant == facet.variant] if apart else found for facet in group]
        y_axes(group, [with_threshold(of_facet.y, panel) for of_facet in rows])
        for facet, of_facet in zip(group, rows, strict=True):
            draw_threshold(facet.ax.yaxis, of_facet.y, panel)
            _x_axis(facet, across_of(figure), found.x, inches)
            for arm, (style, label) in reversed(looks.items()):  # the paper's arm lies on top
                of_arm = of_facet[of_facet.arm == arm]
                _dotted(facet.ax.plot(of_arm.x, of_arm.y)[0], style, label)
    legend(canvas, [_dotted(Line2D([], []), *of_arm) for of_arm in looks.values()])
    return canvas


def _dotted(line: "Line2D", style: Look, label: str) -> "Line2D":
    from matplotlib.colors import to_rgba

    line.set(linestyle="none", marker=style.marker, markersize=4.2, label=label)
    line.set(markerfacecolor=to_rgba(style.colour, _CLEAR), markeredgecolor=to_rgba(style.colour, 0.8), markeredgewidth=0.5)
    return line


def points(figure: Figure, panel: Panel, table: "pd.DataFrame") -> "pd.DataFrame":
    """Columns variant, arm, level, replicate, x and y, on the scales of the axes: draws averaged, what is not finite left out."""
    across = across_of(figure)
    mean = table.groupby(["variant", "arm", "level", "replicate"], as_index=False)[[*{across.metric, panel.metric}]].mean()
    found = mean.assign(x=across.scale * mean[across.metric], y=panel.scale * mean[panel.metric])
    return found[np.isfinite(found.x) & np.isfinite(found.y)]


def across_of(figure: Figure) -> Panel:
    """The metric on the x axis of a scatter. Raises TombolaError where it has none."""
    if figure.across is None:
        raise TombolaError(f"figure {figure.name!r} of kind 'scatter' has no `across`; give it the panel that its x axis shows")
    return figure.across


def _x_axis(facet: Facet, across: Panel, of_all: "pd.Series[float]", inches: float) -> None:
    """The same for all variants."""
    if not len(of_all):
        facet.ax.set_xticks([])
        return
    axis = facet.ax.xaxis
    value_axis(axis, across.label if facet.lowest else "", with_threshold(of_all, across), across.log)
    draw_threshold(axis, of_all, across)
    if across.log:
        x_ticks(facet.ax, list(axis.get_ticklocs()), lambda tick: f"{tick:,.6g}", inches)
