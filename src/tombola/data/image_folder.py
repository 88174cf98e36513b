"""A folder of images, one folder a class, as uint8 pixels on disk: decoded once, then mapped into memory."""

import hashlib
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tombola.core.errors import TombolaError
from tombola.kernels.device import cores

SUFFIXES = (".jpeg", ".jpg", ".png")
"""Suffixes of image files, in any case."""

_CENTRE = 224 / 256
"""Side of the square that is kept, as a share of the image's shorter side: the usual test crop for ImageNet."""

_AT_ONCE = 1024
"""Images decoded between two writes."""


class Image(NamedTuple):
    """A file of a folder of images."""

    path: Path
    label: int
    """Place of its class in the sorted names of the classes."""
    size: int
    """The size of the file in bytes."""


def classes(folder: Path) -> list[str]:
    """The names of the folders in `folder`, sorted."""
    return [entry.name for entry in _entries(folder) if entry.is_dir()]


def images(folder: Path) -> list[Image]:
    """The images of each class, by class and then by name. Raises for a class without images, and for an empty image."""
    found: list[Image] = []
    for label, name in enumerate(classes(folder)):
        paths = [Path(entry.path) for entry in _entries(folder / name) if entry.name.lower().endswith(SUFFIXES)]
        if not paths:
            raise TombolaError(f"{folder / name} holds no image ({', '.join(SUFFIXES)}); put images into it or remove the folder")
        found += [Image(path, label, _size(path)) for path in paths]
    return found


def pixels(some: list[Image], folder: Path, size: int) -> np.ndarray:
    """The images, (n, size, size, 3) uint8 RGB, read from disk as they are used.

    Of each image the central square of 224/256 of its shorter side, resized: as if the shorter side were resized to
    256/224 of `size` and the centre cropped. They are decoded once, into the file ``<folder>-<size>-<digest>.npy``
    beside `folder`; the digest is that of all names and sizes, so that a changed list of images is decoded anew.

    Raises:
        TombolaError: an image cannot be read, or the file cannot be written.
    """
    listed = "\n".join(f"{image.path.relative_to(folder)} {image.size}" for image in some)
    stem = f"{folder.name}-{size}-"
    path = folder.with_name(f"{stem}{hashlib.sha256(listed.encode()).hexdigest()[:12]}.npy")
    shape = (len(some), size, size, 3)
    with suppress(OSError, ValueError, EOFError):  # absent, or damaged since it was written
        kept = np.load(path, mmap_mode="r")
        if kept.shape == shape and kept.dtype == np.uint8:
            return kept
    try:
        _write(path, some, shape)
        for old in path.parent.glob(f"{stem}*.npy"):
            if old != path:
                old.unlink()
    except OSError as error:
        raise TombolaError(
            f"cannot write the decoded images, {np.prod(shape) / 1e9:.1f} GB, to {path.parent} ({error.strerror or error}); "
            f"make it writable, with so much space, or give another --data-dir in which {path.parent.name}/ holds links to its folders"
        ) from None
    return np.load(path, mmap_mode="r")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, by name."""
    try:
        return sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise TombolaError(f"cannot read the folder {folder} ({error.strerror or error}); mend its permissions") from None


def _size(path: Path) -> int:
    """Bytes of an image file; raises unless there are any."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from None
    if size == 0:
        raise _unreadable(path, "it is empty")
    return size


def _write(path: Path, some: list[Image], shape: tuple[int, ...]) -> None:
    """Decode into a draft, then rename. Written in order, not through a mapping: a full disk is then an error, not a crash."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with draft.open("wb") as stream, ThreadPoolExecutor(cores()) as pool:  # Pillow decodes outside the interpreter's lock
            np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for first in range(0, len(some), _AT_ONCE):
                paths = [image.path for image in some[first : first + _AT_ONCE]]
                for decoded in pool.map(partial(_decode, size=shape[1]), paths):
                    stream.write(decoded)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _decode(path: Path, size: int) -> bytes:
    import PIL.Image

    try:
        with PIL.Image.open(path) as opened:
            image = opened.convert("RGB")
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        raise _unreadable(path, type(error).__name__) from None
    left, top = ((side - _CENTRE * min(image.size)) / 2 for side in image.size)
    square = (left, top, image.width - left, image.height - top)
    return image.resize((size, size), PIL.Image.Resampling.BILINEAR, square).tobytes()


def _unreadable(path: Path, reason: str) -> TombolaError:
    return TombolaError(f"cannot read the image {path} ({reason}); replace the file or remove it")
