"""What goes into a paper: tables in LaTeX and in Markdown, and figures with their captions in LaTeX."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tombola.report import text
from tombola.report.numbers import numbers_of
from tombola.report.result import plain
from tombola.studies.base import Findings

_SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"},
    **{"\N{PLUS-MINUS SIGN}": r"$\pm$", "\N{NO-BREAK SPACE}": "~"},
}


@dataclass(frozen=True)
class Table:
    """A table as texts."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables_of(report: Findings) -> list[Table]:
    """The report's numbers, a table for each quantity and variant, then its claims."""
    numbers, note = numbers_of(report)
    found = [
        Table(
            f"{', '.join(filter(None, (one.label, block.label)))}. {note}",
            [one.key, *block.arms.values()],
            [[name, *(block.cells.get((arm, level), "") for arm in block.arms)] for level, name in one.levels.items()],
        )
        for one in numbers
        for block in one.blocks
    ]
    claims = [
        [verdict.id if first else "", effect.name, text.estimate(effect), str(effect.n), text.p_value(effect), state]
        for verdict in report.verdicts
        for first, effect, state in zip([True] + [False] * len(verdict.effects), verdict.effects, verdict.parts, strict=False)
    ]
    head = ["claim", "part", "mean [95 % interval]", "n", "p", "state"]
    return [*found, *([Table("Claims, by the parts of their sentences.", head, claims)] if claims else [])]


def markdown(tables: Iterable[Table]) -> str:
    """Pipe tables, each under its caption."""

    def row(cells: Iterable[str]) -> str:
        return f"| {' | '.join(plain(cell).replace('|', chr(92) + '|') for cell in cells)} |"

    blocks = [[f"**{plain(one.caption)}**", "", row(one.head), row(["---:"] * len(one.head)), *map(row, one.rows), ""] for one in tables]
    return "\n".join(line for block in blocks for line in block)


def latex(tables: Iterable[Table]) -> str:
    """Tables for the package `booktabs`."""
    found = []
    for one in tables:
        lines = [" & ".join(map(escaped, cells)) + r" \\" for cells in (one.head, *one.rows)]
        body = "\n".join([rf"\begin{{tabular}}{{{'r' * len(one.head)}}}", r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"])
        found.append(f"\\begin{{table}}\n\\centering\n\\caption{{{escaped(one.caption)}}}\n{body}\n\\end{{tabular}}\n\\end{{table}}\n")
    return "\n".join(["% \\usepackage{booktabs}", *found])


def figure(stem: str, title: str, caption: str, inches: float, wide: bool) -> str:
    """A figure that is included as wide as its text has the size that was asked for; `wide`: across both columns."""
    star = "*" * wide
    include = f"\\includegraphics[width={inches:.2f}in]{{{stem}.pdf}}"
    said = f"\\caption{{\\textbf{{{escaped(title)}.}} {escaped(caption)}}}"
    return f"\\begin{{figure{star}}}\n\\centering\n{include}\n{said}\n\\label{{fig:{stem}}}\n\\end{{figure{star}}}\n"


def escaped(said: str) -> str:
    r"""A text as LaTeX shows it; W_0 and the like as symbols.

    >>> escaped("50 % of W_0")
    '50 \\% of $W_{0}$'
    """
    parts = re.split(r"(\b[wW]_\w\b)", plain(said))
    return "".join(
        f"${part[0]}_{{{part[2]}}}$" if at % 2 else "".join(_SIGNS.get(one, one) for one in part) for at, part in enumerate(parts)
    )
