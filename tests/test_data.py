"""Data sets: embedded ones, files, fetching, a user's own arrays; splits, label noise and augmentation."""

import gzip
import hashlib
import io
import lzma
import os
import random
import subprocess
import sys
import tarfile
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tombola as tb
from tombola.core.errors import TombolaError
from tombola.core.files import write_atomically
from tombola.core.task import Data
from tombola.data.arrays import from_arrays
from tombola.data.cache import cached
from tombola.data.dataset import Dataset, check, datasets, load
from tombola.data.fetch import catalogue, fetch, verify
from tombola.data.folders import data_folder
from tombola.data.images import CIFAR10_MEAN, CIFAR10_STD, CIFAR100_MEAN, CIFAR100_STD
from tombola.data.order import epoch_order
from tombola.data.sources import SOURCES, Download, File, Source
from tombola.data.split import split

SHARED = Path(os.environ.get("TOMBOLA_DATA") or Path(__file__).parents[2] / "shared" / "data")
PACKERS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    """No test reads or fills the user's cache, or his data folder; one cache serves the whole file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOMBOLA_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("TOMBOLA_DATA", raising=False)
        yield


def one_line(raised) -> str:
    text = str(raised.value)
    assert "\n" not in text
    return text


# --- tiny files in the canonical layouts ---------------------------------------------------------------------------


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def idx_source(name: str = "mnist", first: int = 0) -> tuple[Source, dict[str, bytes]]:
    """A source of 3 + 2 images of 2x2 pixels that count up from `first`, and the contents of its files."""
    arrays = {
        "train-images-idx3-ubyte": np.arange(first, first + 12, dtype=np.uint8).reshape(3, 2, 2),
        "train-labels-idx1-ubyte": np.array([0, 9, 4], np.uint8),
        "t10k-images-idx3-ubyte": np.full((2, 2, 2), 255, np.uint8),
        "t10k-labels-idx1-ubyte": np.array([1, 2], np.uint8),
    }
    contents = {file: idx(array) for file, array in arrays.items()}
    files = tuple(
        File(file, "images" if array.ndim == 3 else "labels", array.shape, hashlib.sha256(contents[file]).hexdigest())
        for file, array in arrays.items()
    )
    downloads = tuple(
        Download(f"{file}.gz", hashlib.md5(gzip.compress(content, mtime=0)).hexdigest(), (file,)) for file, content in contents.items()
    )
    tiny = replace(SOURCES[name], pool=3, test=2, shape=(2, 2, 1), validation=1, files=files, downloads=downloads, mirrors=())
    return tiny, contents


def cifar_source() -> tuple[Source, dict[str, bytes], bytes]:
    """A source of 5 x 2 + 2 records, the contents of its files, and the archive that holds them."""
    draw = np.random.default_rng(0)
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    records = {name: draw.integers(0, 256, (2, 3073), dtype=np.uint8) for name in names}
    for index, array in enumerate(records.values()):
        array[:, 0] = [index, index + 1]
    contents = {name: array.tobytes() for name, array in records.items()}
    files = tuple(File(name, "records", (2, 3073), hashlib.sha256(content).hexdigest()) for name, content in contents.items())
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in {**contents, "readme.html": b"..."}.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    packed = buffer.getvalue()
    download = Download("cifar-10-binary.tar.gz", hashlib.md5(packed).hexdigest(), tuple(names))
    tiny = replace(SOURCES["cifar10"], pool=10, test=2, validation=2, files=files, downloads=(download,), mirrors=())
    return tiny, contents, packed


@pytest.fixture
def mnist_files(monkeypatch, tmp_path):
    tiny, contents = idx_source()
    monkeypatch.setitem(SOURCES, "mnist", tiny)
    return partial(place, tmp_path / "mnist", contents), contents


@pytest.fixture
def cifar_files(monkeypatch, tmp_path):
    tiny, contents, archive = cifar_source()
    monkeypatch.setitem(SOURCES, "cifar10", tiny)
    return partial(place, tmp_path / "cifar-10", contents), contents, archive


def place(folder: Path, contents: dict[str, bytes], suffix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}{suffix}").write_bytes(PACKERS[suffix](content))


# --- embedded sets ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_mnist1d_is_the_packages_own_set_and_leaves_global_randomness_alone():
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    ours = load(Data(name="mnist1d"))
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002

    from mnist1d.data import get_dataset_args, make_dataset

    theirs = make_dataset(get_dataset_args())
    np.testing.assert_array_equal(ours.inputs[:4000], theirs["x"].astype(np.float32))
    np.testing.assert_array_equal(ours.targets[:4000], theirs["y"])
    np.testing.assert_array_equal(ours.test_inputs, theirs["x_test"].astype(np.float32))
    np.testing.assert_array_equal(ours.test_targets, theirs["y_test"])


def test_mnist1d_further_examples_are_new_and_alike():
    ours = load(Data(name="mnist1d"))
    assert ours.inputs.shape == (5000, 40)
    assert ours.test_inputs.shape == (1000, 40)
    assert ours.validation == 1000
    assert len(np.unique(np.concatenate([ours.inputs, ours.test_inputs]), axis=0)) == 6000
    further = ours.inputs[4000:]
    assert abs(further.mean()) < 0.03
    assert abs(further.std() - 1) < 0.03
    assert np.bincount(ours.targets[4000:], minlength=10).min() > 70


def test_digits_are_scaled_and_split_once():
    from sklearn.datasets import load_digits

    ours = load(Data(name="digits"))
    assert ours.inputs.shape == (1497, 64)
    assert ours.test_inputs.shape == (300, 64)
    assert ours.validation == 300
    np.testing.assert_array_equal(np.bincount(ours.test_targets), np.full(10, 30))
    whole = np.concatenate([ours.inputs, ours.test_inputs])
    assert whole.min() == 0
    assert whole.max() == 1
    original = (load_digits().data / 16).astype(np.float32)
    np.testing.assert_array_equal(np.sort(whole.view("V256"), axis=0), np.sort(original.view("V256"), axis=0))


@pytest.mark.parametrize("name", ["digits", "mnist1d"])
def test_catalogue_of_embedded_sets_tells_the_truth(name):
    entry = next(entry for entry in catalogue() if entry["name"] == name)
    ours = load(Data(name=name))
    facts = len(ours.targets), len(ours.test_targets), ours.shape, ours.classes
    assert (entry["examples"], entry["test"], entry["shape"], entry["classes"]) == facts


def test_another_process_has_the_same_data_and_loads_nothing_heavy_to_describe_it():
    code = (
        "import sys, hashlib\n"
        "import tombola.data.arrays, tombola.data.augment, tombola.data.fetch, tombola.data.split\n"
        "from tombola.core.task import Data\n"
        "from tombola.data.dataset import load\n"
        "heavy = {'jax', 'scipy', 'pandas', 'matplotlib', 'sklearn', 'pooch', 'requests', 'mnist1d'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "print(hashlib.sha256(load(Data(name='mnist1d')).inputs.tobytes()).hexdigest())\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    here = hashlib.sha256(load(Data(name="mnist1d")).inputs.tobytes()).hexdigest()
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": paths})
    assert done.stdout.split("\n")[:3] == ["[]", here, "[]"]  # the second load came from the cache on disk


def test_cache_is_used_and_a_damaged_one_is_made_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path))
    calls = []

    def make():
        calls.append(1)
        return {"a": np.arange(3)}

    for _ in range(2):
        np.testing.assert_array_equal(cached("things", ("numpy",), make)["a"], [0, 1, 2])
    (path,) = tmp_path.iterdir()
    assert len(calls) == 1
    sound = path.read_bytes()
    path.write_bytes(sound[:-1])
    assert cached("things", ("numpy",), make)["a"].tolist() == [0, 1, 2]
    assert len(calls) == 2
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == sound
    monkeypatch.setenv("TOMBOLA_CACHE", str(path))  # a file: nothing can be kept in it
    assert cached("things", ("numpy",), make)["a"].tolist() == [0, 1, 2]
    assert len(calls) == 3


# --- loading ----------------------------------------------------------------------------------------------------------


def test_load_cuts_the_test_set_and_shares_the_pool():
    whole, cut = load(Data(name="digits")), load(Data(name="digits", test=7))
    assert cut.test_inputs.shape == (7, 64)
    assert len(whole.test_targets) == 300
    np.testing.assert_array_equal(cut.test_targets, whole.test_targets[:7])
    assert cut.inputs is whole.inputs
    with pytest.raises(ValueError, match="read-only"):
        whole.inputs[0] = 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "digit"}, "unknown data set 'digit': did you mean 'digits'"),
        ({"test": 301}, "digits has 300 test examples, but test is 301"),
        ({"train": 1198}, "pool of 1497 examples, but train 1198 \\+ validation 300 .* at most 1197"),
        ({"train": 1000, "validation": 498}, "train 1000 \\+ validation 498 .* at most 999"),
        ({"validation": 1497}, "validation can be at most 1496, not 1497"),
        ({"name": "arrays-0123456789ab"}, "not in this process; give them again with from_arrays"),
    ],
)
def test_load_refuses_what_the_data_set_lacks(fields, message):
    with pytest.raises(TombolaError, match=message) as raised:
        load(Data(**({"name": "digits"} | fields)))
    one_line(raised)


def test_a_users_loader_is_checked(monkeypatch):
    monkeypatch.setattr(datasets, "_parts", dict(datasets._parts))
    labels = np.array([0, 1, 1], np.int32)

    @datasets.register("mine")
    def mine(folder):
        return Dataset(np.zeros((3, 2)), labels, np.zeros((3, 2)), labels, 2, 1)

    with pytest.raises(TombolaError, match=r"'mine': inputs are float64; they must be float32"):
        load(Data(name="mine"))
    assert next(entry for entry in catalogue() if entry["name"] == "mine")["examples"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": np.zeros(2, np.int32)}, "need a target each"),
        ({"targets": np.zeros(3, np.int64)}, "targets are int64; classes must be int32"),
        ({"test_targets": np.array([0, 1, 2], np.int32)}, "test_targets span 0 to 2, but they must lie in 0 to 1"),
        ({"inputs": np.full((3, 2), np.nan, np.float32)}, "inputs hold NaN or infinite"),
        ({"test_inputs": np.zeros((3, 4), np.float32)}, "test example has shape \\(4,\\), a training example \\(2,\\)"),
        ({"validation": 3}, "validation is 3, but it must be 1 to 2"),
    ],
)
def test_check_names_each_fault(change, message):
    zeros, labels = np.zeros((3, 2), np.float32), np.array([0, 1, 1], np.int32)
    sound = Dataset(zeros, labels, zeros, labels, classes=2, validation=1)
    check("toy", sound)
    with pytest.raises(TombolaError, match=message) as raised:
        check("toy", replace(sound, **change))
    one_line(raised)


def test_folders(monkeypatch, tmp_path):
    monkeypatch.delenv("TOMBOLA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "tombola" / "data"
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "c"))
    assert data_folder() == tmp_path / "c" / "data"
    monkeypatch.setenv("TOMBOLA_DATA", str(tmp_path / "d"))
    assert data_folder() == tmp_path / "d"
    assert data_folder("e") == Path("e")


def test_an_epoch_is_a_permutation_of_its_own():
    examples = np.arange(100, 160, dtype=np.int32)
    orders = [
        epoch_order(seed, stream, epoch, examples)
        for seed in (0, 1)
        for stream in ("data_order", "data_order/child1")
        for epoch in range(4)
    ]
    for order in orders:
        assert sorted(order) == list(examples)
    assert len({order.tobytes() for order in orders}) == len(orders)
    assert epoch_order(0, "data_order", 0, examples)[:5].tolist() == PINNED_ORDER


PINNED_ORDER = [108, 128, 133, 148, 126]


def test_write_atomically_keeps_the_old_file_where_the_new_one_fails(monkeypatch, tmp_path):
    write_atomically(tmp_path / "a" / "file", b"old")

    def broken(*paths):
        raise OSError("disk full")

    monkeypatch.setattr("tombola.data.folders.os.replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(tmp_path / "a" / "file", b"new")
    assert [(p.name, p.read_bytes()) for p in (tmp_path / "a").iterdir()] == [("file", b"old")]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_files_in_every_packing(monkeypatch, tmp_path, name, suffix):
    tiny, contents = idx_source(name)
    monkeypatch.setitem(SOURCES, name, tiny)
    place(tmp_path / name, contents, suffix)
    ours = load(Data(name=name), tmp_path)
    assert ours.inputs.shape == (3, 2, 2, 1)
    assert ours.inputs.dtype == np.float32
    np.testing.assert_allclose(ours.inputs.ravel(), np.arange(12) / 255, rtol=1e-6)
    assert ours.targets.tolist() == [0, 9, 4]
    assert ours.test_targets.tolist() == [1, 2]
    assert ours.test_inputs.min() == 1
    assert verify(name, tmp_path) == [(f"{file}{suffix}", "ok") for file in contents]


@pytest.mark.parametrize("suffix", PACKERS)
def test_cifar_records_in_every_packing(cifar_files, tmp_path, suffix):
    place_files, contents, _ = cifar_files
    place_files(suffix=suffix)
    ours = load(Data(name="cifar10"), tmp_path)
    assert ours.inputs.shape == (10, 32, 32, 3)
    assert ours.test_inputs.shape == (2, 32, 32, 3)
    assert ours.targets.tolist() == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert ours.test_targets.tolist() == [5, 6]
    # Record 1 of batch 2, row 3, column 5: red, green and blue lie 1024 bytes apart.
    record = contents["data_batch_2.bin"][3073:]
    pixel = np.array([record[1 + channel * 1024 + 3 * 32 + 5] for channel in range(3)])
    np.testing.assert_allclose(ours.inputs[3, 3, 5], (pixel / 255 - CIFAR10_MEAN) / CIFAR10_STD, rtol=1e-4, atol=1e-6)
    assert {status for _, status in verify("cifar10", tmp_path)} == {"ok"}


def test_cifar100_has_its_fine_labels(monkeypatch, tmp_path):
    records = np.random.default_rng(1).integers(0, 256, (5, 3074), dtype=np.uint8)
    records[:, 0], records[:, 1] = [19, 0, 3, 3, 255], [99, 0, 57, 2, 1]  # coarse labels are not looked at
    files = (File("train.bin", "records", (3, 3074)), File("test.bin", "records", (2, 3074)))
    monkeypatch.setitem(SOURCES, "cifar100", replace(SOURCES["cifar100"], pool=3, test=2, validation=1, files=files))
    place(tmp_path / "cifar-100", {"train.bin": records[:3].tobytes(), "test.bin": records[3:].tobytes()}, ".xz")
    ours = load(Data(name="cifar100"), tmp_path)
    assert (ours.targets.tolist(), ours.test_targets.tolist(), ours.classes) == ([99, 0, 57], [2, 1], 100)
    pixel = records[4, [2 + 7, 2 + 1024 + 7, 2 + 2048 + 7]] / 255
    np.testing.assert_allclose(ours.test_inputs[1, 0, 7], (pixel - CIFAR100_MEAN) / CIFAR100_STD, rtol=1e-4, atol=1e-6)
    assert dict(verify("cifar100", tmp_path)) == dict.fromkeys(["train.bin.xz", "test.bin.xz"], "ok, not the canonical file")
    small = load(Data(name="cifar100-16"), tmp_path)
    assert small.inputs.shape == (3, 16, 16, 3)
    assert small.targets.tolist() == [99, 0, 57]


def test_cifar10_averaged_to_16_pixels(cifar_files, monkeypatch, tmp_path):
    place_files, *_ = cifar_files
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "cache"))
    with pytest.raises(TombolaError, match=r"cifar10: .*run `tombola data fetch cifar10 "):
        load(Data(name="cifar10-16"), tmp_path)
    place_files()
    whole = load(Data(name="cifar10"), tmp_path)
    pixels = (whole.inputs * CIFAR10_STD + CIFAR10_MEAN).astype(np.float64)
    averages = pixels.reshape(10, 16, 2, 16, 2, 3).mean((2, 4))
    wanted = (averages - averages.mean((0, 1, 2))) / averages.std((0, 1, 2))
    ours = load(Data(name="cifar10-16"), tmp_path)
    np.testing.assert_allclose(ours.inputs, wanted, atol=2e-5)
    np.testing.assert_allclose(ours.scaling.of(255 * averages), ours.inputs, atol=2e-5)
    assert ours.targets.tolist() == whole.targets.tolist()
    assert ours.test_inputs.shape == (2, 16, 16, 3)
    kept = list((tmp_path / "cache").glob("cifar10-16-canonical-*.npz"))
    assert len(kept) == 1


def test_another_cifar10_makes_another_cifar10_of_16_pixels(cifar_files, monkeypatch, tmp_path):
    place_files, *_ = cifar_files
    monkeypatch.setenv("TOMBOLA_CACHE", str(tmp_path / "cache"))
    place_files()
    first = datasets["cifar10-16"](tmp_path).inputs
    np.testing.assert_array_equal(datasets["cifar10-16"](tmp_path).inputs, first)  # from the cache
    path = tmp_path / "cifar-10" / "data_batch_3.bin"
    path.write_bytes(bytes([2]) + bytes(3072) + path.read_bytes()[3073:])
    second = datasets["cifar10-16"](tmp_path).inputs
    assert (first[5:] != second[5:]).any()
    assert np.unique(second[4, :, :, 0]).size == 1


def test_files_directly_in_the_folder_and_the_folder_from_the_environment(mnist_files, monkeypatch, tmp_path):
    _, contents = mnist_files
    place(tmp_path, contents, ".gz")
    monkeypatch.setenv("TOMBOLA_DATA", str(tmp_path))
    assert load(Data(name="mnist")).targets.tolist() == [0, 9, 4]


IMAGES = "train-images-idx3-ubyte"


@pytest.mark.parametrize(
    ("file", "damage", "status", "message"),
    [
        (IMAGES, lambda content: content[:-3], "truncated", "is truncated: 25 bytes, expected 28"),
        (IMAGES, lambda content: content[:7], "truncated", "is truncated: 7 bytes, expected 28"),
        (IMAGES, lambda content: b"", "truncated", "is truncated: 0 bytes, expected 28"),
        (IMAGES, lambda content: content + b"!", "differs", "29 bytes, expected 28"),
        (IMAGES, lambda content: b"garbage " * 9, "differs", "magic number 0x67617262, expected 0x00000803"),
        (IMAGES, lambda content: idx(np.zeros((4, 2, 2), np.uint8)), "differs", "array \\(4, 2, 2\\), expected \\(3, 2, 2\\)"),
        (IMAGES, lambda content: content[:-1] + b"\xff", "differs", "SHA-256 of the content is"),
        ("train-labels-idx1-ubyte", lambda content: content[:-1] + b"\x0a", "differs", "label 10 in record 2, expected 0 to 9"),
    ],
)
def test_damaged_idx_files_are_named(mnist_files, tmp_path, file, damage, status, message):
    place_files, contents = mnist_files
    place_files()
    path = tmp_path / "mnist" / file
    path.write_bytes(damage(contents[file]))
    with pytest.raises(TombolaError, match=message) as raised:
        load(Data(name="mnist"), tmp_path)
    text = one_line(raised)
    assert str(path) in text
    assert f"delete it and run `tombola data fetch mnist --data-dir {tmp_path}`" in text
    assert dict(verify("mnist", tmp_path)) == {name: status if name == file else "ok" for name in contents}


@pytest.mark.parametrize(
    ("suffix", "damage", "status"),
    [
        (".gz", lambda packed: packed[:-9], "truncated"),
        (".gz", lambda packed: b"<html>404</html>", "differs"),
        (".gz", lambda packed: packed[:-8] + b"\0\0\0\0" + packed[-4:], "differs"),
        (".xz", lambda packed: packed[:-9], "truncated"),
        (".xz", lambda packed: b"<html>404</html>", "differs"),
    ],
)
def test_damaged_packings_are_named(mnist_files, tmp_path, suffix, damage, status):
    place_files, _ = mnist_files
    place_files(suffix=suffix)
    path = tmp_path / "mnist" / f"{IMAGES}{suffix}"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(TombolaError, match="delete it and run `tombola data fetch mnist") as raised:
        load(Data(name="mnist"), tmp_path)
    assert str(path) in one_line(raised)
    assert dict(verify("mnist", tmp_path))[path.name] == status


def test_fashion_files_are_not_taken_for_mnist(mnist_files, tmp_path):
    place(tmp_path, idx_source("fashion-mnist", first=100)[1])
    with pytest.raises(TombolaError, match="is not the expected file: SHA-256"):
        load(Data(name="mnist"), tmp_path)


def test_missing_folder_and_file(mnist_files, tmp_path):
    place_files, _ = mnist_files
    for where, message in (
        (tmp_path / "nowhere", "the data folder .*nowhere does not exist"),
        (tmp_path, "no file train-images-idx3-ubyte \\(plain, .gz or .xz\\) in"),
    ):
        with pytest.raises(TombolaError, match=message) as raised:
            load(Data(name="mnist"), where)
        assert f"run `tombola data fetch mnist --data-dir {where}`" in one_line(raised)
    place_files()
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(TombolaError, match="no file t10k-labels-idx1-ubyte"):
        load(Data(name="mnist"), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(TombolaError, match="is a file, but the data folder is needed"):
        load(Data(name="mnist"), tmp_path / "file")


def test_unreadable_files(mnist_files, monkeypatch, tmp_path):
    place_files, _ = mnist_files
    place_files()

    def forbidden(*args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", forbidden)  # mode bits do not bind a superuser, who may be running this
    with pytest.raises(TombolaError, match=r"cannot read .*Permission denied.*mend its permissions") as raised:
        load(Data(name="mnist"), tmp_path)
    one_line(raised)
    assert {status for _, status in verify("mnist", tmp_path)} == {"unreadable"}
    assert not next(entry for entry in catalogue(tmp_path) if entry["name"] == "mnist")["available"]


def test_other_cifar_content_of_the_right_structure_is_used_and_reported(cifar_files, tmp_path):
    place_files, contents, _ = cifar_files
    place_files()
    path = tmp_path / "cifar-10" / "data_batch_3.bin"
    path.write_bytes(contents[path.name][:-1] + b"\0")
    assert load(Data(name="cifar10"), tmp_path).inputs.shape == (10, 32, 32, 3)
    assert dict(verify("cifar10", tmp_path))[path.name] == "ok, not the canonical file"
    path.write_bytes(b"\x0a" + contents[path.name][1:])
    assert dict(verify("cifar10", tmp_path))[path.name] == "differs"


# --- fetching ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A local server of the folder ``served``: (folder, address)."""
    served = tmp_path / "served"
    served.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as httpd:
        thread = Thread(target=httpd.serve_forever)
        thread.start()
        yield served, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()
        thread.join()


