"""The files of a store in a folder on disk, which any number of processes share."""

import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from tombola.core.errors import TombolaError
from tombola.core.files import draft_name, running, sweep, take_away, write_atomically

STALE_SECONDS = 120.0
"""A claim that was not renewed for so long is taken over, wherever its holder ran."""


class Disk:
    """Records are folders. They are written beside their place and renamed into it, so a record is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"

    def room(self, name: str) -> "Disk":
        """A store within this one."""
        return Disk(self.path / name)

    def prepare(self) -> None:
        """Make the folder, see that it can be written, and sweep away what killed processes left half written."""
        draft = self.path / draft_name("writable")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            draft.touch()
            draft.unlink()
        except OSError as error:
            raise TombolaError(f"store {str(self.path)!r} cannot be written ({error.strerror}); choose another with --store DIR") from None
        for room in (self.path, self.path / "probes", self.path / "given"):
            for folder in (room, room / ".work", room / "networks", room / "studies"):
                sweep(folder)

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return os.path.exists(f"{self.path}/{name}")

    def read(self, name: str) -> bytes:
        """The content of a file. Raises `OSError`."""
        with open(f"{self.path}/{name}", "rb", buffering=0) as file:
            return file.read()

    def names(self, folder: str) -> list[str]:
        """Of the files in a folder; none if it is not there."""
        try:
            return os.listdir(f"{self.path}/{folder}")
        except OSError:
            return []

    def records(self) -> list[str]:
        """The records that are there whole, sorted."""
        return sorted(path.parent.name for path in self.path.glob("[!.]*/manifest.json"))

    def sizes(self) -> dict[str, int]:
        """Every file below the folder, those of work in progress among them -> bytes."""
        found: dict[str, int] = {}
        for folder, _, names in os.walk(self.path):
            for name in names:
                with suppress(OSError):  # gone by now
                    found[os.path.relpath(f"{folder}/{name}", self.path)] = os.lstat(f"{folder}/{name}").st_size
        return found

    def write(self, name: str, content: bytes) -> None:
        """A file by itself."""
        write_atomically(self.path / name, content)

    def erase(self, name: str) -> None:
        """Take a file away that is in no record."""
        (self.path / name).unlink(missing_ok=True)

    def put(self, record: str, files: Mapping[str, bytes], replace: bool) -> None:
        """A record with all its files. One that is there already stays, unless it is to be replaced."""
        part = f"{self.path}/.work/{draft_name(record)}"
        try:
            for folder in {os.path.dirname(f"{part}/{name}") for name in files}:
                os.makedirs(folder, exist_ok=True)
            for name, content in files.items():
                _write(f"{part}/{name}", content)
            if replace:
                self.remove(record)
            for last in (False, True):
                try:
                    os.rename(part, self.path / record)
                    break
                except OSError:
                    if self.has(f"{record}/manifest.json"):
                        break
                    if last:
                        raise
                    self.remove(record)  # something that is no whole record is in its place
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def remove(self, record: str) -> None:
        """Take a record out."""
        grave = self.path / ".work" / draft_name(record)
        grave.parent.mkdir(parents=True, exist_ok=True)
        try:
            (self.path / record).rename(grave)
        except FileNotFoundError:
            return
        take_away(grave)

    # -- runs in progress -------------------------------------------------------------------------------------

    def checkpoint(self, record: str) -> Path | None:
        """Where a run in progress keeps its checkpoint."""
        return self.path / ".work" / f"{record}.checkpoint.safetensors"

    def claim(self, record: str) -> bool:
        """Take a run for this process; False while another process that is alive holds it."""
        path = self._claim(record)
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._create(path):
            return True
        if self._state(path) == "held":
            return self._reads(path) == self._holder
        with _alone(path.with_name(".claims")):  # of several that see a dead claim, one takes it away; it may be another's by now
            if self._state(path) == "dead":
                take_away(path)
        return self._create(path)

    def renew(self, records: Iterable[str]) -> None:
        """Show that this process is alive."""
        for record in records:
            with suppress(FileNotFoundError):
                os.utime(self._claim(record))

    def release(self, records: Iterable[str]) -> None:
        """Give claims back."""
        for path in map(self._claim, records):
            if self._reads(path) == self._holder:  # who was suspended for long may have lost it
                path.unlink(missing_ok=True)

    def claimed(self, record: str) -> bool:
        """Whether a live process holds it."""
        return self._state(self._claim(record)) == "held"

    def _claim(self, record: str) -> Path:
        return self.path / ".work" / f"{record}.claim"

    def _create(self, path: Path) -> bool:
        try:
            with open(path, "x") as file:
                file.write(self._holder)
        except FileExistsError:
            return False
        return True

    def _reads(self, path: Path) -> str:
        try:
            return path.read_text()
        except (OSError, ValueError):
            return ""

    def _state(self, path: Path) -> Literal["free", "held", "dead"]:
        try:
            age = time.time() - path.stat().st_mtime
        except OSError:
            return "free"
        if age < 0:  # its date lies in the future: it counts from now on
            with suppress(OSError):
                os.utime(path)
        host, _, rest = self._reads(path).partition(":")
        pid = rest.partition(":")[0]
        if not pid.isdecimal():  # created and not yet written, which takes a moment; or no claim at all
            return "held" if age < 5 else "dead"
        gone = host == socket.gethostname() and not running(int(pid))
        return "dead" if gone or age >= STALE_SECONDS else "held"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """While no other process is in here, on file systems that have locks; a process that dies leaves none."""
    with open(lock, "w") as file:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: str, content: bytes) -> None:
    """A file of a folder that is not in its place yet: it needs no draft of its own."""
    with open(path, "xb") as file:
        file.write(content)
