"""Files of a report that are not made again: a note beside them says what they were made from, and what they held then.

To draw takes longer than all else in the report of a finished study. Tombola's own source is part of what a file is made from,
and so are the versions of the packages that draw, so that nothing old is shown after a change to either.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tombola.core.source import source_digest
from tombola.report.files import write_file
from tombola.report.result import arms_of, variants_of
from tombola.report.style import now
from tombola.store.files import dump_json
from tombola.studies.base import Findings
from tombola.studies.figure import Figure

if TYPE_CHECKING:
    import pandas as pd

NOTE = ".made_from.json"
_PACKAGES = ("matplotlib", "pandas", "numpy")


class Kept:
    """The files of one folder. What is in the way of an older note (it is damaged, or cannot be read) costs time, never an error."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._now = folder, dict[str, list[str]]()
        try:
            found = json.loads((folder / NOTE).read_bytes())
        except (OSError, ValueError):
            found = None
        self._before = found if isinstance(found, dict) else {}

    def made(self, names: Sequence[str], made_from: str) -> bool:
        """Whether the named files are there, made from the same, and nobody changed them."""
        return all(self._before.get(name) == [made_from, _checksum(self.folder / name)] for name in names)

    def files(self, names: Sequence[str], made_from: str, make: Callable[[], Mapping[str, bytes]]) -> list[Path]:
        """Paths of the named files: as they are, if they were made from the same; else written anew."""
        paths = [self.folder / name for name in names]
        if not self.made(names, made_from):
            contents = make()
            for path in paths:
                write_file(path, contents[path.name])
        self._now |= {path.name: [made_from, _checksum(path)] for path in paths}
        return paths

    def note(self) -> None:
        """Write down what the files were made from, when all of them are there."""
        write_file(self.folder / NOTE, dump_json(self._now))


def of_frame(frame: "pd.DataFrame") -> str:
    """What the file of a table is made from."""
    from pandas.util import hash_pandas_object

    what = f"{source_digest(*_PACKAGES)} {dict(frame.dtypes)}".encode()
    return hashlib.sha256(what + hash_pandas_object(frame, index=False).to_numpy().tobytes()).hexdigest()


def of_figure(figure: Figure, report: Findings, frames: Sequence[str]) -> str:
    """What a figure is drawn from; `frames`: of all the report's tables."""
    study = report.study
    labels = (study.name, study.digest, report.columns, arms_of(report), variants_of(report), study.counted, report.figures)
    return hashlib.sha256(repr((figure, now(), labels, list(report.details), list(frames))).encode()).hexdigest()


def _checksum(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
