"""The files of a store in memory: what calls in Python keep their runs in where no folder is named."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from tombola.store.disk import Work


class Idle:
    """A place where no other process is at work, and none leaves a checkpoint."""

    def checkpoint(self, record: str) -> str | None:
        """Always None: there is no checkpoint."""

    def work(self) -> Work:
        """Always empty: nothing is in progress."""
        return Work(set(), set())

    def holders(self, claimed: Iterable[str], closely: bool = True) -> dict[str, str]:
        """Always empty: nobody holds a claim."""
        return {}

    def claimed(self, record: str) -> bool:
        """Always False."""
        return False


class Memory(Idle):
    """The files of a store in memory, with the methods of `tombola.store.disk.Disk`: for one process, as long as somebody holds it."""

    path = Path("(memory)")

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._rooms: dict[str, Memory] = {}

    def room(self, name: str) -> "Memory":
        """A store within this one."""
        return self._rooms.setdefault(name, Memory())

    def prepare(self) -> None:
        """Do nothing: there is no folder to be made."""

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._files

    def read(self, name: str) -> bytes:
        """The content of a file. Raises `OSError`."""
        try:
            return self._files[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    def names(self, folder: str = "") -> list[str]:
        """The names of what a folder holds; none if it is not there."""
        return inside(self._files, folder)

    def records(self) -> list[str]:
        """The records that are there, sorted."""
        return sorted(name.removesuffix("/manifest.json") for name in self._files if name.endswith("/manifest.json"))

    def sizes(self) -> dict[str, int]:
        """Every file -> bytes."""
        rooms = {f"{room}/{name}": size for room, files in self._rooms.items() for name, size in files.sizes().items()}
        return {name: len(content) for name, content in self._files.items()} | rooms

    def write(self, name: str, content: bytes) -> None:
        """A file by itself."""
        self._files[name] = content

    def erase(self, name: str) -> None:
        """Take a file away that is in no record."""
        self._files.pop(name, None)

    def put(self, record: str, files: Mapping[str, bytes], replace: bool) -> None:
        """A record with all its files. One that is there already stays, unless it is to be replaced."""
        if self.has(f"{record}/manifest.json") and not replace:
            return
        self.remove(record)
        self._files |= {f"{record}/{name}": content for name, content in files.items()}

    def remove(self, record: str) -> None:
        """Take a record out."""
        for name in self.names(record):
            del self._files[f"{record}/{name}"]

    def claim(self, record: str) -> bool:
        """Always True: nobody else can hold it."""
        return True

    def renew(self, records: Iterable[str]) -> None:
        """Do nothing: there is nobody to be shown anything."""

    def release(self, records: Iterable[str]) -> None:
        """Do nothing: claims are not kept."""


def inside(files: Iterable[str], folder: str) -> list[str]:
    """What is in a folder, of files by name; "": the files and folders that are in none."""
    if not folder:
        return list({name.partition("/")[0]: None for name in files})
    return [name.removeprefix(f"{folder}/") for name in files if name.startswith(f"{folder}/")]
