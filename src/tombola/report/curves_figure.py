"""Metrics over training, at chosen densities."""

from typing import TYPE_CHECKING

import numpy as np

from tombola.report.layout import legend, panels, y_axis
from tombola.report.result import arms_of
from tombola.report.style import PALE, look, sequence
from tombola.report.summary import densities_of, summarise
from tombola.report.text import percent
from tombola.studies.base import Figure, Findings, Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_EARLY = 0.2
"""Share of training, from its beginning, that has no say in the limits of the y axis."""
_MARKED = 7
"""Markers on a curve: enough to follow it, few enough to see it."""


def draw_curves(figure: Figure, report: Findings) -> "Canvas":
    """Means with 95 % bands: colour and marker tell the level, line style the arm (Frankle & Carbin 2019, figure 3)."""
    from matplotlib.lines import Line2D

    lines = {arm: look(index).line for index, arm in enumerate(arms_of(report)) if not figure.arms or arm in figure.arms}
    curves = report.curves[report.curves.arm.isin(list(lines))]
    curves = curves[curves.level.isin(figure.levels)] if figure.levels else curves
    summary = summarise(curves, [panel.metric for panel in figure.panels], by=("arm", "level", "step"))
    densities = densities_of(curves)
    colours = sequence(len(densities))
    looks = {level: (colours[place], look(place).marker) for place, level in enumerate(densities)}
    canvas, axes, _ = panels(len(figure.panels))
    for ax, panel in zip(axes, figure.panels, strict=True):
        _panel(ax, panel, summary[(summary.metric == panel.metric) & (summary.n > 0)], looks, lines)
    handles = [Line2D([], [], color=colour, marker=marker, label=percent(densities[level])) for level, (colour, marker) in looks.items()]
    if len(lines) > 1:
        handles += [Line2D([], [], color=PALE, linestyle=line, label=arms_of(report)[arm]) for arm, line in lines.items()]
    legend(canvas, handles, title="density")
    return canvas


def _panel(ax: "Axes", panel: Panel, rows: "pd.DataFrame", looks: dict[int, tuple[str, str]], lines: dict[str, object]) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    end = rows.step.max() if len(rows) else 1
    learnt = rows[rows.step >= _EARLY * end]  # the first steep rise would take all the room
    y_axis(ax, panel.label, panel.scale * learnt["mean"], panel.log)
    ax.set(xlim=(-0.01 * end, 1.02 * end), xlabel="training iteration")
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10], integer=True))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    for place, (level, (colour, marker)) in enumerate(looks.items()):
        for arm, line in lines.items():
            of_line = rows[(rows.level == level) & (rows.arm == arm)].sort_values("step")
            if len(of_line):
                _curve(ax, panel.scale, of_line, (colour, marker, line), place / len(looks))


def _curve(ax: "Axes", scale: float, rows: "pd.DataFrame", style: tuple[str, str, object], shift: float) -> None:
    colour, marker, line = style
    mean = scale * rows["mean"].where(np.isfinite(rows["mean"]))
    bounded = np.isfinite(rows.low) & np.isfinite(rows.high)
    ax.fill_between(rows.step, scale * rows.low, scale * rows.high, where=bounded, color=colour, alpha=0.13, linewidth=0)
    every = max(1, len(rows) // _MARKED)
    ax.plot(rows.step, mean, color=colour, linestyle=line, marker=marker, markevery=(int(shift * every), every), linewidth=1.1)
