"""Journeys: how large single weights were on the way, coloured by what became of them, and the rivers of their ranks."""

from typing import TYPE_CHECKING

import numpy as np

from tombola.report import axes
from tombola.report.drawing import Drawing, handle
from tombola.report.style import PALE, Look

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_COLOURS = (PALE, "#101010", "#0072b2", "#d55e00")
"""The colours of fates in the order of the legend: what never matters is pale, what comes back stands out."""


class Journeys(Drawing):
    """Arms are fates. Left a line for each weight that is shown; right the ranks of all weights: medians, and where most of them are."""

    def draw(self) -> "Canvas":
        """Two pairs of axes, one legend."""
        canvas, drawn = axes.facets(self.figure.panels, {"": ""}, height=3.0)
        single, ranks = (self.rows[self.rows.weight >= 0], self.rows[self.rows.weight < 0])
        for facet, rows, paint in zip(drawn, (single, ranks), (self._lines, self._river), strict=True):
            values = facet.panel.scale * np.concatenate([rows.value, rows.low, rows.high])
            self.notes.append(axes.panel_axis(facet.ax.yaxis, facet.panel, values[np.isfinite(values)].tolist(), facet.panel.log))
            for place, arm in enumerate(self.labels):
                paint(facet.ax, rows[rows.arm == arm], self.looks[arm], place, facet.panel.scale)
            axes.set_label(facet.ax.xaxis, self.figure.x_label or "training iteration")
            axes.scale_axis(facet.ax.xaxis, rows.x.tolist(), whole=True)
        axes.legend(canvas, {label: handle(self.looks[arm], linewidth=3, marker="", linestyle="-") for arm, label in self.labels.items()})
        return canvas

    @property
    def looks(self) -> dict[str, Look]:
        """Fate to colour."""
        return {arm: Look(_COLOURS[place % len(_COLOURS)], "", "-") for place, arm in enumerate(self.labels)}

    def marks(self) -> list[str]:
        """Lines and rivers."""
        count = self.rows[self.rows.weight >= 0].weight.nunique()
        return [
            f"Left: {count} weights of one network, drawn at random. Right: medians of all weights of a fate; in the band are 80 % of them."
        ]

    def _lines(self, ax: "Axes", rows: "pd.DataFrame", look: Look, place: int, scale: float) -> None:
        from matplotlib.collections import LineCollection

        ways = [np.column_stack([one.x, scale * one.value]) for _, one in rows.groupby("weight")]
        lines = LineCollection(ways, colors=look.colour, linewidths=0.55, alpha=0.55, zorder=3 + 0.1 * place)
        ax.add_collection(lines)
        self.tie([place], lines)
        for x, y in (way[-1].tolist() for way in ways[:3]):
            self.point(ax, x, y, self.labels_of(place), entry=[place], at="", mean=float(f"{y:.4g}"))

    def _river(self, ax: "Axes", rows: "pd.DataFrame", look: Look, place: int, scale: float) -> None:
        rows = rows.sort_values("x")
        band = ax.fill_between(rows.x, scale * rows.low, scale * rows.high, color=look.colour, alpha=0.22, linewidth=0)
        (line,) = ax.plot(rows.x, scale * rows.value, color=look.colour, linewidth=1.8)
        self.tie([place], band, line)
        for _, row in rows.iterrows():
            numbers = {name: float(f"{scale * row[column]:.4g}") for name, column in (("mean", "value"), ("low", "low"), ("high", "high"))}
            self.point(ax, row.x, scale * row.value, self.labels_of(place), entry=[place], at=f"step {row.x:,.0f}", **numbers)

    def labels_of(self, place: int) -> str:
        """The label of the fate in that place."""
        return list(self.labels.values())[place]
