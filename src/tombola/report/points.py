"""Points: one metric against another, and dot plots with intervals where there is no axis to follow."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tombola.core.errors import TombolaError
from tombola.report import axes
from tombola.report.drawing import Drawing, classed, handle, of_row
from tombola.report.lines import axis_of, placed
from tombola.report.result import rows_of, titles, variants_of
from tombola.report.style import DENSE_LINE, PALE, STAR, Look, looks, now, symbols
from tombola.report.summary import GROUP, summarise
from tombola.report.text import LAYERS, STEP, WIDTH, level_titles, titled
from tombola.report.ticks import short
from tombola.studies.base import Findings
from tombola.studies.figure import Figure, Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_CLOUD, _CLOUDED = 0.35, 12
"""Opacity of a replicate's point, and up to how many means replicates are shown."""
_FEW = 4
_ROW = 0.24
"""Inches of a row of a dot plot."""
_COLUMNS, _CELLS = 3, 27
"""Columns, and cells, up to which a map is a dot plot, which shows intervals too."""
_VARIANTS = 3
"""The number of variants from which on those are the rows, with their arms side by side; with fewer each variant has its own axes."""


class Scatter(Drawing):
    """One metric against another: the mean of an arm at a level, with intervals along both axes. Variants share a panel, unless the
    figure names several.
    """

    def draw(self) -> "Canvas":
        """A pair of axes for each panel, and variant if they are apart."""
        figure, apart = self.figure, len(self.figure.variants) > 1
        found = {panel: self.points(panel) for panel in figure.panels}
        own, labels = self.looks, {arm: of for arm, of in self.labels.items() if any(arm in set(one.arm) for one in found.values())}
        canvas, drawn = axes.facets(figure.panels, titles(self.rows, self.report) if apart else {"": ""}, height=2.5)
        for panel, points in found.items():
            group = [facet for facet in drawn if facet.panel == panel]
            means = summarise(points.assign(density=1.0), ["x", "y"])
            x, y = (means[means.metric == name].reset_index(drop=True) for name in ("x", "y"))
            self.clouded = len(y) <= _CLOUDED and bool((y.n > 1).any())
            rows = [y[y.variant == facet.variant] if apart else y for facet in group]
            seen = points.y if self.clouded else points.y[:0]
            self.notes += axes.y_axes(group, [[[*_ends(of_facet, panel.log), *seen]] for of_facet in rows])
            for facet, of_facet in zip(group, rows, strict=True):
                self._x_axis(facet, x, points.x)
                cloud = points[points.variant == facet.variant] if apart else points
                for place, arm in reversed([*enumerate(labels)]):  # the paper's arm lies on top
                    at = of_facet[of_facet.arm == arm]
                    self._arm(facet.ax, cloud[cloud.arm == arm], x.loc[at.index], at, own[arm], labels[arm], place)
        sample = {"linestyle": "none", "markersize": 4.5}
        axes.legend(canvas, {label: handle(own[arm], **sample) for arm, label in labels.items()})
        return canvas

    def marks(self) -> list[str]:
        """What a marker is, and thresholds."""
        level = {"rounds": "level", "steps": STEP, "layers": f"number of {LAYERS}", "widths": WIDTH}[self.report.study.counted]
        variant = " of one variant" if self.rows.variant.nunique() > 1 else ""
        spread = f", bars their 95 % t-intervals along both axes{', pale points the replicates' * self.clouded}"
        sentence = f"{self.means('Markers', spread, f' of an arm at one {level}{variant}')}."
        return [sentence, self.thresholds(), axes.threshold_marks([across_of(self.figure)], "vertical")]

    def points(self, panel: Panel) -> "pd.DataFrame":
        """Columns variant, arm, level, replicate, x and y, on the scales of the axes: draws averaged, what is not finite left out."""
        across = across_of(self.figure)
        mean = self.rows.groupby([*GROUP, "replicate"], as_index=False)[[*{across.metric, panel.metric}]].mean()
        found = mean.assign(x=across.scale * mean[across.metric], y=panel.scale * mean[panel.metric])
        return found[np.isfinite(found.x) & np.isfinite(found.y)]

    def _arm(self, ax: "Axes", cloud: "pd.DataFrame", x: "pd.DataFrame", y: "pd.DataFrame", look: Look, label: str, place: int) -> None:
        if self.clouded:
            self.tie([place], *ax.plot(cloud.x, cloud.y, look.marker, color=look.colour, alpha=_CLOUD, markersize=2.6, markeredgewidth=0))
        halves = [np.where(np.isfinite(of.high), of.high - of["mean"], 0.0) for of in (x, y)]
        marks = ax.errorbar(
            x["mean"], y["mean"], halves[1], halves[0], look.marker, color=look.colour, label=label, elinewidth=0.7, markersize=4.2
        )
        self.tie([place], marks[0], *marks[2])
        variants, levels = variants_of(self.report), level_titles(self.rows, self.report)
        for index, row in y.iterrows():
            at = [variants[row.variant]] * (self.rows.variant.nunique() > 1) + [levels[row.level]] * (len(levels) > 1)
            across = float(x["mean"][index])
            self.point(
                ax, across, row["mean"], ", ".join([label, *at]), entry=[place], at=short(float(f"{across:.4g}")), **of_row(row, 1.0)
            )

    def _x_axis(self, facet: axes.Facet, x: "pd.DataFrame", seen: "pd.Series[float]") -> None:
        """The same for all variants."""
        across = across_of(self.figure)
        log = across.log or axes.needs_log(seen)
        self.notes.append(axes.panel_axis(facet.ax.xaxis, across, [*_ends(x, log), *(seen if self.clouded else ())], log))
        if not facet.lowest:
            facet.ax.set_xlabel("")


