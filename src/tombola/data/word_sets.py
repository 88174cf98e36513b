"""Word pairs with people's judgements of how alike they are, and analogies: read from the files that are in use for them."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.data.folders import data_folder

FILES = {
    "men": "EN-MEN-TR-3k.txt",
    "simlex": "EN-SIMLEX-999.txt",
    "similarity": "EN-WS-353-SIM.txt",
    "relatedness": "EN-WS-353-REL.txt",
    "rare": "EN-RW-STANFORD.txt",
    "verbs": "EN-SimVerb-3500.txt",
}
"""MEN (Bruni et al. 2014), SimLex-999 (Hill et al. 2015), both halves of WordSim-353 (Agirre et al. 2009), Rare Words (Luong et al.
2013), SimVerb-3500 (Gerz et al. 2016): a pair and its score a line."""
ANALOGIES = "questions-words.txt"
"""Mikolov et al. 2013: four words a line, under headings that begin with a colon."""


class Pairs(NamedTuple):
    """A set of pairs, as far as their words are known."""

    places: np.ndarray
    """(n, 2) the words of each pair, as tokens."""
    scores: np.ndarray
    """(n,) scores that people gave: the higher, the more alike."""
    share: float
    """The share of the set's pairs that these are."""


def read_pairs(path: Path | str) -> tuple[tuple[str, str, float], ...]:
    """(first, second, score) of each line: words in lower case; empty lines and those that begin with # are left out."""
    found = []
    for number, line in _lines(Path(path)):
        parts = line.split()
        try:
            first, second, score = parts[0], parts[1], float(parts[2])
        except (ValueError, IndexError):
            raise TombolaError(f"{path}, line {number}: two words and a score are needed, not {line.strip()[:60]!r}") from None
        found.append((first.lower(), second.lower(), score))
    return tuple(found)


def read_analogies(path: Path | str) -> tuple[tuple[str, str, str, str], ...]:
    """(a, b, c, d) of each question, a is to b as c is to d; in lower case."""
    found = []
    for number, line in _lines(Path(path)):
        if not line.startswith(":"):
            words = line.lower().split()
            if len(words) != 4:
                raise TombolaError(f"{path}, line {number}: four words are needed, not {line.strip()[:60]!r}")
            found.append((words[0], words[1], words[2], words[3]))
    return tuple(found)


@lru_cache(maxsize=32)
def pairs(name: str, words: tuple[str, ...], folder: Path | None = None) -> Pairs | None:
    """The pairs of a set both of whose words are known; None if its file is not in ``wordsim`` in the folder of data files."""
    if name not in FILES:
        raise unknown("set of word pairs", name, FILES)
    path = data_folder(folder) / "wordsim" / FILES[name]
    return known_pairs(read_pairs(path), words) if path.is_file() else None


def known_pairs(given: tuple[tuple[str, str, float], ...], words: tuple[str, ...]) -> Pairs:
    """The pairs both of whose words are known, as tokens."""
    place = {word: index for index, word in enumerate(words)}
    there = [(place[a], place[b], score) for a, b, score in given if a in place and b in place]
    table = np.array(there, np.float64).reshape(-1, 3)
    return Pairs(table[:, :2].astype(np.int64), table[:, 2], len(there) / max(1, len(given)))


@lru_cache(maxsize=4)
def analogies(words: tuple[str, ...], folder: Path | None = None) -> np.ndarray | None:
    """(n, 4) tokens of the questions all of whose words are known; None if their file is not there."""
    path, place = data_folder(folder) / "wordsim" / ANALOGIES, {word: index for index, word in enumerate(words)}
    if not path.is_file():
        return None
    return np.array([[place[one] for one in four] for four in read_analogies(path) if all(one in place for one in four)], int).reshape(
        -1, 4
    )


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TombolaError(f"cannot read {path} ({getattr(error, 'strerror', None) or 'it is no text'}); restore it") from None
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
