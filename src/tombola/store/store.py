"""Runs on disk: one folder a run, named by the hash of its description.

    runs/<digest>/spec.json       the description; parents by their digest
                  metrics.csv     metrics by step
                  summary.json    metrics of the whole run, density, counts
                  mask.safetensors           one bit a weight
                  weights/<step>it.safetensors
                  made.json       command, versions, device, time
                  manifest.json   SHA-256 of every other file; written last

Folders are written beside their place and renamed into it, so a run is there whole or not at all. What measurements found
lies in folders of the same form under ``probes/``: spec.json, found.safetensors, made.json, manifest.json. A run in
progress has a folder of its own under ``.work/``: the claim that keeps a second process off it, and the checkpoint
it goes on from.
"""

import hashlib
import json
import os
import shutil
import socket
import time
import uuid
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
from tombola.store.files import dump_json, dump_tree, read_tree

STALE_SECONDS = 120.0
"""A claim that was not renewed for so long is taken over, wherever its holder ran."""


@dataclass(frozen=True)
class Record:
    """A finished run as it is stored."""

    folder: Path

    @property
    def digest(self) -> str:
        """The run's name."""
        return self.folder.name

    def exists(self) -> bool:
        """Whether it is in its store."""
        return os.path.exists(f"{self.folder}/manifest.json")

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
        try:
            names = os.listdir(f"{self.folder}/weights")
        except OSError:
            return set()
        return {int(name.removesuffix("it.safetensors")) for name in names if name.endswith(".safetensors")}

    def weights(self, iteration: int) -> Tree:
        """The weights after `iteration`, bitwise."""
        return read_tree(self._verified(f"weights/{iteration}it.safetensors"))

    def mask(self, shapes: Mapping[str, tuple[int, ...]]) -> Mask:
        """The mask, for leaves of the given shapes."""
        return masks.unpack(read_tree(self._verified("mask.safetensors")), shapes)

    def found(self) -> Tree:
        """The arrays that a measurement found, by name."""
        return read_tree(self._verified("found.safetensors"))

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
        with open(f"{self.folder}/manifest.json", "rb") as file:
            return json.loads(file.read())

    def _sound(self, name: str, digest: str) -> bytes | None:
        """The content of a file, if it is what was written. Read once: it is thousands of files that a study looks at."""
        try:
            with open(f"{self.folder}/{name}", "rb", buffering=0) as file:
                content = file.read()
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == digest else None


class Damaged(TombolaError):
    """A stored file is missing or differs from its checksum."""

    def __init__(self, record: Record, name: str) -> None:
        super().__init__(f"{record.folder / name} is damaged: run its study again, and it is computed again")
        self.record, self.name = record, name


class Store:
    """A folder of runs. Any number of processes may work on one store."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    @property
    def measurements(self) -> "Store":
        """Where the results of measurements are kept."""
        return Store(self.folder / "probes")

    def prepare(self) -> None:
        """Make the folder, and see that it can be written."""
        draft = self.folder / f".draft-{uuid.uuid4().hex}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft.touch()
            draft.unlink()
        except OSError as error:
            raise TombolaError(
                f"store {str(self.folder)!r} cannot be written ({error.strerror}); choose another with --store DIR"
            ) from None

    def __contains__(self, digest: str) -> bool:
        return self.get(digest).exists()

    def __iter__(self) -> Iterator[Record]:
        if self.folder.is_dir():
            yield from (Record(path.parent) for path in sorted(self.folder.glob("*/manifest.json")))

    def find(self, digest: str) -> Record:
        """The run whose digest begins with the given text."""
        found = [record for record in self if record.digest.startswith(digest)]
        if len(found) != 1 or not digest:
            what = "several runs begin so" if found else "there is none"
            raise TombolaError(f"run {digest!r}: {what} in store {str(self.folder)!r}; `tombola runs` lists them")
        return found[0]

    def get(self, digest: str) -> Record:
        """The record of a run that is there."""
        return Record(self.folder / digest)

    def remove(self, digest: str) -> None:
        """Take a run out (it is damaged, or is to be computed again)."""
        grave = self.folder / ".work" / f"{digest}.{uuid.uuid4().hex[:8]}.removed"
        grave.parent.mkdir(parents=True, exist_ok=True)
        try:
            (self.folder / digest).rename(grave)
        except FileNotFoundError:
            return
        if grave.is_dir():
            shutil.rmtree(grave, ignore_errors=True)
        else:
            grave.unlink(missing_ok=True)

    def put(self, digest: str, files: Mapping[str, bytes], trees: Mapping[str, Tree]) -> None:
        """Store a finished run. If another process has stored it already, theirs stays: it is the same run."""
        part = f"{self.folder}/.work/{digest}.{uuid.uuid4().hex[:8]}.part"
        checksums = {}
        try:
            for folder in {part, *(os.path.dirname(f"{part}/{name}") for name in trees)}:
                os.makedirs(folder, exist_ok=True)
            for name in sorted([*files, *trees]):
                content = files[name] if name in files else dump_tree(trees[name])
                checksums[name] = hashlib.sha256(content).hexdigest()
                _write(f"{part}/{name}", content)
            _write(f"{part}/manifest.json", dump_json(checksums))
            for last in (False, True):
                try:
                    os.rename(part, self.folder / digest)
                    break
                except OSError:
                    if digest in self:
                        break
                    if last:
                        raise
                    self.remove(digest)  # something that is no whole run is in its place
        finally:
            shutil.rmtree(part, ignore_errors=True)

    # -- runs in progress -------------------------------------------------------------------------------------

    def claim(self, digest: str) -> bool:
        """Take a run for this process; False while another process that is alive holds it."""
        path = self._claim(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            try:
                with open(path, "x") as file:
                    file.write(self._holder)
                return True
            except FileExistsError:
                if self._alive(path):
                    return self._reads(path) == self._holder
                stolen = path.with_suffix(f".{uuid.uuid4().hex[:8]}")
                with suppress(FileNotFoundError):
                    path.rename(stolen)  # of several that see a dead claim, one renames it
                    stolen.unlink()
        return False

    def renew(self, digests: Iterable[str]) -> None:
        """Show that this process is alive."""
        for digest in digests:
            with suppress(FileNotFoundError):
                os.utime(self._claim(digest))

    def release(self, digests: Iterable[str]) -> None:
        """Give claims back."""
        for digest in digests:
            self._claim(digest).unlink(missing_ok=True)

    def _claim(self, digest: str) -> Path:
        return self.folder / ".work" / f"{digest}.claim"

    def _reads(self, path: Path) -> str:
        try:
            return path.read_text()
        except FileNotFoundError:
            return ""

    def _alive(self, path: Path) -> bool:
        try:
            age = time.time() - path.stat().st_mtime
            host, pid = self._reads(path).split(":")[:2]
        except (FileNotFoundError, ValueError):
            # Gone, or created and not yet written; the second only for a moment.
            return path.exists() and time.time() - path.stat().st_mtime < 5
        if host == socket.gethostname() and not _running(int(pid)):
            return False
        return age < STALE_SECONDS

    def in_progress(self, digest: str) -> bool:
        """Whether a live process trains it, or a checkpoint waits to be gone on from."""
        return self._alive(self._claim(digest)) or self.checkpoint_path(digest).exists()

    def checkpoint_path(self, digest: str) -> Path:
        """Where a run in progress keeps its checkpoint."""
        return self.folder / ".work" / f"{digest}.checkpoint.safetensors"


def _write(path: str, content: bytes) -> None:
    """A file of a folder that is not in its place yet: it needs no draft of its own."""
    with open(path, "xb") as file:
        file.write(content)


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
