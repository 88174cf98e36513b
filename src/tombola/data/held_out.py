"""Test examples where the data come without."""

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.keys import generator
from tombola.data.order import in_shares


def held_out(count: int, share: float, classes: np.ndarray | None = None) -> np.ndarray:
    """(count,) bool: the rows that are the test set, drawn once by a fixed key: the same in every study; of classes, (count,), that are
    given each has its share.

    Raises:
        TombolaError: if no example would be left on one side.
    """
    if not 0 < share < 1 or not 0 < round(share * count) < count:
        raise TombolaError(f"test = {share} of {count} examples leaves none on one side; give a share such as 0.2, or a test set")
    chosen = np.zeros(count, bool)
    random = generator(0, "data/test")
    chosen[in_shares(random.permutation(count), classes, random)[: round(share * count)]] = True
    return chosen
