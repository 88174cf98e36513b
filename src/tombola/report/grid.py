"""Grids: images, surfaces through weight space, and what heat maps share with them."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.report import axes, text
from tombola.report.axes import short
from tombola.report.drawing import Drawing
from tombola.report.style import INK
from tombola.studies.base import Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

WIDTH = 8.6
"""Inches of a figure's width at most."""
_COLOURS, _GREYS = "YlGnBu", "Greys"
"""From pale to dark, in grey as well."""
LETTER = 0.062
"""Inches of a letter of a label, about."""


class Grid(Drawing):
    """Pairs of axes with one colour scale a panel. What a kind of them shows in each is its own."""

    kind = "grid"
    by: tuple[str, ...] = ("variant", "arm")
    colours = _COLOURS

    def draw(self) -> "Canvas":
        """One panel: as many side by side as have room, of what varies fastest. Several: a row of them for each group."""
        self.groups, panels = text.titled(self._rows(), self.report, self.by), self.figure.panels
        width, height = self.size()
        across = len(panels) if len(panels) > 1 else self._across(width)
        down = math.ceil(len(self.groups) * len(panels) / across)
        lines = max(len(name) * 0.075 / (width * (len(panels) if len(panels) > 1 else 1)) for name, _ in self.groups)
        around = self.beside() + (0.9 if len(panels) == 1 else 0.0)
        gaps = across * (0.25 + self.apart())
        heights = height + 0.16 * math.ceil(lines) + self.below()
        size = min(WIDTH, width * across + gaps + around), heights * down + 0.2 + 0.5 * (len(panels) > 1)
        canvas = axes.empty(size)
        grid = canvas.subplots(down, across, squeeze=False)
        for ax in grid.flat[len(self.groups) * len(panels) :]:
            ax.remove()
        self.drawn: list[tuple[Any, ...]] = []
        for index, panel in enumerate(panels):
            own = list(grid[:, index] if len(panels) > 1 else grid.flat[: len(self.groups)])
            self._panel(canvas, panel, own, across, index)
        canvas.draw_without_rendering()
        self.finish()
        return canvas

    def _rows(self) -> "pd.DataFrame":
        return self.rows if "variant" in self.rows.columns else self.rows.assign(variant="")

    def _across(self, width: float) -> int:
        fit = max(1, int((WIDTH - self.beside() - 0.9) / (width + 0.25 + self.apart())))
        rows = self._rows()
        fastest = next((rows[column].nunique() for column in reversed(self.by) if rows[column].nunique() > 1), 1)
        return fastest if 1 < fastest <= fit else math.ceil(len(self.groups) / math.ceil(len(self.groups) / fit))

    def _panel(self, canvas: "Canvas", panel: Panel, own: "Sequence[Axes]", across: int, index: int) -> None:
        many = len(self.figure.panels) > 1
        scale = self.scale_of(panel)
        for place, (ax, (name, rows)) in enumerate(zip(own, self.groups, strict=True)):
            lowest = place + (1 if many else across) >= len(self.groups)
            left = index == 0 and (many or place % across == 0)
            shown = self.fill(ax, rows, panel, scale, left, lowest)
            if name and index == 0:
                axes.title(ax, name, 8 if many else self.size()[0] + 0.3)
        bar = canvas.colorbar(
            shown, ax=own, location="top" if many else "right", aspect=18, pad=0.04 if many else 0.02, shrink=0.95, fraction=0.1
        )
        self.mark_bar(bar, panel)

    def mark_bar(self, bar: Any, panel: Panel) -> None:
        """Label, ticks, thin outline, threshold."""
        from matplotlib.ticker import MaxNLocator

        bar.outline.set_linewidth(0.4)
        axis = bar.ax.xaxis if bar.orientation == "horizontal" else bar.ax.yaxis
        axes.set_label(axis, panel.label)
        low, high = axis.get_view_interval()
        ticks = axes.round_numbers(low, high) if panel.log and low > 0 else MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        shown = [float(tick) for tick in ticks if low <= tick <= high]
        bar.set_ticks(shown[:: math.ceil(len(shown) / 4)], labels=[short(tick) for tick in shown[:: math.ceil(len(shown) / 4)]])
        bar.ax.minorticks_off()
        if bar.ax.get_label() and panel.threshold is not None and self.figure.kind == "heatmap":
            line = bar.ax.axvline if bar.orientation == "horizontal" else bar.ax.axhline
            for colour, width in (("white", 2.4), (INK, 1.0)):  # to be seen on any ground
                line(panel.scale * panel.threshold, color=colour, linewidth=width)

    def size(self) -> tuple[float, float]:
        """Inches of a pair of axes."""
        raise NotImplementedError

    def beside(self) -> float:
        """Inches on the left of the first and on the right of the last pair of axes."""
        return 0.5

    def below(self) -> float:
        """Inches that labels below each pair of axes take."""
        return 0.3

    def apart(self) -> float:
        """Inches of what stands beside each pair of axes."""
        return 0.0

    def scale_of(self, panel: Panel) -> Any:
        """What tells a panel's colours."""
        raise NotImplementedError

    def fill(self, ax: "Axes", rows: "pd.DataFrame", panel: Panel, scale: Any, left: bool, lowest: bool) -> Any:
        """Draw one group; returns what a colour bar is made from."""
        raise NotImplementedError

    def finish(self) -> None:
        """What is drawn when the sizes of the axes are known."""


