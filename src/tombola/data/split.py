"""Which examples a replicate trains and validates on, and with which targets."""

from dataclasses import dataclass

import numpy as np

from tombola.core.keys import generator
from tombola.core.task import Data
from tombola.data.dataset import Dataset, sizes
from tombola.data.order import in_shares


@dataclass(frozen=True, eq=False)
class Split:
    """A division of a data set's pool. Examples in neither part are not used."""

    train: np.ndarray
    """(n_train,) int32, indices into the pool."""
    validation: np.ndarray
    """(n_validation,) int32, disjoint from `train`."""
    test: np.ndarray
    """(n_test,) int32, indices into the test inputs; disjoint from both where these are drawn from the pool, too."""
    targets: np.ndarray | None
    """(n_pool, ...): the pool's, with label noise on training examples only; None where there are none."""


def split(dataset: Dataset, data: Data, seed: int) -> Split:
    """The division that `seed` draws, from its streams `test` (where it draws its own test set), `split` and `label_noise`.

    Nested: under one seed, training examples are a prefix of those of a larger ``data.train``, validation examples
    of those of a larger ``data.validation``, and neither depends on the size of the other.
    Validation examples that the data bring are the same for all (the first of them, of a smaller ``data.validation``).
    Label noise: exactly ``round(label_noise * n_train)`` training labels are replaced by a uniform draw over all
    classes, which may be the same label; those replaced at a smaller noise are so at a larger one, by the same draw.

    Raises:
        TombolaError: more examples are asked for than the pool has.
    """
    n_train, n_validation = sizes(dataset, data)
    random, classes = generator(seed, "split"), dataset.targets if data.stratified else None
    order = in_shares(random.permutation(len(dataset.inputs) - dataset.held).astype(np.int32), classes, random)
    test = np.arange(len(dataset.test_inputs), dtype=np.int32)
    if dataset.drawn:
        of_test = generator(seed, "test")
        test = in_shares(of_test.permutation(test), classes, of_test)[: dataset.drawn]
        order = in_shares(order[~np.isin(order, test)], classes, random)
    validation = np.arange(len(order), len(dataset.inputs), dtype=np.int32) if dataset.held else order[::-1]
    train, validation = order[:n_train], validation[:n_validation].copy()
    noisy = round(data.label_noise * n_train)
    targets = dataset.targets
    if noisy and targets is not None:
        noise = generator(seed, "label_noise")
        places, drawn = noise.permutation(n_train), noise.integers(dataset.classes or 0, size=n_train)
        targets = targets.copy()
        targets[train[places[:noisy]]] = drawn[:noisy]
    return Split(train, validation, test, targets)