def _ends(summary: "pd.DataFrame", log: bool) -> list[float]:
    """What an axis has to hold: means, and the ends of their intervals, on a log axis those above 0. Those of few values are so wide
    that they may reach beyond it.
    """
    few = summary.n < _FEW
    ends = np.concatenate([summary.low[~few], summary.high[~few]]).astype(float)
    return [*summary["mean"], *ends[np.isfinite(ends) & ((ends > 0) | (not log))]]


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
    dodged: bool = False
    """Whether each row has all series, side by side."""


class Dots(Drawing):
    """A row for each arm, or for each row of a map: the mean with its 95 % interval, and the replicates."""

    def draw(self) -> "Canvas":
        """The panels side by side, with the rows' labels on the left, for each variant."""
        groups = self._of_map() if self.figure.kind == "heatmap" else self._of_levels()
        panels, canvas_rows = self.figure.panels, len(groups)
        slots = [_ROW * len(group.rows) * max(1.0, 0.7 * len(group.series) * group.dodged) for group in groups]
        letters = max(len(label) for group in groups for label in group.rows.values())
        canvas = axes.empty((now().fit(0.065 * letters + 0.4 + 2.3 * len(panels)), sum(slots) + 0.75 * canvas_rows))
        grid = canvas.subplots(canvas_rows, len(panels), squeeze=False, height_ratios=slots)
        for index, group in enumerate(groups):
            for ax, panel in zip(grid[index], panels, strict=True):
                ax.set_yticks(range(len(group.rows)), [symbols(label) if panel is panels[0] else "" for label in group.rows.values()])
                for label, name in zip(ax.get_yticklabels(), group.rows.values(), strict=True):
                    label.set_parse_math("$" not in name)
                self._axes(ax, panel, group, [one.table for one in groups])
                if index < canvas_rows - 1:
                    ax.set_xlabel("")
            if group.title:
                axes.title(grid[index, 0], group.title, 4)
        if groups[0].dodged and len(groups[0].series) > 1:
            entries = {name: handle(look, linestyle="none") for name, look in groups[0].series.items()}
            if any(panel.paper for panel in panels):
                entries["the paper"] = handle(Look(PALE, "*", "-"), **STAR)
            axes.legend(canvas, entries, self.figure.x_label or None)
        return canvas

    def marks(self) -> list[str]:
        """Means, replicates, thresholds."""
        found = f"{self.means('Markers', ', bars their 95 % t-intervals, pale points the replicates')}."
        return [found, self.thresholds("vertical"), self.stars()]

    def _of_levels(self) -> list[_Table]:
        """The arms of a table at the one place that they share; where there is one arm, its variants."""
        self.place = single(self.figure, self.report) or 0
        rows = self.rows[self.rows.level == self.place]
        own = {arm: look for arm, look in self.looks.items() if arm in set(rows.arm)}
        if len(own) == 1 and rows.variant.nunique() > 1:
            (look,) = own.values()
            variants = {name: label for name, label in variants_of(self.report).items() if name in set(rows.variant)}
            return [_Table("", rows.assign(row=rows.variant, series=""), variants, {"": look})]
        of_variants = titles(rows, self.report)
        labels, levels = {arm: self.labels[arm] for arm in own}, level_titles(self.report.table, self.report)
        self.notes.append(f"All at {levels[self.place]}." if len(levels) > 1 else "")
        if len(of_variants) >= _VARIANTS and len(own) <= _COLUMNS:
            beside = rows.assign(row=rows.variant, series=rows.arm.map(labels))
            return [_Table("", beside, of_variants, {labels[arm]: look for arm, look in own.items()}, dodged=True)]
        apart = rows.assign(row=rows.arm, series=rows.arm)
        groups = ((title, apart[apart.variant == name]) for name, title in of_variants.items())
        return [_Table(title, of, {arm: labels[arm] for arm in own if arm in set(of.arm)}, own) for title, of in groups]

    def _of_map(self) -> list[_Table]:
        """The rows of a map, with its columns side by side."""
        found = []
        columns = looks(map(str, self.rows.column.unique()))
        for title, details in titled(self.rows, self.report, ("variant", "arm")):
            found.append(_Table(title, details.assign(series=details.column), classed(details), columns, dodged=True))
        return found

    def _axes(self, ax: "Axes", panel: Panel, group: _Table, tables: "list[pd.DataFrame]") -> None:
        """One panel: the same axis for all groups, rows from top to bottom, replicates under their mean."""
        scale, table = panel.scale, group.table
        every = [summarise(of, [panel.metric], by=("row", "series")) for of in tables]
        ends = [*(_ends(of, panel.log) for of in every), *(of[panel.metric] for of in tables), [one.value for one in panel.paper]]
        axes.panel_axis(ax.xaxis, panel, [scale * one for of in ends for one in of], panel.log)
        ax.set_ylim(len(group.rows) - 0.5, -0.5)
        ax.grid(visible=False, axis="y")
        ax.tick_params(axis="y", length=0)
        if not group.dodged:
            self._dense(ax, panel, table)
        replicates = table.groupby(["row", "series", "replicate"])[panel.metric].mean()
        summary = summarise(table, [panel.metric], by=("row", "series"))
        places, series = list(group.rows), list(group.series)
        dodged = group.dodged

        def height(name: str, at: int) -> float:
            return places.index(name) + (0.6 * ((at + 0.5) / len(series) - 0.5) if dodged else 0.0)

        for star in (one for one in panel.paper if one.cell[0] in places):
            y = height(star.cell[0], series.index(star.cell[1]))
            ax.plot([scale * star.value], [y], **STAR)
            self.point(ax, scale * star.value, y, f"the paper: {', '.join(star.cell)}", entry=[], at="", mean=scale * star.value)
        for _, row in summary[summary.n > 0].iterrows():
            at, look = series.index(row.series), group.series[row.series]
            y = height(row["row"], at)
            own = scale * replicates[row["row"], row.series]
            below = y + (0.0 if dodged and len(series) > 1 else 0.27)
            artists = ax.plot(own, [below] * len(own), "o", color=look.colour, alpha=_CLOUD, markersize=2.6, markeredgewidth=0)
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
        if self.report.study.counted != "rounds" or self.place == 0:
            return
        dense = self.rows[(self.rows.level == 0) & self.rows.variant.isin(table.variant.unique())][panel.metric].mean()
        if np.isfinite(dense):
            ax.axvline(panel.scale * dense, zorder=1.5, **DENSE_LINE)
            self.notes.append("The dashed line is the dense network.")


def single(figure: Figure, report: Findings) -> int | None:
    """The level at which a figure of levels has all there is to compare: all arms of each panel but one, at most, stand at one place."""
    rows = rows_of(figure, report)
    if figure.kind != "density" or not len(rows):
        return None
    found = placed(rows, [panel.metric for panel in figure.panels], axis_of(figure, report))
    places = {key: frozenset(own.level) for key, own in found.groupby(["variant", "arm"])}
    shared = frozenset.intersection(*places.values()) if places else frozenset()
    long = Counter(variant for (variant, _), levels in places.items() if len(levels) > 1)
    return int(min(shared)) if len(shared) == 1 and max(long.values(), default=0) <= (found.arm.nunique() > 2) else None


def narrow(figure: Figure, report: Findings) -> bool:
    """Whether a map has so few columns and cells that it is a dot plot."""
    if figure.kind != "heatmap":
        return False
    rows = rows_of(figure, report)
    columns = rows.column.nunique()
    return 0 < columns <= _COLUMNS and columns * rows["row"].nunique() <= _CELLS
