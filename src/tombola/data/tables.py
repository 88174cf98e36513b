"""Tables that scikit-learn carries: measurements of tumours, and of wines; standardised, classes as targets."""

from pathlib import Path

import numpy as np

from tombola.core.keys import generator
from tombola.data.cache import Arrays, cached
from tombola.data.dataset import Dataset, Scaling, datasets

TEST = {"breast_cancer": 114, "wine": 44}
"""Rows of the test set, drawn once by a fixed key and the same in every study; all others are the pool."""


@datasets.register
def breast_cancer(folder: Path | None = None) -> Dataset:
    """569 tumours: 30 measurements of cell nuclei (mean, standard error and worst value of ten), benign or malignant; 455 and 114 rows.

    Standardised by mean and standard deviation of the pool. Source: Wolberg, Street & Mangasarian 1995.
    """
    return _table("breast_cancer")


@datasets.register
def wine(folder: Path | None = None) -> Dataset:
    """178 wines of three growers: 13 measurements; 134 and 44 rows, standardised likewise. Source: Aeberhard & Forina 1991."""
    return _table("wine")


def _table(name: str) -> Dataset:
    whole = cached(name, ("scikit-learn",), lambda: _read(name))
    order = generator(0, f"{name}/test").permutation(len(whole["labels"]))
    pool, test = np.sort(order[TEST[name] :]), np.sort(order[: TEST[name]])
    raw, labels = whole["inputs"], whole["labels"]
    mean, std = raw[pool].mean(0), raw[pool].std(0)
    inputs = ((raw - mean) / std).astype(np.float32)
    scaling = Scaling(1, tuple(mean.tolist()), tuple(std.tolist()))
    classes = int(labels.max()) + 1
    return Dataset(inputs[pool], labels[pool], inputs[test], labels[test], classes, validation=len(pool) // 5, scaling=scaling)


def _read(name: str) -> Arrays:
    from sklearn import datasets as sets

    bunch = getattr(sets, f"load_{name}")()
    return {"inputs": bunch.data.astype(np.float64), "labels": bunch.target.astype(np.int32)}
