"""The ledger: claim x testbed -> verdict, and what each claim comes to over testbeds."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tombola.core.errors import TombolaError
from tombola.evaluation.verdict import State, Verdict
from tombola.report import text
from tombola.studies.base import Findings, Study
from tombola.studies.catalogue import studies

if TYPE_CHECKING:
    import pandas as pd


NOT_COMPLETE = "# Not complete: "
"""Begins the study.toml of a report of a study that is still running; how far it was follows."""
_NAMES = ("study", "task", "variant", "arm", "run")
"""Columns of texts, whatever they look like: an arm may be called 0.1."""


@dataclass(frozen=True)
class Entry:
    """One claim on one testbed."""

    claim: str
    study: str
    testbed: str
    """The task, and what of the configuration is told beside it."""
    state: State | str
    """The state of the claim, one of the five, or "not run"."""
    parts: str
    """ "2 of 3": parts of the sentence that hold."""
    n: int
    reason: str
    """Which parts hold or are contradicted, if not all agree, and the preconditions that are missing; "" if none is."""
    sentence: str


def entry(verdict: Verdict, study: str, testbed: str, so_far: str = "") -> Entry:
    """The line of a verdict; `so_far`: how much of its study is there, if not all."""
    why = [f"only {so_far} so far"] if so_far else []
    if verdict.verdict == "undecided":
        why.append(text.said(verdict).removeprefix("undecided: "))
    short = Counter(_short(effect.name) for effect in verdict.effects)
    names: dict[str, list[str]] = {}
    for effect, state in zip(verdict.effects, verdict.parts, strict=True):
        names.setdefault(state, []).append(effect.name if short[_short(effect.name)] > 1 else _short(effect.name))
    names.pop("shown", None)
    if told := {"replicated in part": "holds", "not replicated": "contradicted"}.get(verdict.verdict):
        why.append(f"{told}: {', and '.join(names[told])}")
    count = sum(map(len, names.values()))
    parts = f"{len(names.get('holds', ()))} of {count}" if count else "-"
    return Entry(verdict.id, study, testbed, verdict.verdict, parts, verdict.n, "; ".join([*why, *verdict.reasons]), verdict.sentence)


def _short(name: str) -> str:
    """A part without the densities that it is judged at."""
    return name.partition(", at ")[0]


def entries(reports: Iterable[Findings]) -> list[Entry]:
    """The lines of all claims of some reports."""
    return [entry(verdict, report.study.name, report.study.task.name, report.so_far) for report in reports for verdict in report.verdicts]


def overall(lines: Sequence[Entry]) -> dict[str, str]:
    """Claim -> what it comes to over testbeds: "replicated on 2, undecided on 1 of 3 testbeds"."""
    found: dict[str, list[Entry]] = {}
    for line in lines:
        found.setdefault(line.claim, []).append(line)
    said = {}
    for claim, own in found.items():
        count = Counter(line.state for line in own)
        told = ", ".join(f"{state} on {count[state]}" for state in text.SIGNS if count[state])
        said[claim] = f"{told or 'not run on any'} of {len(own)} testbed{'s' if len(own) > 1 else ''}"
    return said


def judged_again(folder: Path) -> list[Entry]:
    """The claims of every report below a folder, judged anew on its tables.

    A report is a table.csv. Its study is configured as `study.toml` beside it says; without one, as by default at the scale small on
    the table's task.
    """
    found = []
    for path in sorted(folder.rglob("table.csv")):
        table = read_table(path)
        study = configured(path, table)
        place = path.parent.relative_to(folder).as_posix().removeprefix(study.name).strip("./")
        testbed, so_far = place or str(table.task.iloc[0]), _so_far(path.with_name("study.toml"))
        found += [entry(verdict, study.name, testbed, so_far) for verdict in study.judge(table)]
    if not found:
        raise TombolaError(f"no table of a report (table.csv) is below {str(folder)!r}; `tombola run STUDY -o {folder}` writes one there")
    return found


def _so_far(path: Path) -> str:
    try:
        first = path.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError):
        return ""
    return first.removeprefix(NOT_COMPLETE) if first.startswith(NOT_COMPLETE) else ""


def read_table(path: Path) -> "pd.DataFrame":
    """A report's table as it was written, bitwise. Raises in one line if it is none."""
    import pandas as pd

    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=str)  # texts: pandas' own floats differ from those that were written
    except (OSError, ValueError) as error:
        raise TombolaError(f"table {str(path)!r} cannot be read: {str(error).splitlines()[0]}") from None
    if lacking := [name for name in ("study", "task", "arm", "replicate", "level", "density") if name not in table] or not len(table):
        raise TombolaError(f"{str(path)!r} is no table of a study's report: it lacks {lacking[0] if isinstance(lacking, list) else 'rows'}")
    return table.assign(**{name: _numbers(table[name]) for name in table.columns if name not in _NAMES})


def _numbers(column: "pd.Series") -> "pd.Series":
    """A column of texts as integers where all are, else as floats; one that holds other texts stays as it is."""
    for kind in (int, float):
        try:
            return column.astype(kind)
        except ValueError:
            continue
    return column


def configured(path: Path, table: "pd.DataFrame") -> Study:
    """The study that a report's table is of, as `study.toml` beside it configures it; without one as by default on the table's task."""
    from tombola.engine.configuring import resolve
    from tombola.engine.study_files import read

    described = path.with_name("study.toml")
    if described.exists():
        options = read(described)
        for name in ("load", "model", "data", "image_size"):  # nothing that is read may run code, or open what it names
            options.pop(name, None)
        return resolve(options.pop("study"), **options)
    name = str(table.study.iloc[0])
    if name not in studies:
        raise TombolaError(f"{str(path)!r} is of the study {name!r}, which is not known here; give --load FILE.py with it")
    return resolve(name, task=str(table.task.iloc[0]))