def serve_gz(served: Path, contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        (served / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))


def test_fetch_idx_files_once(mnist_files, server, tmp_path):
    _, contents = mnist_files
    served, url = server
    serve_gz(served, contents)
    target = tmp_path / "data"
    assert not next(entry for entry in catalogue(target) if entry["name"] == "mnist")["available"]
    written = fetch("mnist", target, url)
    assert written == [target / "mnist" / f"{name}.gz" for name in contents]
    assert sorted((target / "mnist").iterdir()) == sorted(written)
    assert load(Data(name="mnist"), target).targets.tolist() == [0, 9, 4]
    assert next(entry for entry in catalogue(target) if entry["name"] == "mnist")["available"]
    assert fetch("mnist", target, "http://127.0.0.1:9") == []  # nothing to do, nobody to ask


def test_fetch_replaces_only_the_damaged_file(mnist_files, server, tmp_path):
    place_files, contents = mnist_files
    served, url = server
    serve_gz(served, contents)
    place_files()
    damaged = tmp_path / "mnist" / IMAGES
    damaged.write_bytes(b"damaged")
    assert fetch("mnist", tmp_path, url) == [damaged.with_name(f"{IMAGES}.gz")]
    assert not damaged.exists()  # it would be found before the sound one
    assert {status for _, status in verify("mnist", tmp_path)} == {"ok"}


