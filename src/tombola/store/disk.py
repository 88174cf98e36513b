"""The files of a store in a folder on disk, which any number of processes share."""

import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from tombola.core.errors import TombolaError
from tombola.core.files import draft_name, now_by, running, sweep, take_away, write_atomically

STALE_SECONDS = 300.0
"""A claim that was not renewed for so long is taken over, wherever its holder ran. NFS may show a file as it was a minute ago."""
_AGE_SECONDS = 60.0
"""Seconds between two looks at the age of a claim that is waited for."""


class Work(NamedTuple):
    """What is in progress in a store, as one listing of a folder shows it."""

    claimed: set[str]
    """Records that have a claim, be it of a process that lives or of one that has died."""
    begun: set[str]
    """Records that have a checkpoint."""

    @classmethod
    def of(cls, names: Iterable[str]) -> "Work":
        """The work that the names of the files in that folder tell of."""
        parts = [name.partition(".") for name in names]
        return cls(*({record for record, _, kind in parts if kind == which} for which in ("claim", "checkpoint.safetensors")))


def checkpoint(record: str) -> str:
    """The file of a run's checkpoint."""
    return f".work/{record}.checkpoint.safetensors"


class Disk:
    """Records are folders. They are written beside their place and renamed into it, so a record is there whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._known: dict[str, tuple[str, float]] = {}
        """Record -> what its claim says ("" of one that is dead), and when that was looked at."""

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

    def names(self, folder: str = "") -> list[str]:
        """The names of what a folder holds; none if it is not there. One listing, in which nothing is opened."""
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

    def checkpoint(self, record: str) -> str | None:
        """The file in which a run in progress keeps its checkpoint."""
        return checkpoint(record)

    def claim(self, record: str) -> bool:
        """Take a run for this process; False while another process that is alive holds it."""
        path = self._claim(record)
        self._known.pop(record, None)
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

    def work(self) -> Work:
        """What is in progress; one listing."""
        found = Work.of(self.names(".work"))
        for record in self._known.keys() - found.claimed:
            del self._known[record]
        return found

    def holders(self, claimed: Iterable[str], closely: bool = True) -> dict[str, str]:
        """Record -> "host:process" of those claims that live processes hold.

        `closely`: each claim is read once and its age looked at once a minute. Otherwise one that was not read yet counts as held, by
        "". Whether a process of this machine lives is always seen.
        """
        found: dict[str, str] = {}
        for record in claimed:
            if closely and (record not in self._known or time.monotonic() - self._known[record][1] > _AGE_SECONDS):
                text = self._reads(self._claim(record))
                self._known[record] = text if self._state(self._claim(record), text) == "held" else "", time.monotonic()
            if record not in self._known:
                found[record] = ""
            elif (holder := _holder(self._known[record][0])) and not _gone(holder):
                found[record] = f"{holder[0]}:{holder[1]}"
        return found

    def claimed(self, record: str) -> bool:
        """Whether a live process holds it."""
        return self._state(self._claim(record)) == "held"

    def _claim(self, record: str) -> Path:
        return self.path / ".work" / f"{record}.claim"

    def _create(self, path: Path) -> bool:
        for last in (False, True):
            try:
                with open(path, "x") as file:
                    file.write(self._holder)
                return True
            except FileExistsError:
                return False
            except FileNotFoundError:
                if last:
                    raise
                path.parent.mkdir(parents=True, exist_ok=True)
        return False

    def _reads(self, path: Path) -> str:
        try:
            return path.read_text()
        except (OSError, ValueError):
            return ""

    def _state(self, path: Path, text: str | None = None) -> Literal["free", "held", "dead"]:
        """The state of a claim, of which `text` was read."""
        try:
            renewed = path.stat().st_mtime
        except OSError:
            return "free"
        age = now_by(self.path / ".work" / ".clock") - renewed
        if age < 0:  # its date lies in the future: it counts from now on
            with suppress(OSError):
                os.utime(path)
        holder = _holder(self._reads(path) if text is None else text)
        if holder is None:  # created and not yet written, which takes a moment; or no claim at all
            return "held" if age < 5 else "dead"
        return "dead" if _gone(holder) or age >= STALE_SECONDS else "held"


def _holder(text: str) -> tuple[str, int] | None:
    """Machine and process of a claim; None of what is none."""
    found = re.match(r"([^:]*):([0-9]{1,9}):", text)
    return (found[1], int(found[2])) if found else None


def _gone(holder: tuple[str, int]) -> bool:
    """Whether it is a process of this machine which has ended."""
    return holder[0] == socket.gethostname() and not running(holder[1])


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Run the block while no other process is in it, on file systems that have locks; a process that dies leaves none."""
    with open(lock, "w") as file:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write(path: str, content: bytes) -> None:
    """A file of a folder that is not in its place yet: it needs no draft of its own."""
    with open(path, "xb") as file:
        file.write(content)
