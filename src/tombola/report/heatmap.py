"""Heat maps: cells by layer and column."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.report import axes, text
from tombola.report.drawing import classed, of_row
from tombola.report.grid import LETTER, Grid
from tombola.report.style import now
from tombola.report.summary import summarise
from tombola.report.ticks import short
from tombola.studies.figure import Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure as Canvas
    from matplotlib.image import AxesImage

_COLOURS = "YlGnBu"
"""The colour map: from pale to dark, in grey as well."""
_NUMBER = 6.5
"""Points of the numbers in cells."""
_MOST = 160
"""Numbers in the cells of a panel's maps, at most: more are not read."""


class HeatMap(Grid):
    """Cells by row and column: means over replicates, with their numbers where those can be read."""

    def draw(self) -> "Canvas":
        """The maps, then the numbers of each panel's, where all fit into their cells and are few enough to be read."""
        beside, below = (LETTER * max(map(len, labels)) for labels in (classed(self.rows).values(), self.rows.column.unique()))
        self.cells: list[tuple[Axes, Panel, pd.DataFrame, AxesImage]] = []
        self.around = (beside + 0.2, 0.0, 0.25)
        self.aslant = below + 0.04 > self.size()[0] / self.rows.column.nunique()
        if self.aslant:
            self.around = (*self.around[:2], 0.1 + 0.75 * below)
        canvas = super().draw()
        canvas.draw_without_rendering()
        for panel in self.figure.panels:
            self._numbers([(ax, values, image) for ax, of, values, image in self.cells if of is panel], panel.log)
        return canvas

    def size(self) -> tuple[float, float]:
        """Width and height of a map in inches: as many cells as there are, a line of text high."""
        rows, columns = self.rows.row.nunique(), self.rows.column.nunique()
        count, most = len(self.figure.panels), max(now().widths)
        room = (most - self.around[0] - 0.3 * count) / count if count > 1 else most - 2.5
        tall = 0.07 * len(self.figure.panels[0].label) if len(self.groups) == count == 1 else 0.5  # for the label of the colour bar
        return min(max(1.6, 0.42 * columns), max(1.6, room)), max(min(tall, 0.3 * rows), 0.19 * rows)

    def marks(self) -> list[str]:
        """What a cell is."""
        found = [f"{self.means('Cells')}; darker is more."]
        if len(self.groups) > 1:
            found.append(f"All maps{' of a panel' if len(self.figure.panels) > 1 else ''} have the same scale.")
        if any(values.isna().any(axis=None) for _, _, values, _ in self.cells):
            found.append("Hatched cells were not measured.")
        direction = "vertical" if len(self.figure.panels) > 1 else "horizontal"
        return [*found, axes.threshold_marks(self.figure.panels, direction, " on a colour bar")]

    def scale_of(self, panel: Panel) -> "Normalize":
        """The scale of a panel's finite means and its threshold: logarithmic where the panel says so and all are above 0, else linear, from
        0 on where that is not far below; never so short that colours tell noise apart.
        """
        from matplotlib.colors import LogNorm, Normalize

        found = [summarise(rows, [panel.metric], by=("row", "column")) for _, rows in self.groups]
        ends = panel.scale * np.concatenate([of["mean"] for of in found])
        noise = 2 * panel.scale * float(np.nanmedian([*np.concatenate([of.most - of.least for of in found]), 0.0]))
        shown = [*ends[np.isfinite(ends)], *([panel.scale * panel.threshold] if panel.threshold is not None else [])] or [0.0]
        low, high = float(min(shown)), float(max(shown))
        if panel.log and low > 0:
            return LogNorm(low, high) if low < high else LogNorm(low / 2, high * 2)
        low = 0.0 if 0 <= low <= 0.5 * high else low
        spare = max(0.0, noise - (high - low)) / 2
        low = max(low - spare, 0.0) if low >= 0 else low - spare
        return Normalize(low, high + spare if low < high + spare else low + 1)

    def fill(self, ax: "Axes", rows: "pd.DataFrame", panel: Panel, scale: "Normalize", left: bool, lowest: bool) -> Any:
        """Cells with thin gaps between them, hatched where there is no value; rows and columns as they first come."""
        names, columns = rows["row"].unique(), rows["column"].unique()
        summary = summarise(rows, [panel.metric], by=("row", "column"))
        values = panel.scale * summary.pivot(index="row", columns="column", values="mean").reindex(index=names, columns=columns)
        image = ax.imshow(values.clip(scale.vmin, scale.vmax), cmap=_COLOURS, norm=scale, interpolation="nearest", aspect="auto")
        ax.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
        ax.set_yticks(np.arange(1, len(names)) - 0.5, minor=True)
        ax.grid(visible=False)
        ax.grid(visible=True, which="minor", color="white", linewidth=0.8 if values.size < 500 else 0.3)
        ax.tick_params(which="both", length=0, pad=2)
        ax.spines[:].set_visible(False)
        if values.isna().any(axis=None):
            ax.patch.set(facecolor="#f4f4f4", edgecolor="#c8c8c8", hatch="//////", linewidth=0)
            ax.patch.set_hatch_linewidth(0.5)
        other = len(self.figure.panels) == 1 and any(classed(own) != classed(rows) for _, own in self.groups)
        ax.set_xticks(range(len(columns)), columns, fontsize=7)
        for label in ax.get_xticklabels() if self.aslant else ():
            label.set(rotation=45, ha="right", va="top", rotation_mode="anchor")
        ax.set(xlabel=self.figure.x_label if lowest else "", ylabel=self.figure.y_label if left else "")
        ax.set_yticks(range(len(names)), classed(rows).values() if left or other else [""] * len(names), fontsize=7)
        for _, row in summary[summary.n > 0].iterrows():
            place = list(columns).index(row["column"]), list(names).index(row["row"])
            self.point(ax, *place, f"{row['row']}, {row['column']}", entry=[], at="", **of_row(row, panel.scale))
        self.cells.append((ax, panel, values, image))
        return image

    def _numbers(self, maps: "list[tuple[Axes, pd.DataFrame, AxesImage]]", log: bool) -> None:
        texts = [written(values, log) for _, values, _ in maps]
        few = sum(shown.size for shown in texts) <= _MOST
        fits = few and all(_fits(ax, shown) for (ax, _, _), shown in zip(maps, texts, strict=True))
        for (ax, values, image), shown in zip(maps, texts, strict=True):
            for row, column in np.argwhere(shown != "") if fits else ():
                light = np.dot(image.to_rgba(values.iat[row, column])[:3], (0.299, 0.587, 0.114)) > 0.5
                at = ax.text(column, row, shown[row, column], fontsize=_NUMBER, color="black" if light else "white", in_layout=False)
                at.set(ha="center", va="center_baseline")


def _fits(ax: "Axes", shown: "np.ndarray[Any, Any]") -> bool:
    """Whether the numbers of a map can be read in its cells."""
    frame, points = ax.get_window_extent(), 72 / ax.figure.dpi
    longest = max((len(number) for number in shown.ravel()), default=0)
    wide, high = points * frame.width / shown.shape[1], points * frame.height / shown.shape[0]
    return 0.58 * _NUMBER * longest + 2 <= wide and high >= _NUMBER + 2


def written(values: "pd.DataFrame", log: bool) -> "np.ndarray[Any, Any]":
    """The numbers of cells: three digits of the largest and as many decimals of all, or two digits of each on a log scale."""
    every = np.abs(values.to_numpy(float))
    most = float(np.max(every[np.isfinite(every)], initial=0.0))
    places = min(3, max(0, 2 - math.floor(math.log10(0.99 * most)))) if most else 0

    def form(value: float) -> str:
        return "" if math.isnan(value) else short(float(f"{value:.2g}")) if log else text.number(value, places)

    return np.vectorize(form, otypes=[object])(values.to_numpy(float))