def test_fetch_cifar_unpacks_only_what_is_wanted(cifar_files, server, tmp_path):
    place_files, contents, archive = cifar_files
    served, url = server
    (served / "cifar-10-binary.tar.gz").write_bytes(archive)
    target = tmp_path / "data"
    fetch("cifar10", target, url)
    assert {path.name: path.read_bytes() for path in (target / "cifar-10").iterdir()} == contents
    place_files(suffix=".xz")
    (tmp_path / "cifar-10" / "data_batch_3.bin.xz").write_bytes(b"damaged")
    assert fetch("cifar10", tmp_path, url) == [tmp_path / "cifar-10" / "data_batch_3.bin"]
    assert (tmp_path / "cifar-10" / "data_batch_1.bin.xz").exists()


def test_a_wrong_checksum_leaves_nothing_behind(mnist_files, server, tmp_path):
    _, contents = mnist_files
    served, url = server
    serve_gz(served, contents | {"t10k-labels-idx1-ubyte": b"something else"})
    target = tmp_path / "data"
    with pytest.raises(TombolaError, match=r"cannot fetch t10k-labels-idx1-ubyte.gz of mnist .*its MD5 is not") as raised:
        fetch("mnist", target, url)
    one_line(raised)
    assert list(target.rglob("*")) == []


