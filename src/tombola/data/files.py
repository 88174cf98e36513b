"""Reading data files: found plain, .gz or .xz, unpacked, and checked against what the canonical file is."""

import gzip
import hashlib
import lzma
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.data.sources import File, Source

SUFFIXES = ("", ".gz", ".xz")

_OPEN: dict[str, Callable[..., Any]] = {"": open, ".gz": gzip.open, ".xz": lzma.open}


def opened(path: Path, mode: str = "rt") -> Any:
    """A file as a stream of what it holds unpacked; of text in UTF-8."""
    suffix = path.suffix if path.suffix in SUFFIXES else ""
    return _OPEN[suffix](path, mode, **({} if "b" in mode else {"encoding": "utf-8"}))


@dataclass(frozen=True)
class Found:
    """What is on disk where a file should be."""

    status: str
    """ok; ok, not the canonical file; missing; unreadable; truncated; differs."""
    path: Path | None = None
    reason: str = ""
    """What was found, against what was expected."""
    array: np.ndarray | None = None
    """The content, where the status begins with ok."""


class _DamageError(Exception):
    def __init__(self, status: str, reason: str) -> None:
        self.status, self.reason = status, reason


def find(source: Source, file: File, folder: Path) -> Path | None:
    """The file in ``folder/<data set>`` or directly in `folder`: plain before .gz before .xz. Raises `OSError`."""
    places = (room / f"{file.name}{suffix}" for room in (folder / source.folder, folder) for suffix in SUFFIXES)
    return next((place for place in places if place.is_file()), None)


def available(source: Source, folder: Path) -> bool:
    """Whether all files are there, sound or not."""
    with suppress(OSError):
        return all(find(source, file, folder) for file in source.files)
    return False


def examine(source: Source, file: File, folder: Path) -> Found:
    """Find, unpack, parse and compare one file; whatever is wrong becomes a status."""
    path = None
    try:
        path = find(source, file, folder)
        if path is None:
            return Found("missing")
        content = _unpack(path)
        array = _parse(content, file, source.classes)
    except OSError as error:
        return Found("unreadable", path, error.strerror or str(error))
    except _DamageError as damage:
        return Found(damage.status, path, damage.reason)
    checksum = hashlib.sha256(content).hexdigest()
    if checksum == file.sha256:
        return Found("ok", path, array=array)
    if source.exact:
        return Found("differs", path, f"SHA-256 of the content is {checksum[:12]}..., expected {file.sha256[:12]}...")
    return Found("ok, not the canonical file", path, array=array)


def read(source: Source, file: File, folder: Path) -> np.ndarray:
    """The uint8 array in a file, of shape ``file.shape``.

    Raises:
        TombolaError: the folder or file is missing or unreadable; the file is truncated, of another layout or size,
            or not the canonical one.
    """
    found = examine(source, file, folder)
    if found.array is not None:
        return found.array
    remedy = f"`tombola data fetch {source.name} --data-dir {folder}`"
    if found.status == "missing":
        raise TombolaError(f"{source.name}: {_absence(source, file, folder)}; run {remedy}")
    if found.status == "unreadable":
        raise TombolaError(f"{source.name}: cannot read {found.path or folder} ({found.reason}); mend its permissions or run {remedy}")
    raise TombolaError(f"{source.name}: {found.path} {_verb(found.status)}: {found.reason}; delete it and run {remedy}")


def _verb(status: str) -> str:
    return "is truncated" if status == "truncated" else "is not the expected file"


def _absence(source: Source, file: File, folder: Path) -> str:
    if not folder.exists():
        return f"the data folder {folder} does not exist"
    if not folder.is_dir():
        return f"{folder} is a file, but the data folder is needed"
    return f"no file {file.name} (plain, .gz or .xz) in {folder / source.folder} or {folder}"


def _unpack(path: Path) -> bytes:
    packing = path.suffix if path.suffix in SUFFIXES else ""
    try:
        with _OPEN[packing](path, "rb") as stream:
            return stream.read()
    except EOFError:
        raise _DamageError("truncated", f"its {packing} stream stops after {path.stat().st_size} bytes") from None
    except (gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise _DamageError("differs", f"it is no sound {packing} file ({error})") from None


def _parse(content: bytes, file: File, classes: int) -> np.ndarray:
    """Header (idx only), size and range of labels, then the array as a view of `content`."""
    header = b"" if file.kind == "records" else _idx_header(file.shape)
    if len(content) >= 4 and content[:4] != header[:4] and header:
        raise _DamageError("differs", f"magic number 0x{content[:4].hex()}, expected 0x{header[:4].hex()} (idx {file.kind})")
    if len(content) >= len(header) and not content.startswith(header):
        shape = tuple(np.frombuffer(content[4 : len(header)], ">u4").tolist())
        raise _DamageError("differs", f"holds an array {shape}, expected {file.shape}")
    size = len(header) + int(np.prod(file.shape))
    if len(content) != size:
        raise _DamageError("truncated" if len(content) < size else "differs", f"{len(content)} bytes, expected {size}")
    array = np.frombuffer(content, np.uint8, offset=len(header)).reshape(file.shape)
    if file.kind != "images":
        labels = array[:, -3073] if file.kind == "records" else array
        if labels.max() >= classes:
            raise _DamageError("differs", f"label {labels.max()} in record {labels.argmax()}, expected 0 to {classes - 1}")
    return array


def _idx_header(shape: tuple[int, ...]) -> bytes:
    """Two zero bytes, 8 for unsigned bytes, the number of axes, and their lengths as big-endian 32-bit integers."""
    return bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
