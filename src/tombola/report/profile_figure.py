"""A details table's values against its own x: histograms by layer, connections by unit."""

from typing import TYPE_CHECKING

import numpy as np

from tombola.report.layout import facets, legend, y_axes
from tombola.report.lines import lines, looks
from tombola.report.result import rows_of, titles
from tombola.report.summary import of_variant, summarise
from tombola.report.thresholds import draw_threshold, with_threshold
from tombola.studies.base import Figure, Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def draw_profile(figure: Figure, report: Findings) -> "Canvas":
    """Means with 95 % bands, a panel for each variant: colour and marker tell the level, line style the arm."""
    from matplotlib.ticker import MaxNLocator

    details = rows_of(figure, report)
    summary = summarise(details, ["value"], by=("variant", "arm", "level", "x"))
    summary = summary[summary.n > 0]
    style, panel = looks(details, report), figure.panels[0]
    canvas, drawn, _ = facets([panel], titles(details, report))
    rows = [of_variant(summary, facet.variant) for facet in drawn]
    values = [with_threshold(panel.scale * of_facet["mean"], panel) for of_facet in rows]
    means = panel.scale * summary["mean"][np.isfinite(summary["mean"])]
    y_axes(drawn, values, zero=not panel.log and len(means) > 0 and 0 <= means.min() <= 0.5 * means.max())
    for facet, of_facet in zip(drawn, rows, strict=True):
        facet.ax.set_xlabel(figure.x_label if facet.lowest else "")
        if len(summary):
            air = 0.02 * (summary.x.max() - summary.x.min()) or 0.5
            facet.ax.set_xlim(summary.x.min() - air, summary.x.max() + air)
        facet.ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        draw_threshold(facet.ax.yaxis, of_facet["mean"], panel)
        lines(facet.ax, "x", panel.scale, of_facet, style)
    legend(canvas, style.handles, title=style.title)
    return canvas
