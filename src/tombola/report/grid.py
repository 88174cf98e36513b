"""Grids: images, surfaces through weight space, and what heat maps share with them."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.report import axes, text
from tombola.report.drawing import Drawing
from tombola.report.style import INK, now
from tombola.report.ticks import round_numbers, short
from tombola.studies.figure import Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_GREYS = "Greys"
LETTER = 0.062
"""Inches of a letter of a label, about."""


class Grid(Drawing):
    """Pairs of axes with one colour scale a panel. What each of them shows is a kind's own."""

    kind = "grid"
    by: tuple[str, ...] = ("variant", "arm")
    around = (0.5, 0.0, 0.3)
    """Inches beside the first pair of axes, beside each, and below each."""
    groups: list[tuple[str, "pd.DataFrame"]] = []
    """Title and rows of each pair of axes, once they are drawn."""

    def size(self) -> tuple[float, float]:
        """Inches of a pair of axes."""
        raise NotImplementedError

    def scale_of(self, panel: Panel) -> Any:
        """What tells a panel's colours."""
        raise NotImplementedError

    def fill(self, ax: "Axes", rows: "pd.DataFrame", panel: Panel, scale: Any, left: bool, lowest: bool) -> Any:
        """Draw one group; returns what a colour bar is made from."""
        raise NotImplementedError

    def draw(self) -> "Canvas":
        """One panel: as many side by side as have room, of what varies fastest. Several: a row of them for each group."""
        rows = self.rows if "variant" in self.rows.columns else self.rows.assign(variant="")
        self.groups, panels = text.titled(rows, self.report, self.by), self.figure.panels
        (width, height), (beside, apart, below), many = self.size(), self.around, len(panels) > 1
        room = int((max(now().widths) - beside - 0.9) / (width + 0.25 + apart)) or 1
        fastest = next((count for column in reversed(self.by) if (count := rows[column].nunique()) > 1), 1)
        across = fastest if fastest <= room else math.ceil(len(self.groups) / math.ceil(len(self.groups) / room))
        across = len(panels) if many else across
        down, wide = math.ceil(len(self.groups) * len(panels) / across), width * len(panels) + 0.3
        lines = max(math.ceil(0.075 * len(name) / wide) for name, _ in self.groups)
        canvas = axes.empty(
            (
                now().fit((width + 0.25 + apart) * across + beside + (0 if many else 0.9)),
                (height + 0.16 * lines + below) * down + (0.7 if many else 0.2),
            )
        )
        grid = canvas.subplots(down, across, squeeze=False)
        for ax in grid.flat[len(self.groups) * len(panels) :]:
            ax.remove()
        for index, panel in enumerate(panels):
            own, scale = list(grid[:, index] if many else grid.flat[: len(self.groups)]), self.scale_of(panel)
            for place, (ax, (name, of_group)) in enumerate(zip(own, self.groups, strict=True)):
                left, lowest = index == 0 and (many or place % across == 0), place + (1 if many else across) >= len(self.groups)
                shown = self.fill(ax, of_group, panel, scale, left, lowest)
                if name and index == 0:
                    axes.title(ax, name, wide)
            self._bar(canvas, shown, own, panel)
        return canvas

    def _bar(self, canvas: "Canvas", shown: Any, own: "list[Axes]", panel: Panel) -> None:
        """A colour bar above several panels, or on the right of one, with the panel's threshold."""
        from matplotlib.ticker import MaxNLocator

        above = len(self.figure.panels) > 1
        place: dict[str, Any] = {"location": "top", "pad": 0.04} if above else {"location": "right", "pad": 0.02}
        bar = canvas.colorbar(shown, ax=own, aspect=18, shrink=0.95, fraction=0.1, **place)
        bar.outline.set_linewidth(0.4)
        axis = bar.ax.xaxis if above else bar.ax.yaxis
        axes.set_label(axis, panel.label, 32 if above else int(canvas.get_size_inches()[1] / 0.075))
        low, high = axis.get_view_interval()
        ticks = round_numbers(low, high) if panel.log and low > 0 else MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        inside = [float(tick) for tick in ticks if low <= tick <= high]
        inside = inside[:: math.ceil(len(inside) / 4)]
        bar.set_ticks(inside, labels=[short(tick) for tick in inside])
        bar.ax.minorticks_off()
        for colour, width in (("white", 2.4), (INK, 1.0)) if panel.threshold is not None else ():  # to be seen on any ground
            (bar.ax.axvline if above else bar.ax.axhline)(panel.scale * (panel.threshold or 0.0), color=colour, linewidth=width)


class Image(Grid):
    """Grey images, one a level, in rows for each arm: 0 is white, the largest value dark."""

    by = ("arm", "level")
    around = (0.5, 0.0, 0.15)

    def marks(self) -> list[str]:
        """The scale."""
        return ["White is 0; all images have the same scale."]

    def size(self) -> tuple[float, float]:
        """Width and height of an image in inches; inputs in a row are a strip."""
        rows, columns = (self.rows[name].nunique() for name in ("row", "column"))
        return (5.0, 0.3) if rows < 0.3 * columns else (1.5, 1.5 * rows / columns)

    def scale_of(self, panel: Panel) -> float:
        """The largest mean."""
        return max(float(self._mean(rows).max(axis=None)) for _, rows in self.groups) * panel.scale or 1.0

    def _mean(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        return rows.pivot_table(index="row", columns="column", values="value", aggfunc="mean")

    def fill(self, ax: "Axes", rows: "pd.DataFrame", panel: Panel, scale: float, left: bool, lowest: bool) -> Any:
        """One level's image."""
        from matplotlib.ticker import MaxNLocator

        values = panel.scale * self._mean(rows)
        span, strip = self.figure.span, len(values) == 1
        image = ax.imshow(values, cmap=_GREYS, vmin=0, vmax=scale, interpolation="nearest", aspect="auto" if strip else "equal")
        if span:
            image.set_extent((*span, *span))
        ax.grid(visible=False)
        ax.spines[:].set(visible=True, linewidth=0.4)
        for axis, length in ((ax.xaxis, values.shape[1]), (ax.yaxis, values.shape[0])):
            axis.set_major_locator(MaxNLocator(3 if length < 60 else 4, integer=True))
        ax.tick_params(length=2, labelleft=left and not strip, labelbottom=lowest)
        if strip:
            ax.set_yticks([])
        ax.set_xlabel((self.figure.x_label or ("input" if strip else "input column")) if lowest else "")
        ax.set_ylabel((self.figure.y_label or "input row") if left and not strip else "")
        return image


class Surface(Grid):
    """Contours over a plane through weight space, and the networks that lie on it; light is low."""

    by = ("variant", "arm", "level")
    around = (0.5, 0.2, 0.3)

    def marks(self) -> list[str]:
        """The scale, and the points."""
        several = " all panels have the same scale;" if len(self.groups) > 1 else ""
        return [f"Light is low;{several} points are networks on the plane."]

    def draw(self) -> "Canvas":
        """The figure; one that says so where no value is finite."""
        return super().draw() if self._finite().size else axes.nothing("no finite values")

    def _finite(self) -> "np.ndarray[Any, Any]":
        values = self.rows[self.rows.network == ""].value.to_numpy(float)
        return values[np.isfinite(values)]

    def size(self) -> tuple[float, float]:
        """Width and height of a pair of axes in inches, in the proportions of the plane."""
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
        """Draw labelled points; labels point to the middle of the plane, where they have room."""
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
