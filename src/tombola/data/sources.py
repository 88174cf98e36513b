"""The data sets that come as files: what the canonical files are, their checksums, and where they can be fetched."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class File:
    """One file as it is once unpacked; on disk it may be plain, .gz or .xz."""

    name: str
    kind: Literal["images", "labels", "records"]
    """`images` and `labels`: idx with its header; `records`: CIFAR's, a label byte and then the pixels, no header (CIFAR-100's label
    has the byte of a coarser one before it)."""
    shape: tuple[int, ...]
    """The shape of the uint8 array that the file holds."""
    sha256: str = ""
    """The SHA-256 of the canonical content; "" where it is not known, and then no content is taken for it."""


@dataclass(frozen=True)
class Download:
    """One file to fetch, and the files that it holds."""

    name: str
    md5: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """A data set that comes as files."""

    name: str
    folder: str
    """Folder of its files in the data folder; they may also lie directly in the data folder."""
    about: str
    pool: int
    test: int
    shape: tuple[int, int, int]
    classes: int
    validation: int
    files: tuple[File, ...]
    """The pool's files first, then the test set's."""
    downloads: tuple[Download, ...]
    mirrors: tuple[str, ...]
    exact: bool = True
    """False: copies that were re-encoded from images circulate; one of the right structure is used, and reported."""


_IDX = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}
"""Files that MNIST and what is like it come in -> the shapes of their arrays."""


def _like_mnist(name: str, about: str, sha256: Sequence[str], md5: Sequence[str], mirrors: tuple[str, ...]) -> Source:
    """Grey images of ten classes; checksums of the files as they are, and as they are packed."""
    kinds: dict[int, Literal["images", "labels"]] = {3: "images", 1: "labels"}
    files = tuple(File(file, kinds[len(shape)], shape, digest) for (file, shape), digest in zip(_IDX.items(), sha256, strict=True))
    downloads = tuple(Download(f"{file}.gz", digest, (file,)) for file, digest in zip(_IDX, md5, strict=True))
    return Source(name, name, about, 60_000, 10_000, (28, 28, 1), 10, 5_000, files, downloads, mirrors)


def _cifar(classes: int, files: tuple[File, ...], md5: str, *mirrors: str) -> Source:
    """Colour images of so many classes."""
    about = f"colour photographs of {classes} kinds (Krizhevsky 2009), binary layout"
    downloads = (Download(f"cifar-{classes}-binary.tar.gz", md5, tuple(file.name for file in files)),)
    folder = f"cifar-{classes}"
    return Source(f"cifar{classes}", folder, about, 50_000, 10_000, (32, 32, 3), classes, 5_000, files, downloads, mirrors, exact=False)


_CIFAR10 = tuple(
    File(name, "records", (10_000, 3073), sha256)
    for name, sha256 in {
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    }.items()
)
_CIFAR100 = (File("train.bin", "records", (50_000, 3074)), File("test.bin", "records", (10_000, 3074)))

SOURCES: dict[str, Source] = {
    one.name: one
    for one in (
        _like_mnist(
            "mnist",
            "handwritten digits (LeCun, Cortes & Burges)",
            (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
            (
                "f68b3c2dcbeaaa9fbdd348bbdeb94873",
                "d53e105ee54ea40749a09fcbcd1e9432",
                "9fb629c4189551a2d022fa330f9573f3",
                "ec29112dd5afa0611ce80d1b7f02629c",
            ),
            ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"),
        ),
        _like_mnist(
            "fashion-mnist",
            "articles of clothing (Xiao, Rasul & Vollgraf 2017)",
            (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
            (
                "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                "25c81989df183df01b3e8a0aad5dffbe",
                "bef4ecab320f06d8554ea6380940ec79",
                "bb300cfdad3c16e7a12a480ee83cd310",
            ),
            (
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
                "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
            ),
        ),
        _cifar(
            10,
            _CIFAR10,
            "c32a1d4ab5d03f1284b67883e8d87530",
            "https://www.cs.toronto.edu/~kriz",
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10",
        ),
        _cifar(100, _CIFAR100, "03b5dce01913d631647c71ecec9e9cb8", "https://www.cs.toronto.edu/~kriz"),
    )
}
"""Name in a spec -> where it comes from."""

SOURCES |= {
    f"{name}-16": replace(SOURCES[name], name=f"{name}-16", shape=(16, 16, 3), about=f"{SOURCES[name].about}, averaged to 16x16 pixels")
    for name in ("cifar10", "cifar100")
}
