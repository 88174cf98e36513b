"""Test examples where the data come without."""

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.keys import generator


def held_out(count: int, share: float) -> np.ndarray:
    """(count,) bool: the rows that are the test set, drawn once by a fixed key: the same in every study.

    Raises:
        TombolaError: if no example would be left on one side.
    """
    if not 0 < share < 1 or not 0 < round(share * count) < count:
        raise TombolaError(f"test = {share} of {count} examples leaves none on one side; give a share such as 0.2, or a test set")
    chosen = np.zeros(count, bool)
    chosen[generator(0, "data/test").permutation(count)[: round(share * count)]] = True
    return chosen
