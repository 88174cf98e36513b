"""What every kind of figure has: rows, a canvas, a caption, and the numbers behind its marks."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.report.axes import nothing, threshold_marks
from tombola.report.result import arms_of, own_settings, rows_of
from tombola.report.style import Look, looks
from tombola.report.ticks import short
from tombola.studies.base import Findings
from tombola.studies.figure import Figure, Panel

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas


class Drawing:
    """A figure of a report. A kind fills `draw` and `marks`; marks that belong to an entry of the legend are tied to it."""

    kind = "plot"
    """How the page shows it: a `grid` stays on white paper, a `plot` is turned over on a dark page."""

    def __init__(self, figure: Figure, report: Findings) -> None:
        self.figure, self.report, self.rows = figure, report, rows_of(figure, report)
        self.notes: list[str] = []
        """Sentences that drawing adds to the caption."""
        self._leave_out()
        self._points: list[tuple[Axes, float, float, dict[str, Any]]] = []
        self._tied = 0
        self.canvas = self.draw() if len(self.rows) else nothing("nothing of this was run")
        self.canvas.draw_without_rendering()  # lays the figure out, once for all formats
        self.canvas.set_layout_engine("none")

    def _leave_out(self) -> None:
        """Take panels from a figure of levels that have the same value throughout, which a sentence says, if others have more to show."""
        flat: dict[Panel, float] = {}
        for panel in self.figure.panels if self.figure.kind == "density" else ():
            values = panel.scale * self.rows[panel.metric].dropna().unique()
            if len(values) == 1 and math.isfinite(values[0]) and panel.threshold is None and not panel.paper:
                flat[panel] = float(values[0])
        if len(flat) < len(self.figure.panels):
            self.figure = replace(self.figure, panels=tuple(panel for panel in self.figure.panels if panel not in flat))
            self.notes += [
                f"A panel is left out, as its value is {short(value)} throughout: {panel.label}." for panel, value in flat.items()
            ]

    def draw(self) -> "Canvas":
        """The figure."""
        raise NotImplementedError

    def marks(self) -> list[str]:
        """Sentences that say what the marks mean."""
        raise NotImplementedError

    @property
    def caption(self) -> str:
        """What the study says of the figure, then what its marks mean."""
        marks = [*self.marks(), *self.notes] if len(self.rows) else []
        return " ".join(filter(None, dict.fromkeys([self.figure.caption, own_settings(self.report), *marks])))

    def means(self, marks: str, spread: str = "", where: str = "") -> str:
        """What marks show: "Lines show means over 8 replicates, bands their 95 % t-intervals"; of one replicate there is no spread."""
        n = self.rows.replicate.nunique()
        return f"{marks} show means over {n} replicates{where}{spread}" if n > 1 else f"{marks} show one replicate{where}"

    def thresholds(self, direction: str = "horizontal") -> str:
        """A sentence for the panels' thresholds."""
        return threshold_marks(self.figure.panels, direction)

    def stars(self) -> str:
        """A sentence for what the paper found; "" where nothing is known."""
        known = [one for panel in self.figure.panels for one in panel.paper]
        beside = "; what it gives relative to its dense network is put beside ours" * any(one.beside_dense for one in known)
        return f"Stars are what the paper reports for this network and these data, under its own budget{beside}." if known else ""

    @property
    def labels(self) -> dict[str, str]:
        """Arm to label, of the figure's rows."""
        known, present = arms_of(self.report), list(self.rows.arm.unique())
        return {arm: label for arm, label in (known | {arm: arm for arm in present if arm not in known}).items() if arm in present}

    @property
    def looks(self) -> dict[str, Look]:
        """Arm to look, of the figure's rows: as in every figure of the study."""
        every = looks([*self.report.study.arms, *self.labels])
        return {arm: every[arm] for arm in self.labels}

    def tie(self, entries: Sequence[int], *artists: "Artist") -> None:
        """Give artists ids that name the legend's entries that they belong to: "series0_3-1", "series0_3-2"."""
        for artist in artists:
            self._tied += 1
            artist.set_gid(f"series{'_'.join(map(str, entries))}-{self._tied}")

    def point(self, ax: "Axes", x: float, y: float, label: str, **numbers: Any) -> None:
        """A place, in data coordinates, with what the page says there: `entry`, `at`, `mean`, `low`, `high`, `n`."""
        self._points.append((ax, x, y, {"label": label, **numbers}))

    def numbers(self) -> list[dict[str, Any]]:
        """The points with their places in the drawing: points (1/72 inch) from its left and upper edges."""
        points, height = 72 / self.canvas.dpi, 72 * self.canvas.get_size_inches()[1]
        found = []
        for ax, x, y, numbers in self._points:
            edge, y = ax.get_window_extent(), y if math.isfinite(y) else max(ax.get_ylim())
            left, up = (points * float(at) for at in np.clip(ax.transData.transform((x, y)), edge.min, edge.max))
            found.append({"place": [round(left, 1), round(height - up, 1)], **numbers})
        return found


def of_row(row: "pd.Series[Any]", scale: float) -> dict[str, Any]:
    """The numbers of a summary's row, as `Drawing.point` takes them; what is not finite is None, which JSON can say."""
    found = {name: scale * float(row[name]) for name in ("mean", "low", "high")}
    shown = {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in found.items()}
    return {**shown, "n": int(row.n), "infinite": int(row.infinite)}


def handle(look: Look, **settings: Any) -> "Artist":
    """A legend's sample of a line."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **{"color": look.colour, "marker": look.marker, "linestyle": look.line, **settings})


def classed(details: "pd.DataFrame") -> dict[str, str]:
    """Row of a map -> its label, with its class in brackets if it has one."""
    marks = dict(zip(details["row"], details.mark, strict=True)) if "mark" in details.columns else {}
    return {row: f"{row} ({marks[row]})" if marks.get(row) else row for row in details["row"].unique()}
