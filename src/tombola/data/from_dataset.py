"""Data sets of PyTorch and of Hugging Face: whatever gives its examples by number."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.loading import summary
from tombola.core.task import Data
from tombola.data.arrays import Targets, from_arrays
from tombola.data.from_files import INPUTS, TARGETS
from tombola.data.held_out import held_out

_INPUTS = ("image", "img", "pixel_values", "input", *INPUTS)
_TARGETS = (*TARGETS, "fine_label")


def from_dataset(
    train: Any,
    test: Any = 0.2,
    *,
    inputs: str | None = None,
    targets: str | None = None,
    kind: Targets | None = None,
    validation: int | None = None,
    vocabulary: int | None = None,
    name: str = "dataset",
) -> Data:
    """The `Data` of a ``torch.utils.data.Dataset``, or of a data set of Hugging Face's `datasets`; it is read once, as a whole.

    Examples are (input, target), or dictionaries. Tensors (channels, height, width) become (height, width, channels), as images of Pillow
    are; bytes are pixels, which are standardised; floats are used as they are.

    Args:
        train: the data set, or a dictionary of splits with ``train``, and perhaps ``test``.
        test: the test set, of the same kind; or the share of `train` that is it, drawn once by a fixed key.
        inputs, targets: names in examples that are dictionaries; None: ``image``, ``x``, ... and ``label``, ``y``, ...
        kind: of the targets, as `targets` of `tombola.from_arrays`.
        validation, vocabulary, name: as of `tombola.from_arrays`.

    Raises:
        TombolaError: for examples of several shapes, or that are other values each time they are asked for.
    """
    if isinstance(train, Mapping) and "train" in train:
        test = train.get("test", test)
        train = train["train"]
    x, y = _read(train, inputs, targets)
    if isinstance(test, float):
        chosen = held_out(len(x), test)
        x, test_x, y, test_y = x[~chosen], x[chosen], y[~chosen], y[chosen]
    else:
        test_x, test_y = _read(test, inputs, targets)
    pixels = x.dtype == np.uint8 and vocabulary is None
    return from_arrays(x, y, test_x, test_y, validation, name, targets=kind, vocabulary=vocabulary, pixels=pixels)


def _read(given: Any, inputs: str | None, targets: str | None) -> tuple[np.ndarray, np.ndarray]:
    """All examples, stacked."""
    kind = type(given).__name__
    if not hasattr(given, "__len__") or not hasattr(given, "__getitem__"):
        raise TombolaError(f"a {kind} gives no examples by number; give a data set with __len__ and __getitem__, or arrays to from_arrays")
    if not len(given):
        raise TombolaError(f"the {kind} is empty, but at least one example is needed")
    pairs = [_pair(given, place, inputs, targets) for place in range(len(given))]
    if any(not np.array_equal(_pair(given, place, inputs, targets)[0], one) for place, (one, _) in enumerate(pairs[:16])):
        raise TombolaError(f"the {kind} gives other values each time; take random transforms out, and set augment='flip_crop' of its Data")
    if len(shapes := {one.shape for one, _ in pairs}) > 1:
        raise TombolaError(
            f"the {kind} gives examples of several shapes, such as {' and '.join(map(str, sorted(shapes)[:2]))}; resize them"
        )
    return np.stack([one for one, _ in pairs]), np.stack([target for _, target in pairs])


def _pair(given: Any, place: int, inputs: str | None, targets: str | None) -> tuple[np.ndarray, np.ndarray]:
    example = given[place]
    if isinstance(example, Mapping):
        target = _named(example, targets, _TARGETS, "targets")
        return _input(example[_named(example, inputs, _INPUTS, "inputs")]), _target(example[target])
    try:
        first, second = example
    except (TypeError, ValueError) as error:
        raise TombolaError(f"example {place} is no (input, target) and no dictionary: {summary(error)}") from None
    return _input(first), _target(second)


def _named(example: Mapping[str, Any], given: str | None, known: tuple[str, ...], argument: str) -> str:
    found = given if given is not None else next((name for name in known if name in example), None)
    if found is None or found not in example:
        raise TombolaError(f"examples hold {', '.join(map(str, example))}; say which are the {argument}: {argument}='...'")
    return found


def _input(given: Any) -> np.ndarray:
    """An input; of a tensor of three axes the first, channels, goes last."""
    tensor = hasattr(given, "detach")
    array = np.asarray(given.detach().cpu() if tensor else given)
    if tensor and array.ndim == 3:
        return np.moveaxis(array, 0, -1)
    return array[..., None] if array.dtype == np.uint8 and array.ndim == 2 and not tensor else array


def _target(given: Any) -> np.ndarray:
    return np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
