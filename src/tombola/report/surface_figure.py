"""A details table's values over a plane through weight space: contours, and the networks that lie on it."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tombola.report.groups import titled
from tombola.report.layout import nothing
from tombola.report.placement import Box, beside
from tombola.report.result import rows_of
from tombola.report.style import INK
from tombola.studies.base import Figure, Findings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.contour import ContourSet
    from matplotlib.figure import Figure as Canvas
    from matplotlib.text import Annotation

_SIDES = {1: 3.0, 2: 2.3, 3: 1.8, 4: 1.45}
"""Inches of the width of each of so many panels side by side."""
_BETWEEN, _BAR = 0.4, 0.95
"""Inches that the tick labels of a panel take, and the colour bar with all that is beside the panels."""
_LEVELS = 12
_DARKEST = 0.72
"""Of the grey map, so that lines and labels can be seen on it."""
_INCHES_A_CHARACTER = 0.066
_BESIDE = 4.2
"""Points (1/72 inch) between the middle of a network's marker and its label."""


def draw_surface(figure: Figure, report: Findings) -> "Canvas":
    """Contours for each variant, arm and level, four panels to a row; light is low, and all panels have one scale."""
    import numpy as np

    details, panel = rows_of(figure, report), figure.panels[0]
    values = panel.scale * details.value
    finite = values[(details.network == "") & np.isfinite(values)]
    if not len(finite):
        return nothing("no finite values")
    surfaces, levels = titled(details.assign(value=values), report, ("variant", "arm", "level")), contour_levels(finite)
    canvas, axes = _canvas(surfaces, _across(details))
    labels = []
    for ax, (_, rows) in zip(axes, surfaces, strict=True):
        shown = _contours(ax, rows[rows.network == ""], levels)
        ax.set(aspect="equal", xlim=(rows.x.min(), rows.x.max()), ylim=(rows.y.min(), rows.y.max()))
        labels.append(_networks(ax, rows[rows.network != ""]))
    label = textwrap.fill(panel.label, int(canvas.get_size_inches()[1] / 0.075))
    bar = canvas.colorbar(shown, ax=axes, label=label, aspect=8 * canvas.get_size_inches()[1], fraction=0.05, pad=0.02)
    bar.outline.set_linewidth(0.4)
    canvas.draw_without_rendering()  # labels are placed where the layout puts the points
    for ax, of_panel in zip(axes, labels, strict=True):
        _place(ax, of_panel)
    return canvas


def contour_levels(values: Iterable[float]) -> list[float]:
    """Round numbers in about twelve equal steps from below the smallest value to above the largest."""
    from matplotlib.ticker import MaxNLocator

    shown = list(values)
    levels = MaxNLocator(_LEVELS, steps=[1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10]).tick_values(min(shown), max(shown))
    return [round(float(level), 12) for level in levels]


def _across(details: "pd.DataFrame") -> int:
    """Panels to a row: as many as there are of what varies fastest, four at most, so that rows are alike."""
    counts = [details[column].nunique() for column in ("level", "arm", "variant")]
    return min(max(_SIDES), next((count for count in counts if count > 1), 1))


def _canvas(surfaces: Sequence[tuple[str, "pd.DataFrame"]], across: int) -> tuple["Canvas", list["Axes"]]:
    """An empty figure, and titled axes for each surface."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.ticker import MaxNLocator

    deep, side = math.ceil(len(surfaces) / across), _SIDES[across]
    names = [textwrap.fill(title, int((side + 0.5 * _BETWEEN) / _INCHES_A_CHARACTER)) for title, _ in surfaces]
    lines = max(name.count("\n") + bool(name) for name in names)
    tall = max((rows.y.max() - rows.y.min()) / (rows.x.max() - rows.x.min()) for _, rows in surfaces)
    high = side * min(tall, 1.5) + 0.14 * lines + 0.3
    canvas = Canvas(
        figsize=((side + _BETWEEN) * across + _BAR, max(1.6, high * deep + 0.2)), layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.04)
    )
    axes = list(canvas.subplots(deep, across, squeeze=False).flat)
    for ax in axes[len(surfaces) :]:
        ax.remove()
    for index, ax in enumerate(axes[: len(surfaces)]):
        ax.grid(visible=False)
        ax.set_title(names[index], fontsize=8, pad=3)
        ax.set_xlabel("distance (2-norm)" if index + across >= len(surfaces) else "")
        ax.set_ylabel("distance (2-norm)" if index % across == 0 else "")
        ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        ax.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    return canvas, axes[: len(surfaces)]


def _contours(ax: "Axes", grid: "pd.DataFrame", levels: Sequence[float]) -> "ContourSet":
    import matplotlib
    import numpy as np

    bands = matplotlib.colormaps["Greys"](np.linspace(0, _DARKEST, len(levels) - 1))
    surface = grid.pivot(index="y", columns="x", values="value").clip(levels[0], levels[-1])  # an infinite loss is high
    filled = ax.contourf(surface.columns, surface.index, surface, levels=levels, colors=bands)
    ax.contour(surface.columns, surface.index, surface, levels=levels, colors=INK, linewidths=0.35)
    return filled


def _networks(ax: "Axes", networks: "pd.DataFrame") -> list["Annotation"]:
    ax.plot(networks.x, networks.y, "o", color=INK, markersize=4.5, markeredgecolor="white", markeredgewidth=0.7, clip_on=False)
    ground = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6}
    found = []
    for name, x, y in zip(networks.network, networks.x, networks.y, strict=True):
        label = ax.annotate(name, (x, y), (0, 0), textcoords="offset points", ha="center", va="center", fontsize=7, bbox=ground)
        label.set_in_layout(False)
        found.append(label)
    return found


def _place(ax: "Axes", labels: Sequence["Annotation"]) -> None:
    """Move one panel's labels beside their points."""
    points = 72 / ax.figure.dpi
    places = [tuple(points * ax.transData.transform(label.xy)) for label in labels]
    extents = [label.get_window_extent() for label in labels]
    sizes = [(points * extent.width + 1.5, points * extent.height + 1.5) for extent in extents]
    frame = ax.get_window_extent()
    found = beside(places, sizes, Box(*(points * end for end in frame.extents)), _BESIDE)
    for label, (x, y), box in zip(labels, places, found, strict=True):
        label.set_position(((box.left + box.right) / 2 - x, (box.bottom + box.top) / 2 - y))
