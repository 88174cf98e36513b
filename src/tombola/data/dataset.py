"""What a data set is, and how one is found by name."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.parts import datasets as datasets
from tombola.core.task import Data
from tombola.data.folders import data_folder


class Scaling(NamedTuple):
    """What a network gets of values as they come: (x / divisor - mean) / std, the last two along the last axis, or one for all."""

    divisor: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def of(self, values: np.ndarray) -> np.ndarray:
        """The values scaled, float32."""
        mean, std = (np.array(one, np.float32) for one in (self.mean, self.std))
        return (values.astype(np.float32) / np.float32(self.divisor) - mean) / std


AS_THEY_COME = Scaling()


@dataclass(frozen=True, eq=False)
class Dataset:
    """Inputs and targets: float32 inputs ready for the network, integer tokens, or uint8 pixels that training makes float32."""

    inputs: np.ndarray
    """The pool that training and validation examples are drawn from: (n_pool, *shape), float32, normalised; int32 tokens; or uint8,
    also as a `numpy.memmap` of what memory cannot hold. The network gets (x / 255 - `mean`) / `std` of uint8."""
    targets: np.ndarray | None
    """Classes (n_pool,) int32, 0 to classes - 1; or values (n_pool, *shape) float32; None: there are none (of an autoencoder)."""
    test_inputs: np.ndarray
    """(n_test, *shape) test inputs, of the same dtype."""
    test_targets: np.ndarray | None
    """(n_test, ...) test targets, of the same dtype."""
    classes: int | None
    """The number of classes; None where targets are values."""
    validation: int
    """Validation examples that a split takes from the pool unless told otherwise."""
    mean: np.ndarray | None = None
    """(channels,) float32, on the scale [0, 1]; None for float32 inputs."""
    std: np.ndarray | None = None
    """(channels,) float32, positive; None for float32 inputs."""
    vocabulary: int | None = None
    """Number of different tokens, 0 to vocabulary - 1; None where inputs are no tokens."""
    scaling: Scaling = AS_THEY_COME
    """How float32 inputs were made of what the data come as, which a network in use is given."""
    class_names: tuple[str, ...] = ()
    """What each class is called in the data that were given; empty: by its number."""
    words: tuple[str, ...] = ()
    """What each token stands for, in text; empty: its number."""
    drawn: int = 0
    """Test examples that each replicate draws from all (`Data.fresh_test`): inputs and test inputs are then the same array; 0: none."""
    held: int = 0
    """The number of examples at the end of the pool that are the validation set of all replicates; 0: each draws its own."""

    @property
    def on_disk(self) -> bool:
        """Whether inputs are read from disk as they are needed."""
        return isinstance(self.inputs, np.memmap)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one example; images are (height, width, channels)."""
        return self.inputs.shape[1:]

    @cached_property
    def counts(self) -> np.ndarray:
        """(vocabulary,) how often each token comes in the pool."""
        return np.bincount(self.inputs.reshape(-1), minlength=self.vocabulary or 0)

    @property
    def input_dtype(self) -> str:
        """What inputs are when the network gets them."""
        return "float32" if self.vocabulary is None else "int32"


Loader = Callable[[Path | None], Dataset]


def load(data: Data, folder: Path | str | None = None) -> Dataset:
    """The data set that `data` names, its test set cut to the first ``data.test`` examples.

    The pool stays whole (`tombola.data.split.split` divides it), and its arrays are read-only: repeated loads in
    a process share them. Files are looked for in `folder`, else ``TOMBOLA_DATA``, else the user's cache.

    Raises:
        TombolaError: an unknown name, missing or damaged files, more examples asked for than there are,
            label noise on what are no classes.
    """
    whole = loaded(data.name, data_folder(folder))
    sizes(whole, data)
    if data.stratified and whole.classes is None:
        raise TombolaError(f"stratified keeps shares of classes, but the targets of {data.name} are no classes; set it to false")
    if data.label_noise and whole.classes is None:
        raise TombolaError(f"label_noise draws other classes, but the targets of {data.name} are no classes; set it to 0")
    if data.test is not None and data.test > len(whole.test_inputs):
        raise TombolaError(f"{data.name} has {len(whole.test_inputs)} test examples, but test is {data.test}; ask for fewer")
    if data.fresh_test:
        if whole.held:
            raise TombolaError(f"fresh_test draws from all examples, but {data.name} brings its own validation set; set it to false")
        if whole.on_disk:
            raise TombolaError(f"fresh_test joins pool and test set in memory, but {data.name} is read from disk; set it to false")
        return _with_fresh_test(whole, data.test or len(whole.test_inputs))
    return whole if data.test is None else _with_test(whole, data.test)


