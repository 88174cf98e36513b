"""Connections per unit under a mask, and how evenly they are spread."""

import numpy as np


def incoming(leaf: np.ndarray) -> np.ndarray:
    """Kept incoming connections of each output unit: a mask (..., inputs, outputs) -> (outputs,)."""
    return leaf.reshape(-1, leaf.shape[-1]).sum(0)


def outgoing(leaf: np.ndarray) -> np.ndarray:
    """Kept outgoing connections of each input unit: a mask (..., inputs, outputs) -> (inputs,)."""
    return np.moveaxis(leaf, -2, 0).reshape(leaf.shape[-2], -1).sum(1)


def unevenness(connections: np.ndarray) -> float:
    """Coefficient of variation, standard deviation / mean: 0 if all units have as many; NaN if none has any."""
    mean = float(np.mean(connections))
    return float(np.std(connections)) / mean if mean else float("nan")


def unconnected(connections: np.ndarray) -> float:
    """Share of units without any connection, in [0, 1]."""
    return float(np.mean(connections == 0))


def spread(leaf: np.ndarray, places: np.ndarray) -> float:
    """Mean distance between the kept inputs of a unit, over all pairs, averaged over units that keep two or more; NaN if none does.

    Args:
        leaf: mask (inputs, outputs).
        places: (inputs, dimensions) where each input is, in pixels.
    """
    apart = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))
    counts, kept = leaf.sum(0), leaf.astype(float)
    total, several = ((apart @ kept) * kept).sum(0), counts > 1
    return float((total[several] / (counts * (counts - 1.0))[several]).mean()) if several.any() else float("nan")
