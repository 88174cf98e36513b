"""What goes into a paper: tables in LaTeX and in Markdown, and figures with their captions in LaTeX."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tombola.report import text
from tombola.report.numbers import Numbers
from tombola.report.result import plain
from tombola.studies.base import Findings

_MATHS = {
    "±": "pm",
    "\N{MULTIPLICATION SIGN}": "times",
    "√": "surd",
    "∞": "infty",
    "≤": "leq",
    "≥": "geq",
    "≠": "neq",
    "≈": "approx",
    "→": "to",
    "‖": "Vert",
}
_GREEK = {one: unicodedata.name(one).split()[-1].replace("LAMDA", "LAMBDA") for one in "αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ"}
_SIGNS = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"},
    **{"|": r"\textbar{}", "\N{MINUS SIGN}": "$-$", "\N{NO-BREAK SPACE}": "~"},
    **{"[": "{[}", "]": "{]}"},  # of a row that begins with one, LaTeX would make an option of the end of the row before
    **{sign: f"$\\{name}$" for sign, name in _MATHS.items()},
    **{one: f"$\\{name.capitalize() if one.isupper() else name.lower()}$" for one, name in _GREEK.items()},
}
_NARROW = 5
"""Columns of a table that fits into one of two columns of a page."""
_UNKNOWN = re.compile("[^\x00-\u017f\u2010-\u2026]")
"""All but what pdfLaTeX shows as it stands: Latin letters, dashes and quotation marks."""


@dataclass(frozen=True)
class Table:
    """A table as texts."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    columns: str = ""
    """The columns as `tabular` has them; "": all to the right."""


def tables_of(report: Findings, numbers: Iterable[Numbers], note: str) -> list[Table]:
    """The report's numbers (`numbers_of`), a table for each quantity and variant, then its claims."""
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
    return [*found, *([Table("Claims, by the parts of their sentences.", head, claims, r"lp{0.4\linewidth}rrrl")] if claims else [])]


def markdown(tables: Iterable[Table]) -> str:
    """Pipe tables, each under its caption."""

    def row(cells: Iterable[str]) -> str:
        return f"| {' | '.join(plain(cell).replace('|', chr(92) + '|') for cell in cells)} |"

    blocks = [[f"**{plain(one.caption)}**", "", row(one.head), row(["---:"] * len(one.head)), *map(row, one.rows), ""] for one in tables]
    return "\n".join(line for block in blocks for line in block)


def latex(tables: Iterable[Table]) -> str:
    """Tables, wide ones across both columns of a page; they are made smaller where they are wider than that."""
    found = []
    for one in tables:
        star = "*" * bool(one.columns or len(one.head) > _NARROW)
        lines = [" & ".join(map(escaped, cells)) + r" \\" for cells in (one.head, *one.rows)]
        body = [
            rf"\begin{{tabular}}{{{one.columns or 'r' * len(one.head)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
        ]
        fit = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
        rows = "\n".join([rf"\begin{{table{star}}}", r"\centering", rf"\caption{{{escaped(one.caption)}}}", fit, *body])
        found.append(f"{rows}\n\\end{{tabular}}}}\n\\end{{table{star}}}\n")
    return together(found, "booktabs,graphicx")


def together(parts: Sequence[str], packages: str) -> str:
    """Parts of LaTeX in one file, which says first what it needs."""
    text = "\n".join(parts)
    others = "".join(sorted(set(_UNKNOWN.findall(text))))
    said = f"% XeLaTeX or LuaLaTeX, and a font that has: {others}\n" if others else ""
    return f"% \\usepackage{{{packages}}}\n{said}{text}"


def figure(stem: str, title: str, caption: str, inches: float, wide: bool) -> str:
    """A figure that is included as wide as its text has the size that was asked for, if there is room; `wide`: across both columns."""
    star, width = "*" * wide, f"{inches:.2f}in"
    include = f"\\includegraphics[width=\\ifdim{width}>\\linewidth\\linewidth\\else{width}\\fi]{{{stem}.pdf}}"
    said = f"\\caption{{\\textbf{{{escaped(title)}.}} {escaped(caption)}}}"
    return f"\\begin{{figure{star}}}\n\\centering\n{include}\n{said}\n\\label{{fig:{stem}}}\n\\end{{figure{star}}}\n"


def escaped(said: str) -> str:
    r"""A text as LaTeX shows it; W_0 and the like as symbols.

    >>> escaped("50 % of W_0")
    '50 \\% of $W_{0}$'
    """
    parts = re.split(r"(\b[wW]_\w\b)", unicodedata.normalize("NFC", plain(said)))
    return "".join(f"${part[0]}_{{{part[2]}}}$" if at % 2 else "".join(map(_sign, part)) for at, part in enumerate(parts))


def _sign(one: str) -> str:
    """A character; of one that pdfLaTeX does not know what it stands for, where Unicode says that: 2 of an index, a blank of a thin one."""
    return _SIGNS.get(one) or _UNKNOWN.sub(lambda found: unicodedata.normalize("NFKC", found[0]), one)
