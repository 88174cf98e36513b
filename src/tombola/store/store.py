"""Runs, on disk or in memory: one folder a run, named by the hash of its description.

    runs/<digest>/spec.json       the description; parents by their digest
                  metrics.csv     metrics by step
                  summary.json    metrics of the whole run, density, counts
                  mask.safetensors           one bit a weight; the last, of a mask that moves
                  masks/<step>it.safetensors of a mask that moves
                  weights/<step>it.safetensors
                  made.json       command, versions, device, time
                  manifest.json   SHA-256 of every other file; written last

What measurements found lies in folders of the same form under ``probes/``: spec.json, found.safetensors, made.json,
manifest.json; and so do, under ``given/``, arrays that a run or a measurement was given. ``networks/<digest>.json`` describe
the runs' networks, so that finished runs are read without building any; their names are the SHA-256 of what they say.
``studies/<digest>.json`` say which runs a study has, and where in it they stand (`tombola.store.places`).
A run in progress has a claim under ``.work/``, which keeps a second process off it, and a checkpoint that it goes on from.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from tombola.core.errors import TombolaError
from tombola.core.trees import Tree
from tombola.store.bucket import Bucket
from tombola.store.disk import Disk
from tombola.store.files import dump_json, dump_tree
from tombola.store.memory import Memory
from tombola.store.packed import Packed, is_packed
from tombola.store.record import Damaged as Damaged
from tombola.store.record import Files, Record, network_file

_VALUES = ("metrics.csv", "found.safetensors")
"""What a run's or a measurement's numbers are: bitwise the same wherever it was computed on one kind of processor."""


class Store:
    """Runs in a folder, on which any number of processes may work; or in memory, if none is named."""

    def __init__(self, folder: Path | str | None = None, files: Files | None = None) -> None:
        self.files = files or (Memory() if folder is None else _files(folder))
        if files is None and isinstance(self.files, Disk) and os.path.isfile(self.folder):
            raise TombolaError(f"store {str(folder)!r} is a file, but a folder is needed; choose another with --store DIR")

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r})"

    @classmethod
    def there(cls, folder: Path | str) -> "Store":
        """One that is there. Raises if it is not: where runs are only read, its name is a mistake."""
        found = cls(folder)
        if isinstance(found.files, Disk) and not os.path.exists(folder):
            raise TombolaError(f"there is no store {str(folder)!r}; name one with --store DIR (`tombola run` makes it)")
        return found

    @property
    def folder(self) -> Path:
        """The path of the store."""
        return self.files.path

    @property
    def measurements(self) -> "Store":
        """The store in which the results of measurements are kept."""
        return Store(files=self.files.room("probes"))

    @property
    def given(self) -> "Store":
        """The store in which arrays are kept that runs and measurements were given."""
        return Store(files=self.files.room("given"))

    def prepare(self) -> None:
        """Make the folder, and see that it can be written."""
        self.files.prepare()

    def __contains__(self, digest: str) -> bool:
        return self.get(digest).exists()

    def __iter__(self) -> Iterator[Record]:
        yield from map(self.get, self.files.records())

    def find(self, digest: str) -> Record:
        """The run whose digest begins with the given text."""
        found = [record for record in self if record.digest.startswith(digest)]
        if len(found) != 1 or not digest:
            what = "several runs begin so" if found else "there is none"
            raise TombolaError(f"run {digest!r}: {what} in store {str(self.folder)!r}; `tombola runs` lists them")
        return found[0]

    def get(self, digest: str) -> Record:
        """The record of a run that is there."""
        return Record(self.files, digest)

    def remove(self, digest: str) -> None:
        """Take a run out (it is damaged, or is to be computed again)."""
        self.files.remove(digest)

    def put(self, digest: str, files: Mapping[str, bytes], trees: Mapping[str, Tree], replace: bool = False) -> None:
        """Store a finished run. If another process has stored it already, theirs stays: it is the same run.

        `replace`: what is there lacks weights that these files have.
        """
        contents = {name: files[name] if name in files else dump_tree(trees[name]) for name in sorted([*files, *trees])}
        manifest = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        self.files.put(digest, {**contents, "manifest.json": dump_json(manifest)}, replace)

    def adopt(self, record: Record) -> Literal["new", "more", "same", "differs"]:
        """Keep a record of another store here too, with all the weights that either has; returns what that came to.

        If their metrics differ, as they may where another processor made them, what is here stays: weights of both are no run.
        """
        mine, contents = self.get(record.digest), record.contents()
        found: Literal["new", "more"] = "new"
        if mine.exists():
            own = mine.contents()
            if any(own.get(name) != contents.get(name) for name in _VALUES):
                return "differs"
            if contents.keys() <= own.keys():
                return "same"
            contents |= own
            found = "more"
        if "summary.json" in contents and (info := record.network()) is not None:
            self.put_network(info)
        self.put(record.digest, contents, {}, replace=True)
        return found

    def put_network(self, info: Mapping[str, Any]) -> str:
        """Keep what a network looks like, once for all its runs; the name that their summaries refer to it by."""
        content = dump_json(info)
        name = network_file(content)
        with suppress(OSError):
            if self.files.read(name) == content:
                return Path(name).stem
        self.files.write(name, content)
        return Path(name).stem

    # -- runs in progress -------------------------------------------------------------------------------------

    def claim(self, digest: str) -> bool:
        """Take a run for this process; False while another process that is alive holds it."""
        return self.files.claim(digest)

    def renew(self, digests: Iterable[str]) -> None:
        """Show that this process is alive."""
        self.files.renew(digests)

    def release(self, digests: Iterable[str]) -> None:
        """Give claims back."""
        self.files.release(digests)

    def in_progress(self, digest: str) -> bool:
        """Whether a live process trains it, or a checkpoint waits to be gone on from."""
        checkpoint = self.files.checkpoint(digest)
        return self.files.claimed(digest) or (checkpoint is not None and self.files.has(checkpoint))


def _files(place: Path | str) -> Files:
    """The files of a store at an address, in one file, or in a folder."""
    if "://" in str(place):
        return Bucket(str(place))
    return Packed(Path(place)) if is_packed(place) else Disk(Path(place))
