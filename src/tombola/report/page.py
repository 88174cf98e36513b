"""One self-contained page, and the files behind it."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tombola.engine.study_files import written
from tombola.evaluation.verdict import Effect
from tombola.report import figures, text
from tombola.report.files import safe_names, writable, write_file
from tombola.report.glossary import GLOSSARY
from tombola.report.kept import Kept, of_figure, of_frame
from tombola.report.ledger import Entry, entries, overall
from tombola.report.numbers import Numbers, numbers_of
from tombola.report.result import plain
from tombola.report.table import as_csv, claims_as_json
from tombola.store.files import dump_json
from tombola.studies.base import Findings
from tombola.studies.figure import Figure

if TYPE_CHECKING:
    import pandas as pd

_SYMBOLS = {
    "replicated": "\N{HEAVY CHECK MARK}",
    "replicated in part": "\N{CHECK MARK}",
    "not replicated": "\N{HEAVY BALLOT X}",
    "undecided": "?",
    "not judged": "\N{EN DASH}",
}


def write(
    reports: Sequence[Findings],
    folder: Path,
    running: str = "",
    every: float = 15.0,
    answers: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
) -> list[Path]:
    """Write index.html and a folder for each study: table.csv, curves.csv, the details tables, claims.json, study.toml, and of each figure
    svg, pdf, png, its caption (txt) and the numbers behind its marks (json).

    Nothing is loaded from elsewhere: the page may be mailed, archived, opened offline. It is written last, so that
    it never links to a file that is not there. Tables and figures that are there already, made from the same, are left
    (`tombola.report.kept`). Returns all paths, the page's first.

    Args:
        running: how far a study is that is not complete; the page then says so, and loads itself again.
        every: seconds after which it does.
        answers: (what is asked, the answer), which stand before all else.
        notes: what is to be known of the answers.
    """
    folder = Path(folder)
    writable(folder)
    written, sections = [], []
    for name, report in zip(safe_names(report.study.name for report in reports), reports, strict=True):
        paths, section = _study(report, folder, name)
        written += paths
        sections.append(section)
    page = _page(sections, [entries([report]) for report in reports], running=running, every=every, answers=answers, notes=notes)
    return [write_file(folder / "index.html", page.encode()), *written]


def _page(sections: Sequence[dict[str, Any]], lines: Sequence[list[Entry]], **said: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = Path(__file__).parent
    environment = Environment(loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.finalize = lambda value: plain(value) if type(value) is str else value
    return environment.get_template("page.html").render(
        title=sections[0]["name"] if len(sections) == 1 else f"{len(sections)} studies",
        studies=sections,
        ledger=[(section["id"], line) for section, own in zip(sections, lines, strict=True) for line in own] if len(sections) > 1 else [],
        overall=overall([line for own in lines for line in own]),
        **said,
        css=_markup((here / "page.css").read_text()),
        script=_markup((here / "page.js").read_text()),
        glossary=GLOSSARY,
        symbols=_SYMBOLS,
        said=text.said,
        state_of=text.state_of,
        estimate=text.estimate,
        p_value=text.p_value,
        least=text.least,
        levels=_levels,
    )


def _markup(content: str) -> Any:
    """Our own content, which is HTML already."""
    from markupsafe import Markup

    return Markup(content)


def _study(report: Findings, folder: Path, name: str) -> tuple[list[Path], dict[str, Any]]:
    """The files of a study, and what the page shows of it."""
    kept, study = Kept(folder / name), report.study
    frames = {"table": report.table, "curves": report.curves, **report.details}
    made_from = {table: of_frame(frame) for table, frame in frames.items()}
    files = zip(safe_names(frames), frames, strict=True)
    tables = [path for file, table in files for path in _table(file, frames[table], made_from[table], kept)]
    tables.append(write_file(folder / name / "claims.json", dump_json(claims_as_json(report.verdicts))))
    described = written(study, task=study.task.name, scale="small")  # every field is in it, so that the scale is of no matter
    tables.append(write_file(folder / name / "study.toml", described.encode()))
    names = safe_names(["claims", "study", *(figure.name for figure in report.figures)])[2:]
    drawn = [
        _figure(figure, report, of_figure(figure, report, list(made_from.values())), kept, stem)
        for figure, stem in zip(report.figures, names, strict=True)
    ]
    kept.note()
    replicates, numbers, note = report.table.replicate.nunique(), *numbers_of(report)
    tally = Counter(verdict.verdict for verdict in report.verdicts)
    claims = ", ".join(f"{count} {verdict}" for verdict, count in tally.items()) or "none"
    counted = {"rounds": "density", "steps": "step", "layers": "number of layers reset", "widths": "width"}[study.counted]
    shown = {
        "id": name,
        "name": study.name,
        "answers": study.answers,
        "facts": f"Task {study.task.name}, {replicates} replicate{'s' if replicates != 1 else ''}. Claims: {claims}.",
        "figures": [one for _, one in drawn],
        "verdicts": report.verdicts,
        "numbers": [_columns(one) for one in numbers],
        "note": note,
        "by": f"All numbers, by {counted} and arm" if numbers and numbers[0].key else "The numbers of the first figure",
        "data": [_link(path) for path in tables],
        "command": report.provenance.get("command", ""),
        "provenance": [(key, value) for key, value in report.provenance.items() if key != "command"],
        "configuration": _configuration(report),
    }
    return [*tables, *(path for paths, _ in drawn for path in paths)], shown


def _table(name: str, frame: "pd.DataFrame", made_from: str, kept: Kept) -> list[Path]:
    return kept.files([f"{name}.csv"], made_from, lambda: {f"{name}.csv": as_csv(frame)})


def _figure(figure: Figure, report: Findings, made_from: str, kept: Kept, stem: str) -> tuple[list[Path], dict[str, Any]]:
    names = [f"{stem}.{form}" for form in figures.FORMS]
    paths = kept.files(names, made_from, lambda: figures.files(figures.draw(figure, report), stem))
    content = {path.suffix: path.read_text() for path in paths if path.suffix in (".svg", ".txt", ".json")}
    svg = content[".svg"]
    width = re.search(r'width="([\d.]+)pt"', svg)
    return paths, {
        "title": figure.title,
        "kind": figures.kind_of(figure, report).kind,
        "svg": _markup(svg[svg.index("<svg") :]),
        "width": width.group(1) if width else "400",
        "numbers": _markup(content[".json"].replace("<", "\\u003c")),
        "caption": content[".txt"].strip().removeprefix(f"{figure.title}. "),
        "links": [(path.suffix[1:].upper(), _link(path)[1]) for path in paths if path.suffix != ".txt"],
    }


def _link(path: Path) -> tuple[str, str]:
    """(name, address beside the page)"""
    return path.name, quote(f"{path.parent.name}/{path.name}")


def _levels(effect: Effect) -> tuple[tuple[str, str, str], list[tuple[str, str, str]]]:
    """Head and rows of an effect's levels."""
    places, stepwise = text.decimals([(effect.high - effect.low) / 2]), effect.along == "step"
    rows = [
        (text.number(place, 0) if stepwise else text.percent(place), text.number(mean, places, sign=True), text.short(p))
        for place, mean, p in effect.per_level
    ]
    return (text.STEP if stepwise else "density", f"mean ({effect.unit})", "p (Holm)"), rows


def _columns(numbers: Numbers) -> dict[str, Any]:
    """A variant's numbers as one wide table."""
    columns = [(block, arm) for block in numbers.blocks for arm in block.arms]
    keys = [numbers.key, *(["kept"] if numbers.kept else [])]
    rows = [
        [name, *([numbers.kept.get(level, "")] if numbers.kept else []), *(block.cells.get((arm, level), "") for block, arm in columns)]
        for level, name in numbers.levels.items()
    ]
    return {
        "label": numbers.label,
        "keys": len(keys),
        "head": [*keys, *(block.arms[arm] for block, arm in columns)],
        "over": [(block.label, len(block.arms)) for block in numbers.blocks],
        "rows": rows,
    }


def _configuration(report: Findings) -> list[tuple[str, str]]:
    from tombola.engine.configuring import configuration_of  # loads JAX

    def shown(value: Any) -> str:
        return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)

    return [(path, shown(value)) for path, value in configuration_of(report.study).items()]
