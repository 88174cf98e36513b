"""The rows of a study; and what goes wrong in the methods of a user's study, as one line."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from tombola.core.errors import TombolaError
from tombola.core.loading import summary
from tombola.studies.base import Row, Study


def planned(study: Study) -> tuple[Row, ...]:
    """The rows of a study. Raises TombolaError if there are none, or something that is no Row."""
    with blaming(study, "rows"):
        rows = tuple(study.rows())
    if not rows:
        raise TombolaError(f"study {study.name!r}: `rows` yields nothing; let it yield a Row for each run")
    if wrong := [row for row in rows if not isinstance(row, Row)]:
        raise TombolaError(f"study {study.name!r}: `rows` yields a {type(wrong[0]).__name__}; let it yield Row(arm, replicate, level, run)")
    return rows


@contextmanager
def blaming(study: Study, method: str) -> Iterator[None]:
    """What a method of a user's study raises, as one line with the place; what one of ours raises is left as it is."""
    try:
        yield
    except TombolaError:
        raise
    except Exception as error:
        module = type(study).__module__
        if module.startswith("tombola."):
            raise
        frames = [frame for frame in traceback.walk_tb(error.__traceback__) if frame[0].f_globals.get("__name__") == module]
        place = f", line {frames[-1][1]}" if frames else ""
        raise TombolaError(f"study {study.name!r}: `{method}`{place}: {summary(error)}") from error
