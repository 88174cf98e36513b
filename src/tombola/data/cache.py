"""Arrays that are slow to make, kept in the user's cache folder under their own checksum."""

import hashlib
import io
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tombola.core.files import cache_folder, write_atomically

Arrays = dict[str, np.ndarray]


def cached(name: str, packages: tuple[str, ...], make: Callable[[], Arrays]) -> Arrays:
    """``make()``, or what an earlier process made with the same versions of `packages`.

    The file name ends in the checksum of its content, so a damaged file is made anew and replaced. A cache that
    can be neither read nor written costs time, never an error.
    """
    stem = "-".join([name, *map(version, packages)])
    for path in sorted(cache_folder().glob(f"{stem}-*.npz")):
        with suppress(OSError):
            content = path.read_bytes()
            if path.stem == f"{stem}-{_checksum(content)}":
                with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                    return dict(archive)
    made = make()
    _keep(stem, made)
    return made


def _keep(stem: str, arrays: Arrays) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    content = buffer.getvalue()
    with suppress(OSError):
        write_atomically(Path(cache_folder(), f"{stem}-{_checksum(content)}.npz"), content)


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
