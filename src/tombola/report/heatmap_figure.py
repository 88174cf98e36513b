"""A details table's values by layer and column: coloured cells that carry their numbers."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tombola.report.axes import count_label, round_numbers, x_ticks
from tombola.report.heatmap import maps_of, scale_of, size_of, written
from tombola.report.heatmap_layout import FONT, Place, places_of
from tombola.report.result import rows_of
from tombola.report.style import INK
from tombola.studies.base import Figure, Findings, Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure as Canvas
    from matplotlib.image import AxesImage

_COLOURS = "YlGnBu"
"""From pale to dark, in grey as well."""
_LIGHT = 0.5
"""Lightness of a cell from which its number is black."""
_STANDS_OUT = "critical"
"""The mark that is bold."""


def draw_heatmap(figure: Figure, report: Findings) -> "Canvas":
    """One map a panel, side by side, and so for each variant and arm; light is low, and all maps of a panel have one scale."""
    details, maps = rows_of(figure, report), maps_of(figure, report)
    arms = details.arm.nunique() if details.variant.nunique() > 1 else 1
    canvas, places = places_of(len(figure.panels), maps, arms, figure.x_label)
    drawn = []
    for index, (panel, place) in enumerate(zip(figure.panels, places, strict=True)):
        values = [one.values[index] for one in maps]
        scale = scale_of(panel, values)
        images = [_cells(ax, of_map, scale) for ax, of_map in zip(place.axes, values, strict=True)]
        _bar(canvas, place, images[0], panel)
        drawn.append((images, values, written(values, scale)))
    for ax, one in zip(places[-1].axes, maps, strict=True):
        _marks(ax, one.marks)
    canvas.draw_without_rendering()  # whether a number fits depends on the size of its cell
    for of_panel in drawn:
        _numbers(*of_panel)
    return canvas


def _cells(ax: "Axes", values: "pd.DataFrame", scale: "Normalize") -> "AxesImage":
    """Cells with thin gaps between them, hatched where there is no value."""
    image = ax.imshow(values.clip(scale.vmin, scale.vmax), cmap=_COLOURS, norm=scale, interpolation="nearest", aspect="auto")
    ax.set_xticks(np.arange(1, values.shape[1]) - 0.5, minor=True)
    ax.set_yticks(np.arange(1, values.shape[0]) - 0.5, minor=True)
    ax.grid(visible=False)
    ax.grid(visible=True, which="minor", color="white", linewidth=0.8)
    ax.tick_params(which="both", length=0, pad=2)
    ax.spines[:].set_visible(False)
    if values.isna().any(axis=None):
        ax.patch.set(facecolor="#f4f4f4", edgecolor="#c8c8c8", hatch="//////", linewidth=0)
        ax.patch.set_hatch_linewidth(0.5)
    return image


def _bar(canvas: "Canvas", place: Place, image: "AxesImage", panel: Panel) -> None:
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    bar = canvas.colorbar(image, cax=place.bar, orientation="horizontal", ticklocation="top")
    bar.set_label(textwrap.fill(panel.label, int(place.width / 0.066)))
    bar.outline.set_linewidth(0.4)
    low, high = image.get_clim()
    logarithmic = isinstance(image.norm, LogNorm)
    ticks = round_numbers(low, high) if logarithmic else MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    shown = [float(tick) for tick in ticks if low <= tick <= high]
    x_ticks(bar.ax, shown, count_label if logarithmic else lambda tick: f"{tick:,.6g}", place.width)
    bar.ax.set_xticks([], minor=True)
    if panel.threshold is not None:
        for colour, width in (("white", 2.4), (INK, 1.0)):  # to be seen on any ground
            bar.ax.axvline(panel.scale * panel.threshold, color=colour, linewidth=width)


def _marks(ax: "Axes", marks: Sequence[str]) -> None:
    across = ax.get_yaxis_transform()
    for row, mark in enumerate(marks):
        if not mark:
            continue
        text = ax.annotate(mark, (1, row), (4, 0), xycoords=across, textcoords="offset points", va="center_baseline", annotation_clip=False)
        text.set(fontsize=FONT, fontweight="bold" if mark == _STANDS_OUT else "normal")


def _numbers(images: Sequence["AxesImage"], values: Sequence["pd.DataFrame"], texts: Sequence["pd.DataFrame"]) -> None:
    """The numbers of one panel's maps, all of one size, if there is one at which they fit."""
    frames = [image.axes.get_window_extent() for image in images]
    points = 72 / images[0].figure.dpi
    cells = [
        (points * frame.width / text.shape[1], points * frame.height / text.shape[0]) for frame, text in zip(frames, texts, strict=True)
    ]
    size = size_of(texts, *(min(sides) for sides in zip(*cells, strict=True)))
    if not size:
        return
    for image, of_map, shown in zip(images, values, texts, strict=True):
        grounds = np.asarray(image.to_rgba(of_map.to_numpy()))
        for row, column in np.argwhere(shown.to_numpy() != ""):
            light = np.dot(grounds[row, column, :3], (0.299, 0.587, 0.114)) > _LIGHT
            # A dark page turns greys over, but neither images nor what is black or has a hue.
            colour = "black" if light else image.cmap(0.0)
            image.axes.text(
                column, row, shown.iat[row, column], fontsize=size, color=colour, ha="center", va="center_baseline", in_layout=False
            )
