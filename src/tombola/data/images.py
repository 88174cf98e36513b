"""The image data sets that come as files: MNIST, Fashion-MNIST and CIFAR-10, as NHWC arrays."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tombola.data.dataset import Dataset, Scaling, datasets
from tombola.data.files import read
from tombola.data.folders import data_folder
from tombola.data.sources import SOURCES

CIFAR10_MEAN = np.array([0.49139968, 0.48215841, 0.44653091], np.float32)
"""Mean of red, green and blue over all pixels of the 50,000 training images, on the scale [0, 1]."""

CIFAR10_STD = np.array([0.24703223, 0.24348513, 0.26158784], np.float32)
"""Their standard deviation."""


@datasets.register("mnist")
def mnist(folder: Path | None = None) -> Dataset:
    """MNIST, (28, 28, 1) scaled to [0, 1]; 55,000 training, 5,000 validation and 10,000 test examples."""
    return _from_idx("mnist", folder)


@datasets.register("fashion-mnist")
def fashion_mnist(folder: Path | None = None) -> Dataset:
    """Fashion-MNIST, in the form of MNIST."""
    return _from_idx("fashion-mnist", folder)


@datasets.register("cifar10")
def cifar10(folder: Path | None = None) -> Dataset:
    """CIFAR-10, (32, 32, 3), standardised per channel: (x / 255 - `CIFAR10_MEAN`) / `CIFAR10_STD`.

    45,000 training, 5,000 validation and 10,000 test examples.
    """
    source, where = SOURCES["cifar10"], data_folder(folder)
    with ThreadPoolExecutor() as pool:  # .gz and .xz unpack outside the interpreter's lock
        *train, test = pool.map(lambda file: read(source, file, where), source.files)
    records = np.concatenate(train)
    return Dataset(
        inputs=_standardised(records),
        targets=records[:, 0].astype(np.int32),
        test_inputs=_standardised(test),
        test_targets=test[:, 0].astype(np.int32),
        scaling=Scaling(255, tuple(CIFAR10_MEAN.tolist()), tuple(CIFAR10_STD.tolist())),
        classes=source.classes,
        validation=source.validation,
    )


def _from_idx(name: str, folder: Path | None) -> Dataset:
    source, where = SOURCES[name], data_folder(folder)
    images, labels, test_images, test_labels = (read(source, file, where) for file in source.files)
    return Dataset(
        inputs=_unit(images)[..., None],
        targets=labels.astype(np.int32),
        test_inputs=_unit(test_images)[..., None],
        test_targets=test_labels.astype(np.int32),
        scaling=Scaling(255),
        classes=source.classes,
        validation=source.validation,
    )


def _unit(pixels: np.ndarray) -> np.ndarray:
    """uint8 0 to 255 -> float32 0 to 1."""
    scaled = pixels.astype(np.float32)
    scaled /= 255
    return scaled


def _standardised(records: np.ndarray) -> np.ndarray:
    """CIFAR records (n, 1 + 3*32*32), channel by channel -> (n, 32, 32, 3) float32."""
    pixels = records[:, 1:].reshape(-1, 3, 32, 32)
    # A look-up of the 256 possible values: three times as fast as arithmetic on all pixels, and the same numbers.
    values = (_unit(np.arange(256, dtype=np.uint8))[:, None] - CIFAR10_MEAN) / CIFAR10_STD
    images = np.empty((len(pixels), 32, 32, 3), np.float32)
    for channel in range(3):
        images[..., channel] = values[:, channel][pixels[:, channel]]
    return images
