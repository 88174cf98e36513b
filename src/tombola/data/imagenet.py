"""ImageNet, as a folder of images that the user has."""

import os
from pathlib import Path

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.keys import generator
from tombola.data.dataset import Dataset, Scaling, datasets
from tombola.data.folders import data_folder
from tombola.data.image_folder import Image, classes, images, pixels

SIZE = 224
"""Height and width of an example, pixels."""

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
"""Mean of red, green and blue over ImageNet, on the scale [0, 1], as everyone uses it."""

STD = np.array([0.229, 0.224, 0.225], np.float32)
"""Standard deviation of red, green and blue over ImageNet, on the scale [0, 1]."""

FACTS: dict[str, object] = {
    "examples": 1_281_167,
    "test": 50_000,
    "shape": (SIZE, SIZE, 3),
    "classes": 1000,
    "source": "photographs of 1000 kinds (Russakovsky et al. 2015), as folders of images",
}
"""What the whole of it holds, for a list of data sets."""

_VALIDATION = 50_000


@datasets.register("imagenet")
def imagenet(folder: Path | None = None) -> Dataset:
    """ImageNet, (224, 224, 3) uint8: ``imagenet/train/<class>/`` is the pool, ``imagenet/val/<class>/`` the test set.

    Any folder of this layout will do, whatever its classes and images (.JPEG, .jpg, .jpeg, .png); a class is numbered by
    its place in the sorted names. Validation: 50,000 of the pool, but at most a tenth. Test examples stand in an order
    drawn once by a fixed key, so that the first n are of all classes. Pixels are those of the central square, which
    is all that augmentation sees: `resized_crop` takes its parts of this square, not of the whole photograph.

    Raises:
        TombolaError: no such folders, classes that differ between the two, images that cannot be read, no place to write
            the decoded images (193 GB for the whole of ImageNet).
    """
    where = data_folder(folder) / "imagenet"
    pool, test = _parts(where)
    return Dataset(
        inputs=pixels(pool, where / "train", SIZE),
        targets=_labels(pool),
        test_inputs=pixels(test, where / "val", SIZE),
        test_targets=_labels(test),
        classes=pool[-1].label + 1,
        validation=min(_VALIDATION, max(1, len(pool) // 10)),
        mean=MEAN,
        std=STD,
        scaling=Scaling(255, tuple(MEAN.tolist()), tuple(STD.tolist())),
    )


def available(folder: Path) -> bool:
    """Whether the two folders are there."""
    return all(os.path.isdir(folder / "imagenet" / part) for part in ("train", "val"))


def verify(folder: Path) -> list[tuple[str, str]]:
    """(part, what it holds); images are counted, not decoded."""
    parts = zip(("train", "val"), _parts(folder / "imagenet"), strict=True)
    return [(name, f"ok, {len({image.label for image in part})} classes, {len(part)} images") for name, part in parts]


def where_from(folder: Path) -> str:
    """How one comes by it."""
    return f"its licence needs an account at image-net.org; put its images into {folder}/imagenet/train/<class>/ and .../val/<class>/"


def _parts(where: Path) -> tuple[list[Image], list[Image]]:
    """Images of the pool and of the test set."""
    if not available(where.parent):
        raise TombolaError(f"imagenet: no folders train and val in {where}; {where_from(where.parent)}")
    names = {part: classes(where / part) for part in ("train", "val")}
    if only := sorted(set(names["train"]) ^ set(names["val"])):
        here, other = ("train", "val") if only[0] in names["train"] else ("val", "train")
        raise TombolaError(
            f"imagenet: train has {len(names['train'])} classes and val {len(names['val'])}, and {only[0]!r} is only in {here}; "
            f"both must have the same: add it to {other} or remove it"
        )
    if not names["train"]:
        raise TombolaError(f"imagenet: {where / 'train'} holds no class; {where_from(where.parent)}")
    pool, test = images(where / "train"), images(where / "val")
    return pool, [test[index] for index in generator(0, "imagenet/test").permutation(len(test))]


def _labels(some: list[Image]) -> np.ndarray:
    return np.array([image.label for image in some], np.int32)
