"""A study's metrics against density, number of remaining weights, what levels count, or the size of the network: one line an arm."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tombola.report.axes import count_label, falling_axis, growing_axis, percent_label, rising_axis, round_axis, round_numbers
from tombola.report.layout import Facet, facets, legend, y_axes
from tombola.report.result import arms_of, rows_of, titles
from tombola.report.style import PALE, look
from tombola.report.summary import GROUP, alike, densities_of, of_variant, summarise
from tombola.report.thresholds import draw_threshold, with_threshold
from tombola.studies.base import Figure, Findings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D

_X_LABELS = {
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


def draw_density(figure: Figure, report: Findings) -> "Canvas":
    """Means with 95 % bands and minimum-to-maximum bars, as in Frankle & Carbin 2019, figures 3 to 5."""
    from matplotlib.lines import Line2D

    table = rows_of(figure, report)
    arms = {arm: (index, label) for index, (arm, label) in enumerate(arms_of(report).items()) if arm in set(table.arm)}
    x = axis_of(figure, report)
    summary = placed(table, [panel.metric for panel in figure.panels], x)
    canvas, drawn, inches = facets(figure.panels, titles(table, report))
    for panel in figure.panels:
        group = [facet for facet in drawn if facet.panel == panel]
        rows = [of_variant(summary[summary.metric == panel.metric], facet.variant) for facet in group]
        never = any((of_facet.infinite > 0).any() for of_facet in rows)
        ends = [with_threshold(panel.scale * np.concatenate([of_facet.least, of_facet.most]), panel) for of_facet in rows]
        y_axes(group, ends, top=0.16 if never else 0.06)
        for facet, values in zip(group, ends, strict=True):
            draw_threshold(facet.ax.yaxis, values, panel)
    dense = False
    for facet in drawn:
        rows = of_variant(summary[summary.metric == facet.panel.metric], facet.variant)
        own = of_variant(table, facet.variant)
        dense |= report.study.levels == "rounds" and x not in _RISING and _dense_line(facet, rows)
        _panel(facet, rows, arms, lower_bounds(own, facet.panel.metric))
        if facet.lowest:
            facet.ax.set_xlabel(figure.x_label or _X_LABELS[x])
        if x in _RISING:
            _rising_axis(facet, x, of_variant(summary, facet.variant).x, summary.x, inches)
        else:
            _x_axis(facet, x, own, (summary.x.max(), summary.x.min()), inches)
    handles = [_line(Line2D([], []), index, label) for index, label in arms.values()]
    if dense:
        handles.append(Line2D([], [], color=PALE, linewidth=0.8, linestyle=(0, (6, 3)), label="dense network"))
    legend(canvas, handles)
    return canvas


def axis_of(figure: Figure, report: Findings) -> str:
    """What the x axis shows: `figure.x`, or where that is the level what the study's levels count: rounds, layers, width or step."""
    return (
        {"rounds": "rounds", "steps": "step", "layers": "layers", "widths": "width"}[report.study.levels]
        if figure.x == "level"
        else figure.x
    )


def placed(table: "pd.DataFrame", metrics: Sequence[str], x: str) -> "pd.DataFrame":
    """The summary of what was measured, with its place on the x axis: column `x`; from left to right."""
    summary = summarise(table, metrics)
    if x == "kept" or x in _RISING:
        summary = summary.join(table.groupby(list(GROUP))[x].mean().rename("x"), on=list(GROUP))
    else:
        summary = summary.assign(x=summary["density" if x == "density" else "level"])
    return summary[(summary.n > 0) & np.isfinite(summary.x)].sort_values("x" if x in _RISING else "level", kind="stable")


def lower_bounds(table: "pd.DataFrame", metric: str) -> list[tuple[str, int]]:
    """(arm, level) of one variant where a replicate's metric is censored: column `es_censored` says so of `es_iteration`."""
    column = f"{metric.rsplit('_', 1)[0]}_censored"
    if column not in table.columns or column == metric:
        return []
    censored = table.groupby(["arm", "level"])[column].max()
    return sorted(censored.index[censored > 0])