def test_mirrors_are_tried_in_turn(mnist_files, monkeypatch, server, tmp_path):
    _, contents = mnist_files
    served, url = server
    for mirror, sent in (("wrong", dict.fromkeys(contents, b"?")), ("right", contents)):
        (served / mirror).mkdir()
        serve_gz(served / mirror, sent)
    tiny = SOURCES["mnist"]
    monkeypatch.setitem(SOURCES, "mnist", replace(tiny, mirrors=(f"{url}/absent", f"{url}/wrong/", f"{url}/right")))
    assert len(fetch("mnist", tmp_path)) == 4
    monkeypatch.setitem(SOURCES, "mnist", replace(tiny, mirrors=(f"{url}/absent", "http://127.0.0.1:9")))
    with pytest.raises(
        TombolaError, match=r"absent/train-images-idx3-ubyte.gz: HTTP 404; .*: ConnectionError.*check the network"
    ) as raised:
        fetch("mnist", tmp_path / "other")
    one_line(raised)


def test_fetch_says_what_it_cannot_do(mnist_files, server, tmp_path):
    _, contents = mnist_files
    served, url = server
    serve_gz(served, contents)
    (tmp_path / "file").write_text("")
    for name, folder, message in (
        ("digits", tmp_path, "'digits' needs no file; those that do are cifar10, cifar10-16, cifar100, cifar100-16, fashion-mnist, mnist"),
        ("mnits", tmp_path, "unknown data set 'mnits': did you mean 'mnist'"),
        ("mnist", tmp_path / "file", "cannot write mnist to .*choose another folder with --data-dir"),
    ):
        with pytest.raises(TombolaError, match=message) as raised:
            fetch(name, folder, url)
        one_line(raised)


# --- the real files, where present ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_real_idx_files(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"no {name} files here")
    ours = load(Data(name=name), SHARED)
    assert ours.inputs.shape == (60_000, 28, 28, 1)
    assert ours.test_inputs.shape == (10_000, 28, 28, 1)
    assert ours.inputs.min() == 0
    assert ours.inputs.max() == 1
    pixel_mean = {"mnist": 33.3184, "fashion-mnist": 72.9404}[name]  # published, of the training images
    assert ours.inputs.mean(dtype=np.float64) * 255 == pytest.approx(pixel_mean, abs=2e-3)
    parts = split(ours, Data(name=name), seed=0)
    assert (len(parts.train), len(parts.validation)) == (55_000, 5_000)


def test_real_cifar():
    if not (SHARED / "cifar-10").is_dir():
        pytest.skip("no CIFAR-10 files here")
    ours = load(Data(name="cifar10"), SHARED)
    np.testing.assert_array_equal(np.bincount(ours.targets), np.full(10, 5000))
    np.testing.assert_array_equal(np.bincount(ours.test_targets), np.full(10, 1000))
    assert ours.targets[:5].tolist() == [6, 9, 9, 4, 1]  # frog, truck, truck, deer, automobile
    sample = ours.inputs[::10].astype(np.float64)
    np.testing.assert_allclose(sample.mean((0, 1, 2)), 0, atol=0.03)
    np.testing.assert_allclose(sample.std((0, 1, 2)), 1, atol=0.03)


# --- splits and label noise -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def toy() -> Dataset:
    labels = np.arange(100, dtype=np.int32) % 4
    return Dataset(np.zeros((100, 1), np.float32), labels, np.zeros((4, 1), np.float32), labels[:4], classes=4, validation=20)


def test_split_covers_the_pool_once_by_default(toy):
    parts = split(toy, Data(name="toy"), seed=0)
    assert parts.train.shape == (80,)
    assert parts.validation.shape == (20,)
    assert parts.train.dtype == parts.validation.dtype == parts.targets.dtype == np.int32
    assert sorted(np.concatenate([parts.train, parts.validation]).tolist()) == list(range(100))
    np.testing.assert_array_equal(parts.targets, toy.targets)


