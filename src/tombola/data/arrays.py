"""A user's own arrays as a data set."""

import hashlib
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tombola.core.errors import TombolaError
from tombola.core.task import Data
from tombola.data.dataset import AS_THEY_COME, Dataset, Scaling, check, datasets, sizes

Targets = Literal["classes", "values"]


def from_arrays(
    x: ArrayLike,
    y: ArrayLike | None,
    test_x: ArrayLike,
    test_y: ArrayLike | None,
    validation: int | tuple[ArrayLike, ArrayLike | None] | None = None,
    name: str | None = None,
    *,
    targets: Targets | None = None,
    vocabulary: int | None = None,
    pixels: bool = False,
    stratified: bool = False,
) -> Data:
    """Register arrays in this process under a name made of their content, and return the `Data` that names them.

    Args:
        x: inputs of the pool, (n, *shape) real numbers, used as they are (as float32): scale them first; or tokens (`vocabulary`).
        y: their targets. Labels, (n,) or (n, 1), integers, strings, booleans or categories: the sorted ones are classes 0, 1, 2, ...,
            and ``load(data).class_names`` says which is which. Or values, floats (n, *shape), for regression. None: there are none.
        test_x, test_y: those of the test set, (m, ...).
        validation: examples of the pool that each replicate sets aside for validation; None: a tenth. Or a validation set of your own,
            (x, y), which is the same for all replicates.
        name: beginning of the registered name, ``<name>-<12 hex digits>``; None: ``arrays``.
        targets: what `y` is, `classes` or `values`; None: floats are values, all else is classes.
        vocabulary: number of different tokens; the inputs are then integers from 0, which reach the network as int32.
        pixels: `x` holds bytes, (n, ..., channels), which are standardised by the mean and deviation of each channel in `x`.
        stratified: each class has its share of training and validation examples (`Data.stratified`).

    Raises:
        TombolaError: shapes, dtypes, values or labels do not fit.
    """
    prefix = "arrays" if name is None else name
    if not re.fullmatch(r"[A-Za-z0-9._-]+", prefix):
        raise TombolaError(f"name {prefix!r}: use letters, digits, '.', '_' and '-' only")
    if targets not in (None, "classes", "values"):
        raise TombolaError(f"targets = {targets!r}, but y holds 'classes' or 'values'")
    if (y is None) != (test_y is None):
        raise TombolaError("y and test_y: give both, or None for both")
    held, scaling = 0, AS_THEY_COME
    if isinstance(validation, tuple):
        x, y, held = _with_own(x, y, *validation)
        validation = None
    if pixels:
        shown = _array("x", x)
        scaling = _of_pixels(shown[: len(shown) - held], _array("test_x", test_x))
        x, test_x = (scaling.of(np.asarray(one)) for one in (x, test_x))
    read = _inputs if vocabulary is None else _tokens
    inputs, test_inputs = read("x", x), read("test_x", test_x)
    if not len(inputs):
        raise TombolaError("x is empty, but at least one example is needed")
    found, tested, names = (None, None, ()) if y is None or test_y is None else _targets(_array("y", y), _array("test_y", test_y), targets)
    classes = len(names) or None
    if stratified and classes is None:
        raise TombolaError("stratified keeps shares of classes, but y holds none; leave it out")
    plain = names == tuple(map(str, range(len(names))))
    dataset = Dataset(
        inputs,
        found,
        test_inputs,
        tested,
        classes,
        held or max(1, round(len(inputs) / 10)),
        vocabulary=vocabulary,
        scaling=scaling,
        class_names=() if plain else names,
        held=held,
    )
    return registered(prefix, dataset, validation, stratified)


def _with_own(x: Any, y: Any, own_x: Any, own_y: Any) -> tuple[np.ndarray, np.ndarray | None, int]:
    """(inputs, targets, size of the validation set) of a pool that ends with a validation set."""
    pool, own = _array("x", x), _array("the x of validation", own_x)
    if not len(own) or pool.shape[1:] != own.shape[1:] or pool.dtype.kind != own.dtype.kind:
        raise TombolaError(
            f"validation: x is {own.dtype} {own.shape}, but the x of training is {pool.dtype} {pool.shape}; give examples of the same kind"
        )
    if (y is None) != (own_y is None):
        raise TombolaError("validation: give (x, y), both of the kind that x and y of training are; y is None where there are no targets")
    if y is None:
        return np.concatenate([pool, own]), None, len(own)
    labels, own_labels = _array("y", y), _array("the y of validation", own_y)
    if len(own) != len(own_labels) or labels.shape[1:] != own_labels.shape[1:]:
        raise TombolaError(f"validation: {len(own)} inputs, but targets of shape {own_labels.shape}; give as many, shaped as y")
    return np.concatenate([pool, own]), np.concatenate([labels, own_labels]), len(own)


def registered(prefix: str, dataset: Dataset, validation: int | None = None, stratified: bool = False) -> Data:
    """Register a data set in this process, and return the `Data` that names it ``<prefix>-<12 hex digits>``, of its content."""
    arrays = (dataset.inputs, dataset.targets, dataset.test_inputs, dataset.test_targets)
    held = [f"held {dataset.held}"] * bool(dataset.held)
    title = f"{prefix}-{_content_hash(*(one for one in arrays if one is not None), *dataset.class_names, *dataset.words, *held)}"
    check(title, dataset)
    data = Data(name=title, validation=validation, stratified=stratified)
    sizes(dataset, data)

    def loader(folder: Path | None = None) -> Dataset:
        return dataset

    loader.named_by_content = True  # type: ignore[attr-defined]
    datasets.add(title, loader)
    return data


