"""Optimal brain surgery of one leaf: the exact inverse of its dampened empirical Fisher, by the Woodbury identity.

F = G^T G / n + lambda 1, G (n, d) the gradients of n examples by d weights. What is inverted is (n, n):

    F^-1 = (1 - G^T (n lambda 1 + G G^T)^-1 G) / lambda,   lambda = dampening * the mean of all g^2

Source: Hassibi & Stork 1993; Singh & Alistarh 2020 for the empirical Fisher.
"""

import numpy as np

from tombola.core.errors import TombolaError

DAMPENING = 0.01
"""lambda in units of the leaf's mean squared gradient of an example."""


def losses(weights: np.ndarray, gradients: np.ndarray, dampening: float = DAMPENING) -> np.ndarray:
    """w_i^2 / (2 [F^-1]_ii) of each weight, of the weights' shape; 0 where no example has a gradient.

    Args:
        gradients: (n, *shape of the weights).
        dampening: above 0.
    """
    slopes, small = _flat(gradients, dampening)
    if not small:
        return np.zeros(weights.shape)
    root = np.linalg.inv(np.linalg.cholesky(_outer(slopes, small))).astype(
        np.float32
    )  # its inverse is of unit size times G: no more is needed
    leverage = np.square(root @ slopes, dtype=np.float64).sum(axis=0)
    return np.square(weights, dtype=np.float64) * small / (2 * np.maximum(1 - leverage.reshape(weights.shape), np.finfo(float).eps))


def compensated(weights: np.ndarray, gradients: np.ndarray, kept: np.ndarray, dampening: float = DAMPENING) -> np.ndarray:
    """The weights with those that are kept moved such that they make up for the others' becoming 0; the others as they are.

    dw_K = G_K^T (n lambda 1 + G_K G_K^T)^-1 G_P w_P, which is F_KK^-1 F_KP w_P.
    """
    slopes, small = _flat(gradients, dampening)
    if not small:
        return weights
    stay = kept.reshape(-1)
    lost = slopes[:, ~stay].astype(np.float64) @ weights.reshape(-1)[~stay].astype(np.float64)
    moved = weights.astype(np.float64).reshape(-1)
    moved[stay] += slopes[:, stay].T @ np.linalg.solve(_outer(slopes[:, stay], small), lost)
    return moved.reshape(weights.shape).astype(weights.dtype)


def _flat(gradients: np.ndarray, dampening: float) -> tuple[np.ndarray, float]:
    """The gradients G as a matrix, and lambda."""
    if isinstance(dampening, bool) or not isinstance(dampening, int | float) or not 0 < dampening < np.inf:
        raise TombolaError(f"dampening = {dampening!r}; write a number above 0, such as {DAMPENING}")
    slopes = np.asarray(gradients, np.float32).reshape(len(gradients), -1)
    return slopes, dampening * float(np.square(slopes, dtype=np.float64).mean())


def _outer(slopes: np.ndarray, small: float) -> np.ndarray:
    """N lambda 1 + G G^T, in double precision."""
    found: np.ndarray = (slopes @ slopes.T).astype(np.float64) + len(slopes) * small * np.eye(len(slopes))
    return found