@lru_cache(maxsize=4)  # the same object again, so that its copy on the devices is found
def _with_fresh_test(whole: Dataset, test: int) -> Dataset:
    inputs = _joined(whole.inputs, whole.test_inputs)
    targets = None
    if whole.targets is not None and whole.test_targets is not None:
        targets = _joined(whole.targets, whole.test_targets)
    return replace(whole, inputs=inputs, targets=targets, test_inputs=inputs, test_targets=targets, drawn=test)


def _joined(pool: np.ndarray, test: np.ndarray) -> np.ndarray:
    both = np.concatenate([pool, test])
    both.flags.writeable = False
    return both


@lru_cache(maxsize=4)
def _with_test(whole: Dataset, test: int) -> Dataset:
    targets = None if whole.test_targets is None else whole.test_targets[:test]
    return replace(whole, test_inputs=whole.test_inputs[:test], test_targets=targets)


def sizes(dataset: Dataset, data: Data) -> tuple[int, int]:
    """Numbers of training and validation examples, the defaults filled in. Raises if the pool is too small."""
    pool = len(dataset.inputs) - dataset.drawn
    validation = dataset.validation if data.validation is None else data.validation
    if dataset.held and validation > dataset.held:
        raise TombolaError(f"{data.name} brings {dataset.held} validation examples, but validation is {validation}; ask for fewer")
    pool -= dataset.held and dataset.held - validation  # those of its validation set that are not used train nothing
    train = pool - validation if data.train is None else data.train
    if validation >= pool:
        raise TombolaError(f"{data.name} has a pool of {pool} examples, so validation can be at most {pool - 1}, not {validation}")
    if train + validation > pool:
        raise TombolaError(
            f"{data.name} has a pool of {pool} examples, but train {train} + validation {validation} are asked for; "
            f"set train to at most {pool - validation}"
        )
    return train, validation


def examples(dataset: Dataset, data: Data) -> dict[str, int]:
    """Part of the data -> how many examples it has."""
    train, validation = sizes(dataset, data)
    return {"train": train, "validation": validation, "test": dataset.drawn or len(dataset.test_inputs)}


def check(name: str, dataset: Dataset) -> None:
    """Raise unless shapes, dtypes and values are as `Dataset` says."""
    dtype = _dtype(name, dataset)
    for part, inputs, targets in (("", dataset.inputs, dataset.targets), ("test_", dataset.test_inputs, dataset.test_targets)):
        where = f"data set {name!r}: {part}"
        if inputs.dtype != dtype:
            raise TombolaError(f"{where}inputs are {inputs.dtype}; they must be {dtype}")
        if len(inputs) == 0:
            raise TombolaError(f"{where}inputs are empty; at least one example is needed")
        _check_values(f"{where}inputs", inputs)
        if dtype == np.int32:
            _check_range(f"{where}inputs (tokens)", inputs, dataset.vocabulary)
        if targets is not None:
            _check_targets(where, part, inputs, targets, dataset.classes)
    if (dataset.targets is None) != (dataset.test_targets is None):
        raise TombolaError(f"data set {name!r}: targets and test_targets must both be given, or neither")
    if dataset.targets is not None and dataset.test_targets is not None and dataset.targets.shape[1:] != dataset.test_targets.shape[1:]:
        raise TombolaError(
            f"data set {name!r}: a test target has shape {dataset.test_targets.shape[1:]}, a training target {dataset.targets.shape[1:]}; "
            "they must be equal"
        )
    if dataset.test_inputs.shape[1:] != dataset.shape:
        raise TombolaError(
            f"data set {name!r}: a test example has shape {dataset.test_inputs.shape[1:]}, a training example {dataset.shape}; "
            "they must be equal"
        )
    if not 0 < dataset.validation < len(dataset.inputs):
        raise TombolaError(f"data set {name!r}: validation is {dataset.validation}, but it must be 1 to {len(dataset.inputs) - 1}")