class Image(Grid):
    """Grey images, one a level, in rows for each arm: 0 is white, the largest value dark."""

    by = ("arm", "level")
    colours = _GREYS

    def marks(self) -> list[str]:
        """The scale."""
        return ["White is 0; all images have the same scale."]

    def size(self) -> tuple[float, float]:
        """Inputs in a row are a strip."""
        rows, columns = (self.rows[name].nunique() for name in ("row", "column"))
        return (5.0, 0.3) if rows < 0.3 * columns else (1.5, 1.5 * rows / columns)

    def below(self) -> float:
        """The axis of columns."""
        return 0.15

    def scale_of(self, panel: Panel) -> float:
        """The largest mean."""
        return max(float(self._mean(rows).max(axis=None)) for _, rows in self.groups) * panel.scale or 1.0

    def _mean(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        return rows.pivot_table(index="row", columns="column", values="value", aggfunc="mean")

    def fill(self, ax: "Axes", rows: "pd.DataFrame", panel: Panel, scale: float, left: bool, lowest: bool) -> Any:
        """One level's image."""
        from matplotlib.ticker import MaxNLocator

        values = panel.scale * self._mean(rows)
        image = ax.imshow(
            values, cmap=self.colours, vmin=0, vmax=scale, interpolation="nearest", aspect="equal" if len(values) > 1 else "auto"
        )
        ax.grid(visible=False)
        ax.spines[:].set(visible=True, linewidth=0.4)
        for axis, length in ((ax.xaxis, values.shape[1]), (ax.yaxis, values.shape[0])):
            axis.set_major_locator(MaxNLocator(3 if length < 60 else 4, integer=True))
        ax.tick_params(length=2, labelleft=left and len(values) > 1, labelbottom=lowest)
        if len(values) == 1:
            ax.set_yticks([])
        ax.set_xlabel(("input column" if len(values) > 1 else "input") if lowest else "")
        ax.set_ylabel("input row" if left and len(values) > 1 else "")
        return image


class Surface(Grid):
    """Contours over a plane through weight space, and the networks that lie on it; light is low."""

    by = ("variant", "arm", "level")

    def apart(self) -> float:
        """Tick labels."""
        return 0.2

    def marks(self) -> list[str]:
        """The scale, and the points."""
        several = " all panels have the same scale;" if len(self.groups) > 1 else ""
        return [f"Light is low;{several} points: networks on the plane."]

    def draw(self) -> "Canvas":
        """Nothing, where no value is finite."""
        return super().draw() if self._finite().size else axes.nothing("no finite values")

    groups: list[tuple[str, "pd.DataFrame"]] = []

    def _finite(self) -> "np.ndarray[Any, Any]":
        values = self.rows[self.rows.network == ""].value.to_numpy(float)
        return values[np.isfinite(values)]

    def size(self) -> tuple[float, float]:
        """Of the plane's shape."""
        count = self.rows.groupby(list(self.by)).ngroups
        side = {1: 3.0, 2: 2.5, 3: 2.1}.get(count, 1.6)
        tall = (self.rows.y.max() - self.rows.y.min()) / (self.rows.x.max() - self.rows.x.min())
        return side, side * min(tall, 1.5) + 0.15

    def scale_of(self, panel: Panel) -> list[float]:
        """Contours at round numbers, about twelve."""
        from matplotlib.ticker import MaxNLocator

        finite = panel.scale * self._finite()
        locator = MaxNLocator(12, steps=[1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10])
        return [round(float(level), 12) for level in locator.tick_values(finite.min(), finite.max())]

    def fill(self, ax: "Axes", rows: "pd.DataFrame", panel: Panel, scale: list[float], left: bool, lowest: bool) -> Any:
        """Filled contours with thin lines, and labelled points."""
        import matplotlib
        from matplotlib.ticker import MaxNLocator

        bands = matplotlib.colormaps[_GREYS](np.linspace(0, 0.72, len(scale) - 1))  # lines and labels can be seen on them
        plane = panel.scale * rows[rows.network == ""].pivot(index="y", columns="x", values="value")
        plane = plane.clip(scale[0], scale[-1])  # an infinite loss is high
        filled = ax.contourf(plane.columns, plane.index, plane, levels=scale, colors=bands)
        ax.contour(plane.columns, plane.index, plane, levels=scale, colors=INK, linewidths=0.35)
        ax.grid(visible=False)
        ax.set(aspect="equal", xlim=(rows.x.min(), rows.x.max()), ylim=(rows.y.min(), rows.y.max()))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
        ax.set(xlabel="distance (2-norm)" if lowest else "", ylabel="distance (2-norm)" if left else "")
        self._networks(ax, rows[rows.network != ""])
        return filled

    def _networks(self, ax: "Axes", networks: "pd.DataFrame") -> None:
        """Labels point to the middle of the plane, where they have room."""
        ax.plot(networks.x, networks.y, "o", color=INK, markersize=4.5, markeredgecolor="white", markeredgewidth=0.7, clip_on=False)
        ground = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.6}
        middle = sum(ax.get_xlim()) / 2
        for index, (name, x, y) in enumerate(zip(networks.network, networks.x, networks.y, strict=True)):
            right = x <= middle
            place = (4 if right else -4, 5 if index % 2 else -5)
            ax.annotate(
                name, (x, y), place, textcoords="offset points", fontsize=7, bbox=ground,
                ha="left" if right else "right", va="bottom" if index % 2 else "top", in_layout=False,
            )  # fmt: skip
