"""Figures as a paper would print them: SVG, PDF and PNG that are the same on every machine and every day."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tombola.report.curves_figure import draw_curves, learnt
from tombola.report.density_figure import draw_density, lower_bounds
from tombola.report.files import write_file
from tombola.report.image_figure import draw_image
from tombola.report.layout import nothing
from tombola.report.profile_figure import draw_profile
from tombola.report.result import rows_of
from tombola.report.style import styled
from tombola.report.summary import summarise
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


def draw(figure: Figure, report: Findings) -> "Canvas":
    """The figure of a report. Nothing global is touched (no pyplot)."""
    with styled():
        canvas = _DRAWN[figure.kind](figure, report) if len(rows_of(figure, report)) else nothing("nothing of this was run")
        canvas.draw_without_rendering()  # lays the figure out, once for all formats
        canvas.set_layout_engine("none")
    return canvas


def save(canvas: "Canvas", folder: Path, stem: str) -> list[Path]:
    """Write `stem`.svg, .pdf and .png (150 dpi); returns their paths in this order."""
    return [write_file(Path(folder) / f"{stem}.{form}", rendered(canvas, form)) for form in _UNDATED]


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
    zero = any(panel.log and (table[panel.metric] == 0).any() for panel in figure.panels)
    marks = f"{_bands(table)}; thin bars: minimum and maximum."
    if any(lower_bounds(table, name) for name in metrics):
        marks += " Hollow markers: censored in at least one replicate, so that the true value may be larger."
    if zero:
        marks += " A log axis with a 0 is linear below the smallest value above it."
    if infinite:
        marks += " Arrows at the top edge: at least one replicate never gets there, so that the mean is infinite."
    return marks


def _curves_marks(figure: Figure, report: Findings) -> str:
    curves = rows_of(figure, report)
    measured = [curves[curves[panel.metric].notna()] for panel in figure.panels]
    early = any(len(learnt(rows)) < len(rows) for rows in measured)
    return f"{_bands(curves)}.{' The first fifth of training may lie outside the axes.' if early else ''}"


def _profile_marks(figure: Figure, report: Findings) -> str:
    return f"{_bands(rows_of(figure, report))}."


def _image_marks(figure: Figure, report: Findings) -> str:
    return "White is 0; all images have the same scale."


def _bands(rows: "pd.DataFrame") -> str:
    return f"Lines: mean over {rows.replicate.nunique()} replicates; bands: its 95 % t-interval"


_DRAWN: dict[str, Callable[[Figure, Findings], "Canvas"]] = {
    "density": draw_density,
    "curves": draw_curves,
    "profile": draw_profile,
    "image": draw_image,
}
_MARKS: dict[str, Callable[[Figure, Findings], str]] = {
    "density": _density_marks,
    "curves": _curves_marks,
    "profile": _profile_marks,
    "image": _image_marks,
}
