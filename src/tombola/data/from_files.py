"""Data sets in a user's own files: arrays in an ``.npz``, text, or a folder of images with a folder for each class."""

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.task import Data
from tombola.data.arrays import from_arrays
from tombola.data.held_out import held_out
from tombola.data.text import from_text

INPUTS = ("x", "X", "inputs", "images", "data", "features")
TARGETS = ("y", "Y", "targets", "labels", "target", "label")
TESTS = ("test", "val", "valid", "validation")
"""Folders that hold a test set, the first that is there; and what a test set's arrays are called: ``test_x``, ``x_test``."""


def from_file(
    path: Path | str, *, test: float = 0.2, validation: int | None = None, size: int | None = None, stratified: bool = False
) -> Data:
    """The `Data` of a file or folder, registered under a name made of its content.

    A ``.txt``, plain or packed, is text: `tombola.from_text`.

    An ``.npz`` holds ``x`` and ``y``, and ``test_x`` and ``test_y`` if it has a test set (``x_test``, ``images``, ``labels`` and the like
    are understood), and ``validation_x`` and ``validation_y`` (``x_val`` and the like) if it has a validation set, which is then the same
    for all replicates. Beside them ``targets`` may say what y holds, "classes" or "values", and ``vocabulary`` that x holds tokens, and how
    many different ones: ``numpy.savez("my.npz", x=x, y=counts, targets="values")``. Inputs are as for `tombola.from_arrays`; bytes are
    pixels, which are standardised. Images are (n, height, width, channels); what has 1 or 3 channels in torch's place, (n, channels,
    height, width), is moved.

    A folder holds a folder of images for each class, or ``train`` and ``test`` with such folders in them; ``val`` or ``validation`` beside
    ``test`` is the validation set, else it is the test set.

    Args:
        test: share of the examples that is the test set where there is none; drawn once by a fixed key.
        validation: as of `tombola.from_arrays`.
        stratified: the test set that is drawn has each class's share, and so have training and validation examples.
        size: height and width of the images of a folder, whose central squares are resized to it; None: as they are, if they are equal.

    Raises:
        TombolaError: what is not there, not understood, or does not fit.
    """
    place = Path(path).expanduser()
    said: dict[str, Any] = {}
    name = re.sub(r"[^A-Za-z0-9._-]", "-", place.stem) or "data"
    if place.is_dir():
        (inputs, targets), tested, own = _folder(place, size)
    elif {".txt", ".text"}.intersection(place.suffixes) and place.exists():
        return from_text(place)
    elif place.suffix == ".npz" and place.exists():
        (inputs, targets), tested, own, said = _npz(place)
    else:
        known = "is no .npz, no .txt and no folder of images" if place.exists() else f"is not there (looked in {Path.cwd()})"
        raise TombolaError(
            f"--data {path}: it {known}; give one, or hand other data over in Python: tombola.from_arrays, from_dataset, from_table"
        )
    if tested is None:
        chosen = held_out(len(inputs), test, np.reshape(targets, -1) if stratified and targets is not None else None)
        tested = inputs[chosen], None if targets is None else targets[chosen]
        inputs, targets = inputs[~chosen], None if targets is None else targets[~chosen]
    if own is not None and validation is not None:
        raise TombolaError(f"{path} has a validation set of its own; leave validation = {validation} out")
    pixels = inputs.dtype == np.uint8 and "vocabulary" not in said
    return from_arrays(inputs, targets, *tested, own or validation, name, pixels=pixels, stratified=stratified, **said)


_Pair = tuple[Any, Any]