@given(train=st.integers(1, 60), validation=st.integers(1, 40), seed=st.integers(0, 2**64 - 1), noise=st.floats(0, 1))
def test_splits_are_disjoint_nested_and_exact(train, validation, seed, noise):
    labels = np.arange(100, dtype=np.int32) % 4
    pool = Dataset(np.zeros((100, 1), np.float32), labels, np.zeros((4, 1), np.float32), labels[:4], classes=4, validation=20)
    ours = split(pool, Data(name="toy", train=train, validation=validation, label_noise=noise), seed)
    largest = split(pool, Data(name="toy", train=60, validation=40), seed)
    assert not set(ours.train.tolist()) & set(ours.validation.tolist())
    np.testing.assert_array_equal(ours.train, largest.train[:train])
    np.testing.assert_array_equal(ours.validation, largest.validation[:validation])
    outside = np.setdiff1d(np.arange(100), ours.train)
    np.testing.assert_array_equal(ours.targets[outside], labels[outside])
    assert (ours.targets != labels).sum() <= round(noise * train)


def test_a_seed_decides_the_split_and_the_noise(toy):
    data = Data(name="toy", label_noise=0.5)
    first, again, other = split(toy, data, 3), split(toy, data, 3), split(toy, data, 4)
    np.testing.assert_array_equal(first.train, again.train)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert (first.train != other.train).any()
    assert (first.validation != other.validation).any()
    assert (first.targets != other.targets).any()


def test_every_replicate_draws_a_test_set_of_its_own_from_all():
    fixed, fresh = load(Data(name="digits")), load(Data(name="digits", fresh_test=True))
    assert len(fresh.inputs) == len(fixed.inputs) + len(fixed.test_inputs) == 1797
    parts = [split(fresh, Data(name="digits", fresh_test=True), seed) for seed in range(40)]
    for one in parts:
        together = np.concatenate([one.train, one.validation, one.test])
        assert sorted(together.tolist()) == list(range(1797))
        assert (len(one.train), len(one.validation), len(one.test)) == (1197, 300, 300)
    drawn = np.bincount(np.concatenate([one.test for one in parts]), minlength=1797)
    assert drawn[:1497].mean() == pytest.approx(drawn[1497:].mean(), rel=0.1)  # the old test set is as likely as any other example
    assert (split(fixed, Data(name="digits"), 3).test == np.arange(300)).all()


def test_a_smaller_test_set_of_ones_own_is_a_part_of_the_larger():
    whole, part = (split(load(data), data, 5).test for data in (Data(name="digits", fresh_test=True, test=size) for size in (None, 50)))
    np.testing.assert_array_equal(part, whole[:50])


def test_noise_never_reaches_a_test_set_of_ones_own():
    data = Data(name="digits", fresh_test=True, label_noise=1.0)
    dataset = load(data)
    part = split(dataset, data, 0)
    np.testing.assert_array_equal(part.targets[part.test], dataset.test_targets[part.test])
    assert (part.targets[part.train] != dataset.targets[part.train]).mean() > 0.8


@pytest.mark.parametrize("noise", [0.1, 0.4, 1.0])
def test_exactly_the_stated_number_of_labels_is_replaced(noise):
    # With a million classes hardly a draw hits the old label, so replaced labels can be counted.
    labels = np.zeros(1000, np.int32)
    pool = Dataset(np.zeros((1000, 1), np.float32), labels, np.zeros((1, 1), np.float32), labels[:1], classes=10**6, validation=100)
    noisy = split(pool, Data(name="toy", label_noise=noise), seed=0)
    assert abs(np.count_nonzero(noisy.targets) - round(noise * 900)) <= 1
    assert not noisy.targets[noisy.validation].any()


def test_noise_is_uniform_over_all_classes_and_nested(toy):
    labels = np.zeros(20_000, np.int32)
    pool = Dataset(np.zeros((20_000, 1), np.float32), labels, np.zeros((1, 1), np.float32), labels[:1], classes=10, validation=10)
    full = split(pool, Data(name="toy", label_noise=1.0), seed=0)
    np.testing.assert_allclose(np.bincount(full.targets[full.train]) / len(full.train), 0.1, atol=0.01)
    half = split(pool, Data(name="toy", label_noise=0.5), seed=0)
    changed = np.flatnonzero(half.targets)
    np.testing.assert_array_equal(half.targets[changed], full.targets[changed])


# --- augmentation -----------------------------------------------------------------------------------------------------


def all_outcomes(image: np.ndarray) -> dict[tuple[bool, int, int], bytes]:
    """Every mirror and crop of one image, by brute force."""
    outcomes = {}
    for mirror in (False, True):
        padded = np.pad(image[:, ::-1] if mirror else image, ((4, 4), (4, 4), (0, 0)))
        for row in range(9):
            for column in range(9):
                outcomes[mirror, row, column] = padded[row : row + image.shape[0], column : column + image.shape[1]].tobytes()
    return outcomes


def test_flip_crop_gives_every_mirror_and_shift_and_nothing_else():
    import jax

    from tombola.data.augment import flip_crop

    image = np.arange(1, 6 * 5 * 2 + 1, dtype=np.float32).reshape(6, 5, 2)
    outcomes = all_outcomes(image)
    batch = np.broadcast_to(image, (3000, 6, 5, 2))
    out = np.asarray(jax.jit(flip_crop)(jax.random.key(0), batch))
    assert out.shape == batch.shape
    assert out.dtype == np.float32
    seen = [one.tobytes() for one in out]
    assert set(seen) == set(outcomes.values())  # 162 outcomes, each about 18 times
    mirrored = {content for (mirror, _, _), content in outcomes.items() if mirror}
    assert sum(one in mirrored for one in seen) / 3000 == pytest.approx(0.5, abs=0.05)


def test_flip_crop_is_a_pure_function_of_its_key():
    import jax
    import jax.numpy as jnp

    from tombola.data.augment import flip_crop

    images = jax.random.normal(jax.random.key(1), (2, 8, 6, 6, 3))
    keys = jax.random.split(jax.random.key(2), 2)
    single, stacked = jax.jit(flip_crop), jax.jit(jax.vmap(flip_crop))(keys, images)
    for index in range(2):
        np.testing.assert_array_equal(stacked[index], single(keys[index], images[index]))
    assert (np.asarray(single(keys[0], images[0])) != np.asarray(single(keys[1], images[0]))).any()
    assert jax.eval_shape(flip_crop, keys[0], images[0].astype(jnp.bfloat16)).dtype == jnp.bfloat16


def crop_of(out: np.ndarray) -> tuple[float, float, float, float, bool]:
    """(top, height, left, width, mirrored), pixels, of the part that became `out`, whose channels were rows and columns.

    Away from the border, resizing keeps a straight line straight.
    """
    places = np.arange(len(out))[8:-8]
    inner = out[8:-8, 8:-8].astype(np.float64)
    (down, top), (right, left) = np.polyfit(places, inner[:, 0, 0], 1), np.polyfit(places, inner[0, :, 1], 1)
    last = left + right * (len(out) - 1)
    return top, down * len(out), min(left, last), abs(right) * len(out), right < 0


