"""Points: one metric against another, and dot plots with intervals where there is no axis to follow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tombola.core.errors import TombolaError
from tombola.report import axes
from tombola.report.drawing import Drawing, handle, means, of_row
from tombola.report.lines import axis_of, placed
from tombola.report.result import rows_of, titles, variants_of
from tombola.report.style import DENSE_LINE, Look, looks, typeset
from tombola.report.summary import GROUP, summarise
from tombola.report.text import LAYERS, STEP, WIDTH, level_titles, titled
from tombola.studies.base import Findings
from tombola.studies.figure import Figure, Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_CLOUD = 0.35
"""Opacity of a replicate's point: where many lie on each other, all are seen."""
_ROW = 0.21
"""Inches of a row of a dot plot."""
_COLUMNS = 3
"""Columns up to which a map is a dot plot, which shows intervals too."""


class Scatter(Drawing):
    """A point for each replicate: colour and marker tell the arm. Variants share a panel, unless the figure names several."""

    def draw(self) -> "Canvas":
        """A pair of axes for each panel, and variant if they are apart."""
        figure, apart = self.figure, len(self.figure.variants) > 1
        found = {panel: self.points(panel) for panel in figure.panels}
        labels = {arm: label for arm, label in self.labels.items() if any(arm in set(points.arm) for points in found.values())}
        own = self.looks
        canvas, drawn = axes.facets(figure.panels, titles(self.rows, self.report) if apart else {"": ""}, height=2.5)
        for panel, points in found.items():
            group = [facet for facet in drawn if facet.panel == panel]
            rows = [points[points.variant == facet.variant] if apart else points for facet in group]
            self.notes += axes.y_axes(group, [[of_facet.y] for of_facet in rows])
            for facet, of_facet in zip(group, rows, strict=True):
                self._x_axis(facet, points.x)
                for place, arm in reversed([*enumerate(labels)]):  # the paper's arm lies on top
                    self._arm(facet.ax, of_facet[of_facet.arm == arm], own[arm], labels[arm], place)
        sample = {"linestyle": "none", "markersize": 4.5}
        axes.legend(canvas, {label: handle(own[arm], **sample) for arm, label in labels.items()})
        return canvas

    def marks(self) -> list[str]:
        """What a point is, and thresholds."""
        table, across = self.rows, across_of(self.figure)
        found = [self.points(panel) for panel in self.figure.panels]
        least, most = min(map(len, found)), max(map(len, found))
        level = {"rounds": "level", "steps": STEP, "layers": f"number of {LAYERS}", "widths": WIDTH}[self.report.study.counted]
        variant = " of one variant" if table.variant.nunique() > 1 else ""
        n = f"{most}" if least == most else f"{least} to {most}"
        sentence = f"A point: one replicate of an arm at one {level}{variant}, draws averaged; n = {n}."
        return [sentence, self.thresholds(), axes.threshold_marks([across], "vertical")]

    def points(self, panel: Panel) -> "pd.DataFrame":
        """Columns variant, arm, level, replicate, x and y, on the scales of the axes: draws averaged, what is not finite left out."""
        across = across_of(self.figure)
        mean = self.rows.groupby([*GROUP, "replicate"], as_index=False)[[*{across.metric, panel.metric}]].mean()
        found = mean.assign(x=across.scale * mean[across.metric], y=panel.scale * mean[panel.metric])
        return found[np.isfinite(found.x) & np.isfinite(found.y)]

    def _arm(self, ax: "Axes", points: "pd.DataFrame", look: Look, label: str, place: int) -> None:
        from matplotlib.colors import to_rgba

        size, edge = (4.2, 0.8) if len(points) < 60 else (3.0, 0.4)
        (cloud,) = ax.plot(points.x, points.y, look.marker, label=label, markersize=size)
        cloud.set(markerfacecolor=to_rgba(look.colour, _CLOUD), markeredgecolor=to_rgba(look.colour, edge), markeredgewidth=0.5)
        self.tie([place], cloud)
        variants, levels = variants_of(self.report), level_titles(self.rows, self.report)
        for point in points.itertuples():
            at = [variants[point.variant]] * (self.rows.variant.nunique() > 1) + [levels[point.level]] * (len(levels) > 1)
            said = ", ".join([label, *at, f"replicate {point.replicate}"])
            self.point(ax, point.x, point.y, said, entry=[place], at=axes.short(float(f"{point.x:.4g}")), mean=float(f"{point.y:.6g}"))

    def _x_axis(self, facet: axes.Facet, values: "pd.Series[float]") -> None:
        """The same for all variants."""
        across = across_of(self.figure)
        self.notes.append(axes.panel_axis(facet.ax.xaxis, across, [*values], across.log or axes.needs_log(values)))
        if not facet.lowest:
            facet.ax.set_xlabel("")


