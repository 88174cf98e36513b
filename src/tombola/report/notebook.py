"""Results in notebooks: pictures, verdicts and tables as HTML."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tombola.core.brief import brief
from tombola.core.errors import TombolaError, unknown
from tombola.report import figures, text
from tombola.report.files import write_file
from tombola.report.numbers import numbers_of
from tombola.report.result import plain
from tombola.studies.base import Findings
from tombola.studies.figure import Figure
from tombola.studies.shown import Shown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas

_PICTURES = 2
"""The most pictures of a result that are drawn without being asked for."""
_ROWS = 12
"""The most rows of a table that are shown."""
_SAME = {"variant": "", "arm": "", "level": 0, "replicate": 0, "density": 1.0}
"""What rows have in a column that their table lacks."""
_NO_STUDY = SimpleNamespace(name="", arms={}, variants={}, counted="rounds")


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """A figure that is drawn when it is looked at. A notebook shows it."""

    described: Figure
    report: Findings

    @cached_property
    def _drawing(self) -> Any:
        return figures.draw(self.described, self.report)

    @property
    def figure(self) -> "Canvas":
        """The figure of matplotlib's, to be changed at will."""
        canvas: Canvas = self._drawing.canvas
        return canvas

    @property
    def caption(self) -> str:
        """What the figure shows, and what its marks mean."""
        return f"{self.described.title}. {self._drawing.caption}"

    def save(self, path: Path | str) -> Path:
        """Write a file; its ending says the form: svg, pdf or png (300 dpi). Raises `TombolaError` for another."""
        place = Path(path).expanduser()
        if (form := place.suffix[1:]) not in (known := figures.FORMS[:3]):
            raise unknown("form of a picture", form, known)
        return write_file(place, figures.rendered(self.figure, form))

    def _repr_html_(self) -> str:
        content = base64.b64encode(figures.rendered(self.figure, "svg")).decode()  # within the page its ids would meet those of others
        image = f'<img style="background: white; max-width: 100%" src="data:image/svg+xml;base64,{content}" alt="{_shown(self.caption)}">'
        return f'<figure style="margin: 0 0 1em">{image}<figcaption>{_shown(self.caption)}</figcaption></figure>'

    def _brief(self) -> Iterator[tuple[str, str]]:
        yield from (("name", self.described.name), ("title", self.described.title))

    def __repr__(self) -> str:
        return brief(self)


def plot(value: Shown, name: str | None = None) -> Picture:
    """A figure of a result: the main one, or another by its name."""
    found = {one.described.name: one for one in _pictures(value)}
    if not found:
        raise TombolaError(f"there is nothing to draw of this {type(value).__name__}; .to_pandas() gives its numbers")
    if name is not None and name not in found:
        raise unknown("figure", name, found)
    return next(iter(found.values())) if name is None else found[name]


def html(value: Shown) -> str:
    """What a notebook shows of a result: its first figures, the verdicts of a study, and a table."""
    pictures = list(_pictures(value))
    parts = [_facts(value), *(one._repr_html_() for one in pictures[:_PICTURES])]
    if others := [one.described.name for one in pictures[_PICTURES:]]:
        parts.append(f"<p>More figures: <code>.plot(name)</code> with {_shown(', '.join(map(repr, others)))}.</p>")
    if isinstance(value, Findings):
        parts += [_verdicts(value), *_numbers(value)]
    else:
        tables = value.tables()
        parts.append(_table(tables[value.glance or next(iter(tables))]))
        if len(tables) > 1:
            parts.append(f"<p>Tables: <code>.to_pandas(name)</code> with {_shown(', '.join(map(repr, tables)))}.</p>")
    return f"<div>{''.join(parts)}</div>"


def _pictures(value: Shown) -> Iterator[Picture]:
    if isinstance(value, Findings):
        yield from (Picture(figure, value) for figure in value.figures)
        return
    for figure, rows in value.pictures():
        whole = rows.assign(**{name: same for name, same in _SAME.items() if name not in rows.columns})
        nothing: Any = _NO_STUDY
        yield Picture(figure, Findings(nothing, (), (figure,), whole, whole, [], {}, {figure.detail: whole}))


def _facts(value: Shown) -> str:
    if not isinstance(value, Findings):
        return f"<p><code>{_shown(repr(value))}</code></p>"
    study = value.study
    return f"<p><b>{_shown(study.name)}</b> {_shown(study.answers)} Task {_shown(study.task.name)}, {study.replicates} replicates.</p>"


def _verdicts(report: Findings) -> str:
    cells = [(one.id, text.said(one), one.sentence) for one in report.verdicts]
    rows = ["".join(["<tr>", *(f'<td style="text-align: left">{_shown(cell)}</td>' for cell in row), "</tr>"]) for row in cells]
    head = "<tr><th>claim</th><th>verdict</th><th>sentence</th></tr>"
    return f"<table>{head}{''.join(rows)}</table>" if rows else ""


def _numbers(report: Findings) -> Iterator[str]:
    """The numbers that a terminal shows, as tables in HTML."""
    import pandas as pd

    found, note = numbers_of(report, main=True)
    for one in found:
        columns = {
            (block.label, label): [block.cells.get((arm, level), "") for level in one.levels]
            for block in one.blocks
            for arm, label in block.arms.items()
        }
        frame = pd.DataFrame(columns, index=pd.Index(one.levels.values(), name=one.key))
        yield f"<p>{_shown(one.label)}</p>{frame.to_html(max_rows=4 * _ROWS)}"
    if found:
        yield f"<p>{_shown(note)}</p>"


def _table(frame: "pd.DataFrame") -> str:
    numbered = list(frame.index) == list(range(len(frame)))
    return str(frame.to_html(max_rows=_ROWS, max_cols=_ROWS, index=not numbered, float_format="{:.4g}".format))


def _shown(words: str) -> str:
    return escape(plain(words))
