"""How far weights move in training, and which way: those that a mask keeps against those that it prunes."""

from typing import NamedTuple

import numpy as np


class Movement(NamedTuple):
    """How one group of weights of one leaf moved."""

    distance: float
    """Mean of |w_f - w_i|, in standard deviations of the leaf's initial values."""
    away: float
    """Share of weights with |w_f| > |w_i|: they ended farther from 0 than they began. In [0, 1]."""


def movement(initial: np.ndarray, final: np.ndarray, group: np.ndarray) -> Movement:
    """The movement of the weights where `group` (bool, same shape) is True; NaN where there is none.

    Source: Frankle & Carbin 2019, appendix (the movement of winning-ticket weights).
    """
    before, after = initial[group], final[group]
    if not before.size:
        return Movement(np.nan, np.nan)
    return Movement(
        float(np.abs(after - before).mean() / initial.std()),
        float((np.abs(after) > np.abs(before)).mean()),
    )


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Mask of the `count` largest |values|, ties by position, the later first: what magnitude pruning keeps."""
    if count == 0:
        return np.zeros(values.shape, bool)
    sizes = np.nan_to_num(np.abs(values).reshape(-1), nan=np.inf, posinf=np.inf)
    least = np.partition(sizes, len(sizes) - count)[len(sizes) - count]  # a whole sort takes ten times as long
    kept = sizes > least
    kept[np.flatnonzero(sizes == least)[np.count_nonzero(kept) - count :]] = True
    return kept.reshape(values.shape)


def exchanged(initial: np.ndarray, final: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Final weights of a world in which movement has nothing to do with the weight: w_i + a permutation of w_f - w_i.

    What is then selected by |final| has moved far, and away from 0, by selection alone: the circular part of any
    comparison of kept with pruned weights.
    """
    moved = (final - initial).reshape(-1)
    return initial + draw.permutation(moved).reshape(initial.shape)