def _dense_line(facet: Facet, rows: "pd.DataFrame") -> bool:
    """Draw a line for the dense network, if there is one; returns whether there is."""
    dense = rows[(rows.level == 0) & np.isfinite(rows["mean"])]["mean"]
    one = len(dense) > 0 and np.ptp(dense) <= 1e-9 * abs(dense.iloc[0])  # arms may be networks of their own
    if one:
        facet.ax.axhline(facet.panel.scale * dense.iloc[0], color=PALE, linewidth=0.8, linestyle=(0, (6, 3)), zorder=1.5)
    return bool(one)


def _panel(facet: Facet, rows: "pd.DataFrame", arms: dict[str, tuple[int, str]], bounds: list[tuple[str, int]]) -> None:
    ax, scale = facet.ax, facet.panel.scale
    for arm, (index, label) in arms.items():
        _arm(ax, scale, rows[rows.arm == arm], index, label)
    infinite = rows[rows.infinite > 0]
    for (_, row), rank in zip(infinite.iterrows(), infinite.groupby("level").cumcount(), strict=True):
        aside = (rank + 1) // 2 * (-1) ** rank  # 0, -1, 1, -2, ...: side by side where several arms never get there
        _arrow(ax, row.x, aside, arms[row.arm][0])
    for arm, level in bounds:
        _hollow(ax, scale, rows[(rows.arm == arm) & (rows.level == level)], arms[arm][0])


def _rising_axis(facet: Facet, x: str, own: "pd.Series[float]", of_all: "pd.Series[float]", inches: float) -> None:
    if not len(of_all):
        facet.ax.set_xticks([])
    elif x == "parameters":
        growing_axis(facet.ax, (of_all.min(), of_all.max()), count_label, inches)
    else:
        rising_axis(facet.ax, list(own) or list(of_all), list(of_all), inches)


def _x_axis(facet: Facet, x: str, table: "pd.DataFrame", ends: tuple[float, float], inches: float) -> None:
    """The same ends for all variants; ticks at the variant's own densities, or where its arms differ at round numbers."""
    if not np.isfinite(ends).all():
        facet.ax.set_xticks([])
    elif x in ("rounds", "layers"):
        round_axis(facet.ax, (ends[1], ends[0]))
    elif x == "density" and alike(table):
        falling_axis(facet.ax, list(densities_of(table).values()), ends, percent_label, inches)
    else:
        ticks = [tick for tick in round_numbers(ends[1] / 1.1, ends[0] * 1.1) if x == "kept" or tick <= 1]
        falling_axis(facet.ax, ticks, ends, percent_label if x == "density" else count_label, inches)


def _arm(ax: "Axes", scale: float, rows: "pd.DataFrame", index: int, label: str) -> None:
    mean = scale * rows["mean"].where(np.isfinite(rows["mean"]))
    bounded = np.isfinite(rows.low) & np.isfinite(rows.high)
    style = look(index)
    ax.fill_between(rows.x, scale * rows.low, scale * rows.high, where=bounded, color=style.colour, alpha=0.16, linewidth=0)
    ax.vlines(rows.x, scale * rows.least, scale * rows.most, color=style.colour, linewidth=0.6, alpha=0.6)
    (line,) = ax.plot(rows.x, mean, zorder=3 - 0.1 * index / (index + 1))  # the paper's arm lies on top
    _line(line, index, label)


def _line(line: "Line2D", index: int, label: str) -> "Line2D":
    style = look(index)
    line.set(color=style.colour, marker=style.marker, linestyle=style.line, label=label)
    return line


def _hollow(ax: "Axes", scale: float, rows: "pd.DataFrame", index: int) -> None:
    style = look(index)
    (markers,) = ax.plot(rows.x, scale * rows["mean"], style.marker, color=style.colour, zorder=3.1)
    markers.set(markerfacecolor="white", markeredgewidth=0.8)


def _arrow(ax: "Axes", x: float, aside: int, index: int) -> None:
    from matplotlib.transforms import ScaledTranslation

    points = 3.5 * aside / 72
    where = ax.get_xaxis_transform() + ScaledTranslation(points, 0, ax.figure.dpi_scale_trans)
    style = look(index)
    arrow = {"arrowstyle": "-|>,head_width=0.2,head_length=0.4", "color": style.colour, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (x, 1.0), (x, 0.91), xycoords=where, textcoords=where, arrowprops=arrow)
    ax.plot([x], [0.91], style.marker, color=style.colour, transform=where)