def test_resized_crop_takes_parts_of_every_size_place_and_aspect_and_mirrors_half():
    import jax

    from tombola.data.augment import resized_crop

    side = 40
    image = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1).astype(np.float32)
    batch = np.broadcast_to(image, (500, *image.shape))
    out = np.asarray(jax.jit(resized_crop)(jax.random.key(0), batch))
    assert out.shape == batch.shape
    assert out.dtype == np.float32
    top, height, left, width, mirrored = np.array([crop_of(one) for one in out]).T
    area, aspect = height * width / side**2, width / height
    assert area.min() >= 0.079
    assert area.max() <= 1.001
    assert aspect.min() >= 0.749
    assert aspect.max() <= 1.335
    draw = np.random.default_rng(0)
    areas, aspects = draw.uniform(0.08, 1, 100_000), np.exp(draw.uniform(np.log(3 / 4), np.log(4 / 3), 100_000))
    fitting = np.maximum(areas * aspects, areas / aspects) <= 1
    for found, expected in ((area, areas[fitting]), (aspect, aspects[fitting])):
        assert np.quantile(found, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(expected, [0.1, 0.5, 0.9]), abs=0.06)
    assert mirrored.mean() == pytest.approx(0.5, abs=0.07)
    for start, length in ((top, height), (left, width)):
        assert start.min() >= -0.51  # the first pixel's middle lies half a pixel inside
        assert (start + length).max() <= side + 0.01
        free = length < 0.8 * side
        assert np.mean((start / (side - length))[free]) == pytest.approx(0.5, abs=0.06)
    assert out.min() > -0.01
    assert out.max() < side - 0.99


@pytest.mark.slow
def test_resized_crop_is_a_pure_function_of_its_key():
    import jax

    from tombola.data.augment import flip_crop, resized_crop

    images = jax.random.normal(jax.random.key(1), (2, 8, 16, 16, 3))
    keys = jax.random.split(jax.random.key(2), 2)
    single, stacked = jax.jit(resized_crop), jax.jit(jax.vmap(resized_crop))(keys, images)
    for index in range(2):
        np.testing.assert_array_equal(single(keys[index], images[index]), single(keys[index], images[index]))
        np.testing.assert_allclose(stacked[index], single(keys[index], images[index]), atol=1e-5)
    out = np.asarray(single(keys[0], images[0]))
    for other in (single(keys[1], images[0]), images[0], flip_crop(keys[0], images[0])):
        assert np.abs(out - np.asarray(other)).mean() > 0.1


# --- a user's own arrays ----------------------------------------------------------------------------------------------

X, Y = np.arange(60.0).reshape(20, 3), np.arange(20) % 4


@pytest.fixture
def own_registry(monkeypatch):
    monkeypatch.setattr(datasets, "_parts", dict(datasets._parts))


def test_own_arrays_load_like_any_other(own_registry):
    data = from_arrays(X, Y, X[:4], Y[:4].tolist())
    ours = load(data)
    assert data.name.startswith("arrays-")
    assert len(data.name) == len("arrays-") + 12
    assert ours.inputs.dtype == np.float32
    assert ours.classes == 4
    assert ours.shape == (3,)
    assert ours.validation == 2
    np.testing.assert_array_equal(ours.inputs, X)
    assert from_arrays(X.copy(), Y, X[:4], Y[:4]) == data
    assert from_arrays(X, Y[::-1], X[:4], Y[:4]) != data
    named = from_arrays(X, Y, X[:4], Y[:4], validation=5, name="mine")
    assert named.name.startswith("mine-")
    assert len(split(load(named), named, 0).validation) == 5


def test_own_arrays_are_copied(own_registry):
    x = X.astype(np.float32)
    data = from_arrays(x, Y, x, Y)
    x[:] = 0
    assert load(data).inputs.max() == 59


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.array(["ant", "bee", "cow", "ant"] * 5), ("ant", "bee", "cow")),
        (np.array(["ant", "bee"] * 10, object), ("ant", "bee")),
        (pd.Series(["ant", "bee"] * 10, dtype="category"), ("ant", "bee")),
        (np.array([7, 3, 3, -1] * 5), ("-1", "3", "7")),
        (np.array([True, False] * 10), ("False", "True")),
        (Y[:, None], ()),
        (np.ma.masked_equal(Y, 99), ()),
    ],
)
def test_labels_of_any_kind_are_mapped_and_the_mapping_is_kept(own_registry, labels, names):
    found = load(from_arrays(X, labels, X[:4], labels[:4]))
    assert found.class_names == names
    assert found.classes == len(names or np.unique(Y))
    assert found.targets.dtype == found.test_targets.dtype == np.int32
    given = np.asarray(labels).ravel()
    assert [(names or "0123")[place] for place in found.targets] == [str(label) for label in given]
    np.testing.assert_array_equal(found.test_targets, found.targets[:4])


def test_classes_of_another_name_are_another_data_set(own_registry):
    one, other = (from_arrays(X, np.array(list(letters) * 10), X, np.array(list(letters) * 10)) for letters in ("ab", "ac"))
    assert one != other


def test_values_tokens_and_inputs_alone(own_registry):
    values = load(from_arrays(X, Y / 2, X[:4], Y[:4] / 2))
    assert (values.classes, values.targets.dtype, values.targets.shape) == (None, np.float32, (20, 1))
    wide = load(from_arrays(X, np.ones((20, 2, 3), int), X[:4], np.ones((4, 2, 3), int), targets="values"))
    assert wide.targets.shape == (20, 2, 3)
    tokens = load(from_arrays(X.astype(int), Y, X[:4].astype(int), Y[:4], vocabulary=60))
    assert (tokens.inputs.dtype, tokens.input_dtype, tokens.vocabulary) == (np.int32, "int32", 60)
    alone = load(from_arrays(X, None, X[:4], None))
    assert alone.targets is alone.test_targets is alone.classes is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": X[:, 0]}, "x has shape \\(20,\\), but it must be \\(examples, ...\\)"),
        ({"x": X + 1j}, "x holds complex128, but inputs must be real"),
        ({"x": [["a"], ["b"]]}, "inputs must be real numbers"),
        ({"test_x": [[1, 2], [3]]}, "test_x is no array"),
        ({"x": np.where(X == 7, np.nan, X)}, "inputs hold NaN or infinite"),
        ({"x": np.where(X == 7, 1e300, X)}, "inputs hold NaN or infinite"),
        ({"x": X[:19]}, "need a target each"),
        ({"test_x": X[:4, :2]}, "a test example has shape \\(2,\\)"),
        ({"y": np.eye(20)}, "one-hot rows become labels by .argmax\\(1\\)"),
        ({"y": np.eye(20, dtype=int)}, "one-hot rows become labels by .argmax\\(1\\)"),
        (
            {"y": np.arange(40).reshape(20, 2)},
            "labels are \\(examples,\\); use .ravel\\(\\); or, .*targets='values' .*objective=regression",
        ),
        ({"y": Y / 2, "targets": "classes"}, "y holds numbers such as 0.5, which are no classes; use targets='values'"),
        ({"y": np.where(Y == 1, np.nan, Y), "targets": "classes"}, "y holds NaN or infinite labels"),
        ({"y": np.where(Y == 1, None, Y)}, "y has labels that are missing"),
        ({"y": np.array([1, "a"] * 10, object), "test_y": np.array([1, "a"] * 2, object)}, "labels of different types"),
        ({"y": np.array(["2020-01-01"] * 20, "datetime64[D]")}, "y holds datetime64.*, but labels are integers, strings"),
        ({"test_y": Y[:4] + 1}, "test_y has the label 4, which y has not"),
        ({"test_y": None}, "y and test_y: give both"),
        ({"targets": "labels"}, "targets = 'labels', but y holds 'classes' or 'values'"),
        ({"y": np.array(list("abcd") * 5), "targets": "values"}, "values to regress must be real numbers"),
        ({"x": np.ma.masked_equal(X, 7)}, "x is a masked array with 1 values masked; fill them"),
        ({"x": X.astype(np.uint8)}, "x holds bytes up to 59, which would be used unscaled; write x / 255"),
        ({"x": X.astype(int) + 2**32, "test_x": X[:4].astype(int), "vocabulary": 60}, "inputs \\(tokens\\) span 2147483647 to"),
        ({"x": X / 2, "vocabulary": 60}, "x is float64 .*, but tokens are integers"),
        (
            {"x": X.astype(int), "test_x": X[:4].astype(int), "vocabulary": 59},
            "inputs \\(tokens\\) span 0 to 59, but they must lie in 0 to 58",
        ),
        (
            {"x": X.astype(int) - 1, "test_x": X[:4].astype(int), "vocabulary": 60},
            "inputs \\(tokens\\) span -1 to 58, but they must lie in 0 to 59",
        ),
        ({"x": X[:0], "y": Y[:0]}, "x is empty"),
        ({"validation": 20}, "validation can be at most 19, not 20"),
        ({"validation": 0}, "validation = 0, but it must be greater than 0"),
        ({"name": "a/b"}, "name 'a/b': use letters"),
    ],
)
def test_own_arrays_that_do_not_fit_are_refused(own_registry, change, message):
    before = list(datasets)
    with pytest.raises(TombolaError, match=message) as raised:
        from_arrays(**({"x": X, "y": Y, "test_x": X[:4], "test_y": Y[:4]} | change))
    one_line(raised)
    assert list(datasets) == before


