"""Two classes in the plane, drawn once by a fixed key: what two-input networks are tried on."""

from pathlib import Path

import numpy as np

from tombola.core.keys import generator
from tombola.data.dataset import Dataset, datasets

EXAMPLES, TEST, NOISE = 2000, 500, 0.1
"""Points of the pool and of the test set; standard deviation of the noise on each coordinate."""


@datasets.register
def moons(folder: Path | None = None) -> Dataset:
    """Two half circles of radius 1 that reach into one another, with normal noise of 0.1; inputs shape (2,), 2,000 and 500 points.

    Upper: (cos a, sin a); lower: (1 - cos a, 1/2 - sin a), a uniform from 0 to pi.
    """

    def points(a: np.ndarray, lower: np.ndarray) -> np.ndarray:
        x, y = np.cos(np.pi * a), np.sin(np.pi * a)
        return np.stack([np.where(lower, 1 - x, x), np.where(lower, 0.5 - y, y)], axis=1)

    return _drawn("moons", points)


@datasets.register
def circles(folder: Path | None = None) -> Dataset:
    """Two circles around the origin, of radius 1 and 1/2, with normal noise of 0.1; inputs shape (2,), 2,000 and 500 points."""

    def points(a: np.ndarray, inner: np.ndarray) -> np.ndarray:
        radius = np.where(inner, 0.5, 1.0)[:, None]
        return np.asarray(radius * np.stack([np.cos(2 * np.pi * a), np.sin(2 * np.pi * a)], axis=1))

    return _drawn("circles", points)


def _drawn(name: str, points: object) -> Dataset:
    assert callable(points)
    random, count = generator(0, f"{name}/draw"), EXAMPLES + TEST
    labels = random.permutation(np.arange(count) % 2).astype(np.int32)
    inputs = points(random.random(count), labels == 1) + random.normal(0, NOISE, (count, 2))
    inputs = inputs.astype(np.float32)
    return Dataset(inputs[:EXAMPLES], labels[:EXAMPLES], inputs[EXAMPLES:], labels[EXAMPLES:], classes=2, validation=400)
