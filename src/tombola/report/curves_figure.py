"""Metrics over training, at chosen densities."""

from typing import TYPE_CHECKING

from tombola.report.layout import facets, legend, y_axes
from tombola.report.lines import lines, looks
from tombola.report.result import rows_of, titles
from tombola.report.summary import of_variant, summarise
from tombola.studies.base import Figure, Findings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_EARLY = 0.2
"""Share of training, from its beginning, that has no say in the limits of the y axis."""
_ENOUGH = 4
"""Evaluations after it without which all are shown: else there would be little to see."""


def draw_curves(figure: Figure, report: Findings) -> "Canvas":
    """Means with 95 % bands: colour and marker tell the level, line style the arm (Frankle & Carbin 2019, figure 3)."""
    curves = rows_of(figure, report)
    summary = summarise(curves, [panel.metric for panel in figure.panels], by=("variant", "arm", "level", "step"))
    summary = summary[summary.n > 0]
    style = looks(curves, report)
    canvas, drawn, _ = facets(figure.panels, titles(curves, report))
    for panel in figure.panels:
        group = [facet for facet in drawn if facet.panel == panel]
        rows = [of_variant(summary[summary.metric == panel.metric], facet.variant) for facet in group]
        y_axes(group, [panel.scale * learnt(of_facet)["mean"] for of_facet in rows])
        for facet, of_facet in zip(group, rows, strict=True):
            _iterations(facet.ax, of_facet.step.max() if len(of_facet) else 1)
            facet.ax.set_xlabel("training iteration" if facet.lowest else "")
            lines(facet.ax, "step", panel.scale, of_facet, style)
    legend(canvas, style.handles, title=style.title)
    return canvas


def learnt(rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows that set the limits: the first steep rise would take all the room, if there is anything after it."""
    later = rows[rows.step >= _EARLY * rows.step.max()]
    return later if later.step.nunique() >= _ENOUGH else rows


def _iterations(ax: "Axes", end: int) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    ax.set_xlim(-0.01 * end, 1.02 * end)
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=True))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
