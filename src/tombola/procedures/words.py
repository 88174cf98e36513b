"""What is read off word vectors, as a kind of measurement; and masks of whole dimensions."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, get_args

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.keys import generator
from tombola.core.masks import Mask
from tombola.core.numbers import whole
from tombola.core.parts import mask_actions
from tombola.core.trees import Tree
from tombola.data.word_sets import FILES, Pairs, analogies, pairs
from tombola.evaluation import words as reading
from tombola.evaluation.axes import ROUNDS, Basis, check_size, turned
from tombola.evaluation.statistics import rank_correlation
from tombola.evaluation.weight_combinations import Part, Scores, WeightCombinations
from tombola.procedures.actions import Context
from tombola.procedures.measurements import Loop, Query, in_one_step, measurements
from tombola.pruning import selection

INPUT, OUTPUT = "input/embedding", "output/embedding"
"""Paths of the tables of `tombola.models.words.skip_gram`."""
QUERIES = 200
"""Words whose neighbours are compared, drawn once by a fixed key from the 5,000 most frequent."""
ANALOGIES = 2000
"""Questions asked, likewise drawn."""


@measurements.register
def words(
    context: Context,
    weights: Tree,
    mask: Mask | None = None,
    beside: Tree | None = None,
    *,
    basis: Basis | None = None,
    whiten: bool = True,
    rounds: int = ROUNDS,
    densities: Sequence[float] = (1.0,),
    scope: selection.Scope = "layer",
    bits: int | None = None,
    axes: bool = False,
    analogy: bool = False,
) -> Loop:
    """What the vectors of words, the input table, are worth; as trained, or after what is done to them here.

    Args:
        mask: weights that it takes away count as 0.
        beside: another network, whose neighbours are compared.
        basis: the vectors on other axes (`tombola.evaluation.axes.turned`); None: as they are.
        whiten, rounds: of `basis`.
        densities: K of them: for each, the components of smallest magnitude are set to 0 until that share of the table is left.
        scope: `layer`: the smallest of the table; `row`: of each word; `column`: of each dimension.
        bits: the vectors are rounded to so many bits, of a scale for each word; None: float32.
        axes: whether axes are looked at, which takes seconds.
        analogy: whether analogies are asked for, likewise.

    Gives (K,) each: `test_loss`; `men`, `simlex`, `similarity`, `relatedness`, `rare`, `verbs`, rank correlations with people's
    judgements, NaN where the set is not in the folder of data files, and with ``_share`` the part of its pairs whose words are known;
    `analogies`, share of 2,000 questions; `overlap`, share of the 10 neighbours of 200 words that `beside` has too; `kurtosis`, mean over
    axes, and `dist_ratio`, median over axes, with ``_normalised`` of vectors of length 1; `density` of the table; `products`,
    multiplications of one similarity, those by 0 left out; `frequency_rho`, rank correlation of a word's density with its frequency.
    Where axes are looked at, `top`: the five top words of each, as UTF-8, an axis a line, of the first density.
    """
    if context.dataset is None or INPUT not in weights:
        raise TombolaError("measurement 'words' is of word vectors; put it to a task such as words-skipgram")
    _check(basis, rounds, densities, bits)
    if basis is not None:
        check_size(*weights[INPUT].shape)

    def ask() -> Query:
        assert context.dataset is not None
        held = {path: np.where(mask[path], leaf, 0) if mask and path in mask else leaf for path, leaf in weights.items()}
        turn = None if basis is None else turned(held[INPUT], basis, context.seed, whiten, rounds)
        vectors = np.asarray(held[INPUT] if turn is None else turn.vectors)
        tables = [_kept(vectors, density, scope) for density in densities]
        tables = tables if bits is None else [rounded(table, bits) for table in tables]
        again = [table if turn is None else table @ turn.back + turn.mean for table in tables]
        networks = WeightCombinations(context.seed, tuple({**held, INPUT: np.asarray(table, np.float32)} for table in again))
        known, found = context.dataset().words, dict[str, np.ndarray]()
        for name in FILES:
            there = pairs(name, known, context.data_dir)
            found[name] = _each(tables, partial(_correlation, there))
            found[f"{name}_share"] = np.full(len(tables), np.nan if there is None else there.share)
        asked = analogies(known, context.data_dir) if analogy else None
        found["analogies"] = _each(tables, lambda table: None if asked is None else reading.analogies(table, _some(asked, ANALOGIES)))
        queries = _some(np.arange(min(len(vectors), 5000)), QUERIES)
        near = None if beside is None else reading.neighbours(beside[INPUT], queries)
        found["overlap"] = _each(tables, lambda table: None if near is None else reading.overlap(reading.neighbours(table, queries), near))
        found["density"] = _each(tables, lambda table: (table != 0).mean())
        found["products"] = _each(tables, lambda table: ((table != 0).mean(0) ** 2).sum())
        often = context.dataset().counts.tolist()
        found["frequency_rho"] = _each(tables, lambda table: rank_correlation((table != 0).mean(1).tolist(), often))
        looked_at = [_axes(table, weights[INPUT], context.seed) if axes else dict.fromkeys(AXES) for table in tables]
        found |= {name: np.array([np.nan if one[name] is None else one[name] for one in looked_at], float) for name in AXES}
        if axes:
            up = reading.oriented(tables[0])
            lines = [", ".join(known[word] for word in reading.top_words(up, axis)) for axis in range(up.shape[1])]
            found["top"] = np.frombuffer("\n".join(lines).encode(), np.uint8)

        def read(scores: Mapping[Part, Scores]) -> dict[str, np.ndarray]:
            return {"test_loss": scores["test"].loss, **found}

        return Query(networks, read, ("test",))

    return in_one_step(ask)


AXES = ("kurtosis", "dist_ratio", "kurtosis_normalised", "dist_ratio_normalised")


def _correlation(there: Pairs | None, table: np.ndarray) -> float | None:
    return None if there is None else reading.spearman(table, there.places, there.scores)


def _each(tables: Sequence[np.ndarray], read: Callable[[np.ndarray], Any]) -> np.ndarray:
    """(K,) what is read off each table; NaN for None."""
    return np.array([np.nan if value is None else value for value in map(read, tables)], float)


def _check(basis: Basis | None, rounds: int, densities: Sequence[float], bits: int | None) -> None:
    if basis not in (None, *get_args(Basis)):
        raise unknown("basis", basis, get_args(Basis))
    whole("rounds", rounds, 1)
    for density in densities:
        if not isinstance(density, int | float) or not 0 < density <= 1:
            raise TombolaError(f"measurement 'words': densities has {density!r}, but a density is above 0, up to 1")
    if bits is not None and whole("bits", bits, 1) < 2:
        raise TombolaError(f"bits = {bits}, but a sign takes one; give 2 or more")


def _kept(table: np.ndarray, density: float, scope: selection.Scope) -> np.ndarray:
    if density == 1:
        return table
    left = selection.prune({INPUT: abs(table)}, {INPUT: np.ones(table.shape, bool)}, {INPUT: 1 - density}, scope)[INPUT]
    return np.where(left, table, 0)


def _axes(vectors: np.ndarray, space: np.ndarray, seed: int) -> dict[str, float]:
    found = {}
    for suffix, own, where in (("", vectors, space), ("_normalised", reading.normalised(vectors), reading.normalised(space))):
        found[f"kurtosis{suffix}"] = float(np.nanmean(reading.kurtosis(own)))
        ratios = reading.dist_ratio(reading.oriented(own), where, generator(seed, f"intruders{suffix}"))
        found[f"dist_ratio{suffix}"] = float(np.nanmedian(ratios))
    return found


def rounded(vectors: np.ndarray, bits: int) -> np.ndarray:
    """Vectors as whole numbers of `bits` bits, from -(2^(bits-1) - 1), times a scale for each word."""
    most = 2 ** (bits - 1) - 1
    scale = np.abs(vectors).max(1, keepdims=True) / most
    return np.rint(np.divide(vectors, scale, out=np.zeros_like(vectors), where=scale > 0)) * scale


def _some(rows: np.ndarray, count: int) -> np.ndarray:
    return rows if len(rows) <= count else rows[np.sort(generator(0, "words/some").permutation(len(rows))[:count])]


@mask_actions.register
def prune_dimensions(context: Context, weights: Tree, before: Mask, *, rate: float) -> Mask:
    """Whole dimensions of both tables are removed: round(rate * kept) of those that are kept, with the smallest |u_j| |v_j|.

    u_j and v_j are the columns of the two tables; the loss sees a dimension by their products alone.
    """
    if not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise TombolaError(f"prune_dimensions: rate = {rate!r}, but it is a share from 0 to 1")
    if {INPUT, OUTPUT} - before.keys():
        raise TombolaError("mask action 'prune_dimensions' is of word vectors; put it to a task such as words-skipgram")
    kept = np.array(before[INPUT].any(axis=0))
    size = np.linalg.norm(weights[INPUT] * before[INPUT], axis=0) * np.linalg.norm(weights[OUTPUT] * before[OUTPUT], axis=0)
    order = [place for place in np.argsort(size, kind="stable") if kept[place]]
    kept[order[: round(rate * len(order))]] = False
    return {path: leaf & kept for path, leaf in before.items()}