def _check_targets(where: str, part: str, inputs: np.ndarray, targets: np.ndarray, classes: int | None) -> None:
    wanted, text = (np.dtype(np.float32), "values") if classes is None else (np.dtype(np.int32), "classes")
    if targets.dtype != wanted:
        raise TombolaError(f"{where}targets are {targets.dtype}; {text} must be {wanted}")
    if len(targets) != len(inputs) or (targets.ndim == 1) == (classes is None):
        shape = "(n,)" if classes is not None else "(n, ...), such as (n, 1)"
        raise TombolaError(
            f"{where}inputs {inputs.shape} need a target each, {shape} of {text}, but {part}targets have shape {targets.shape}"
        )
    _check_values(f"{where}targets", targets)
    if classes is not None:
        _check_range(f"{where}targets", targets, classes)


def _check_values(where: str, values: np.ndarray) -> None:
    # The extremes are NaN or infinite exactly if some value is; unlike isfinite(values), they need no second array.
    if values.dtype == np.float32 and values.size and not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise TombolaError(f"{where} hold NaN or infinite values; every value must be finite")


def _check_range(where: str, values: np.ndarray, count: int | None) -> None:
    if count is not None and values.size and (values.min() < 0 or values.max() >= count):
        raise TombolaError(f"{where} span {values.min()} to {values.max()}, but they must lie in 0 to {count - 1}")


def _dtype(name: str, dataset: Dataset) -> np.dtype:
    """The dtype of the inputs: float32 without mean and std, uint8 with both; int32 for tokens."""
    if dataset.vocabulary is not None:
        return np.dtype(np.int32)
    if dataset.mean is None and dataset.std is None:
        return np.dtype(np.float32)
    for what, values in (("mean", dataset.mean), ("std", dataset.std)):
        if values is None or values.dtype != np.float32 or values.shape != dataset.shape[-1:]:
            raise TombolaError(f"data set {name!r}: {what} must be float32 {dataset.shape[-1:]}, one a channel, where the other is given")
    if dataset.std is not None and not (dataset.std > 0).all():
        raise TombolaError(f"data set {name!r}: std is {dataset.std.tolist()}, but it must be positive")
    return np.dtype(np.uint8)


def _loader(name: str) -> Loader:
    if name not in datasets and re.search(r"-[0-9a-f]{12}$", name):
        raise TombolaError(
            f"the arrays {name!r} are not in this process; give them again with from_arrays or --data (the same arrays get the same name)"
        )
    return datasets[name]


def loaded(name: str, folder: Path) -> Dataset:
    """The whole data set of a name, loaded once."""
    return _loaded(name, _loader(name), folder)


def given(name: str) -> Dataset | None:
    """The arrays that a name of their content stands for, if they were given in this process."""
    return loaded(name, data_folder(None)) if name in datasets and getattr(datasets[name], "named_by_content", False) else None


@lru_cache(maxsize=4)  # a study uses one or two data sets; CIFAR-10 takes 740 MB
def _loaded(name: str, loader: Loader, folder: Path) -> Dataset:
    dataset = loader(folder)
    check(name, dataset)
    for array in (dataset.inputs, dataset.targets, dataset.test_inputs, dataset.test_targets):
        if array is not None:
            array.flags.writeable = False
    return dataset
