"""Figures as a paper would print them: SVG, PDF and PNG that are the same on every machine and every day."""

import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from tombola.report.result import arms_of, variants_of
from tombola.report.style import styled
from tombola.report.text import level_names
from tombola.studies.base import Findings
from tombola.studies.figure import Figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from tombola.report.drawing import Drawing

_UNDATED = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}
"""Metadata left out, so that the same figure is the same file."""
FORMS = (*_UNDATED, "txt", "json")
"""The drawing, its caption, and the numbers behind its marks with their places."""


def kind_of(figure: Figure, report: Findings) -> "type[Drawing]":
    """What draws a figure of a report: lines, points or a grid."""
    from tombola.report.grid import Image, Surface
    from tombola.report.heatmap import HeatMap
    from tombola.report.journeys import Journeys
    from tombola.report.lines import Lines
    from tombola.report.points import Dots, Scatter, narrow, single

    if single(figure, report) is not None or narrow(figure, report):
        return Dots
    kinds: dict[str, type[Drawing]] = {"scatter": Scatter, "heatmap": HeatMap, "image": Image, "surface": Surface, "journeys": Journeys}
    return kinds.get(figure.kind, Lines)


def _turned(report: Findings, by: bool | str) -> Findings:
    """The report with arms for variants, and variants for arms; or `by` "levels", with levels for arms and arms for variants."""
    if by == "levels":
        key, found = level_names(report.table, report)
        names = {level: f"{key} {name}" for level, name in found.items()}
        table = report.table.assign(variant=report.table.arm, arm=report.table.level.map(names))
        return replace(report, table=table, arms={name: name for name in names.values()}, variants=arms_of(report))
    table, curves = (frame.rename(columns={"arm": "variant", "variant": "arm"}) for frame in (report.table, report.curves))
    return replace(report, table=table, curves=curves, arms=variants_of(report), variants=arms_of(report))


def draw(figure: Figure, report: Findings) -> "Drawing":
    """The figure of a report. Nothing global is touched (no pyplot)."""
    if figure.compared:
        by, figure = figure.compared, replace(figure, compared=False, arms=figure.variants, variants=figure.arms)
        report = _turned(report, by)
    with styled():
        return kind_of(figure, report)(figure, report)


def files(drawing: "Drawing", stem: str) -> dict[str, bytes]:
    """`stem`.svg, .pdf, .png (300 dpi), .txt and .json, in this order: name -> content."""
    drawn = {f"{stem}.{form}": rendered(drawing.canvas, form) for form in _UNDATED}
    numbers = json.dumps(drawing.numbers(), separators=(",", ":"), allow_nan=False)
    return {**drawn, f"{stem}.txt": f"{drawing.figure.title}. {drawing.caption}\n".encode(), f"{stem}.json": numbers.encode()}


def rendered(canvas: "Canvas", form: str) -> bytes:
    """The figure as a file's content: `svg`, `pdf` or `png`."""
    content = io.BytesIO()
    with styled():
        canvas.savefig(content, format=form, dpi=300, metadata=_UNDATED[form], facecolor="none" if form == "svg" else "auto")
    return content.getvalue()
