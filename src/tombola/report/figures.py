"""Figures as a paper would print them: SVG, PDF and PNG that are the same on every machine and every day."""

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tombola.report.curves_figure import draw_curves, learnt
from tombola.report.density_figure import axis_of, draw_density, lower_bounds
from tombola.report.heatmap_figure import draw_heatmap, maps_of
from tombola.report.image_figure import draw_image
from tombola.report.layout import nothing
from tombola.report.profile_figure import draw_profile
from tombola.report.result import rows_of
from tombola.report.scatter_figure import across_of, draw_scatter, points
from tombola.report.style import styled
from tombola.report.summary import summarise
from tombola.report.surface_figure import draw_surface
from tombola.report.text import LAYERS, STEP, WIDTH
from tombola.report.thresholds import threshold_marks
from tombola.studies.base import Figure, Findings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

_UNDATED = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
"""Metadata left out, so that the same figure is the same file."""
FORMS = tuple(_UNDATED)


def draw(figure: Figure, report: Findings) -> "Canvas":
    """The figure of a report. Nothing global is touched (no pyplot)."""
    with styled():
        canvas = _DRAWN[figure.kind](figure, report) if len(rows_of(figure, report)) else nothing("nothing of this was run")
        canvas.draw_without_rendering()  # lays the figure out, once for all formats
        canvas.set_layout_engine("none")
    return canvas


def files(canvas: "Canvas", stem: str) -> dict[str, bytes]:
    """`stem`.svg, .pdf and .png (150 dpi), in this order: name -> content."""
    return {f"{stem}.{form}": rendered(canvas, form) for form in FORMS}


def rendered(canvas: "Canvas", form: str) -> bytes:
    """The figure as a file's content: `svg`, `pdf` or `png`."""
    content = io.BytesIO()
    with styled():
        canvas.savefig(content, format=form, dpi=150, metadata=_UNDATED[form])
    return content.getvalue()


def caption(figure: Figure, report: Findings) -> str:
    """What the study says of the figure, then what its marks mean."""
    marks = _MARKS[figure.kind](figure, report) if len(rows_of(figure, report)) else ""
    return f"{figure.caption} {marks}".strip()


def _density_marks(figure: Figure, report: Findings) -> str:
    table = rows_of(figure, report)
    metrics = [panel.metric for panel in figure.panels]
    infinite = summarise(table, metrics).infinite.any()
    logs = [table[panel.metric] for panel in figure.panels if panel.log] + ([table.step] if axis_of(figure, report) == "step" else [])
    marks = f"{_bands(table)}; thin bars: minimum and maximum."
    if any(lower_bounds(table, name) for name in metrics):
        marks += " Hollow markers: censored in at least one replicate, so that the true value may be larger."
    marks += _zero(logs)
    if infinite:
        marks += " Arrows at the top edge: at least one replicate never gets there, so that the mean is infinite."
    return marks + threshold_marks(figure.panels, "horizontal")


def _curves_marks(figure: Figure, report: Findings) -> str:
    curves = rows_of(figure, report)
    measured = [curves[curves[panel.metric].notna()] for panel in figure.panels]
    early = any(len(learnt(rows)) < len(rows) for rows in measured)
    return f"{_bands(curves)}.{' The first fifth of training may lie outside the axes.' if early else ''}"


def _profile_marks(figure: Figure, report: Findings) -> str:
    return f"{_bands(rows_of(figure, report))}.{threshold_marks(figure.panels, 'horizontal')}"


def _image_marks(figure: Figure, report: Findings) -> str:
    return "White is 0; all images have the same scale."


def _scatter_marks(figure: Figure, report: Findings) -> str:
    table, across = rows_of(figure, report), across_of(figure)
    found = [points(figure, panel, table) for panel in figure.panels]
    logs = [shown.y for shown, panel in zip(found, figure.panels, strict=True) if panel.log] + [shown.x for shown in found if across.log]
    least, most = min(map(len, found)), max(map(len, found))
    n = f"{most}" if least == most else f"{least} to {most}"
    level = {"rounds": "level", "steps": STEP, "layers": f"number of {LAYERS}", "widths": WIDTH}[report.study.levels]
    variant = " of one variant" if table.variant.nunique() > 1 else ""
    marks = f"A point: one replicate of an arm at one {level}{variant}, draws averaged; n = {n}.{_zero(logs)}"
    return marks + threshold_marks(figure.panels, "horizontal") + threshold_marks([across], "vertical")


def _surface_marks(figure: Figure, report: Findings) -> str:
    details = rows_of(figure, report)
    several = len(details.groupby(["variant", "arm", "level"])) > 1
    return f"Light is low;{' all panels have the same scale;' if several else ''} points: networks on the plane."


def _heatmap_marks(figure: Figure, report: Findings) -> str:
    details, maps = rows_of(figure, report), maps_of(figure, report)
    n = details.replicate.nunique()
    marks = f"A cell: {f'mean over {n} replicates' if n > 1 else 'one replicate'}; darker is more."
    if len(maps) > 1:
        marks += f" All maps{' of a panel' if len(figure.panels) > 1 else ''} have the same scale."
    if any(values.isna().any(axis=None) for one in maps for values in one.values):
        marks += " Hatched: nothing was measured."
    if any(any(one.marks) for one in maps):
        marks += " On the right: how a row is classed."
    return marks + threshold_marks(figure.panels, "vertical", " on a colour bar")


def _zero(logs: "Sequence[pd.Series[float]]") -> str:
    """What the values of some log axes make of them."""
    return " A log axis with a 0 is linear below the smallest value above it." if any((values == 0).any() for values in logs) else ""


def _bands(rows: "pd.DataFrame") -> str:
    return f"Lines: mean over {rows.replicate.nunique()} replicates; bands: its 95 % t-interval"


_DRAWN: dict[str, Callable[[Figure, Findings], "Canvas"]] = {
    "density": draw_density,
    "curves": draw_curves,
    "profile": draw_profile,
    "image": draw_image,
    "scatter": draw_scatter,
    "surface": draw_surface,
    "heatmap": draw_heatmap,
}
_MARKS: dict[str, Callable[[Figure, Findings], str]] = {
    "density": _density_marks,
    "curves": _curves_marks,
    "profile": _profile_marks,
    "image": _image_marks,
    "scatter": _scatter_marks,
    "surface": _surface_marks,
    "heatmap": _heatmap_marks,
}
