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
the runs' networks, so that finished runs are read without building any; their names are the SHA-256 of what they say. A run
in progress has a claim under ``.work/``, which keeps a second process off it, and a checkpoint that it goes on from.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tombola.core import masks
from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.trees import Tree
from tombola.store.disk import Disk
from tombola.store.files import dump_json, dump_tree, read_tree
from tombola.store.memory import Memory


@dataclass(frozen=True)
class Record:
    """A finished run as it is stored."""

    files: Disk | Memory
    digest: str
    """The run's name."""

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.files.path / self.digest

    def exists(self) -> bool:
        """Whether it is in its store."""
        return self.files.has(f"{self.digest}/manifest.json")

    def json(self, name: str) -> dict[str, Any]:
        """`spec`, `summary` or `made`."""
        return json.loads(self._verified(f"{name}.json"))

    def metrics(self) -> dict[str, np.ndarray]:
        """Columns of metrics.csv as float64 arrays."""
        header, *lines = self._verified("metrics.csv").decode().splitlines()
        names = header.split(",")
        values = np.array([float(value) for line in lines for value in line.split(",")]).reshape(-1, len(names))
        return {name: values[:, column] for column, name in enumerate(names)}

    def steps(self) -> set[int]:
        """Iterations whose weights are stored."""
        names = self.files.names(f"{self.digest}/weights")
        return {int(name.removesuffix("it.safetensors")) for name in names if name.endswith(".safetensors")}

    def weights(self, iteration: int) -> Tree:
        """The weights after `iteration`, bitwise."""
        return read_tree(self._verified(f"weights/{iteration}it.safetensors"))

    def mask(self, shapes: Mapping[str, tuple[int, ...]], iteration: int | None = None) -> Mask:
        """The mask that training ended with, or, where it moves, that after an iteration; for leaves of the given shapes."""
        name = "mask.safetensors" if iteration is None else f"masks/{iteration}it.safetensors"
        return masks.unpack(read_tree(self._verified(name)), shapes)

    def network(self) -> dict[str, Any] | None:
        """What its network looks like, as its store says; None if it does not."""
        name = f"networks/{self.json('summary').get('network')}.json"
        try:
            content = self.files.read(name)
        except OSError:
            return None  # stored before networks were, or lost
        return json.loads(content) if name == _network(content) else None

    def found(self) -> Tree:
        """The arrays that a measurement found, by name."""
        return read_tree(self._verified("found.safetensors"))

    def contents(self) -> dict[str, bytes]:
        """All its files but the manifest."""
        return {name: self._verified(name) for name in self._manifest}

    def damaged(self, but: Collection[str] = ()) -> list[str]:
        """Names of files that are missing or differ from their checksum; those named in `but` are not looked at."""
        try:
            manifest = self._manifest
        except (OSError, ValueError):
            return ["manifest.json"]
        return [name for name, digest in manifest.items() if name not in but and self._sound(name, digest) is None]

    def _verified(self, name: str) -> bytes:
        """The content of a file whose checksum holds; damage is named."""
        try:
            content = self._sound(name, self._manifest[name])
        except (OSError, ValueError, KeyError):
            content = None
        if content is None:
            raise Damaged(self, name)
        return content

    @cached_property
    def _manifest(self) -> dict[str, str]:
        return json.loads(self.files.read(f"{self.digest}/manifest.json"))

    def _sound(self, name: str, digest: str) -> bytes | None:
        """The content of a file, if it is what was written. Read once: it is thousands of files that a study looks at."""
        try:
            content = self.files.read(f"{self.digest}/{name}")
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == digest else None


class Damaged(TombolaError):
    """A stored file is missing or differs from its checksum."""

    def __init__(self, record: Record, name: str) -> None:
        super().__init__(f"{record.folder / name} is damaged: run its study again, and it is computed again")
        self.record, self.name = record, name


class Store:
    """Runs in a folder, on which any number of processes may work; or in memory, if none is named."""

    def __init__(self, folder: Path | str | None = None, files: Disk | Memory | None = None) -> None:
        self.files = files or (Memory() if folder is None else Disk(Path(folder)))
        if files is None and self.folder.exists() and not self.folder.is_dir():
            raise TombolaError(f"store {str(folder)!r} is a file, but a folder is needed; choose another with --store DIR")

    @classmethod
    def there(cls, folder: Path) -> "Store":
        """One that is there. Raises if it is not: where runs are only read, its name is a mistake."""
        found = cls(folder)
        if not folder.exists():
            raise TombolaError(f"there is no store {str(folder)!r}; name one with --store DIR (`tombola run` makes it)")
        return found

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self.files.path

    @property
    def measurements(self) -> "Store":
        """Where the results of measurements are kept."""
        return Store(files=self.files.room("probes"))

    @property
    def given(self) -> "Store":
        """Where arrays are kept that runs and measurements were given."""
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

    def adopt(self, record: Record) -> None:
        """Have a record of another store here too, with all the weights that either has."""
        mine, contents = self.get(record.digest), record.contents()
        if mine.exists():
            if contents.keys() <= mine.contents().keys():
                return
            contents |= mine.contents()
        if "summary.json" in contents and (info := record.network()) is not None:
            self.put_network(info)
        self.put(record.digest, contents, {}, replace=True)

    def put_network(self, info: Mapping[str, Any]) -> str:
        """Keep what a network looks like, once for all its runs; the name that their summaries refer to it by."""
        content = dump_json(info)
        name = _network(content)
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
        checkpoint = self.checkpoint_path(digest)
        return self.files.claimed(digest) or (checkpoint is not None and checkpoint.exists())

    def checkpoint_path(self, digest: str) -> Path | None:
        """Where a run in progress keeps its checkpoint; None where it has none."""
        return self.files.checkpoint(digest)


def _network(content: bytes) -> str:
    """The file that describes a network: named by what it says, so that a damaged one is told."""
    return f"networks/{hashlib.sha256(content).hexdigest()[:16]}.json"
