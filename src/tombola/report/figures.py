"""Figures as a paper would print them: SVG, PDF and PNG that are the same on every machine and every day."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from tombola.report.curves_figure import draw_curves
from tombola.report.density_figure import draw_density, lower_bounds, shown_rows
from tombola.report.files import write_file
from tombola.report.style import styled
from tombola.report.summary import summarise
from tombola.studies.base import Figure, Findings

if TYPE_CHECKING:
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
        canvas = draw_density(figure, report) if figure.kind == "density" else draw_curves(figure, report)
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
    if figure.kind == "curves":
        marks = f"Lines: mean over {report.curves.replicate.nunique()} replicates; bands: its 95 % t-interval."
        return f"{figure.caption} {marks} The first fifth of training may lie outside the axes.".strip()
    table, _ = shown_rows(figure, report)
    metrics = [panel.metric for panel in figure.panels]
    infinite = summarise(table, metrics).infinite.any()
    marks = f"Lines: mean over {table.replicate.nunique()} replicates; bands: its 95 % t-interval; thin bars: minimum and maximum."
    if any(lower_bounds(table, name) for name in metrics):
        marks += " Hollow markers: censored in at least one replicate, so that the true value may be larger."
    if infinite:
        marks += " Arrows at the top edge: at least one replicate never gets there, so that the mean is infinite."
    return f"{figure.caption} {marks}".strip()
