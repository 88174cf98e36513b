"""The image data sets that come as files: MNIST, Fashion-MNIST and the CIFARs, as NHWC arrays."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tombola.data.cache import Arrays, cached
from tombola.data.dataset import Dataset, Scaling, datasets
from tombola.data.files import available, read
from tombola.data.folders import data_folder
from tombola.data.identity import content
from tombola.data.sources import SOURCES, Source

CIFAR10_MEAN = np.array([0.49139968, 0.48215841, 0.44653091], np.float32)
"""Mean of red, green and blue over all pixels of the 50,000 training images, on the scale [0, 1]."""

CIFAR10_STD = np.array([0.24703223, 0.24348513, 0.26158784], np.float32)
"""Standard deviation of red, green and blue over the same pixels, on the scale [0, 1]."""

CIFAR100_MEAN = np.array([0.50707516, 0.48654887, 0.44091784], np.float32)
"""The same of CIFAR-100."""

CIFAR100_STD = np.array([0.26733429, 0.25643846, 0.27615047], np.float32)


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
    return _standardised(SOURCES["cifar10"], _cifar("cifar10", folder), 255, CIFAR10_MEAN, CIFAR10_STD)


@datasets.register("cifar100")
def cifar100(folder: Path | None = None) -> Dataset:
    """CIFAR-100 with its 100 fine classes, in the form of CIFAR-10."""
    return _standardised(SOURCES["cifar100"], _cifar("cifar100", folder), 255, CIFAR100_MEAN, CIFAR100_STD)


@datasets.register("cifar10-16")
def cifar10_16(folder: Path | None = None) -> Dataset:
    """CIFAR-10 at (16, 16, 3): the mean of each 2x2 pixels, standardised by mean and deviation of the pool's channels.

    It is made of CIFAR-10's files and kept in the user's cache: what a laptop trains convolutional networks on in the time that a GPU
    takes for the whole images. 45,000 training, 5,000 validation and 10,000 test examples.
    """
    return _averaged("cifar10", folder)


@datasets.register("cifar100-16")
def cifar100_16(folder: Path | None = None) -> Dataset:
    """CIFAR-100 in the form of `cifar10_16`."""
    return _averaged("cifar100", folder)


def _cifar(name: str, folder: Path | None) -> Arrays:
    """Images (n, 3, 32, 32) uint8 and labels (n,) of the pool and of the test set."""
    source, where = SOURCES[name], data_folder(folder)
    with ThreadPoolExecutor() as pool:  # .gz and .xz unpack outside the interpreter's lock
        *train, test = pool.map(lambda file: read(source, file, where), source.files)
    parts = {"": np.concatenate(train), "test_": test}
    images = {f"{part}images": records[:, -3072:].reshape(-1, 3, 32, 32) for part, records in parts.items()}
    return images | {f"{part}labels": records[:, -3073] for part, records in parts.items()}


def _averaged(name: str, folder: Path | None) -> Dataset:
    """Each pixel is the mean of four; the sums of the four, 0 to 1020, are what is kept, by the digest of the files' content."""
    source, where = SOURCES[name], data_folder(folder)

    def make() -> Arrays:
        whole = _cifar(name, folder)
        sums = {part: whole[part].reshape(-1, 3, 16, 2, 16, 2).sum((3, 5), dtype=np.uint16) for part in ("images", "test_images")}
        return whole | sums

    there = available(source, where)  # else reading says what is missing
    arrays = cached(f"{name}-16-{content(name, where) or 'canonical'}", (), make) if there else make()
    pixels = arrays["images"].astype(np.float64) / (4 * 255)
    mean, std = (moment((0, 2, 3)).astype(np.float32) for moment in (pixels.mean, pixels.std))
    return _standardised(source, arrays, 4 * 255, mean, std)


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


def _standardised(source: Source, arrays: Arrays, divisor: int, mean: np.ndarray, std: np.ndarray) -> Dataset:
    """Images (n, 3, H, W) of whole numbers 0 to `divisor` -> (n, H, W, 3) float32, (x / divisor - mean) / std."""
    # A look-up of the possible values: three times as fast as arithmetic on all pixels, and the same numbers.
    scaled = np.arange(divisor + 1).astype(np.float32) / np.float32(divisor)
    values = (scaled[:, None] - mean) / std

    def looked_up(images: np.ndarray) -> np.ndarray:
        found = np.empty((len(images), *images.shape[2:], 3), np.float32)
        for channel in range(3):
            found[..., channel] = values[:, channel][images[:, channel]]
        return found

    return Dataset(
        inputs=looked_up(arrays["images"]),
        targets=arrays["labels"].astype(np.int32),
        test_inputs=looked_up(arrays["test_images"]),
        test_targets=arrays["test_labels"].astype(np.int32),
        scaling=Scaling(255, tuple(mean.tolist()), tuple(std.tolist())),
        classes=source.classes,
        validation=source.validation,
    )
