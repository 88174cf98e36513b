"""One self-contained page, and the files behind it."""

import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from tombola.report import figures, page_parts
from tombola.report.files import writable, write_file
from tombola.report.inline import dark_colours, inline_svg
from tombola.report.kept import Kept, of_figure, of_frame
from tombola.report.page_style import CSS
from tombola.report.table import as_csv, claims_as_json
from tombola.store.files import dump_json
from tombola.studies.base import Figure, Findings

if TYPE_CHECKING:
    import pandas as pd


def write(reports: Sequence[Findings], folder: Path) -> list[Path]:
    """Write index.html and a folder for each study: table.csv, curves.csv, the details tables,
    claims.json, figures as svg, pdf, png.

    Nothing is loaded from elsewhere: the page may be mailed, archived, opened offline. It is written last, so that
    it never links to a file that is not there. Tables and figures that are there already, made from the same, are left
    (`tombola.report.kept`). Returns all paths, the page's first.
    """
    folder = Path(folder)
    writable(folder)
    names = _folder_names(reports)
    written, sections = [], []
    for name, report in zip(names, reports, strict=True):
        paths, section = _study(report, folder, name)
        written += paths
        sections.append(section)
    links = [(name, report.study.name) for name, report in zip(names, reports, strict=True)]
    page = write_file(folder / "index.html", _page(sections, links).encode())
    return [page, *written]


def _folder_names(reports: Sequence[Findings]) -> list[str]:
    """One name a report, fit for a folder and an id; a study that comes twice (another task) is numbered."""
    names: list[str] = []
    for report in reports:
        base = re.sub(r"[^\w.-]+", "-", report.study.name, flags=re.ASCII).strip(".-") or "study"
        again = sum(other == base or other.rsplit("--", 1)[0] == base for other in names)
        names.append(f"{base}--{again + 1}" if again else base)
    return names


def _study(report: Findings, folder: Path, name: str) -> tuple[list[Path], str]:
    kept = Kept(folder / name)
    frames = {"table": report.table, "curves": report.curves, **report.details}
    made_from = {table: of_frame(frame) for table, frame in frames.items()}
    tables = [path for table, frame in frames.items() for path in _table(table, frame, made_from[table], kept)]
    tables.append(write_file(folder / name / "claims.json", dump_json(claims_as_json(report.verdicts))))
    shown = [_figure(figure, report, of_figure(figure, report, list(made_from.values())), kept, name) for figure in report.study.figures]
    kept.note()
    parts = [
        page_parts.heading(report, name),
        page_parts.claims(report),
        *[html for _, html in shown],
        page_parts.summary_table(report),
        _files(tables, name),
        page_parts.provenance(report),
    ]
    section = f'<section id="{escape(name)}">\n' + "\n".join(part for part in parts if part) + "\n</section>"
    return [*tables, *(path for paths, _ in shown for path in paths)], section


def _table(name: str, frame: "pd.DataFrame", made_from: str, kept: Kept) -> list[Path]:
    return kept.files([f"{name}.csv"], made_from, lambda: {f"{name}.csv": as_csv(frame)})


def _figure(figure: Figure, report: Findings, made_from: str, kept: Kept, name: str) -> tuple[list[Path], str]:
    names = [f"{figure.name}.{form}" for form in figures.FORMS]
    paths = kept.files(names, made_from, lambda: figures.files(figures.draw(figure, report), figure.name))
    svg = inline_svg(paths[0].read_bytes(), f"{name}-{figure.name}", figure.title)
    links = " ".join(_link(path, name, path.suffix[1:].upper()) for path in paths)
    caption = f"<b>{escape(figure.title)}.</b> {escape(figures.caption(figure, report))} {links}"
    return paths, f'<figure>\n<div class="plot" tabindex="0">{svg}</div>\n<figcaption>{caption}</figcaption>\n</figure>'


def _files(paths: Sequence[Path], name: str) -> str:
    return "<p>Data: " + ", ".join(_link(path, name, path.name) for path in paths) + "</p>"


def _link(path: Path, name: str, label: str) -> str:
    return f'<a href="{quote(f"{name}/{path.name}")}">{escape(label)}</a>'


def _page(sections: Sequence[str], links: Sequence[tuple[str, str]]) -> str:
    title = links[0][1] if len(links) == 1 else f"{len(links)} studies"
    items = "".join(f'<li><a href="#{quote(name)}">{escape(study)}</a></li>' for name, study in links)
    contents = f"<nav><ul>{items}</ul></nav>" if len(links) > 1 else ""
    body = "\n".join(sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} - Tombola</title>
<style>{CSS}@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark_colours(body)} }} }}
</style>
</head>
<body>
<h1>Tombola report</h1>
{contents}
{page_parts.glossary()}
<main>
{body}
</main>
</body>
</html>
"""
