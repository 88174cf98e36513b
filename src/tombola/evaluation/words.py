"""What vectors of words are worth: similarity against people's judgement, analogies, neighbours, and whether axes mean something."""

import numpy as np

from tombola.evaluation.statistics import rank_correlation

Array = np.ndarray


def normalised(vectors: Array) -> Array:
    """(n, d) of length 1, float64; a vector of 0 stays one, so that its cosine with any other is 0."""
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def cosines(vectors: Array, places: Array) -> Array:
    """(n,) the cosines of pairs of words (n, 2)."""
    first, second = (normalised(np.asarray(vectors)[places[:, side]]) for side in (0, 1))
    return (first * second).sum(1)


def spearman(vectors: Array, places: Array, scores: Array) -> float:
    """Rank correlation of cosines with people's scores, over pairs of words; NaN for fewer than 2."""
    return rank_correlation(cosines(vectors, places).tolist(), scores.tolist())


def analogies(vectors: Array, questions: Array, at_once: int = 512) -> float:
    """Share of the questions a : b = c : d that 3CosAdd answers: the word nearest to b - a + c, other than these three, is d.

    All vectors have length 1 before they are added (Mikolov et al. 2013; Levy & Goldberg 2014).
    """
    if not len(questions):
        return float("nan")
    unit, right = normalised(vectors).astype(np.float32), 0
    for first in range(0, len(questions), at_once):
        a, b, c, d = questions[first : first + at_once].T
        near = (unit[b] - unit[a] + unit[c]) @ unit.T
        near[np.arange(len(a))[:, None], np.stack([a, b, c], axis=1)] = -np.inf
        right += int((near.argmax(1) == d).sum())
    return right / len(questions)


def neighbours(vectors: Array, words: Array, count: int = 10) -> Array:
    """(len(words), count): the words of the largest cosine with each of some words, themselves left out, the nearest first."""
    unit = normalised(vectors).astype(np.float32)
    near = unit[words] @ unit.T
    near[np.arange(len(words)), words] = -np.inf
    chosen = np.argpartition(-near, count - 1, axis=1)[:, :count]
    order = np.argsort(-np.take_along_axis(near, chosen, axis=1), axis=1, kind="stable")
    return np.take_along_axis(chosen, order, axis=1)


def overlap(first: Array, second: Array) -> float:
    """Mean share of the neighbours (n, count) of one that are among those of the other."""
    return float(np.mean([len(np.intersect1d(one, other)) / len(one) for one, other in zip(first, second, strict=True)]))


def kurtosis(vectors: Array) -> Array:
    """(d,) excess kurtosis of each axis: 0 of a normal distribution. NaN of an axis that is constant."""
    centred = vectors - vectors.mean(0, dtype=np.float64)
    variance = (centred**2).mean(0)
    return np.divide((centred**4).mean(0), variance**2, out=np.full(len(variance), np.nan), where=variance > 0) - 3


def oriented(vectors: Array) -> Array:
    """The vectors with those axes turned round whose skewness is negative: the side with the longer tail is up."""
    centred = vectors - vectors.mean(0)
    return vectors * np.where((centred**3).mean(0) < 0, -1, 1)


def top_words(vectors: Array, axis: int, count: int = 5) -> Array:
    """The words with the largest values on an axis, the largest first."""
    return np.argsort(-vectors[:, axis], kind="stable")[:count]


def dist_ratio(axes: Array, space: Array, random: np.random.Generator, draws: int = 20, count: int = 5) -> Array:
    """(d,) of each axis how far an intruder stands out: mean distance of its top words from intruders / mean distance among them.

    An intruder is drawn from the words in the lower half of the axis and in the top tenth of some other axis. Above 1 an axis collects
    words that belong together. NaN where the top words coincide.

    Args:
        axes: (n, d) the words on the axes that are looked at, up being the side of the top words.
        space: (n, k) where distances are measured: the vectors as they were trained.

    Source: Sun et al. 2016, section 5; word intrusion is of Chang et al. 2009.
    """
    n, d = axes.shape
    ranks = np.empty(axes.shape, np.int64)
    np.put_along_axis(ranks, np.argsort(axes, axis=0, kind="stable"), np.arange(n)[:, None], axis=0)
    high = ranks >= n - max(1, n // 10)
    elsewhere = high.sum(1)
    found = np.full(d, np.nan)
    for axis in range(d):
        top = top_words(axes, axis, count)
        others = np.flatnonzero((ranks[:, axis] < n // 2) & (elsewhere - high[:, axis] > 0))
        inside = _distances(space[top], space[top]).sum() / (count * (count - 1))
        if len(others) and inside > 0:
            intruders = random.choice(others, draws)
            found[axis] = _distances(space[top], space[intruders]).mean() / inside
    return found


def _distances(first: Array, second: Array) -> Array:
    return np.linalg.norm(np.asarray(first, np.float64)[:, None] - np.asarray(second, np.float64)[None], axis=2)
