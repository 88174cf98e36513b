"""A study's metrics against density: one line an arm."""

from typing import TYPE_CHECKING

import numpy as np

from tombola.report.axes import density_axis
from tombola.report.layout import legend, panels, y_axis
from tombola.report.result import arms_of
from tombola.report.style import PALE, look
from tombola.report.summary import densities_of, summarise
from tombola.studies.base import Figure, Findings, Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D


def draw_density(figure: Figure, report: Findings) -> "Canvas":
    """Means with 95 % bands and minimum-to-maximum bars, as in Frankle & Carbin 2019, figures 3 to 5."""
    from matplotlib.lines import Line2D

    table, arms = shown_rows(figure, report)
    summary = summarise(table, [panel.metric for panel in figure.panels])
    canvas, axes, inches = panels(len(figure.panels))
    for ax, panel in zip(axes, figure.panels, strict=True):
        _panel(ax, panel, summary[summary.metric == panel.metric], arms)
        for arm, level in lower_bounds(table, panel.metric):
            _hollow(
                ax,
                panel,
                summary[(summary.metric == panel.metric) & (summary.arm == arm) & (summary.level == level)],
                arms[arm][0],
            )
        density_axis(ax, list(densities_of(table).values()), inches)
    handles = [_line(Line2D([], []), index, label) for index, label in arms.values()]
    if (summary.level == 0).any():
        handles.append(Line2D([], [], color=PALE, linewidth=0.8, linestyle=(0, (6, 3)), label="dense network"))
    legend(canvas, handles)
    return canvas


def shown_rows(figure: Figure, report: Findings) -> tuple["pd.DataFrame", dict[str, tuple[int, str]]]:
    """The table's rows that a figure shows, and arm -> (its place in the study, its label)."""
    places = {arm: (index, label) for index, (arm, label) in enumerate(arms_of(report).items())}
    present = set(report.table.arm)
    arms = {arm: place for arm, place in places.items() if arm in present and (not figure.arms or arm in figure.arms)}
    return report.table[report.table.arm.isin(list(arms))], arms


def lower_bounds(table: "pd.DataFrame", metric: str) -> list[tuple[str, int]]:
    """(arm, level) where a replicate's metric is censored: column `es_censored` says so of `es_iteration`."""
    column = f"{metric.rsplit('_', 1)[0]}_censored"
    if column not in table.columns or column == metric:
        return []
    censored = table.groupby(["arm", "level"])[column].max()
    return sorted(censored.index[censored > 0])


def _panel(ax: "Axes", panel: Panel, rows: "pd.DataFrame", arms: dict[str, tuple[int, str]]) -> None:
    never = (rows.infinite > 0).any()
    y_axis(ax, panel.label, panel.scale * np.concatenate([rows.least, rows.most]), panel.log, top=0.16 if never else 0.06)
    dense = rows[(rows.level == 0) & np.isfinite(rows["mean"])]
    if len(dense):
        ax.axhline(panel.scale * dense["mean"].iloc[0], color=PALE, linewidth=0.8, linestyle=(0, (6, 3)), zorder=1.5)
    for arm, (index, label) in arms.items():
        _arm(ax, panel.scale, rows[rows.arm == arm].sort_values("density", ascending=False), index, label)
    infinite = rows[rows.infinite > 0]
    for (_, row), rank in zip(infinite.iterrows(), infinite.groupby("level").cumcount(), strict=True):
        aside = (rank + 1) // 2 * (-1) ** rank  # 0, -1, 1, -2, ...: side by side where several arms never get there
        _arrow(ax, row.density * 1.045**aside, arms[row.arm][0])


def _arm(ax: "Axes", scale: float, rows: "pd.DataFrame", index: int, label: str) -> None:
    mean = scale * rows["mean"].where(np.isfinite(rows["mean"]))
    bounded = np.isfinite(rows.low) & np.isfinite(rows.high)
    style = look(index)
    ax.fill_between(rows.density, scale * rows.low, scale * rows.high, where=bounded, color=style.colour, alpha=0.16, linewidth=0)
    ax.vlines(rows.density, scale * rows.least, scale * rows.most, color=style.colour, linewidth=0.6, alpha=0.6)
    (line,) = ax.plot(rows.density, mean, zorder=3 - 0.1 * index / (index + 1))  # the paper's arm lies on top
    _line(line, index, label)


def _line(line: "Line2D", index: int, label: str) -> "Line2D":
    style = look(index)
    line.set(color=style.colour, marker=style.marker, linestyle=style.line, label=label)
    return line


def _hollow(ax: "Axes", panel: Panel, rows: "pd.DataFrame", index: int) -> None:
    style = look(index)
    (markers,) = ax.plot(rows.density, panel.scale * rows["mean"], style.marker, color=style.colour, zorder=3.1)
    markers.set(markerfacecolor="white", markeredgewidth=0.8)


def _arrow(ax: "Axes", density: float, index: int) -> None:
    style, where = look(index), ax.get_xaxis_transform()
    arrow = {"arrowstyle": "-|>,head_width=0.2,head_length=0.4", "color": style.colour, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (density, 1.0), (density, 0.91), xycoords=where, textcoords=where, arrowprops=arrow)
    ax.plot([density], [0.91], style.marker, color=style.colour, transform=where)
