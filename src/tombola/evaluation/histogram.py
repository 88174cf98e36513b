"""Distributions of weights."""

import numpy as np


def density_of(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the values in each bin over the bin's width: integrates to 1 if no value lies outside; zeros if there is none."""
    counts, _ = np.histogram(values, edges)
    return counts / (max(values.size, 1) * np.diff(edges))


def valley(values: np.ndarray, sigma: float) -> float:
    """How much rarer values near 0 are than values near one sigma, as log2 of the ratio of their densities.

    log2(density of .75 sigma <= |w| < 1.25 sigma / density of |w| < .25 sigma), half a value added to each count; NaN without values.
    Above 0: two humps with a valley at 0. A normal distribution has -0.71.
    """
    if not values.size:
        return float("nan")
    size = np.abs(values) / sigma
    near, far = np.sum(size < 0.25) + 0.5, np.sum((size >= 0.75) & (size < 1.25)) + 0.5
    return float(np.log2((far / 1.0) / (near / 0.5)))