def _npz(path: Path) -> tuple[_Pair, _Pair | None, _Pair | None, dict[str, Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        reason = "it holds Python objects; store plain arrays" if "pickle" in str(error) else str(error).splitlines()[0]
        raise TombolaError(f"{path} cannot be read: {reason}") from None

    said = {name: held.pop(name).item() for name in ("targets", "vocabulary") if name in held and not held[name].ndim}
    if not isinstance(size := said.get("vocabulary", 1), int) or size < 1:
        raise TombolaError(f"{path}: vocabulary = {size!r}, but it is the number of different tokens, a whole number, 1 or more")

    def find(names: tuple[str, ...], *forms: str) -> Any:
        return next((held[form.format(name)] for name in names for form in forms if form.format(name) in held), None)

    inputs = find(INPUTS, "{}", "{}_train", "train_{}")
    targets = find(TARGETS, "{}", "{}_train", "train_{}")
    if inputs is None:
        raise TombolaError(f"{path} holds {', '.join(held) or 'nothing'}, but x is needed, y, and test_x and test_y if there is a test set")

    def part(*names: str) -> _Pair | None:
        forms = [form for name in names for form in (f"{name}_{{}}", f"{{}}_{name}")]
        found = find(INPUTS, *forms), find(TARGETS, *forms)
        if (found[0] is None) != (targets is not None and found[1] is None):
            part = names[0]
            raise TombolaError(f"{path} holds {', '.join(held)}: of the {part} set give both, {part}_x and {part}_y, or neither")
        return None if found[0] is None else (_images(found[0]), found[1])

    if targets is not None and len(inputs) != len(targets):
        raise TombolaError(f"{path} holds {len(inputs)} inputs and {len(targets)} targets; give as many of each")
    return (_images(inputs), targets), part("test"), part("validation", "valid", "val"), said


def _images(inputs: np.ndarray) -> np.ndarray:
    """Bytes without channels get one; channels in torch's place go last."""
    if inputs.dtype == np.uint8 and inputs.ndim == 3:
        return inputs[..., None]
    if inputs.ndim == 4 and inputs.shape[1] in (1, 3) and inputs.shape[3] not in (1, 3):
        return np.moveaxis(inputs, 1, -1)
    return inputs


def _folder(path: Path, size: int | None) -> tuple[_Pair, _Pair | None, _Pair | None]:
    from tombola.data.image_folder import classes

    if (path / "train").is_dir():
        others = [path / name for name in TESTS if (path / name).is_dir()][:2]
        for other in others:
            if classes(other) != classes(path / "train"):
                raise TombolaError(f"{other} has other folders of classes than {path / 'train'}; both need the same")
        test, own, *_ = [*(_labelled(other, size) for other in others), None, None]
        return _labelled(path / "train", size), test, own
    return _labelled(path, size), None, None


def _labelled(path: Path, size: int | None) -> _Pair:
    from tombola.data.image_folder import classes, images

    names, found = np.array(classes(path)), images(path)
    if len(names) < 2:
        raise TombolaError(
            f"{path} has {len(names)} folders of images, but a folder for each class is needed, or train/ and test/ with those"
        )
    pixels = [_decoded(one.path, size) for one in found]
    if len(shapes := {one.shape[:2] for one in pixels}) > 1:
        height, width = (sorted(shapes)[place] for place in (0, -1))
        raise TombolaError(f"{path} holds images of several sizes, {height} to {width}; give one: --image-size 64, or size=64")
    channels = 1 if all(one.shape[2] == 1 for one in pixels) else 3
    return np.stack([np.broadcast_to(one, (*one.shape[:2], channels)) for one in pixels]), names[[one.label for one in found]]


def _decoded(path: Path, size: int | None) -> np.ndarray:
    import PIL.Image

    try:
        with PIL.Image.open(path) as opened:
            image = opened.convert("L" if opened.mode in ("1", "L", "I;16") else "RGB")
    except Exception as error:  # Pillow's decoders raise many kinds for a damaged file
        raise TombolaError(f"cannot read the image {path} ({type(error).__name__}); replace the file or remove it") from None
    if size is not None:
        left, top = ((side - min(image.size)) / 2 for side in image.size)
        square = (left, top, image.width - left, image.height - top)
        image = image.resize((size, size), PIL.Image.Resampling.BILINEAR, square)
    array = np.asarray(image)
    return array if array.ndim == 3 else array[..., None]
