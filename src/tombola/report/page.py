"""One self-contained page, and the files behind it."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from tombola.core.interrupts import told
from tombola.core.parts import users_code
from tombola.engine.study_files import written
from tombola.evaluation.verdict import Effect
from tombola.report import figures, papers, text
from tombola.report.cite import bibtex
from tombola.report.columns import dictionary
from tombola.report.files import safe_names, writable, write_file
from tombola.report.glossary import GLOSSARY
from tombola.report.kept import Kept, of_figure, of_frame
from tombola.report.ledger import NOT_COMPLETE, Entry, entries, overall
from tombola.report.numbers import Numbers, numbers_of
from tombola.report.result import plain
from tombola.report.style import Style, drawn_as, now
from tombola.report.table import as_csv, claims_as_json
from tombola.store.files import dump_json
from tombola.studies.base import Findings
from tombola.studies.figure import Figure
from tombola.studies.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd

_SYMBOLS = {
    "replicated": "\N{HEAVY CHECK MARK}",
    "replicated in part": "\N{CHECK MARK}",
    "not replicated": "\N{HEAVY BALLOT X}",
    "undecided": "?",
    "not judged": "\N{EN DASH}",
}


class Section(NamedTuple):
    """What a page has of a study: its folder, and what is shown of it."""

    id: str
    """The name of the section, and of the folder."""
    name: str
    task: str
    lines: list[Entry]
    html: str


def write(
    reports: Sequence[Findings],
    folder: Path,
    every: float = 0.0,
    style: Style | None = None,
    answers: Sequence[tuple[str, str]] = (),
    notes: Sequence[str] = (),
    title: str = "",
) -> list[Path]:
    """Write index.html and a folder for each study: table.csv, curves.csv, the details tables and columns.csv, which explains all of
    them; claims.json, study.toml; for a paper tables.tex, tables.md, figures.tex and references.bib; code.py, where parts are the
    user's own; and of each figure svg, pdf, png, its caption (txt) and the numbers behind its marks (json).

    Nothing is loaded from elsewhere: the page may be mailed, archived, opened offline. It is written last, so that
    it never links to a file that is not there. Studies that the page had before stay on it; the same study of the same task is
    replaced. Tables and figures that are there already, made from the same, are left (`tombola.report.kept`); figures for which there
    is no time (`tombola.core.interrupts.until`) are left out, which the page says. Returns all paths, the page's first.

    Args:
        every: seconds after which the page loads itself again, while a study is running; 0: it does not.
        style: of the figures; None: as for a page.
        answers: (what is asked, the answer), which stand before all else; these studies then come before others on the page.
        notes: what is to be known of the answers.
        title: of the page; "": made of its studies.
    """
    folder = Path(folder)
    writable(folder)
    sections = {one.id: one for one in sections_of(folder)}
    names = safe_names(_folder_of(report, sections) for report in reports)
    written = []
    for name, report in zip(names, reports, strict=True):
        with drawn_as(style or Style()):
            paths, sections[name] = _study(report, folder, name)
        written += paths
    ordered = [sections[name] for name in dict.fromkeys([*(names if answers else ()), *sections])]
    page = _rendered("page.html", **_page(ordered, title), every=every, answers=answers, notes=notes)
    return [write_file(folder / "index.html", page.encode()), *written]


def _folder_of(report: Findings, there: Mapping[str, Section]) -> str:
    """What a study's folder is called: by the study, and by its task too where another task's has that name."""
    name, task = report.study.name, report.study.task.name
    taken = there.get(safe_names([name])[0])
    return name if taken is None or taken.task == task else f"{name}--{task}"


_SECTION = re.compile(r'<section id="([^"]+)">\n<script[^>]*>(.*?)</script>.*?</section><!-- end of a study -->', re.DOTALL)


def sections_of(folder: Path) -> list[Section]:
    """The studies on the page of a folder, whose own folders are still there; none if there is no page, or none of ours."""
    try:
        page = (folder / "index.html").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for match in _SECTION.finditer(page):
        with suppress(ValueError, TypeError, KeyError):  # of a page that is damaged
            said = json.loads(match[2])
            own = Section(match[1], said["name"], said["task"], [Entry(**line) for line in said["lines"]], match[0])
            if own.id in safe_names([own.id]) and (folder / own.id).is_dir():
                found.append(own)
    return found


def _page(sections: Sequence[Section], title: str) -> dict[str, Any]:
    """What the page says of its studies together."""
    lines = [(one.id, line) for one in sections for line in one.lines]
    return {
        "heading": title or "Tombola report",
        "title": title or (f"{sections[0].name} on {sections[0].task}" if len(sections) == 1 else f"{len(sections)} studies"),
        "studies": [one._replace(html=_markup(one.html)) for one in sections],
        "ledger": lines if len(sections) != 1 else [],
        "overall": overall([line for _, line in lines]),
    }


def ledger_page(lines: Sequence[Entry], path: Path) -> Path:
    """Write a page of claims and their verdicts alone."""
    shown = {
        "title": "Claims",
        "heading": "Tombola report",
        "studies": [],
        "ledger": [("", line) for line in lines],
        "overall": overall(lines),
    }
    return write_file(path, _rendered("page.html", **shown, every=0, answers=(), notes=()).encode())


def _rendered(template: str, **values: Any) -> str:
    """A template of this folder, filled."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = Path(__file__).parent
    environment = Environment(loader=FileSystemLoader(here), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.finalize = lambda value: plain(value) if type(value) is str else value
    files = {"css": _markup((here / "page.css").read_text()), "script": _markup((here / "page.js").read_text())}
    said = {name: getattr(text, name) for name in ("said", "state_of", "estimate", "p_value", "least")}
    return environment.get_template(template).render(glossary=GLOSSARY, symbols=_SYMBOLS, levels=_levels, **said, **files, **values)


def _markup(content: str) -> Any:
    """Our own content, which is HTML already."""
    from markupsafe import Markup

    return Markup(content)


def _study(report: Findings, folder: Path, name: str) -> tuple[list[Path], Section]:
    """The files of a study, and what the page shows of it."""
    kept, study = Kept(folder / name), report.study
    frames = {"table": report.table, "curves": report.curves, **report.details}
    made_from = {table: of_frame(frame) for table, frame in frames.items()}
    files = zip(safe_names(frames), frames, strict=True)
    tables = [path for file, table in files for path in _table(file, frames[table], made_from[table], kept)]
    tables.append(write_file(folder / name / "claims.json", dump_json(claims_as_json(report.verdicts))))
    how_far = f"{NOT_COMPLETE}{report.so_far}\n" if report.so_far else ""
    tables.append(write_file(folder / name / "study.toml", f"{how_far}{written(study)}".encode()))
    names = safe_names(["claims", "study", *(figure.name for figure in report.figures)])[2:]
    drawn = [
        one
        for figure, stem in zip(report.figures, names, strict=True)
        if (one := _figure(figure, report, of_figure(figure, report, list(made_from.values())), kept, stem))
    ]
    kept.note()
    replicates, numbers, note = report.table.replicate.nunique(), *numbers_of(report)
    for_papers = _for_papers(report, papers.tables_of(report, numbers, note), [one for _, one in drawn])
    tables += [write_file(folder / name / file, content.encode()) for file, content in for_papers.items()]
    tally = Counter(verdict.verdict for verdict in report.verdicts)
    claims = ", ".join(f"{count} {verdict}" for verdict, count in tally.items()) or "none"
    counted = {"rounds": "density", "steps": "step", "layers": "number of layers reset", "widths": "width"}[study.counted]
    lines = entries([report])
    kept_lines = {"name": study.name, "task": study.task.name, "lines": [asdict(line) for line in lines]}
    shown = {
        "id": name,
        "kept": _markup(json.dumps(kept_lines).replace("<", "\\u003c")),
        "so_far": report.so_far,
        "left_out": len(study.figures()) > len(report.figures),
        "not_drawn": len(report.figures) - len(drawn),
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
    section = Section(name, study.name, study.task.name, lines, _rendered("section.html", one=shown))
    return [*tables, *(path for paths, _ in drawn for path in paths)], section


def _for_papers(report: Findings, tables: Sequence[papers.Table], drawn: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Name -> content of what goes into a paper."""
    study, narrow = report.study, min(now().widths)
    included = [
        papers.figure(one["stem"], one["title"], one["caption"], now().zoom * width, width > narrow + 0.1)
        for one, width in ((one, float(one["width"]) / 72) for one in drawn)
    ]
    kinds = {type(one) for one in study.settings.values()} if isinstance(study, Sweep) else {type(study)}
    code = users_code(study.canonical(), *(kind for kind in kinds if not kind.__module__.startswith("tombola.")))
    return {
        "columns.csv": as_csv(dictionary(report)).decode(),
        "tables.md": papers.markdown(tables),
        "tables.tex": papers.latex(tables),
        **({"figures.tex": papers.together(included, "graphicx")} if included else {}),
        "references.bib": bibtex(*kinds),
        **({"code.py": code} if code else {}),
    }


def _table(name: str, frame: "pd.DataFrame", made_from: str, kept: Kept) -> list[Path]:
    return kept.files([f"{name}.csv"], made_from, lambda: {f"{name}.csv": as_csv(frame)})


def _figure(figure: Figure, report: Findings, made_from: str, kept: Kept, stem: str) -> tuple[list[Path], dict[str, Any]] | None:
    """The files of a figure, and what the page shows of it; None: the time is over, and it is not drawn yet."""
    names = [f"{stem}.{form}" for form in figures.FORMS]
    if told() and not kept.made(names, made_from):
        return None
    paths = kept.files(names, made_from, lambda: figures.files(figures.draw(figure, report), stem))
    content = {path.suffix: path.read_text() for path in paths if path.suffix in (".svg", ".txt", ".json")}
    svg = content[".svg"]
    width = re.search(r'width="([\d.]+)pt"', svg)
    return paths, {
        "stem": stem,
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
