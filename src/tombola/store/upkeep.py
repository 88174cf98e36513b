"""What a store takes up, whether it is sound, and two stores as one."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from tombola.core.errors import TombolaError
from tombola.store.lineage import task_of
from tombola.store.places import FOLDER
from tombola.store.record import network_file
from tombola.store.store import Damaged, Record, Store

_KINDS = {
    "in progress": r"(.*/)?\.work/.*",
    "measurements": r"probes/.*",
    "arrays that were given": r"given/.*",
    "descriptions of networks": r"networks/.*",
    "places in studies": r"studies/.*",
    "weights": r"[^/]+/weights/.*",
    "masks": r"[^/]+/masks?[./].*",
    "metrics and descriptions": r"[^/]+/[^/]+",
    "other": r".*",
}
"""What a file is -> its name; the first that fits."""


class Size(NamedTuple):
    """The size of some files together."""

    files: int
    bytes: int


def kinds(store: Store) -> dict[str, Size]:
    """Kind of file in the store -> how many there are, and how large they are."""
    found: dict[str, list[int]] = {kind: [] for kind in _KINDS}
    for name, size in store.files.sizes().items():
        found[next(kind for kind, form in _KINDS.items() if re.fullmatch(form, name))].append(size)
    return {kind: Size(len(sizes), sum(sizes)) for kind, sizes in found.items() if sizes}


def tasks(store: Store) -> dict[str, Size]:
    """Task -> its runs, and their bytes; the largest first. A damaged run is of the task "damaged"."""
    of_run: dict[str, int] = {}
    for name, size in store.files.sizes().items():
        of_run[name.partition("/")[0]] = of_run.get(name.partition("/")[0], 0) + size
    found: dict[str, Size] = {}
    for record in store:
        try:
            task = task_of(record.json("spec"))
        except Damaged:
            task = "damaged"
        runs, size = found.get(task, Size(0, 0))
        found[task] = Size(runs + 1, size + of_run.get(record.digest, 0))
    return dict(sorted(found.items(), key=lambda one: -one[1].bytes))


def rooms(store: Store) -> dict[str, Store]:
    """Runs, measurements and arrays that were given: each a store of records of one form."""
    return {"run": store, "measurement": store.measurements, "given": store.given}


def verify(store: Store) -> Iterator[tuple[str, str, list[str]]]:
    """(kind, name, damaged files) of every record, and of every description of a network."""
    for kind, room in rooms(store).items():
        for record in room:
            yield kind, record.digest, record.damaged()
    for name in store.files.names("networks"):
        if re.fullmatch(r"[0-9a-f]{16}\.json", name):
            try:
                sound = network_file(store.files.read(f"networks/{name}")) == f"networks/{name}"
            except OSError:
                sound = False
            yield "network", name.removesuffix(".json"), [] if sound else [f"networks/{name}"]


def merge(mine: Store, other: Store) -> Iterator[tuple[str, str, str]]:
    """Keep everything of another store in `mine`, and yield (kind, digest, what became of it) of each record.

    That is "new", "more" (weights that were not here), "same", "differs" (mine stays), or "damaged" (it stays out). What is damaged
    here is replaced. Raises if the other has nothing: its name is a mistake.
    """
    theirs = rooms(other)
    if not any(room.files.records() for room in theirs.values()):
        raise TombolaError(f"there are no runs in store {str(other.folder)!r}, so that nothing can be joined; name the folder of a store")
    mine.prepare()
    for kind, room in rooms(mine).items():
        for record in theirs[kind]:
            yield kind, record.digest, _adopted(room, record)
    for name in other.files.names(FOLDER):
        if not mine.files.has(f"{FOLDER}/{name}"):
            mine.files.write(f"{FOLDER}/{name}", other.files.read(f"{FOLDER}/{name}"))


def _adopted(room: Store, record: Record) -> str:
    try:
        return room.adopt(record)
    except Damaged as damage:
        if damage.record.files is record.files:
            return "damaged"
        room.remove(record.digest)
        return room.adopt(record)