# --- the bytes of data are in a run's identity --------------------------------------------------------------------------


def test_only_what_is_not_canonical_is_told_by_its_bytes(monkeypatch, own_registry, tmp_path):
    from tombola.data import identity
    from tombola.data.identity import identified
    from tombola.models.tasks import task

    def of(name, **fields):
        return task("digits-mlp").but(data=Data(name=name, **fields))

    assert identified(of("digits")) == of("digits")
    assert identified(of("mnist"), tmp_path) == of("mnist")
    assert identified(of(from_arrays(X, Y, X, Y).name)).data.content == ""

    def register(values):
        monkeypatch.setattr(datasets, "_parts", {name: part for name, part in datasets._parts.items() if name != "mine"})
        labels = np.array([0, 1, 1], np.int32)
        datasets.register("mine")(lambda folder: Dataset(values, labels, values, labels, 2, 1))
        identity._of_arrays.cache_clear()
        return identified(of("mine"))

    one, other = register(np.zeros((3, 2), np.float32)), register(np.ones((3, 2), np.float32))
    assert one.data.content != other.data.content
    assert one.digest != other.digest
    assert identified(other) == other
    with pytest.raises(TombolaError, match="the bytes found are not those of the description") as raised:
        identified(one)
    one_line(raised)


def test_a_re_encoded_cifar10_is_another_data_set(monkeypatch, tmp_path):
    """A small source of the same kind: its canonical bytes add nothing, others do, and neither is read twice."""
    from tombola.data import identity

    canonical, other = b"\x00" * 10 * 3073, b"\x01" * 10 * 3073
    file = File("data.bin", "records", (10, 3073), hashlib.sha256(canonical).hexdigest())
    monkeypatch.setitem(SOURCES, "cifar10", replace(SOURCES["cifar10"], files=(file,)))
    path = tmp_path / "data.bin"
    seen = []
    examine = identity.examine
    monkeypatch.setattr(identity, "examine", lambda *given: seen.append(1) or examine(*given))
    assert identity.content("cifar10", tmp_path) == ""
    for index, content in enumerate((canonical, other)):
        path.write_bytes(content)
        os.utime(path, ns=(index, index))
        found = {identity.content("cifar10", tmp_path) for _ in range(3)}
        assert len(found) == 1
        assert len(seen) == index + 1
        assert (found == {""}) == (content == canonical)


def test_a_folder_of_other_images_is_another_data_set(tmp_path):
    from tombola.data import identity

    assert identity.content("imagenet", tmp_path) == ""
    for part in ("train", "val"):
        (tmp_path / "imagenet" / part / "ant").mkdir(parents=True)
        (tmp_path / "imagenet" / part / "ant" / "1.png").write_bytes(b"1")
    first = identity.content("imagenet", tmp_path)
    assert first == identity.content("imagenet", tmp_path) != ""
    (tmp_path / "imagenet" / "train" / "ant" / "2.png").write_bytes(b"2")
    assert identity.content("imagenet", tmp_path) not in ("", first)


def test_diabetes():
    ours = load(Data(name="diabetes"))
    assert (ours.inputs.shape, ours.targets.shape, ours.test_inputs.shape, ours.classes) == ((354, 10), (354, 1), (88, 10), None)
    np.testing.assert_allclose(ours.inputs.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose([ours.inputs.std(0).mean(), ours.targets.std()], 1, rtol=1e-5)


# -- from where users have them -------------------------------------------------------------------------------------------


def test_an_npz_is_found_by_the_usual_names_and_split_by_key(tmp_path):
    draw = np.random.default_rng(0)
    x, y = draw.standard_normal((50, 3)).astype(np.float32), draw.integers(0, 2, 50)
    np.savez(tmp_path / "mine.npz", X_train=x, y_train=y)
    dataset = load(tb.from_file(tmp_path / "mine.npz"))
    assert (len(dataset.inputs), len(dataset.test_inputs)) == (40, 10)
    rows = {row.tobytes() for row in np.concatenate([dataset.inputs, dataset.test_inputs])}
    assert rows == {row.tobytes() for row in x}
    again = load(tb.from_file(tmp_path / "mine.npz"))
    np.testing.assert_array_equal(again.test_inputs, dataset.test_inputs)
    np.savez(tmp_path / "split.npz", images=x[:40], labels=y[:40], images_test=x[40:], labels_test=y[40:])
    split = load(tb.from_file(tmp_path / "split.npz"))
    np.testing.assert_array_equal(split.test_inputs, x[40:])


def test_an_npz_says_what_its_targets_and_tokens_are(tmp_path):
    counts, tokens = np.arange(50), np.arange(100, dtype=np.uint8).reshape(50, 2) % 4
    np.savez(tmp_path / "counts.npz", x=tokens, y=counts, targets="values", vocabulary=4)
    values = load(tb.from_file(tmp_path / "counts.npz"))
    assert (values.classes, values.vocabulary, values.input_dtype) == (None, 4, "int32")
    assert sorted(np.concatenate([values.targets, values.test_targets]).ravel()) == counts.tolist()
    np.savez(tmp_path / "floats.npz", x=tokens / 4, y=counts % 2 * 1.0, targets="classes")
    assert load(tb.from_file(tmp_path / "floats.npz")).classes == 2
    np.savez(tmp_path / "array.npz", x=tokens / 4, targets=counts % 2)  # an array of that name is y
    assert load(tb.from_file(tmp_path / "array.npz")).classes == 2


def test_bytes_are_pixels_standardised_by_training_examples_and_channels_go_last(tmp_path):
    draw = np.random.default_rng(1)
    images = draw.integers(0, 256, (20, 3, 6, 5), dtype=np.uint8)
    images[15:] = 255  # the test set's own mean is another
    labels = np.arange(20) % 2
    np.savez(tmp_path / "pixels.npz", x=images[:15], y=labels[:15], test_x=images[15:], test_y=labels[15:])
    dataset = load(tb.from_file(tmp_path / "pixels.npz"))
    assert dataset.shape == (6, 5, 3)
    scaled = images[:15].transpose(0, 2, 3, 1) / 255
    expected = (scaled - scaled.mean((0, 1, 2))) / scaled.std((0, 1, 2))
    np.testing.assert_allclose(dataset.inputs, expected, atol=1e-4)
    np.testing.assert_allclose(dataset.scaling.of(images[15:].transpose(0, 2, 3, 1)), dataset.test_inputs)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros(3)}, "holds y, but x is needed"),
        ({"x": np.zeros((4, 2)), "y": np.zeros(3)}, "4 inputs and 3 targets"),
        ({"x": np.zeros((4, 2)), "y": np.arange(4), "test_x": np.zeros((1, 2))}, "give both, test_x and test_y"),
        ({"x": np.zeros((2, 2)), "y": np.arange(2)}, "leaves none on one side"),
        ({"x": np.array([{}], object)}, "it holds Python objects; store plain arrays"),
        ({"x": np.zeros((4, 2)), "y": np.arange(4), "targets": "counts"}, "targets = 'counts', but y holds 'classes' or 'values'"),
        ({"x": np.zeros((4, 2), int), "y": np.arange(4), "vocabulary": 0}, "vocabulary = 0, but it is the number of different tokens"),
        ({"x": np.zeros((9, 2)), "y": np.arange(9)}, r"which y has not; .* targets='values' \(in an .npz beside y\)"),
    ],
)
def test_an_npz_that_does_not_fit_is_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(TombolaError, match=message):
        tb.from_file(tmp_path / "x.npz")


