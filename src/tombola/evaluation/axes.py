"""Vectors of words on other axes: whatever turns all of them alike leaves skip-gram's loss as it is, so axes are a choice."""

from typing import Literal, NamedTuple

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.keys import generator

Basis = Literal["own", "rotated", "pca", "ica"]
ROUNDS = 100
"""The number of rounds of FastICA."""


class Turned(NamedTuple):
    """Vectors on other axes, and the way back."""

    vectors: np.ndarray
    """(n, d) the vectors on the other axes, less their mean."""
    back: np.ndarray
    """(d, d): ``vectors @ back + mean`` are the vectors as they were."""
    mean: np.ndarray
    """(d,) the mean of the vectors as they were."""


def rotation(d: int, seed: int, stream: str) -> np.ndarray:
    """(d, d) orthogonal, uniform over all (by Haar's measure), from a named stream."""
    q, r = np.linalg.qr(generator(seed, stream).standard_normal((d, d)))
    return q * np.sign(np.diag(r))


def check_size(words: int, dimensions: int) -> None:
    """Raise unless there are more vectors than dimensions."""
    if words <= dimensions:
        raise TombolaError(f"{words} words have no axes in {dimensions} dimensions; give a longer text, or fewer dimensions")


def turned(vectors: np.ndarray, basis: Basis, seed: int, whiten: bool = True, rounds: int = ROUNDS) -> Turned:
    """The vectors less their mean, on axes of one kind.

    Whitened vectors are equally long in all directions, so that all four are rotations of each other, and differ in nothing but their
    axes. ``own``: the axes nearest to those of training (symmetric whitening); ``rotated``: a random rotation of them; ``pca``: principal
    components, the largest first; ``ica``: independent components, by so many rounds of FastICA (Hyvaerinen 1999; Yamagiwa et al. 2023).

    Args:
        whiten: False: they are rotated alone; ``own`` is then as trained. Independent components are whitened always.

    Raises:
        TombolaError: for no more vectors than dimensions.
    """
    vectors = np.asarray(vectors, np.float64)
    check_size(*vectors.shape)
    mean = vectors.mean(0)
    centred = vectors - mean
    variances, directions = np.linalg.eigh(centred.T @ centred / len(vectors))
    spread = np.sqrt(np.maximum(variances, 1e-12 * variances.max())) if whiten or basis == "ica" else np.ones(len(variances))
    principal = centred @ (directions / spread)  # the smallest first
    way = _way(principal, directions, basis, seed, rounds)
    return Turned(principal @ way, way.T @ (directions * spread).T, mean)


def _way(principal: np.ndarray, directions: np.ndarray, basis: Basis, seed: int, rounds: int) -> np.ndarray:
    """(d, d) orthogonal: from principal components to the axes."""
    if basis == "pca":
        return np.eye(len(directions))[:, ::-1]
    if basis == "own":
        return directions.T
    if basis == "rotated":
        return directions.T @ rotation(len(directions), seed, "rotation")
    import warnings

    from sklearn.decomposition import FastICA

    found = FastICA(whiten=False, max_iter=rounds, tol=1e-4, w_init=rotation(len(directions), seed, "ica"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: what it found after its rounds is a rotation all the same
        found.fit(principal)
    u, _, v = np.linalg.svd(found.components_.T)
    return u @ v
