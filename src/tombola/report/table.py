"""A report as CSV, as JSON values, and on a terminal."""

import io
import math
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tombola.evaluation.verdict import Verdict
from tombola.report import text
from tombola.report.numbers import Block, Numbers, numbers_of
from tombola.report.result import arms_of, variants_of
from tombola.report.summary import summarise
from tombola.studies.base import Findings

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

_GAP = 3
"""Blanks between tables side by side."""
_STYLES = {"replicated": "bold green", "replicated in part": "green", "not replicated": "bold red", "undecided": "bold yellow"}


def as_csv(table: "pd.DataFrame") -> bytes:
    """The content of a file: floats in the shortest form that reads back bitwise; a name that a spreadsheet would take for a formula
    begins with an apostrophe.
    """
    named = {name: table[name].map(_inert) for name in table.columns if table[name].dtype.kind not in "biuf"}
    return table.assign(**named).to_csv(index=False, na_rep="nan", lineterminator="\n").encode()


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and re.match(r"[=+@\t\r]|-(?![\d.]+$)", value) else value


# -- JSON -----------------------------------------------------------------------------------------------------------


def as_json(report: Findings) -> dict[str, Any]:
    """The whole report but its curves and details, in JSON values: NaN is null, infinities are "inf" and "-inf"."""
    metrics = [name for name in report.columns if name != "draw"]  # which draw it was is no quantity
    return _plain(
        {
            "study": report.study.name,
            "configuration": report.study.canonical(),
            "arms": arms_of(report),
            "variants": variants_of(report),
            "claims": claims_as_json(report.verdicts),
            "summary": summarise(report.table, metrics).to_dict("records"),
            "table": report.table.to_dict("records"),
            "provenance": report.provenance,
        }
    )


def claims_as_json(verdicts: Sequence[Verdict]) -> list[dict[str, Any]]:
    """Each claim with its verdict and effects, in JSON values."""
    claims = [{"id": verdict.id, "verdict": verdict.verdict, **asdict(verdict)} for verdict in verdicts]
    for claim, verdict in zip(claims, verdicts, strict=True):
        for effect, state in zip(claim["effects"], verdict.parts, strict=True):
            effect["state"] = state
            keys = (effect.pop("along"), "mean", "p_holm")
            effect["per_level"] = [dict(zip(keys, level, strict=True)) for level in effect["per_level"]]
    return _plain(claims)


def _plain(value: Any) -> Any:
    if hasattr(value, "items"):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


# -- terminal -------------------------------------------------------------------------------------------------------


def terminal(report: Findings, width: int | None = None, colour: bool | None = None) -> str:
    """The study's main metrics by variant, density (or step k) and arm, then its claims: lines of at most `width` columns.

    Args:
        report: what the study found.
        width: None: that of the terminal, 80 where there is none.
        colour: None: if the output is a terminal and NO_COLOR is not set.
    """
    from rich.columns import Columns
    from rich.console import Console
    from rich.padding import Padding
    from rich.rule import Rule

    width = width or shutil.get_terminal_size((80, 24)).columns
    if colour is None:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    output = io.StringIO()
    console = Console(
        file=output,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        markup=False,  # or "[+]" would be read as markup
    )
    variants, note = numbers_of(report, main=True)
    for numbers in variants:
        if numbers.label:
            console.print(Rule(numbers.label, align="left", characters="-", style="dim"))
        tables = [table for block in numbers.blocks for table in _tables(numbers, block, width - _GAP)]
        console.print(Columns([Padding(table, (0, _GAP, 1, 0)) for table in tables], padding=0))
    if variants:
        console.print(note, style="dim")
    for verdict in report.verdicts:
        console.print()
        _claim(console, verdict)
    printed = "\n".join(line.rstrip() for line in output.getvalue().splitlines())
    return printed if text.encodable(printed, sys.stdout.encoding) else printed.replace("±", "+-")


def _tables(numbers: Numbers, block: Block, width: int) -> list["Table"]:
    """The block's table, in as many pieces as it takes to break no cell; counts stand in the first block's first one."""
    kept, arms = numbers.kept if block is numbers.blocks[0] else {}, list(block.arms)
    keys = [[numbers.key, *numbers.levels.values()], [*kept.values()]]
    room = width - sum(max(map(len, texts)) + 2 for texts in keys if texts)
    widest = max(map(len, [*block.cells.values(), *(line for arm in arms for line in _broken(block.arms[arm]))]))
    count = max(1, room // (widest + 2))
    return [_table(numbers, block, arms[at : at + count], {} if at else kept) for at in range(0, len(arms), count)]


def _broken(label: str) -> list[str]:
    return textwrap.wrap(label, 14)


def _table(numbers: Numbers, block: Block, arms: Sequence[str], kept: Mapping[int, str]) -> "Table":
    from rich.table import Table

    table = Table(title=block.label, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(numbers.key, justify="right", no_wrap=True)
    if kept:
        table.add_column("kept", justify="right", no_wrap=True)
    for arm in arms:
        table.add_column("\n".join(_broken(block.arms[arm])), justify="right", vertical="bottom")
    for level, name in numbers.levels.items():
        shown = [name, *([kept.get(level, "")] if kept else [])]
        table.add_row(*shown, *(block.cells.get((arm, level), "") for arm in arms))
    return table


def _claim(console: "Console", verdict: Verdict) -> None:
    from rich.padding import Padding
    from rich.text import Text

    found = f"[{text.SIGNS[verdict.verdict]}] {text.said(verdict)}"
    console.print(Text.assemble((verdict.id, "bold"), "  ", (found, _STYLES.get(verdict.verdict, "dim"))))
    console.print(Padding(Text(verdict.sentence), (0, 0, 0, 2)))
    for effect, state in zip(verdict.effects, verdict.parts, strict=True):
        console.print(Padding(Text(f"{effect.name} ({text.state_of(state, verdict, effect)})"), (0, 0, 0, 4)))
        if effect.n:
            console.print(Padding(Text.assemble((text.estimate(effect), "bold"), f", {text.evidence(effect)}"), (0, 0, 0, 6)))
        if effect.note:
            console.print(Padding(Text(effect.note, style="dim"), (0, 0, 0, 6)))
    if verdict.note:
        console.print(Padding(Text(verdict.note, style="dim"), (0, 0, 0, 4)))
