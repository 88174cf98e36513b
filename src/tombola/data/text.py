"""Text as tokens: words that come often enough, in blocks of equal length; a user's own, and the Wikipedia text of the studies."""

import hashlib
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.numbers import whole
from tombola.core.task import Data
from tombola.data.arrays import registered
from tombola.data.dataset import Dataset, datasets
from tombola.data.files import SUFFIXES, opened
from tombola.data.folders import data_folder
from tombola.data.held_out import held_out

LENGTH = 32
"""Words of a block. No window reaches beyond its block, which costs a tenth of the pairs where windows have five words to each side."""
TEST, VALIDATION = 0.05, 0.025
"""Shares of the blocks."""
LEAST_BLOCKS = 40
WIKIPEDIA = "enwiki2015.norm20m.txt"
"""20 million characters of English Wikipedia of 2015: a to z in lower case, single spaces, digits spelled out."""
_SHA256 = "6dd50f09d031c469f83ada68686a6e05eda816ffb6a1c389266aafe7fd7c767b"
TEXTS: dict[str, dict[str, int]] = {
    "wikipedia": {},
    "wikipedia-4m": {"characters": 4_000_000},
    "wikipedia-parts": {"characters": 4_000_000, "length": 64, "parts": 10},
}
"""Data set -> options of `from_text`."""
_ABOUT = {"shape": (LENGTH,), "classes": None, "source": "English Wikipedia of 2015, as words"}
FACTS = {"wikipedia": {"examples": 97_341, "test": 5_123, **_ABOUT}, "wikipedia-4m": {"examples": 18_641, "test": 981, **_ABOUT}}
FACTS["wikipedia-parts"] = {"examples": 9_320, "test": 491, **_ABOUT, "shape": (64,), "classes": 10}
_CHUNK = 1 << 22
_WORD = re.compile(r"[^\W_]+")


def from_text(
    path: Path | str,
    *,
    length: int = LENGTH,
    min_count: int = 5,
    test: float = TEST,
    characters: int | None = None,
    parts: int | None = None,
) -> Data:
    """The `Data` of a text file (UTF-8; plain, .gz or .xz), registered under a name made of its content.

    Words are runs of letters and digits, in lower case. Those that come less than `min_count` times are left out, as if they were not
    there; the others are tokens, the most frequent 0. The text is cut into blocks of `length` words, which are the examples.

    Args:
        test: share of the blocks that is the test set, drawn once by a fixed key.
        characters: the text ends after so many; None: all of it.
        parts: classes, which a network tells blocks apart by: in which of so many stretches of the text, of as many blocks each, a block
            stands; None: there are no classes.

    Raises:
        TombolaError: a file that is not there or is no text, has too few words that come often enough, or does not fit into memory.
    """
    place = Path(path).expanduser()
    for name, value, least in (
        ("length", length, 2),
        ("min_count", min_count, 1),
        ("characters", characters or 1, 1),
        ("parts", 2 if parts is None else parts, 2),
    ):
        whole(name, value, least)
    name = re.sub(r"[^A-Za-z0-9._-]", "-", place.name.partition(".")[0]) or "text"
    return registered(name, _dataset(place, length, min_count, test, characters, parts))


def text_dataset(path: Path, characters: int | None = None, length: int = LENGTH, parts: int | None = None) -> Dataset:
    """A text as a data set, by the defaults of `from_text`."""
    return _dataset(path, length, 5, TEST, characters, parts)


def _dataset(path: Path, length: int, min_count: int, test: float, characters: int | None, parts: int | None = None) -> Dataset:
    places: dict[str, int] = {}
    chunks: list[np.ndarray] = []
    for words in _words(path, characters):
        chunks.append(np.fromiter((places.setdefault(word, len(places)) for word in words), np.int32, len(words)))
        _check_memory(path, 3 * 4 * sum(map(len, chunks)))
    text = np.concatenate(chunks)
    counts, spelt = np.bincount(text, minlength=1), list(places)
    often = np.flatnonzero(counts >= min_count)
    order = sorted(often.tolist(), key=lambda place: (-counts[place], spelt[place]))
    if len(order) < 2:
        has = f"has {len(places)} different words, of which {len(order)} come {min_count} times or more" if places else "holds no words"
        raise TombolaError(f"text {path} {has}, but at least 2 are needed; give a longer text, or a smaller min_count")
    tokens = np.full(len(places), -1, np.int32)
    tokens[order] = np.arange(len(order))
    text = tokens[text]
    text = text[text >= 0]
    blocks = text[: len(text) // length * length].reshape(-1, length)
    if len(blocks) < LEAST_BLOCKS:
        raise TombolaError(f"text {path} has {len(text)} words that count; at least {LEAST_BLOCKS * length} are needed; give a longer one")
    chosen = held_out(len(blocks), test)
    pool, known = blocks[~chosen], tuple(spelt[place] for place in order)
    part = (np.arange(len(blocks)) * parts // len(blocks)).astype(np.int32) if parts else None
    own, tests = (None, None) if part is None else (part[~chosen], part[chosen])
    return Dataset(pool, own, blocks[chosen], tests, parts, round(VALIDATION * len(pool)), vocabulary=len(known), words=known)


def _words(path: Path, characters: int | None) -> Iterator[list[str]]:
    """The words of a text, a chunk at a time; none is cut where one ends."""
    left, rest = characters, ""
    try:
        with opened(path) as stream:
            while text := stream.read(_CHUNK if left is None else min(_CHUNK, left)):
                left = None if left is None else left - len(text)
                if "\0" in text:
                    raise TombolaError(f"{path} is no text: it holds bytes of value 0; give a text file (UTF-8)")
                text = rest + text.lower()
                end = max(text.rfind(" "), text.rfind("\n")) + 1
                rest = text[end:]
                yield _WORD.findall(text, 0, end)
        yield _WORD.findall(rest)
    except UnicodeDecodeError as error:
        raise TombolaError(f"{path} is no text: byte {error.object[error.start]:#x} is not UTF-8; give a text file (UTF-8)") from None
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise TombolaError(f"cannot read the text {path} ({getattr(error, 'strerror', None) or error}); give another file") from None


def _check_memory(path: Path, needed: int) -> None:
    there = memory()
    if needed > there:
        raise TombolaError(f"text {path} does not fit into the {there / 1e9:.1f} GB of this machine; give a part of it: characters=...")


def memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 62


def wikipedia_file(folder: Path | None) -> Path | None:
    """The file of the Wikipedia text, in ``text`` in the folder of data files or directly in it; None if it is in neither."""
    where = data_folder(folder)
    places = [room / f"{WIKIPEDIA}{suffix}" for room in (where / "text", where) for suffix in SUFFIXES]
    return next((place for place in places if place.is_file()), None)


def _wikipedia(**options: int) -> Callable[[Path | None], Dataset]:
    def loader(folder: Path | None = None) -> Dataset:
        path = wikipedia_file(folder)
        if path is None:
            raise TombolaError(
                f"there is no {WIKIPEDIA} (plain, .gz or .xz) in {data_folder(folder) / 'text'}; "
                "give the folder above it as --data-dir, or a text of your own: --data TEXT.txt"
            )
        try:
            with opened(path, "rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
            raise TombolaError(f"cannot read {path} ({getattr(error, 'strerror', None) or error}); restore it") from None
        if found != _SHA256:
            raise TombolaError(f"{path} is another text than the studies': its SHA-256 is {found[:12]}...; use it as --data {path}")
        return text_dataset(path, **options)

    return loader


for _name, _options in TEXTS.items():
    datasets.add(_name, _wikipedia(**_options))
