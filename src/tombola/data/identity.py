"""Whether the data that are found are those that their name stands for; if not, a digest of their bytes.

Canonical files (by their published checksums) and embedded data sets have none, so their runs are called by the name alone.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.files import cache_folder, write_atomically
from tombola.core.task import Task
from tombola.data.dataset import datasets, loaded
from tombola.data.files import examine, find
from tombola.data.folders import data_folder
from tombola.data.sources import SOURCES, Source


def identified(task: Task, folder: Path | str | None = None) -> Task:
    """The task with its data's `content` filled in, as their bytes in the folder are; data that are not there have none.

    Raises:
        TombolaError: if the task says another content than is found.
    """
    data = task.data
    found = content(data.name, data_folder(folder))
    if data.content and found != data.content:
        raise TombolaError(
            f"data set {data.name!r}: the bytes found are not those of the description (content {data.content}); restore them"
        )
    return task if found == data.content else task.but(data=data.but(content=found))


def content(name: str, folder: Path) -> str:
    """Digest of a data set's bytes, 16 hex digits; "" where they are the canonical ones, its name says it all, or they are not there."""
    if name in SOURCES:
        source = SOURCES[name]
        return "" if source.exact else _of_files(source, folder)  # of an exact one no other file is ever read
    if name == "imagenet":
        return _of_listing(folder / "imagenet")
    if name not in datasets or getattr(datasets[name], "named_by_content", False) or datasets[name].__module__.startswith("tombola."):
        return ""
    return _of_arrays(name, folder)


def _of_files(source: Source, folder: Path) -> str:
    """The digest of files that may differ from the canonical ones. They are unpacked once: it is kept by their paths, sizes and times."""
    try:
        paths = [find(source, file, folder) for file in source.files]
        stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths if path is not None]
    except OSError:
        return ""
    if len(stats) < len(source.files):
        return ""

    def checksums() -> str:
        states = [examine(source, file, folder) for file in source.files]
        if not all(state.status.startswith("ok") for state in states):
            return ""  # loading says what is wrong
        return "" if all(state.status == "ok" for state in states) else _digest(*(state.array for state in states))

    return _kept((source.name, *stats), checksums)


def _of_listing(folder: Path) -> str:
    """The digest of a folder of images: of the files' paths and sizes. They are listed once: it is kept by the folders' times."""
    try:
        rooms = sorted(room for part in ("train", "val") for room in (folder / part).iterdir() if room.is_dir())
        stats = [(str(room.resolve()), room.stat().st_mtime_ns) for room in rooms]
        names = lambda: _digest(*(f"{one.relative_to(folder)} {one.stat().st_size}" for room in rooms for one in sorted(room.iterdir())))  # noqa: E731
        return _kept(("imagenet", *stats), names)
    except OSError:
        return ""


@cache
def _of_arrays(name: str, folder: Path) -> str:
    dataset = loaded(name, folder)
    arrays = (dataset.inputs, dataset.targets, dataset.test_inputs, dataset.test_targets, dataset.mean, dataset.std)
    return _digest(*arrays, f"{dataset.classes} {dataset.validation} {dataset.vocabulary}{f' {dataset.held}' if dataset.held else ''}")


def _kept(key: tuple[object, ...], make: Callable[[], str]) -> str:
    path = cache_folder() / "contents" / f"{_digest(json.dumps(key))}.txt"
    with suppress(OSError, ValueError):
        kept = path.read_text(encoding="ascii")
        if kept == "-" or len(kept) == 16:
            return kept.removeprefix("-")
    found = make()
    with suppress(OSError):
        write_atomically(path, (found or "-").encode())
    return found


def _digest(*content: np.ndarray | str | None) -> str:
    digest = hashlib.sha256()
    for one in content:
        array = one if isinstance(one, np.ndarray) else None
        digest.update(f"{one if array is None else (array.shape, str(array.dtype))}\n".encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
