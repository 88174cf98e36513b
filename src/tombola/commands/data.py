"""Verbs of data sets: list, fetch, verify."""

from pathlib import Path

from tombola.commands.printing import columns, printed
from tombola.core.errors import TombolaError


def data_list(data_dir: Path | None, json: bool) -> None:
    """The data sets."""
    from tombola.data.fetch import catalogue

    rows = catalogue(data_dir)
    if json:
        return printed(rows)
    columns([list(rows[0]), *([str(value) for value in row.values()] for row in rows)])


def data_fetch(name: str, data_dir: Path | None, json: bool) -> None:
    """Download a data set."""
    from tombola.data.fetch import fetch

    paths = [str(path) for path in fetch(name, data_dir)]
    printed(paths) if json else print("\n".join(paths) or f"{name}: every file is there and sound; nothing to fetch")


def data_verify(name: str, data_dir: Path | None, json: bool) -> None:
    """Compare a data set's files with what they should be."""
    from tombola.data.fetch import verify

    rows = verify(name, data_dir)
    if json:
        printed([{"file": str(file), "status": status} for file, status in rows])
    else:
        columns([[str(file), status] for file, status in rows])
    bad = [file for file, status in rows if not status.startswith("ok")]
    if bad:
        raise TombolaError(f"{len(bad)} of {len(rows)} files are not usable; delete them and run `tombola data fetch {name}`")
