"""Control masks: as dense as another, chosen without looking at the weights."""

import numpy as np

from tombola.core.keys import generator
from tombola.core.masks import Mask


def shuffle(mask: Mask, seed: int, stream: str) -> Mask:
    """The same number of kept weights in each layer, at uniformly random places (Frankle & Carbin 2019, section 5).

    Each leaf is shuffled by its own stream ``{stream}/{path}`` of the seed, so no layer's draw depends on another's.
    """
    return {path: generator(seed, f"{stream}/{path}").permutation(leaf.reshape(-1)).reshape(leaf.shape) for path, leaf in mask.items()}


def same_degrees(mask: Mask, seed: int, stream: str, trades: int = 5) -> Mask:
    """A random mask in which every input and every output of a layer keeps as many connections as it has: the same row and column sums.

    The rows of a leaf (h, w, inputs, outputs) are all its places but the last axis, its columns the outputs. Two lines (rows, or
    columns where they are fewer) are drawn and trade at random what one of them has and the other has not, `trades` times as often
    as there are lines. Each leaf has a stream of its own, ``{stream}/{path}``.

    Source: the curveball algorithm of Strona et al. 2014, whose chain has the uniform distribution over such masks as its limit.
    """
    return {path: _traded(leaf, generator(seed, f"{stream}/{path}"), trades) for path, leaf in mask.items()}


def _traded(leaf: np.ndarray, random: np.random.Generator, trades: int) -> np.ndarray:
    matrix = leaf.reshape(-1, leaf.shape[-1]).copy()
    lines = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    for _ in range(trades * len(lines) if len(lines) > 1 else 0):
        one, other = random.choice(len(lines), 2, replace=False, shuffle=False)
        only = np.flatnonzero(lines[one] != lines[other])
        if len(only):
            lines[one, only] = random.permutation(lines[one, only])
            lines[other, only] = ~lines[one, only]
    return matrix.reshape(leaf.shape)
