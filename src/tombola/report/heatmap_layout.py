"""Where heat maps stand: a column for each panel, or several maps to a row, with a colour bar on top of each panel."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from tombola.report.heatmap import Map

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from matplotlib.gridspec import GridSpec

FONT = 7.0
"""Points of the labels of rows and columns, and of marks."""
_LETTER = 0.58
"""Width of a typical letter in sizes of the font."""
_WIDTH = 8.6
"""Inches of a figure's width at most."""
_CELL, _NARROW, _HIGH = 0.4, 0.24, 0.19
"""Inches of a cell's width, of what it may be narrowed to so that maps stand side by side, and of its height."""
_LEAST = 1.6
"""Inches of a map's width at least, for what stands above and below it."""
_BAR, _AROUND, _LINE, _GAP = 0.1, 0.8, 0.15, 0.16
"""Inches: the height of a colour bar, of all labels of it and of the x axis, of a line; room between maps."""


@dataclass(frozen=True)
class Place:
    """Where one panel is drawn."""

    bar: "Axes"
    width: float
    """Inches of the colour bar's length, about."""
    axes: "tuple[Axes, ...]"
    """For each map."""


@dataclass(frozen=True)
class _Grid:
    """Rows of maps: one map's panels, or as many maps as have room."""

    panels: int
    maps: Sequence[Map]
    across: int
    width: float
    """Inches of a map."""

    def at(self, of_map: int, panel: int) -> tuple[int, int]:
        """(row, column) of a map of a panel."""
        return divmod(of_map * self.panels + panel, self.across)

    def highs(self) -> list[float]:
        """Inches of the height of each row's maps."""
        found: dict[int, float] = {}
        for index, one in enumerate(self.maps):
            row, _ = self.at(index, 0)
            found[row] = max(found.get(row, 0.0), _HIGH * len(one.rows))
        return list(found.values())

    def title(self, one: Map) -> str:
        """Broken where it is longer than what it stands over."""
        return textwrap.fill(one.title, int(self.width * self.panels / 0.066), break_on_hyphens=False)

    def aslant(self) -> bool:
        """Whether columns' labels are turned, because they would touch."""
        return not all(_clear(one.columns, self.width / len(one.columns)) for one in self.maps)


def places_of(panels: int, maps: Sequence[Map], arms: int, x_label: str) -> tuple["Canvas", list[Place]]:
    """An empty figure with labelled axes for each panel and map.

    Args:
        panels: how many; they stand side by side if there are several, else the maps do.
        maps: what is to be drawn.
        arms: how many maps a variant has, which are kept in one row if that has room; 1: as many to a row as have.
        x_label: what columns are.
    """
    grid = _grid(panels, maps, arms)
    canvas, spec = _canvas(grid)
    aslant, places = grid.aslant(), []
    for panel in range(panels):
        found = []
        for index, one in enumerate(maps):
            row, column = grid.at(index, panel)
            ax = canvas.add_subplot(spec[1 + row, column])
            ax.set_title("" if panel else grid.title(one), loc="left", fontsize=8, fontweight="bold", pad=3)
            lowest = index + (1 if panels > 1 else grid.across) >= len(maps)
            _label_columns(ax, one.columns, x_label if lowest else "", aslant)
            _label_rows(ax, one.rows, shown=column == 0 or (panels == 1 and maps[index - 1].rows != one.rows))
            found.append(ax)
        bar = canvas.add_subplot(spec[0, panel if panels > 1 else slice(None)])
        places.append(Place(bar, grid.width * (1 if panels > 1 else grid.across), tuple(found)))
    return canvas, places


def _grid(panels: int, maps: Sequence[Map], arms: int) -> _Grid:
    columns = max(len(one.columns) for one in maps)
    labels, marks = _beside(maps)
    if panels > 1:
        across, room = panels, _WIDTH - labels - marks
    else:
        fit = max(1, int((_WIDTH - labels) / (max(_LEAST, columns * _NARROW) + marks + _GAP)))
        across = arms if 1 < arms <= fit else math.ceil(len(maps) / math.ceil(len(maps) / fit))
        room = _WIDTH - labels - across * marks
    return _Grid(panels, maps, across, min(max(_LEAST, columns * _CELL), room / across - _GAP))


def _canvas(grid: _Grid) -> tuple["Canvas", "GridSpec"]:
    """An empty figure, and a grid with a low row for the colour bars."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    labels, marks = _beside(grid.maps)
    lines = max(grid.title(one).count("\n") + bool(one.title) for one in grid.maps)
    below = 0.75 * _inches(name for one in grid.maps for name in one.columns) if grid.aslant() else 0.0
    highs = grid.highs()
    width = labels + grid.across * (grid.width + _GAP) + marks * (1 if grid.panels > 1 else grid.across)
    height = _AROUND + _BAR + sum(highs) + len(highs) * (below + _LINE * (1 + lines) + 0.5 * _GAP)
    canvas = Canvas(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.045))
    return canvas, canvas.add_gridspec(1 + len(highs), grid.across, height_ratios=[_BAR, *highs])


def _beside(maps: Sequence[Map]) -> tuple[float, float]:
    """Inches of the rows' labels on the left, and of their marks on the right."""
    return _inches(row for one in maps for row in one.rows) + 0.15, _inches(mark for one in maps for mark in one.marks)


def _inches(texts: Iterable[str]) -> float:
    return _LETTER * FONT / 72 * max(map(len, texts), default=0)


def _clear(columns: Sequence[str], cell: float) -> bool:
    """Whether labels below cells of so many inches stand clear of each other."""
    return all((_inches([a]) + _inches([b])) / 2 + 0.06 <= cell for a, b in pairwise(columns))


def _label_columns(ax: "Axes", columns: Sequence[str], label: str, aslant: bool) -> None:
    ax.set_xticks(range(len(columns)), columns, fontsize=FONT)
    if aslant:
        ax.tick_params(axis="x", labelrotation=45)
        for text in ax.get_xticklabels():
            text.set(ha="right", va="top", rotation_mode="anchor")
    ax.set_xlabel(label)


def _label_rows(ax: "Axes", rows: Sequence[str], shown: bool) -> None:
    ax.set_yticks(range(len(rows)), rows if shown else [""] * len(rows), fontsize=FONT)
