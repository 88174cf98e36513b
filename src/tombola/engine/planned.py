"""The rows of a study; and what goes wrong in the methods of a user's study, as one line."""

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tombola.core.errors import TombolaError
from tombola.core.loading import summary
from tombola.studies.base import Row, Study
from tombola.studies.figure import Figure

if TYPE_CHECKING:
    import pandas as pd


def planned(study: Study) -> tuple[Row, ...]:
    """The rows of a study. Raises TombolaError if there are none, or something that is no Row."""
    with blaming(study, "rows"):
        rows = tuple(study.rows())
    if not rows:
        raise TombolaError(f"study {study.name!r}: `rows` yields nothing; let it yield a Row for each run")
    if wrong := [row for row in rows if not isinstance(row, Row)]:
        raise TombolaError(f"study {study.name!r}: `rows` yields a {type(wrong[0]).__name__}; let it yield Row(arm, replicate, level, run)")
    return rows


def ours(study: Study) -> bool:
    """Whether a study is Tombola's own."""
    return type(study).__module__.startswith("tombola.")


@contextmanager
def blaming(study: Study, method: str) -> Iterator[None]:
    """What a method of a user's study raises, as one line with the place; what one of ours raises is left as it is."""
    try:
        yield
    except TombolaError:
        raise
    except Exception as error:
        if ours(study):
            raise
        module = type(study).__module__
        frames = [frame for frame in traceback.walk_tb(error.__traceback__) if frame[0].f_globals.get("__name__") == module]
        place = f", line {frames[-1][1]}" if frames else ""
        raise TombolaError(f"study {study.name!r}: `{method}`{place}: {summary(error)}") from error


def drawable(figures: Sequence[Figure], frames: "Mapping[str, pd.DataFrame]") -> None:
    """Raise TombolaError if a figure shows a table, or a column of one, that is not there."""
    for figure in figures:
        name = {"density": "table", "scatter": "table", "curves": "curves"}.get(figure.kind, figure.detail)
        if name not in frames:
            raise TombolaError(f"figure {figure.name!r}: no table is called {name!r}; there are {', '.join(frames)}")
        columns = list(frames[name].columns)
        for panel in (*figure.panels, figure.across):
            if panel is not None and len(frames[name]) and panel.metric not in columns:
                raise TombolaError(f"figure {figure.name!r}: there is no column {panel.metric!r}; there are {', '.join(columns)}")
