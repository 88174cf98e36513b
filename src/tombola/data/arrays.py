"""A user's own arrays as a data set."""

import hashlib
import re
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tombola.core.errors import TombolaError
from tombola.core.task import Data
from tombola.data.dataset import Dataset, check, datasets, sizes


def from_arrays(
    x: ArrayLike, y: ArrayLike, test_x: ArrayLike, test_y: ArrayLike, validation: int | None = None, name: str | None = None
) -> Data:
    """Register arrays in this process under a name made of their content, and return the `Data` that names them.

    Args:
        x: inputs of the pool, (n, *shape) real numbers, used as they are (as float32): scale them first.
        y: their labels, (n,) integers from 0, every class at least once.
        test_x: test inputs, (m, *shape).
        test_y: test labels, (m,).
        validation: examples of the pool that are set aside for validation; None: a tenth.
        name: beginning of the registered name, ``<name>-<12 hex digits>``; None: ``arrays``.

    Raises:
        TombolaError: shapes, dtypes, values or labels do not fit.
    """
    prefix = "arrays" if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9._-]+", prefix):
        raise TombolaError(f"name {prefix!r}: use letters, digits, '.', '_' and '-' only")
    inputs, labels, test_inputs, test_labels = (
        _inputs("x", x),
        _labels("y", y),
        _inputs("test_x", test_x),
        _labels("test_y", test_y),
    )
    classes = _classes(labels)
    dataset = Dataset(inputs, labels, test_inputs, test_labels, classes, max(1, round(len(labels) / 10)))
    title = f"{prefix}-{_content_hash(inputs, labels, test_inputs, test_labels)}"
    check(title, dataset)
    data = Data(name=title, validation=validation)
    sizes(dataset, data)

    def loader(folder: Path | None = None) -> Dataset:
        return dataset

    datasets.add(title, loader)
    return data


def _inputs(argument: str, given: ArrayLike) -> np.ndarray:
    array = _array(argument, given)
    if array.dtype.kind not in "fiub":
        raise TombolaError(f"{argument} holds {array.dtype}, but inputs must be real numbers; convert them with .astype('float32')")
    if array.ndim < 2:
        raise TombolaError(f"{argument} has shape {array.shape}, but it must be (examples, ...); write {argument}.reshape(n, -1)")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which `check` names
        return array.astype(np.float32)


def _labels(argument: str, given: ArrayLike) -> np.ndarray:
    array = _array(argument, given)
    if array.ndim != 1:
        raise TombolaError(f"{argument} has shape {array.shape}, but it must be (examples,); one-hot rows become labels by .argmax(1)")
    if array.dtype.kind not in "iu":
        raise TombolaError(f"{argument} holds {array.dtype}, but labels must be integers from 0; convert them with .astype('int32')")
    if array.size and not 0 <= array.min() <= array.max() <= np.iinfo(np.int32).max:
        raise TombolaError(f"{argument} spans {array.min()} to {array.max()}, but labels must be integers from 0")
    return array.astype(np.int32)


def _array(argument: str, given: ArrayLike) -> np.ndarray:
    try:
        return np.asarray(given)
    except (TypeError, ValueError):  # rows of unequal length
        raise TombolaError(f"{argument} is no array: its rows must all have one shape") from None


def _classes(labels: np.ndarray) -> int:
    present = np.unique(labels)
    absent = np.flatnonzero(present != np.arange(len(present)))
    if len(absent):
        raise TombolaError(f"y has no label {absent[0]} but has {present[-1]}; number the classes 0, 1, 2, ... without gaps")
    return len(present)


def _content_hash(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:12]