def test_a_file_that_is_not_there_or_no_archive_is_one_line(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"no")
    with pytest.raises(TombolaError, match="cannot be read"):
        tb.from_file(tmp_path / "x.npz")
    with pytest.raises(TombolaError, match="it is not there"):
        tb.from_file(tmp_path / "y.npz")
    (tmp_path / "x.csv").write_text("a,b")
    with pytest.raises(TombolaError, match=r"is no \.npz, no \.txt and no folder of images"):
        tb.from_file(tmp_path / "x.csv")


def images_in(folder, sizes=((6, 4),)):
    import PIL.Image

    for place, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for index in range(5):
            PIL.Image.new("RGB", sizes[index % len(sizes)], (50 * place, 10 * index, 7)).save(folder / name / f"{index}.png")


def test_a_folder_of_images_has_its_classes_and_perhaps_a_test_set(tmp_path):
    images_in(tmp_path / "all")
    dataset = load(tb.from_file(tmp_path / "all"))
    assert dataset.class_names == ("cat", "dog")
    assert dataset.shape == (4, 6, 3)
    assert (len(dataset.inputs), len(dataset.test_inputs)) == (8, 2)
    images_in(tmp_path / "split" / "train")
    images_in(tmp_path / "split" / "val", sizes=((8, 8), (6, 4)))
    with pytest.raises(TombolaError, match=r"images of several sizes, \(4, 6\) to \(8, 8\); give one: --image-size 64"):
        tb.from_file(tmp_path / "split")
    split = load(tb.from_file(tmp_path / "split", size=4))
    assert (split.shape, len(split.inputs), len(split.test_inputs)) == ((4, 4, 3), 10, 10)
    (tmp_path / "split" / "val" / "eel").mkdir()
    with pytest.raises(TombolaError, match="has other folders of classes"):
        tb.from_file(tmp_path / "split")


class Listed:
    """As PyTorch's data sets: examples by number."""

    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, place):
        one = self.examples[place]
        return one() if callable(one) else one


def test_examples_by_number_are_read_whether_pairs_or_dictionaries():
    draw = np.random.default_rng(2)
    x, y = draw.standard_normal((20, 3)).astype(np.float32), np.arange(20) % 2
    pairs = tb.from_dataset(Listed(list(zip(x, y, strict=True))))
    rows = Listed([{"image": one, "label": int(label), "id": 0} for one, label in zip(x, y, strict=True)])
    assert tb.from_dataset(rows) == pairs
    test = Listed([{"image": one, "label": 1} for one in x[:4]])
    assert len(load(tb.from_dataset({"train": rows, "test": test})).test_inputs) == 4
    with pytest.raises(TombolaError, match="examples hold a; say which are the targets"):
        tb.from_dataset(Listed([{"a": 1}]))
    with pytest.raises(TombolaError, match="gives other values each time; take random transforms out"):
        tb.from_dataset(Listed([lambda: (draw.standard_normal(3), 0)] * 5))
    with pytest.raises(TombolaError, match=r"examples of several shapes, such as \(2,\) and \(3,\)"):
        tb.from_dataset(Listed([(np.zeros(2), 0), (np.zeros(3), 1)]))
    with pytest.raises(TombolaError, match="a generator gives no examples by number"):
        tb.from_dataset(one for one in x)


def test_images_of_torch_have_their_channels_last():
    torch = pytest.importorskip("torch")
    images = torch.arange(20 * 2 * 3 * 4, dtype=torch.float32).reshape(20, 2, 3, 4)
    given = torch.utils.data.TensorDataset(images, torch.arange(20) % 2)
    dataset = load(tb.from_dataset(given, test=0.25))
    assert dataset.shape == (3, 4, 2)
    assert {one.tobytes() for one in dataset.test_inputs} <= {one.tobytes() for one in images.numpy().transpose(0, 2, 3, 1).copy()}
    as_bytes = load(tb.from_dataset(torch.utils.data.TensorDataset(images.to(torch.uint8), torch.arange(20) % 2)))
    np.testing.assert_allclose(as_bytes.inputs.mean((0, 1, 2)), 0, atol=1e-5)


def test_a_table_is_encoded_by_its_training_rows_alone():
    count = 40
    table = pd.DataFrame(
        {
            "age": np.arange(count, dtype=float),
            "job": ["a", "b"] * (count // 2),
            "left": [True, False, None, True] * (count // 4),
            "answer": ["no", "yes"] * (count // 2),
        }
    )
    table.loc[3, "age"] = np.nan
    test = pd.DataFrame({"age": [1e6, 19.0], "job": ["c", "a"], "left": [None, True], "answer": ["no", "yes"]})
    dataset = load(tb.from_table(table, "answer", test))
    assert dataset.class_names == ("no", "yes")
    assert dataset.shape == (1 + 2 + 3,)
    np.testing.assert_allclose(dataset.inputs[:, 0].mean(), 0, atol=1e-6)
    ages = table["age"].fillna(table["age"].median())
    assert dataset.test_inputs[0, 0] == pytest.approx((1e6 - ages.mean()) / ages.std(ddof=0))
    assert dataset.test_inputs[0, 1:3].tolist() == [0, 0]  # a job that training rows have not
    assert len(load(tb.from_table(table, "answer", 0.25)).test_inputs) == 10
    with pytest.raises(TombolaError, match="target = 'gone', but the table has the columns age, job, left, answer"):
        tb.from_table(table, "gone")
    with pytest.raises(TombolaError, match="column 'when' holds times"):
        tb.from_table(table.assign(when=pd.Timestamp(0)), "answer")
    with pytest.raises(TombolaError, match="the test table lacks the column 'job'"):
        tb.from_table(table, "answer", test.drop(columns="job"))


def test_a_study_runs_on_a_file_of_arrays(tmp_path, capsys):
    from tombola import cli

    draw = np.random.default_rng(3)
    np.savez(tmp_path / "mine.npz", x=draw.standard_normal((300, 12)), y=draw.integers(0, 3, 300))
    assert cli.main(["show", "frankle2019.sparsity", "--task", "digits-mlp", "--data", str(tmp_path / "mine.npz")]) == 0
    said = capsys.readouterr().out
    assert "mine-" in said
    assert "output   output  150" in said
    assert cli.main(["show", "frankle2019.sparsity", "--data", str(tmp_path / "no.npz")]) == 2
    assert "it is not there" in capsys.readouterr().err