def across_of(figure: Figure) -> Panel:
    """The metric on the x axis of a scatter. Raises TombolaError where it has none."""
    if figure.across is None:
        raise TombolaError(f"figure {figure.name!r} of kind 'scatter' has no `across`; give it the panel that its x axis shows")
    return figure.across


@dataclass(frozen=True)
class _Table:
    """What a pair of axes of a dot plot shows: columns row, series, replicate and the metrics; row -> label, series -> look."""

    title: str
    table: "pd.DataFrame"
    rows: Mapping[str, str]
    series: Mapping[str, Look]


class Dots(Drawing):
    """A row for each arm, or for each row of a map: the mean with its 95 % interval, and the replicates."""

    def draw(self) -> "Canvas":
        """The panels side by side, with the rows' labels on the left, for each variant."""
        groups = self._of_map() if self.figure.kind == "heatmap" else self._of_levels()
        panels, canvas_rows = self.figure.panels, len(groups)
        several = 0.7 * len(groups[0].series) if self.figure.kind == "heatmap" else 1.0
        slots = max(len(group.rows) for group in groups) * max(1.0, several)
        letters = max(len(label) for group in groups for label in group.rows.values())
        canvas = axes.empty((min(8.6, 0.065 * letters + 0.4 + 2.3 * len(panels)), (_ROW * slots + 0.75) * canvas_rows))
        grid = canvas.subplots(canvas_rows, len(panels), squeeze=False)
        for index, group in enumerate(groups):
            for ax, panel in zip(grid[index], panels, strict=True):
                self._axes(ax, panel, group, [one.table[panel.metric] for one in groups])
                if index < canvas_rows - 1:
                    ax.set_xlabel("")
                shown = list(group.rows.values()) if panel is panels[0] else [""] * len(group.rows)
                ax.set_yticks(range(len(group.rows)), shown)
                for label in ax.get_yticklabels():
                    typeset(label)
            if group.title:
                axes.title(grid[index, 0], group.title, 4)
        if self.figure.kind == "heatmap" and len(groups[0].series) > 1:
            axes.legend(
                canvas, {name: handle(look, linestyle="none") for name, look in groups[0].series.items()}, self.figure.x_label or None
            )
        return canvas

    def marks(self) -> list[str]:
        """Means, replicates, thresholds."""
        several = self.rows.replicate.nunique() > 1
        found = f"Markers: {means(self.rows.replicate.unique())}" + (
            "; bars: its 95 % t-interval; pale: the replicates." if several else "."
        )
        return [found, self.thresholds("vertical")]

    def _of_levels(self) -> list[_Table]:
        """Arms of a table at the one place that they share; where there is one arm, its variants."""
        self.place = single(self.figure, self.report) or 0
        rows = self.rows[self.rows.level == self.place]
        own = {arm: look for arm, look in self.looks.items() if arm in set(rows.arm)}
        if len(own) == 1 and rows.variant.nunique() > 1:
            (look,) = own.values()
            variants = {name: label for name, label in variants_of(self.report).items() if name in set(rows.variant)}
            return [_Table("", rows.assign(row=rows.variant, series=""), variants, {"": look})]
        of_variants = titles(rows, self.report)
        labels = {arm: self.labels[arm] for arm in own}
        self.notes.append(f"All at {level_titles(self.report.table, self.report)[self.place]}." if self.rows.level.nunique() > 1 else "")
        return [
            _Table(title, rows[rows.variant == name].assign(row=lambda of: of.arm, series=lambda of: of.arm), labels, own)
            for name, title in of_variants.items()
        ]

    def _of_map(self) -> list[_Table]:
        """Rows of a map, with its columns side by side."""
        found = []
        columns = looks(map(str, self.rows.column.unique()))
        for title, details in titled(self.rows, self.report, ("variant", "arm")):
            marks = dict(zip(details.row, details.mark, strict=True)) if "mark" in details.columns else {}
            rows = {row: f"{row} ({marks[row]})" if marks.get(row) else row for row in details.row.unique()}
            found.append(_Table(title, details.assign(series=details.column), rows, columns))
        return found

    def _axes(self, ax: "Axes", panel: Panel, group: _Table, values: "list[pd.Series[float]]") -> None:
        """One panel: the same axis for all groups, rows from top to bottom."""
        scale, table = panel.scale, group.table
        every = scale * np.concatenate([of.to_numpy(float) for of in values])
        axes.panel_axis(ax.xaxis, panel, [*every], panel.log)
        ax.set_ylim(len(group.rows) - 0.5, -0.5)
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
        self._dense(ax, panel, table)
        replicates = table.groupby(["row", "series", "replicate"])[panel.metric].mean()
        summary = summarise(table, [panel.metric], by=("row", "series"))
        places, series = list(group.rows), list(group.series)
        dodged = self.figure.kind == "heatmap"
        for _, row in summary[summary.n > 0].iterrows():
            at, look = series.index(row.series), group.series[row.series]
            y = places.index(row["row"]) + (0.6 * ((at + 0.5) / len(series) - 0.5) if dodged else 0.0)
            own = scale * replicates[row["row"], row.series]
            (cloud,) = ax.plot(own, [y] * len(own), "o", color=look.colour, alpha=_CLOUD, markersize=2.6, markeredgewidth=0)
            artists = [cloud]
            if np.isfinite([row["mean"], row.low, row.high]).all():
                artists += ax.plot([scale * row.low, scale * row.high], [y, y], color=look.colour, linewidth=1.3, solid_capstyle="butt")
            artists += ax.plot([scale * row["mean"]], [y], look.marker, color=look.colour, markersize=4.6)
            if row.infinite:
                ax.annotate(f"never in {row.infinite}", (1, y), xycoords=("axes fraction", "data"), ha="right", va="center", fontsize=7)
            self.tie([at if dodged else places.index(row["row"])], *artists)
            said = f"{group.rows[row['row']]}, {row.series}" if dodged and len(series) > 1 else group.rows[row["row"]]
            x = scale * row["mean"] if np.isfinite(row["mean"]) else ax.get_xlim()[1]
            self.point(ax, x, y, said, entry=[at] if dodged else [], at="", **of_row(row, scale))

    def _dense(self, ax: "Axes", panel: Panel, table: "pd.DataFrame") -> None:
        """A line for the dense network, where arms are compared with it."""
        if self.figure.kind == "heatmap" or self.report.study.counted != "rounds" or self.place == 0:
            return
        dense = self.rows[(self.rows.level == 0) & self.rows.variant.isin(table.variant.unique())][panel.metric].mean()
        if np.isfinite(dense):
            ax.axvline(panel.scale * dense, zorder=1.5, **DENSE_LINE)
            self.notes.append("Dashed: the dense network.")


def single(figure: Figure, report: Findings) -> int | None:
    """The level at which a figure of levels has all there is to compare: all of its arms but one, at most, stand at one place."""
    rows = rows_of(figure, report)
    if figure.kind != "density" or not len(rows):
        return None
    found = placed(rows, [panel.metric for panel in figure.panels], axis_of(figure, report))
    places = {arm: frozenset(own.level) for arm, own in found.groupby("arm")}
    shared = frozenset.intersection(*places.values()) if places else frozenset()
    long = [arm for arm, levels in places.items() if len(levels) > 1]
    return int(min(shared)) if len(shared) == 1 and len(long) <= (len(places) > 2) else None


def narrow(figure: Figure, report: Findings) -> bool:
    """Whether a map has so few columns that it is a dot plot."""
    return figure.kind == "heatmap" and 0 < rows_of(figure, report).column.nunique() <= _COLUMNS
