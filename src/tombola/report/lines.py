"""Lines: a study's metrics against density, step or size; curves of training; profiles of a details table."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.report import axes, text
from tombola.report.axes import Facet
from tombola.report.drawing import Drawing, handle, of_row
from tombola.report.result import titles
from tombola.report.style import DENSE_LINE, PALE, STAR, Look, looks, sequence
from tombola.report.summary import GROUP, of_variant, summarise
from tombola.report.ticks import short
from tombola.studies.base import Findings
from tombola.studies.figure import Figure, Known, Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure as Canvas

X_LABELS = {
    "density": "density (% of weights remaining)",
    "kept": "remaining weights",
    "rounds": "rounds of pruning",
    "step": "step k (iterations)",
    "layers": "layers reset",
    "width": "width",
    "parameters": "parameters of the whole network",
}
_RISING = ("step", "width", "parameters")
"""What grows from left to right and has a column of the table to itself."""
_EARLY, _ENOUGH = 0.2, 4
"""Share of training, from its beginning, that has no say in the limits of the y axis, if so many evaluations follow it."""
_BARS = 45
"""Minima and maxima of a panel, at most: more are a comb."""
_MARKED = 7
"""Markers on a long line: enough to follow it, few enough to see it."""
_TOLD, _NUMBER = 6, 6.5
"""Means of a line beyond the axis, at most, whose values are written there, and the points of these numbers."""


@dataclass(frozen=True)
class Series:
    """A line in each facet: an arm, or an arm at a level."""

    arm: str
    level: int | None
    look: Look
    label: str
    entries: tuple[int, ...]
    """The entries of the legend that it belongs to: hidden with any of them."""

    def of(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """The rows of a summary that are its own, from left to right."""
        own = rows[rows.arm == self.arm]
        return own if self.level is None else own[own.level == self.level]


class Lines(Drawing):
    """Means with 95 % bands, as in Frankle & Carbin 2019, figures 3 to 5; against what levels count, with minima and maxima."""

    _dense = False
    """Whether the dense network is a line across a panel."""
    _barred = False
    """Whether minima and maxima are shown."""

    def draw(self) -> "Canvas":
        """A pair of axes for each panel and variant."""
        self.against_levels, self.x = self.figure.kind == "density", axis_of(self.figure, self.report)
        summary = placed(self.rows, [panel.metric for panel in self.figure.panels], self.x, not self.against_levels)
        series, entries, title = self._series()
        canvas, drawn = axes.facets(self.figure.panels, titles(self.rows, self.report))
        for panel in self.figure.panels:
            self._panel([facet for facet in drawn if facet.panel == panel], summary[summary.metric == panel.metric], series)
        for facet in drawn:
            self._x_axis(facet, summary)
        if self._dense:
            entries["dense network"] = handle(Look(PALE, "", "-"), **DENSE_LINE)
        if any(panel.paper for panel in self.figure.panels):
            entries["the paper"] = handle(Look(PALE, "*", "-"), **STAR)
        alone = len(entries) == 1 and not self.report.study.arms  # a line that has no name
        axes.legend(canvas, {} if alone else entries, title)
        return canvas

    def marks(self) -> list[str]:
        """Bands, bars and thresholds."""
        bars = ", thin bars minimum and maximum" * self._barred
        found = [f"{self.means('Lines', f', bands their 95 % t-intervals{bars}')}."]
        if self.against_levels:
            metrics = [panel.metric for panel in self.figure.panels]
            if any(lower_bounds(self.rows, name) for name in metrics):
                found.append("Hollow markers are censored in at least one replicate: training longer may change them.")
        return [*found, self.thresholds(), self.stars()]

    def _series(self) -> "tuple[list[Series], dict[str, Artist], str | None]":
        """The lines, the legend's entries, and its title. Against levels colour, marker and dash tell the arm, as they do where
        there is one level; else colour and marker tell the level, the dash the arm.
        """
        labels, of_arm = self.labels, self.looks
        title, levels = ("", {}) if self.against_levels else text.level_names(self.rows, self.report)
        several = len(labels) > 1
        by_level = len(levels) > several  # else levels are none, or one that all arms share
        colours, shapes = sequence(len(levels)), [*looks(map(str, levels)).values()]
        entries = {name: handle(Look(colours[at], shapes[at].marker, "-")) for at, name in enumerate(levels.values()) if by_level}
        series = []
        for at, (level, name) in enumerate(levels.items() or [(None, "")]):
            for place, (arm, label) in enumerate(labels.items()):
                look = Look(colours[at], shapes[at].marker, of_arm[arm].line if several else "-") if by_level else of_arm[arm]
                own = [len(entries) + place] if several or not by_level else []
                told = ", ".join([label] * (several or not by_level) + [name] * by_level)
                series.append(Series(arm, level, look, told, (*[at] * by_level, *own)))
        if several or not by_level:
            entries |= {label: handle(Look(PALE, "", of_arm[arm].line) if by_level else of_arm[arm]) for arm, label in labels.items()}
        return series, entries, title if by_level else None

    def _panel(self, group: list[Facet], summary: "pd.DataFrame", series: list[Series]) -> None:
        """One metric: the y axes of its facets, then its lines."""
        scale, rows = group[0].panel.scale, [of_variant(summary, facet.variant) for facet in group]
        self._barred = self.against_levels and max(len(own) for own in rows) <= _BARS
        bands = {} if self._barred else {"least": np.fmax(summary.low, summary.least), "most": np.fmin(summary.high, summary.most)}
        of_curves = [self._learnt(of_variant(summary.assign(**bands), facet.variant)) for facet in group]
        values = [[scale * np.concatenate([one.of(own)[end] for end in ("least", "most")]) for one in series] for own in of_curves]
        if not self.against_levels:
            values = [[np.concatenate(of_facet)] for of_facet in values]
        stars = [self._known(facet.panel, own) for facet, own in zip(group, rows, strict=True)]
        values = [[*of_facet, np.array([star.value for star in known])] for of_facet, known in zip(values, stars, strict=True)]
        finite = np.concatenate([own["mean"] for own in rows])
        finite = finite[np.isfinite(finite)]
        zero = self.figure.kind == "profile" and not group[0].panel.log and len(finite) > 0 and 0 <= finite.min() <= 0.5 * finite.max()
        self.notes += axes.y_axes(group, values, zero=zero)
        for facet, own, known in zip(group, rows, stars, strict=True):
            for star in known:
                facet.ax.plot([star.x], [star.value], **STAR)
                self.point(facet.ax, star.x, star.value, f"the paper: {star.label}", at=self._said(star.x), mean=star.value)
            if self.report.study.counted == "rounds" and self.against_levels and self.x not in _RISING:
                self._dense_line(facet, own)
            bounds = lower_bounds(of_variant(self.rows, facet.variant), facet.panel.metric) if self.against_levels else []
            for place, one in enumerate(series):
                if len(one.of(own)):
                    self._line(facet, one.of(own), one, place - (len(series) - 1) / 2, bounds)

    def _learnt(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """The rows that set the limits: of curves, the first steep rise would take all the room, if there is anything after it."""
        if self.figure.kind != "curves" or not len(rows):
            return rows
        later = rows[rows.x >= _EARLY * rows.x.max()]
        if later.x.nunique() < _ENOUGH:
            return rows
        self.notes.append("The first fifth of training may lie outside the axes.")
        return later

    def _line(self, facet: Facet, rows: "pd.DataFrame", one: Series, aside: float, bounds: list[tuple[str, int]]) -> None:
        """A mean with its band; `aside`: its place among the lines, from the middle on, so that markers are side by side."""
        ax, scale, look = facet.ax, facet.panel.scale, one.look
        mean = scale * rows["mean"].where(np.isfinite(rows["mean"]))
        bounded = np.isfinite(rows.low) & np.isfinite(rows.high)
        band = ax.fill_between(rows.x, scale * rows.low, scale * rows.high, where=bounded, color=look.colour, alpha=0.15, linewidth=0)
        order = 3 - 0.1 * one.entries[0] / (one.entries[0] + 1)  # the paper's arm lies on top
        (line,) = ax.plot(rows.x, mean, color=look.colour, marker=look.marker, linestyle=look.line, label=one.label, zorder=order)
        artists: list[Artist] = [band, line]
        if self._barred:
            artists.append(ax.vlines(rows.x, scale * rows.least, scale * rows.most, color=look.colour, linewidth=0.6, alpha=0.6))
        if self.against_levels:
            hollow = rows[[(row.arm, row.level) in bounds for row in rows.itertuples()]]
            if len(hollow):
                (ring,) = ax.plot(hollow.x, scale * hollow["mean"], look.marker, color=look.colour, zorder=3.1)
                ring.set(markerfacecolor="white", markeredgewidth=0.8)
                artists.append(ring)
        elif len(rows) > 2 * _MARKED:
            every = len(rows) // _MARKED
            line.set(linewidth=1.1, markevery=(int(2 * aside) % every, every))
        if self.figure.kind == "curves" and "detected" in self.rows:
            artists += self._detected(facet, one)
        artists += self._beyond(facet, rows.assign(mean=scale * rows["mean"]), look, aside)
        self.tie(one.entries, *artists)
        for _, row in rows.iterrows():
            self.point(ax, row.x, scale * row["mean"], one.label, entry=list(one.entries), at=self._said(row.x), **of_row(row, scale))

    def _detected(self, facet: Facet, one: Series) -> "list[Artist]":
        """A mark where the stable phase was found to begin, by the median of the replicates of a line."""
        steps = one.of(of_variant(self.rows, facet.variant)).groupby("replicate").detected.first().dropna()
        if not len(steps):
            return []
        self.notes.append("A dashed vertical line marks where a detector saw the stable phase begin, the median over replicates.")
        self.point(facet.ax, steps.median(), facet.ax.get_ylim()[0], f"{one.label}: stable phase", at=self._said(steps.median()))
        return [facet.ax.axvline(steps.median(), color=one.look.colour, linewidth=0.9, linestyle="--")]

    def _known(self, panel: Panel, rows: "pd.DataFrame") -> list[Known]:
        """What the paper found, on the scale of the axis."""
        dense = panel.scale * rows[rows.level == 0]["mean"].mean()
        if panel.log:
            values = [one.value * (dense if one.beside_dense else panel.scale) for one in panel.paper]
        else:
            values = [panel.scale * one.value + (dense if one.beside_dense else 0.0) for one in panel.paper]
        return [replace(one, value=value) for one, value in zip(panel.paper, values, strict=True) if np.isfinite(value)]

    def _beyond(self, facet: Facet, rows: "pd.DataFrame", look: Look, aside: float) -> "list[Artist]":
        """Arrow heads where means lie below or above the axis, or are infinite; not in curves, which begin outside."""
        from matplotlib.transforms import ScaledTranslation

        ends = facet.ax.get_ylim()
        out = rows[(rows["mean"] < ends[0]) | (rows["mean"] > ends[1])]
        found: list[Artist] = []
        for place, row in enumerate(out.itertuples() if self.figure.kind != "curves" else ()):
            beside = ScaledTranslation(4.5 / 72 * aside * bool(row.infinite), 0, facet.ax.figure.dpi_scale_trans)
            where = facet.ax.get_xaxis_transform() + beside
            below = row.mean < ends[0]
            found += facet.ax.plot([row.x], [0.02 if below else 0.98], "v" if below else "^", color=look.colour, transform=where)
            if row.infinite or len(out) > _TOLD:
                found += facet.ax.plot([row.x], [0.09 if below else 0.91], look.marker, color=look.colour, transform=where, markersize=3)
            else:
                value = f"{row.mean:.2g}" if abs(row.mean) < 1 else short(float(f"{row.mean:.3g}"))
                height = 0.06 + 0.07 * (place % 3)  # neighbours' numbers keep apart
                height = height if below else 1 - height
                said = facet.ax.text(row.x, height, value, color=look.colour, transform=where, fontsize=_NUMBER)
                said.set(ha="center", va="bottom" if below else "top")
                found.append(said)
            self.notes.append(
                "An arrow head at the upper edge marks an infinite mean: at least one replicate never gets there."
                if row.infinite
                else "An arrow head marks a mean beyond the axis, and a number beside it its value."
                if len(out) <= _TOLD
                else "An arrow head marks a mean beyond the axis."
            )
        return found

    def _dense_line(self, facet: Facet, rows: "pd.DataFrame") -> None:
        """A line for the dense network, if there is one; arms may be networks of their own."""
        dense = rows[(rows.level == 0) & np.isfinite(rows["mean"])]["mean"]
        if len(dense) and np.ptp(dense) <= 1e-9 * abs(dense.iloc[0]) and rows.x.nunique() > 1:
            facet.ax.axhline(facet.panel.scale * dense.iloc[0], zorder=1.5, **DENSE_LINE)
            self._dense = True

    def _x_axis(self, facet: Facet, summary: "pd.DataFrame") -> None:
        """The same ends for all variants."""
        label = self.figure.x_label or ("training iteration" if self.figure.kind == "curves" else X_LABELS.get(self.x, ""))
        axes.set_label(facet.ax.xaxis, label if facet.lowest else "")
        self.notes.append(axes.scale_axis(facet.ax.xaxis, [*summary.x, *(one.x for one in facet.panel.paper)], **self._x_scale(summary)))

    def _x_scale(self, summary: "pd.DataFrame") -> dict[str, Any]:
        if not self.against_levels:
            log = self.figure.kind == "profile" and (self.figure.x == "step" or axes.needs_log(summary.x))
            return {"log": log, "whole": self.figure.kind == "curves"}
        if self.x in ("density", "kept"):
            return {
                "log": True,
                "falling": bool(summary.density.min() < summary.density.max()),
                "form": lambda tick: short(tick * (100 if self.x == "density" else 1)),
            }
        return {"log": self.x in _RISING, "whole": True, "at": summary.x.unique() if self.x in ("step", "width") else ()}

    def _said(self, x: float) -> str:
        """A place on the x axis in words, for the page."""
        if self.x == "density" and self.against_levels:
            return text.percent(x)
        name = {"kept": "weights", "rounds": "round", "step": "step", "layers": "layers", "x": "x"}.get(self.x, self.x)
        return f"{name} {short(float(f'{x:.4g}'))}"


def axis_of(figure: Figure, report: Findings) -> str:
    """What the x axis shows: of curves the step, of profiles x, else `figure.x`, or where that is the level what levels count."""
    if figure.kind != "density":
        return {"curves": "step"}.get(figure.kind, "x")
    counted = {"rounds": "rounds", "steps": "step", "layers": "layers", "widths": "width"}
    return counted[report.study.counted] if figure.x == "level" else figure.x


def placed(table: "pd.DataFrame", metrics: list[str], x: str, own: bool = False) -> "pd.DataFrame":
    """The summary of what was measured, with its place on the x axis: column `x`, from left to right. `own`: each level has several
    places, as a curve has.
    """
    if own:
        summary = summarise(table, metrics, by=(*GROUP, x)).assign(x=lambda rows: rows[x])
    elif x == "kept" or x in _RISING:
        summary = summarise(table, metrics).join(table.groupby(list(GROUP))[x].mean().rename("x"), on=list(GROUP))
    else:
        summary = summarise(table, metrics).assign(x=lambda rows: rows["density" if x == "density" else "level"])
    return summary[(summary.n > 0) & np.isfinite(summary.x)].sort_values("x" if own or x in _RISING else "level", kind="stable")


def lower_bounds(table: "pd.DataFrame", metric: str) -> list[tuple[str, int]]:
    """(arm, level) of one variant where a replicate's metric is censored: column `es_censored` says so of `es_iteration` and
    of `acc_es`.
    """
    columns = [name for name in table.columns if name.endswith("_censored") and name != metric]
    column = next((name for name in columns if name.removesuffix("_censored") in metric.split("_")), None)
    if column is None:
        return []
    censored = table.groupby(["arm", "level"])[column].max()
    return sorted(censored.index[censored > 0])