def _of_pixels(*images: np.ndarray) -> Scaling:
    """What standardises each channel of the first."""
    for one in images:
        if one.dtype != np.uint8 or one.ndim < 3 or not one.size:
            raise TombolaError(f"pixels are bytes (n, ..., channels), uint8, and not {one.dtype} {one.shape}; leave pixels=True out")
    # Over counts of the 256 values: exact, and no second array.
    counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(images[0], -1, 0)]).astype(np.float64)
    values = np.arange(256) / 255
    share = counts / counts.sum(1, keepdims=True)
    mean = share @ values
    std = np.sqrt(np.maximum(share @ values**2 - mean**2, 0))
    return Scaling(255, tuple(mean.tolist()), tuple(np.where(std > 1e-6, std, 1.0).tolist()))


def _inputs(argument: str, given: ArrayLike) -> np.ndarray:
    array = _array(argument, given)
    if array.dtype.kind not in "fiub":
        raise TombolaError(f"{argument} holds {array.dtype}, but inputs must be real numbers; convert them with .astype('float32')")
    if array.ndim < 2:
        raise TombolaError(f"{argument} has shape {array.shape}, but it must be (examples, ...); write {argument}.reshape(n, -1)")
    if array.dtype == np.uint8 and array.size and array.max() > 1:
        raise TombolaError(
            f"{argument} holds bytes up to {array.max()}, which would be used unscaled; write {argument} / 255, or standardise them; "
            f"if that is what you want, {argument}.astype('float32')"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which `check` names
        return array.astype(np.float32)


def _tokens(argument: str, given: ArrayLike) -> np.ndarray:
    array = _array(argument, given)
    if array.dtype.kind not in "iu" or array.ndim < 2:
        raise TombolaError(
            f"{argument} is {array.dtype} {array.shape}, but tokens are integers (examples, length); or leave vocabulary out"
        )
    return np.clip(array, -1, np.iinfo(np.int32).max).astype(np.int32)  # no token wraps around into the vocabulary


def _targets(y: np.ndarray, test_y: np.ndarray, kind: Targets | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """(targets, test targets, what each class is called: none, of values)."""
    if y.ndim > 1 and y.shape[1:] != (1,) and kind != "values" and y.dtype.kind in "fiub" and _one_hot(y):
        raise TombolaError(
            f"y has shape {y.shape}: one-hot rows become labels by .argmax(1); if they are values to regress, targets='values'"
        )
    if kind == "values" or (kind is None and y.dtype.kind == "f"):
        return _values("y", y), _values("test_y", test_y), ()
    labels, tested = _labels("y", y), _labels("test_y", test_y)
    try:
        known, found = np.unique(labels, return_inverse=True)
    except TypeError:
        raise TombolaError("y holds labels of different types, which have no order; make them all strings, .astype(str)") from None
    places = {label: place for place, label in enumerate(known.tolist())}
    if strange := [label for label in dict.fromkeys(tested.tolist()) if label not in places]:
        raise TombolaError(f"test_y has the label {strange[0]!r}, which y has not; every class must be in y{_or_values(y)}")
    as_places = np.array([places[label] for label in tested.tolist()], np.int32)
    return found.reshape(-1).astype(np.int32), as_places, tuple(map(str, known.tolist()))


def _one_hot(rows: np.ndarray) -> bool:
    return rows.ndim == 2 and bool(np.isin(rows, (0, 1)).all() and (rows.sum(1) == 1).all())


def _values(argument: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiub":
        raise TombolaError(f"{argument} holds {array.dtype}, but values to regress must be real numbers; or leave targets='values' out")
    with np.errstate(over="ignore"):
        return array.astype(np.float32).reshape(len(array), *(array.shape[1:] or (1,)))


def _labels(argument: str, array: np.ndarray) -> np.ndarray:
    if array.ndim != 1 and array.shape[1:] != (1,):
        raise TombolaError(f"{argument} has shape {array.shape}, but labels are (examples,); use .ravel(){_or_values(array)}")
    array = array.reshape(-1)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise TombolaError(f"{argument} holds NaN or infinite labels; leave those examples out")
    if array.dtype.kind == "f" and (array != np.round(array)).any():
        raise TombolaError(
            f"{argument} holds numbers such as {array[array != np.round(array)][0]}, which are no classes; use targets='values'"
        )
    if array.dtype.kind == "f":
        return array.astype(np.int64)
    if array.dtype.kind == "O" and any(label is None or label != label for label in array.tolist()):
        raise TombolaError(f"{argument} has labels that are missing; leave those examples out")
    if array.dtype.kind not in "iubUSO":
        raise TombolaError(f"{argument} holds {array.dtype}, but labels are integers, strings, booleans or categories; convert them")
    return array


def _or_values(y: np.ndarray) -> str:
    """What else numbers may be than labels."""
    return (
        "; or, if they are values to regress, targets='values' (in an .npz beside y), for objective=regression"
        if y.dtype.kind in "fiub"
        else ""
    )


def _array(argument: str, given: Any) -> np.ndarray:
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        count = int(np.ma.getmaskarray(given).sum())
        raise TombolaError(f"{argument} is a masked array with {count} values masked; fill them, .filled(0), or leave those examples out")
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of unequal length, a tensor with a gradient or on a GPU
        reason = next(iter(str(error).splitlines()), "")
        raise TombolaError(
            f"{argument} is no array: its rows must all have one shape, and be in this machine's memory ({reason})"
        ) from None


def _content_hash(*content: Any) -> str:
    digest = hashlib.sha256()
    for one in content:
        if isinstance(one, str):
            digest.update(one.encode())
            continue
        digest.update(repr(one.shape).encode())
        digest.update(np.ascontiguousarray(one).data)
    return digest.hexdigest()[:12]
