"""A details table's values as grey images, such as the connections of each input pixel."""

import math
import textwrap
from typing import TYPE_CHECKING

from tombola.report.axes import percent_label
from tombola.report.result import arms_of, rows_of
from tombola.report.style import INK
from tombola.report.summary import densities_of
from tombola.studies.base import Figure, Findings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from matplotlib.image import AxesImage

_ACROSS = 4
_SIDE = 1.55
"""Inches of an image's width."""
_INCHES_A_CHARACTER = 0.075
_STRIP = 0.3
"""Height / width below which an image is a strip (inputs in a row), which is as high in inches and has no neighbours."""


def draw_image(figure: Figure, report: Findings) -> "Canvas":
    """One image a level, four to a row, in rows of their own for each arm: 0 is white, the largest value dark."""
    details, panel, labels = rows_of(figure, report), figure.panels[0], arms_of(report)
    arms = [arm for arm in dict.fromkeys([*labels, *details.arm.unique()]) if arm in set(details.arm)]
    levels = sorted(details.level.unique())
    images = {
        group: rows.pivot_table(index="row", columns="column", values="value", aggfunc="mean") * panel.scale
        for group, rows in details.groupby(["arm", "level"])
    }
    most = max(float(image.max(axis=None)) for image in images.values())
    canvas, axes, height = _canvas(len(arms), len(levels), max(image.shape[0] / image.shape[1] for image in images.values()))
    for (arm, level), image in images.items():
        ax = axes[arms.index(arm)][levels.index(level)]
        title, label = f"{percent_label(densities_of(details[details.arm == arm])[level])} %", labels.get(arm, arm)
        several, strip = len(arms) > 1, height <= _STRIP
        shown = _image(ax, image, f"{label}: {title}" if several and strip else title, most or 1)
        if several and not strip and level == levels[0]:
            ax.set_ylabel(textwrap.fill(label, int(height / _INCHES_A_CHARACTER)))
    label = textwrap.fill(panel.label, int(canvas.get_size_inches()[1] / _INCHES_A_CHARACTER))
    bar = canvas.colorbar(shown, ax=canvas.axes, label=label, aspect=8 * canvas.get_size_inches()[1], fraction=0.05, pad=0.02)
    bar.outline.set_linewidth(0.4)
    return canvas


def _canvas(arms: int, levels: int, tall: float) -> tuple["Canvas", list[list["Axes"]], float]:
    """An empty figure, axes by arm and level, and the height of each in inches."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    across, width, height = (1, 3 * _SIDE, _STRIP) if tall < _STRIP else (min(levels, _ACROSS), _SIDE, _SIDE * tall)
    deep = math.ceil(levels / across)
    size = (width * across + 1.0 + 0.2 * (arms > 1), max(1.5, (height + 0.22) * deep * arms + 0.1))
    canvas = Canvas(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.04))
    axes = canvas.subplots(deep * arms, across, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()  # what shows an image is put on again
    return canvas, axes.reshape(arms, deep * across).tolist(), height


def _image(ax: "Axes", image: "pd.DataFrame", title: str, most: float) -> "AxesImage":
    shown = ax.imshow(image, cmap="Greys", vmin=0, vmax=most, interpolation="nearest", aspect="equal" if len(image) > 1 else "auto")
    ax.set_axis_on()
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    ax.spines[:].set(visible=True, color=INK, linewidth=0.4)
    ax.set_title(title, fontsize=8, pad=3)
    return shown
