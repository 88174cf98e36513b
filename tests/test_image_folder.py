"""A folder of images: what is read, how it is kept, and training from disk."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from flax import nnx

import tombola as tb
from tombola.core import trees
from tombola.core.errors import TombolaError
from tombola.core.task import Data, Model, Recipe, Task
from tombola.data import image_folder, imagenet
from tombola.data.dataset import Dataset, check, datasets, load
from tombola.data.fetch import catalogue, fetch, verify
from tombola.training import cohort, inputs
from tombola.training.cohort import train_cohort
from tombola.training.plan import plan
from tombola.training.replica import Replica

COLOURS = {"bee": (200, 30, 60), "ant": (20, 180, 90)}


def picture(path, colour, shape=(40, 48), noise=20, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(seed).integers(-noise, noise + 1, (*shape, 3))
    PIL.Image.fromarray((np.array(colour) + draw).clip(0, 255).astype(np.uint8)).save(path)


def fill(folder, per_class=12, test_per_class=4):
    """2 classes of `per_class` images each to train on, `test_per_class` to test on."""
    for part, count in (("train", per_class), ("val", test_per_class)):
        for number, (name, colour) in enumerate(COLOURS.items()):
            for index in range(count):
                suffix = (".JPEG", ".png", ".jpg", ".jpeg")[index % 4]
                picture(folder / "imagenet" / part / name / f"{index:03}{suffix}", colour, seed=100 * number + index)
    return folder


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(imagenet, "SIZE", 16)


def read(folder) -> Dataset:
    """Past the copies that `load` keeps in the process."""
    return datasets["imagenet"](folder)


def caches(folder):
    return sorted(path.name for path in (folder / "imagenet").iterdir() if not path.is_dir())


# -- what is read --------------------------------------------------------------------------------------------------------


def test_a_folder_becomes_pixels_and_labels(folder):
    ours = read(folder)
    check("imagenet", ours)
    assert ours.inputs.shape == (24, 224, 224, 3)
    assert ours.inputs.dtype == ours.test_inputs.dtype == np.uint8
    assert ours.on_disk
    assert ours.targets.tolist() == [0] * 12 + [1] * 12  # ant before bee
    assert (ours.classes, ours.validation) == (2, 2)
    for part, labels in ((ours.inputs, ours.targets), (ours.test_inputs, ours.test_targets)):
        for pixels, label in zip(part, labels, strict=True):
            np.testing.assert_allclose(pixels.mean((0, 1)), COLOURS["bee" if label else "ant"], atol=3)
    assert not np.array_equal(ours.inputs[0], ours.inputs[1])


def test_the_central_square_of_every_mode_and_shape(tmp_path, small):
    for part in ("train", "val"):
        for shape, name in (((64, 160), "wide"), ((160, 64), "high")):
            # Red where the crop must not reach: beyond 28 pixels from the centre of the 64 pixels of the shorter side.
            pixels = np.full((*shape, 3), (250, 0, 0), np.uint8)
            middle = tuple(slice(side // 2 - 28, side // 2 + 28) for side in shape)
            pixels[middle] = (0, 100, 200)
            image = PIL.Image.fromarray(pixels)
            path = tmp_path / "imagenet" / part / "a"
            path.mkdir(parents=True, exist_ok=True)
            for mode in ("RGB", "RGBA", "P"):
                image.convert(mode).save(path / f"{name}{mode}.png")
            image.convert("L").save(path / f"{name}L.png")
    ours = read(tmp_path)
    grey = round(0.587 * 100 + 0.114 * 200)
    for path, pixels in zip(image_folder.images(tmp_path / "imagenet" / "train"), ours.inputs, strict=True):
        inner = pixels[1:-1, 1:-1].astype(int)
        expected = (grey,) * 3 if path.path.stem.endswith("L") else (0, 100, 200)
        assert np.abs(inner - expected).max() <= 26, path.path  # a palette has no such blue
        assert inner[..., 0].max() < 100
        # The border mixes in what lies beyond the square, and little of it: the crop is not smaller than it should be.
        if path.path.stem.endswith("RGB"):
            assert 0 < pixels[0, 8, 0] < 60


def test_the_first_test_examples_are_of_all_classes(small, tmp_path):
    fill(tmp_path, per_class=1, test_per_class=20)
    labels = read(tmp_path).test_targets
    assert labels.sum() == 20
    assert set(labels[:8]) == {0, 1}
    assert load(Data(name="imagenet", test=8, train=1, validation=1), tmp_path).test_targets.tolist() == labels[:8].tolist()


# -- the pixels that are kept --------------------------------------------------------------------------------------------


def test_images_are_decoded_once_and_anew_where_the_list_has_changed(folder, small, monkeypatch):
    decoded, original = [], image_folder._decode
    monkeypatch.setattr(image_folder, "_decode", lambda path, size: decoded.append(path) or original(path, size))
    first = np.array(read(folder).inputs)
    kept = caches(folder)
    assert len(kept) == 2
    assert len(decoded) == 32
    assert np.array_equal(read(folder).inputs, first)
    assert len(decoded) == 32
    picture(folder / "imagenet" / "train" / "ant" / "new.png", (0, 0, 250), noise=0)
    assert read(folder).inputs.shape[0] == 25
    assert len(decoded) == 32 + 25  # not the test set
    assert len(caches(folder)) == 2
    (changed,) = set(caches(folder)) - set(kept)
    picture(folder / "imagenet" / "train" / "ant" / "new.png", (0, 250, 0), noise=9)  # other content, other size
    assert read(folder).inputs[12, :, :, 1].mean() > 200
    assert changed not in caches(folder)


def test_a_damaged_file_of_pixels_is_made_anew(folder, small):
    sound = np.array(read(folder).inputs)
    path = folder / "imagenet" / next(name for name in caches(folder) if name.startswith("train"))
    content = path.read_bytes()
    for damage in (content[:-1], content[:40], b""):
        path.write_bytes(damage)
        assert np.array_equal(read(folder).inputs, sound)
        assert path.read_bytes() == content
    np.save(path, np.zeros((24, 4, 4, 3), np.uint8))
    assert np.array_equal(read(folder).inputs, sound)


def test_more_images_than_are_decoded_at_once_keep_their_order(folder, small, monkeypatch):
    together = np.array(read(folder).inputs)
    for name in caches(folder):
        (folder / "imagenet" / name).unlink()
    monkeypatch.setattr(image_folder, "_AT_ONCE", 7)
    assert np.array_equal(read(folder).inputs, together)


# -- mistakes ------------------------------------------------------------------------------------------------------------


def without(folder, *parts):
    shutil.rmtree(folder.joinpath("imagenet", *parts))


def written(folder, content, *parts):
    folder.joinpath("imagenet", *parts).write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: without(f), "no folders train and val in .*imagenet; its licence needs an account .*imagenet/train/<class>/"),
        (lambda f: without(f, "val"), "no folders train and val"),
        (lambda f: without(f, "val", "bee"), "train has 2 classes and val 1, and 'bee' is only in train; .* add it to val or remove it"),
        (lambda f: without(f, "train", "ant"), "train has 1 classes and val 2, and 'ant' is only in val"),
        (lambda f: [without(f, part, name) for part in ("train", "val") for name in COLOURS], "train holds no class"),
        (lambda f: [path.unlink() for path in (f / "imagenet/train/bee").iterdir()], "train/bee holds no image \\(.jpeg, .jpg, .png\\)"),
        (lambda f: written(f, b"", "train", "bee", "000.JPEG"), "cannot read the image .*train/bee/000.JPEG \\(it is empty\\); replace"),
        (lambda f: written(f, b"no image", "val", "ant", "001.png"), "cannot read the image .*val/ant/001.png \\(Unidentified"),
        (lambda f: (f / "imagenet/val/ant/9.jpg").symlink_to(f / "nowhere"), "cannot read the image .*9.jpg \\(No such file"),
    ],
)
def test_a_folder_that_is_not_sound_is_named(folder, small, spoil, words):
    spoil(folder)
    with pytest.raises(TombolaError, match=words) as error:
        read(folder)
    assert "\n" not in str(error.value)


def test_a_truncated_image_leaves_nothing_behind(folder, small):
    path = folder / "imagenet" / "train" / "bee" / "000.JPEG"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(TombolaError, match=r"cannot read the image .*000\.JPEG"):
        read(folder)
    assert caches(folder) == []


def test_a_folder_that_cannot_be_written(folder, small, monkeypatch):
    def full(self, *args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(TombolaError, match=r"cannot write the decoded images, 0.0 GB, to .*imagenet \(No space left .*--data-dir") as error:
        read(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mean": None}, "mean must be float32 \\(3,\\)"),
        ({"std": np.ones(2, np.float32)}, "std must be float32 \\(3,\\)"),
        ({"std": np.zeros(3, np.float32)}, "std is \\[0.0, 0.0, 0.0\\], but it must be positive"),
        ({"inputs": np.zeros((3, 2, 2, 3), np.float32)}, "inputs are float32; they must be uint8"),
        ({"mean": None, "std": None}, "inputs are uint8; they must be float32"),
    ],
)
def test_pixels_need_a_mean_and_a_deviation(change, message):
    zeros, labels, ones = np.zeros((3, 2, 2, 3), np.uint8), np.array([0, 1, 1], np.int32), np.ones(3, np.float32)
    sound = Dataset(zeros, labels, zeros, labels, classes=2, validation=1, mean=ones, std=ones)
    check("toy", sound)
    with pytest.raises(TombolaError, match=message):
        check("toy", replace(sound, **change))


# -- listing, fetching, verifying ------------------------------------------------------------------------------------------


def test_what_is_said_of_it(folder):
    entry = next(entry for entry in catalogue(folder) if entry["name"] == "imagenet")
    assert (entry["examples"], entry["test"], entry["classes"], entry["available"]) == (1_281_167, 50_000, 1000, True)
    assert not next(entry for entry in catalogue(folder / "x") if entry["name"] == "imagenet")["available"]
    assert verify("imagenet", folder) == [("train", "ok, 2 classes, 24 images"), ("val", "ok, 2 classes, 8 images")]
    with pytest.raises(
        TombolaError, match=r"cannot be fetched: its licence needs an account at image-net\.org; put its images into"
    ) as error:
        fetch("imagenet", folder)
    assert "\n" not in str(error.value)
    assert caches(folder) == []


# -- training ------------------------------------------------------------------------------------------------------------


class Small(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.conv = nnx.Conv(shape[-1], 4, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.output = nnx.Linear(4, classes, rngs=rngs)

    def __call__(self, images):
        return self.output(nnx.relu(self.norm(self.conv(images))).mean((1, 2)))


def task(steps="3it", augment="none", model=None):
    recipe = Recipe(steps=steps, batch=5, learning_rate=0.05, optimizer="momentum", evaluate_every="2it")
    return Task(
        data=Data(name="imagenet", validation=4, augment=augment),
        model=tb.model(Small) if model is None else model,
        recipe=recipe,
    )


def members(task, dataset, count):
    network = cohort.setup(task, dataset).network
    mask = {path: np.ones(network.shapes[path].shape, bool) for path in network.prunable}
    return [Replica(seed, network.init(seed), mask, keep=frozenset({2, 5})) for seed in range(count)]


def in_memory(dataset):
    return replace(dataset, inputs=np.array(dataset.inputs), test_inputs=np.array(dataset.test_inputs))


@pytest.mark.slow
@pytest.mark.parametrize("augment", ["none", "flip_crop", "resized_crop"])
def test_from_disk_and_from_memory_train_alike_bit_for_bit(folder, small, augment, monkeypatch):
    one = task("5it", augment)
    dataset = read(folder)
    some = members(one, dataset, 3)
    resident = dict(train_cohort(one, in_memory(dataset), some))
    monkeypatch.setattr(inputs, "Resident", None)  # nothing may be put on the devices whole
    streamed = dict(train_cohort(one, dataset, some))
    for index in range(3):
        assert streamed[index].rows == resident[index].rows
        assert streamed[index].summary == resident[index].summary
        for step in (2, 5):
            assert trees.equal(streamed[index].snapshots[step], resident[index].snapshots[step])
            assert not trees.equal(streamed[index].snapshots[step], some[index].start)


def test_pixels_are_what_the_network_would_have_been_given_normalised(folder, small):
    dataset = read(folder)
    whole = {name: (getattr(dataset, name) / 255 - imagenet.MEAN) / imagenet.STD for name in ("inputs", "test_inputs")}
    normalised = replace(dataset, mean=None, std=None, **{name: array.astype(np.float32) for name, array in whole.items()})
    some = members(task(), dataset, 1)
    (_, pixels), (_, floats) = *train_cohort(task(), dataset, some), *train_cohort(task(), normalised, some)
    for path, leaf in floats.snapshots[2].items():
        np.testing.assert_allclose(pixels.snapshots[2][path], leaf, rtol=1e-3, atol=1e-5, err_msg=path)
    np.testing.assert_allclose(pixels.rows[0], floats.rows[0], rtol=1e-4)


def test_what_is_on_disk_is_streamed_one_replica_a_device():
    layout = plan(40, convolutional=True, streamed=True)
    assert (layout.streamed, layout.loop, layout.per_device) == (True, False, 1)
    assert not plan(40, convolutional=True).streamed


@pytest.mark.slow
def test_training_from_a_folder(folder):
    resnet = task("2it", model=Model(name="deep_resnet", options={"depth": 18, "width": 4}))
    run = tb.train(resnet, seed=1, data_dir=folder)
    assert run.end == 2
    assert np.isfinite(run.metrics["val_loss"]).all()
    assert run.final["conv/kernel"].shape == (1, 7, 7, 3, 4)  # the large beginning, for 224 pixels
    assert not trees.equal(run.final, run.initial)
    shorter = tb.train(resnet, seed=1, data_dir=folder, until="1it")
    longer = tb.train(resnet, start=shorter.final, begin="1it", seed=1, data_dir=folder)
    assert not trees.equal(longer.final, run.final)  # momentum starts empty
    assert shorter.end == 1


@pytest.mark.slow
def test_the_papers_task(folder, small):
    paper = tb.task("resnet50-imagenet", "paper")
    assert (paper.recipe.batch, paper.recipe.learning_rate, paper.recipe.momentum, paper.recipe.weight_decay) == (1024, 0.4, 0.9, 1e-4)
    assert (paper.recipe.steps, paper.recipe.milestones, paper.recipe.warmup) == ("90ep", ("30ep", "60ep", "80ep"), "5ep")
    assert tb.task("resnet50-imagenet").recipe.steps == "18ep"
    smoke = tb.task("resnet50-imagenet", "smoke")
    assert (smoke.model.name, smoke.model.options) == ("deep_resnet", {"depth": 50})
    run = tb.train(smoke.but(model=tb.model(Small)), data_dir=folder)
    assert list(run.metrics["step"]) == [0, 2, 4]
    assert np.isfinite(run.metrics["val_loss"]).all()
