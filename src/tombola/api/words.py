"""Trained word vectors with their vocabulary."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from tombola.api.trajectory import Trajectory
from tombola.core.errors import TombolaError, unknown
from tombola.core.files import write_atomically
from tombola.core.numbers import whole
from tombola.core.step import Step
from tombola.data.dataset import load
from tombola.data.word_sets import known_pairs, read_pairs
from tombola.evaluation.words import normalised, spearman
from tombola.studies.shown import Shown

if TYPE_CHECKING:
    import pandas as pd


_SHOWN = 12
"""Words whose neighbours a notebook shows."""


@dataclass(frozen=True, eq=False, repr=False)
class Words(Shown):
    """Words and their vectors."""

    words: tuple[str, ...]
    """The most frequent first."""
    vectors: np.ndarray = field(repr=False)
    """(words, d) float32."""

    glance = "neighbours"

    def tables(self) -> "dict[str, pd.DataFrame]":
        """`vectors`, a row a word, and `neighbours`: the five nearest to each of the first words, with their cosines."""
        import pandas as pd

        near = {word: [f"{other} {cosine:.2f}" for other, cosine in self.nearest(word, 5)] for word in self.words[:_SHOWN]}
        return {
            "vectors": pd.DataFrame(self.vectors, index=pd.Index(self.words, name="word")),
            "neighbours": pd.DataFrame.from_dict(near, orient="index").rename_axis("word"),
        }

    def __getitem__(self, word: str) -> np.ndarray:
        """(d,) the vector of a word. Raises a `TombolaError` for one that is not there."""
        found: np.ndarray = self.vectors[self._place(word)]
        return found

    def __contains__(self, word: str) -> bool:
        return word in self._places

    def __len__(self) -> int:
        return len(self.words)

    def similarity(self, first: str, second: str) -> float:
        """Cosine of two words' vectors, in [-1, 1]; 0 where one is all 0."""
        return float(self._unit[self._place(first)] @ self._unit[self._place(second)])

    def nearest(self, word: str, count: int = 10) -> list[tuple[str, float]]:
        """The words of the largest cosine with a word, and the cosine, the nearest first."""
        return self._near(self._unit[self._place(word)], [word], count)

    def analogy(self, a: str, b: str, c: str, count: int = 1) -> list[tuple[str, float]]:
        """What is to `c` as `b` is to `a`: the words nearest to b - a + c, these three left out (3CosAdd, on vectors of length 1)."""
        first, second, third = (self._unit[self._place(word)] for word in (a, b, c))
        return self._near(normalised((second - first + third)[None])[0], [a, b, c], count)

    def correlation(self, path: Path | str) -> tuple[float, float]:
        """(rank correlation of cosines with people's scores, share of the pairs whose words are known) of a file of pairs.

        A line is two words and a score; words are looked up in lower case.
        """
        found = known_pairs(read_pairs(Path(path).expanduser()), self.words)
        return spearman(self.vectors, found.places, found.scores), found.share

    def save(self, path: Path | str) -> None:
        """Write word2vec's text format: a line of counts, then a word and its numbers a line, which read back bit for bit as float32.

        ``gensim.models.KeyedVectors.load_word2vec_format(path)`` loads it.
        """
        lines = [f"{len(self.words)} {self.vectors.shape[1]}"]
        lines += [f"{word} {' '.join(map(str, row))}" for word, row in zip(self.words, self.vectors, strict=True)]
        try:
            write_atomically(Path(path).expanduser(), ("\n".join(lines) + "\n").encode())
        except OSError as error:
            raise TombolaError(f"cannot write {path} ({error.strerror or error}); choose another place") from None

    def _near(self, vector: np.ndarray, without: list[str], count: int) -> list[tuple[str, float]]:
        whole("count", count, 1)
        near = self._unit @ vector
        near[[self._places[word] for word in without]] = -np.inf
        order = np.argsort(-near, kind="stable")[: min(count, len(self.words) - len(set(without)))]
        return [(self.words[place], float(near[place])) for place in order]

    def _place(self, word: str) -> int:
        if word not in self._places:
            raise unknown("word", word, self.words[:5000])
        return self._places[word]

    @cached_property
    def _places(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words)}

    @cached_property
    def _unit(self) -> np.ndarray:
        return normalised(self.vectors)


def words(
    trajectory: Trajectory, replica: int = 0, *, step: Step | str | int = "end", table: Literal["input", "output"] = "input"
) -> Words:
    """The word vectors that one replica of a trajectory came to.

    Args:
        step: of training, of which weights were kept.
        table: `input`, the vectors of words; or `output`, those of words as context.

    Raises:
        TombolaError: the task is not about words; there is no such replica, step or table.
    """
    known, count = load(trajectory.task.data, trajectory.data_dir).words, len(trajectory.runs)
    if not known or trajectory.task.objective.name != "skip_gram":
        raise TombolaError(f"task {trajectory.task.name!r} trains no word vectors; tb.words takes what words-skipgram came to")
    if table not in ("input", "output"):
        raise unknown("table", table, ("input", "output"))
    if whole("replica", replica) >= count:
        raise TombolaError(f"replica = {replica}, but the trajectory has {count}, counted from 0")
    return Words(known, np.asarray(trajectory.at(step)[f"{table}/embedding"][replica]))
