"""The files of a store in one file: a ZIP archive that is read in place, so that a finished study can be kept, copied and cited."""

import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo, is_zipfile

from tombola.core.errors import TombolaError
from tombola.core.files import draft_name
from tombola.store.memory import Idle, inside


class Packed(Idle):
    """The files of a store in one file, with those methods of `tombola.store.disk.Disk` that read."""

    def __init__(self, path: Path, file: Path | None = None, archive: ZipFile | None = None) -> None:
        self.path, self._file, self._archive = path, file or path, archive or ZipFile(path)
        self._prefix = "" if path == self._file else f"{path.relative_to(self._file).as_posix()}/"
        self._sizes = {
            one.filename.removeprefix(self._prefix): one.file_size
            for one in self._archive.infolist()
            if one.filename.startswith(self._prefix)
        }

    def room(self, name: str) -> "Packed":
        """A store within this one."""
        return Packed(self.path / name, self._file, self._archive)

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return name in self._sizes

    def read(self, name: str) -> bytes:
        """The content of a file. Raises `OSError`."""
        try:
            return self._archive.read(self._prefix + name)
        except (KeyError, BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
            raise OSError(f"{self.path / name}: {error}") from None

    def names(self, folder: str = "") -> list[str]:
        """The names of what a folder holds; none if it is not there."""
        return inside(self._sizes, folder)

    def records(self) -> list[str]:
        """The records that are there, sorted."""
        return sorted(name.partition("/")[0] for name in self._sizes if name.endswith("/manifest.json") and name.count("/") == 1)

    def sizes(self) -> dict[str, int]:
        """Every file -> bytes before compression."""
        return dict(self._sizes)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TombolaError(
            f"store {str(self._file)!r} is a packed study, which is only read; `tombola store merge {self._file} --store DIR` "
            "has its runs in a folder, in which studies go on"
        )

    prepare = write = erase = put = remove = claim = renew = release = _refuse


def is_packed(path: Path | str) -> bool:
    """Whether a store is one file."""
    return os.path.isfile(path) and is_zipfile(path)


def pack(path: Path, files: Mapping[str, Any]) -> None:
    """Write a packed store: name -> what returns its content. The same content makes the same file, byte for byte.

    Raises:
        OSError: if the file cannot be written; what was there before stays then.
    """
    draft = path.parent / draft_name(path.name)
    try:
        with ZipFile(draft, "w") as archive:
            for name in sorted(files):
                entry = ZipInfo(name)  # dated 1980
                entry.external_attr = 0o644 << 16
                entry.compress_type = ZIP_STORED if name.endswith(".safetensors") else ZIP_DEFLATED  # weights hardly shrink
                archive.writestr(entry, files[name]())
        os.replace(draft, path)
    finally:
        with suppress(OSError):
            draft.unlink()
