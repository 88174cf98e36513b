"""Lines of levels and arms: their looks, their legend, their bands."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tombola.report.result import arms_of
from tombola.report.style import PALE, Look, look, sequence
from tombola.report.text import level_names
from tombola.studies.base import Findings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_MARKED = 7
"""Markers on a line: enough to follow it, few enough to see it."""


@dataclass(frozen=True)
class Looks:
    """How the lines of a figure of levels and arms look, and what its legend says of them."""

    of: dict[tuple[str, int], Look]
    """(arm, level) -> look, in the order of drawing."""
    handles: list["Line2D"]
    title: str | None


def looks(rows: "pd.DataFrame", report: Findings) -> Looks:
    """Colour and marker tell the level, line style the arm; where there is but one level, all tell the arm."""
    from matplotlib.lines import Line2D

    labels = {**arms_of(report), **{arm: arm for arm in rows.arm.unique() if arm not in arms_of(report)}}
    own = {arm: look(index) for index, arm in enumerate(labels) if arm in set(rows.arm)}
    title, names = level_names(rows, report)
    if len(names) == 1 and len(own) > 1:
        (level,) = names
        handles = [Line2D([], [], color=of.colour, marker=of.marker, linestyle=of.line, label=labels[arm]) for arm, of in own.items()]
        return Looks({(arm, level): of for arm, of in own.items()}, handles, None)
    colours = sequence(len(names))
    styles = {arm: of.line if len(own) > 1 else "-" for arm, of in own.items()}  # a single arm is drawn as the legend's levels are
    found = {
        (arm, level): Look(colours[place], look(place).marker, drawn) for place, level in enumerate(names) for arm, drawn in styles.items()
    }
    handles = [Line2D([], [], color=colours[place], marker=look(place).marker, label=name) for place, name in enumerate(names.values())]
    if len(own) > 1:
        handles += [Line2D([], [], color=PALE, linestyle=of.line, label=labels[arm]) for arm, of in own.items()]
    return Looks(found, handles, title)


def lines(ax: "Axes", x: str, scale: float, rows: "pd.DataFrame", style: Looks) -> None:
    """Every (arm, level) of a facet's rows as a line over the column `x`."""
    for place, ((arm, level), own) in enumerate(style.of.items()):
        of_line = rows[(rows.level == level) & (rows.arm == arm)].sort_values(x)
        if len(of_line):
            _line(ax, x, scale, of_line, own, place / len(style.of))


def _line(ax: "Axes", x: str, scale: float, rows: "pd.DataFrame", style: Look, shift: float) -> None:
    """A mean with its 95 % band; `shift`, in [0, 1): where its markers begin, so that those of other lines are beside."""
    mean = scale * rows["mean"].where(np.isfinite(rows["mean"]))
    bounded = np.isfinite(rows.low) & np.isfinite(rows.high)
    ax.fill_between(rows[x], scale * rows.low, scale * rows.high, where=bounded, color=style.colour, alpha=0.13, linewidth=0)
    every = max(1, len(rows) // _MARKED)
    (drawn,) = ax.plot(rows[x], mean, color=style.colour, linestyle=style.line, linewidth=1.1)
    drawn.set(marker=style.marker, markevery=(int(shift * every), every))
