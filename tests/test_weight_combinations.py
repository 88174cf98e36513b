"""Networks mixed from others, evaluated: against the same networks mixed and run by hand."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh

from tombola.core.task import Data, Model, Recipe, Task
from tombola.core.trees import equal
from tombola.data.dataset import Dataset
from tombola.data.split import split
from tombola.evaluation import weight_combinations
from tombola.evaluation.weight_combinations import WeightCombinations, evaluate
from tombola.models.custom import from_class
from tombola.training.cohort import setup

SEED, CLASSES = 7, 4


class Normed(nnx.Module):
    """Dropout, batch norm, output."""

    def __init__(self, shape, classes, *, rngs):
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.norm = nnx.BatchNorm(shape[0], momentum=0.8, rngs=rngs)
        self.output = nnx.Linear(shape[0], classes, rngs=rngs)

    def __call__(self, inputs):
        return self.output(self.norm(self.dropout(inputs)))


NETWORKS = {
    "mlp": (Model(name="mlp", options={"widths": [6, 5]}), (7,), 2100),
    "conv2": (Model(name="conv2", options={"width": 2}), (8, 8, 1), 550),
    "resnet": (Model(name="resnet", options={"depth": 8, "width": 2}), (8, 8, 1), 550),
    "normed": (from_class(Normed), (3,), 2100),
}
"""Model, shape of an example, training examples: two batches of unequal size."""


@cache
def setting(name):
    """(task, data set, network). Images are pixels, which the network gets normalised."""
    model, shape, count = NETWORKS[name]
    random, pixels = np.random.default_rng(0), len(shape) == 3

    def drawn(examples):
        size = (examples, *shape)
        inputs = random.integers(0, 256, size).astype(np.uint8) if pixels else random.normal(0.5, 2.0, size).astype(np.float32)
        return inputs, random.integers(CLASSES, size=examples).astype(np.int32)

    scale = {"mean": np.full(1, 0.4, np.float32), "std": np.full(1, 0.3, np.float32)} if pixels else {}
    dataset = Dataset(*drawn(count + 20), *drawn(90), CLASSES, 20, **scale)
    recipe = Recipe(steps="1it", batch=10, learning_rate=0.1)
    task = Task(data=Data(name="drawn", train=count, label_noise=0.5), model=model, recipe=recipe)
    return task, dataset, setup(task, dataset).network


def weights_of(network, seed):
    """Every leaf random; variances are positive."""
    random = np.random.default_rng(seed)
    tree = {path: random.normal(0.1, 0.5, leaf.shape).astype(np.float32) for path, leaf in network.shapes.items()}
    return {path: np.abs(leaf) + 0.5 if path.endswith("/var") else leaf for path, leaf in tree.items()}


def mixed(sources, shares):
    return {path: sum(share * np.float64(tree[path]) for share, tree in zip(shares, sources, strict=True)) for path in sources[0]}


def prepared(dataset, inputs):
    return inputs if dataset.mean is None else ((inputs / 255 - dataset.mean) / dataset.std).astype(np.float32)


@cache
def _forward(name):
    network = setting(name)[2]
    return jax.jit(lambda weights, inputs: network.apply(weights, inputs, train=False)[0])


def logits_of(name, weights, inputs):
    if name == "normed":
        normal = (inputs - weights["norm/mean"]) / np.sqrt(weights["norm/var"] + 1e-5)
        return (weights["norm/scale"] * normal + weights["norm/bias"]) @ weights["output/kernel"] + weights["output/bias"]
    if name == "mlp":
        for layer in ("hidden1", "hidden2"):
            inputs = np.maximum(inputs @ weights[f"{layer}/kernel"] + weights[f"{layer}/bias"], 0)
        return inputs @ weights["output/kernel"] + weights["output/bias"]
    return np.asarray(_forward(name)({path: np.float32(leaf) for path, leaf in weights.items()}, inputs))


def by_hand(name, weights, part):
    """(logits, labels) of the examples of a part, in order."""
    task, dataset, _ = setting(name)
    own = split(dataset, task.data, SEED)
    inputs, labels = (dataset.test_inputs, dataset.test_targets) if part == "test" else (dataset.inputs[own.train], own.targets[own.train])
    return logits_of(name, weights, prepared(dataset, inputs)), labels


def check_point(scores, point, logits, labels):
    """Loss to rounding; predictions, wherever two classes are not within rounding."""
    np.testing.assert_array_equal(scores.targets, labels)
    below = logits - logits.max(1, keepdims=True)
    loss = np.log(np.exp(below).sum(1)) - below[np.arange(len(labels)), labels]
    np.testing.assert_allclose(scores.loss[point], loss.mean(), rtol=2e-5)
    clear = np.diff(np.sort(logits, 1)[:, -2:])[:, 0] > 1e-4
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(scores.prediction[point][clear], logits.argmax(1)[clear])
    assert scores.error[point] == np.mean(scores.prediction[point] != labels)


def ask(name, sources, shares, **fields):
    parts = fields.pop("parts", weight_combinations.PARTS)
    task, dataset, _ = setting(name)
    return evaluate(task, dataset, WeightCombinations(SEED, tuple(sources), np.asarray(shares, float), **fields), parts)


def same(a, b):
    for part in a:
        for field in ("loss", "error", "prediction", "targets"):
            np.testing.assert_array_equal(getattr(a[part], field), getattr(b[part], field))


# -- weight_combinations ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_point_is_the_network_that_its_shares_make(name):
    sources = [weights_of(setting(name)[2], seed) for seed in range(3)]
    shares = np.array([[0.2, 0.5, 0.3], [0.9, 0.0, 0.1], [0.0, 0.0, 1.0]])
    scores = ask(name, sources, shares)
    assert list(scores) == ["train", "test"]
    for part in scores:
        for point, share in enumerate(shares):
            check_point(scores[part], point, *by_hand(name, mixed(sources, share), part))


@pytest.mark.parametrize("name", ["mlp", "conv2"])
def test_a_share_of_one_is_the_source_itself(name):
    sources = [weights_of(setting(name)[2], seed) for seed in range(3)]
    scores = ask(name, sources, np.eye(3))
    for point, one in enumerate(sources):
        alone = ask(name, [one], [[1]])
        for part in scores:
            assert scores[part].loss[point] == alone[part].loss[0]
            np.testing.assert_array_equal(scores[part].prediction[point], alone[part].prediction[0])


def test_a_share_of_none_leaves_out_what_is_not_finite():
    good = weights_of(setting("mlp")[2], 0)
    diverged = {path: np.full_like(leaf, np.nan) for path, leaf in good.items()}
    scores = ask("mlp", [good, diverged], np.eye(2))["test"]
    assert scores.loss[0] == ask("mlp", [good], [[1]])["test"].loss[0]
    assert np.isnan(scores.loss[1])


def test_shares_by_layer_touch_the_leaves_of_that_layer():
    network = setting("mlp")[2]
    first, second = (weights_of(network, seed) for seed in (1, 2))
    names = [layer.name for layer in network.layers]
    shares = np.zeros((len(names), 2, len(names)))
    shares[:, 0] = 1
    for index in range(len(names)):
        shares[index, :, index] = 0.25, 0.75
    scores = ask("mlp", [first, second], shares)
    for index, layer in enumerate(network.layers):
        moved = {**first, **{path: leaf for path, leaf in mixed([first, second], [0.25, 0.75]).items() if path in layer.paths}}
        for part in scores:
            check_point(scores[part], index, *by_hand("mlp", moved, part))


@pytest.mark.parametrize("points", [1, 2, 5, 8, 11])
def test_any_number_of_points_is_evaluated_in_blocks(points, monkeypatch):
    sources = [weights_of(setting("normed")[2], seed) for seed in range(2)]
    a, recompute = np.linspace(0, 1, 11), np.arange(11) % 3 == 0
    whole = ask("normed", sources, np.stack([a, 1 - a], 1), recompute=recompute)
    monkeypatch.setattr(weight_combinations, "_MOST_DENSE", 2)
    found = ask("normed", sources, np.stack([a, 1 - a], 1)[:points], recompute=recompute[:points])
    for part, scores in found.items():
        np.testing.assert_array_equal(scores.loss, whole[part].loss[:points])
        np.testing.assert_array_equal(scores.prediction, whole[part].prediction[:points])


def test_networks_side_by_side_as_on_an_accelerator_are_the_same_up_to_rounding(monkeypatch):
    sources = [weights_of(setting("normed")[2], seed) for seed in range(2)]
    query = {"shares": [[1, 0], [0.5, 0.5], [0.2, 0.8], [0, 1]], "recompute": np.array([True, False, True, True])}
    whole = ask("normed", sources, **query)
    layout = weight_combinations._Layout(Mesh(np.array(jax.devices()[:1]), ("replica",)), per_device=3, vmapped=True, batch=2000)
    monkeypatch.setattr(weight_combinations, "_layout", lambda *of: layout)
    for part, scores in ask("normed", sources, **query).items():
        np.testing.assert_allclose(scores.loss, whole[part].loss, rtol=1e-5)


_ON_DEVICES = """
import sys
sys.path.insert(0, sys.argv[1])
import jax, numpy as np
from test_weight_combinations import ask, same, setting, weights_of
a, devices = np.linspace(0, 1, 5), jax.devices()
assert len(devices) == 2
for name in ("normed", "conv2"):
    sources = [weights_of(setting(name)[2], seed) for seed in range(2)]
    found = []
    for count in (1, 2):
        jax.devices = lambda: devices[:count]
        found.append(ask(name, sources, np.stack([a, 1 - a], 1), recompute=a < 0.8))
    same(*found)
"""


def test_training_examples_are_the_replicates_first_with_the_labels_it_learnt():
    task, dataset, network = setting("mlp")
    own = split(dataset, task.data, SEED)
    whole = ask("mlp", [weights_of(network, 0)], [[1]])
    few = ask("mlp", [weights_of(network, 0)], [[1]], train=9)
    np.testing.assert_array_equal(few["train"].targets, own.targets[own.train[:9]])
    assert (few["train"].targets != dataset.targets[own.train[:9]]).any()
    np.testing.assert_array_equal(few["train"].prediction, whole["train"].prediction[:, :9])
    same({"test": few["test"]}, whole)
    same(ask("mlp", [weights_of(network, 0)], [[1]], parts=("test",)), {"test": whole["test"]})


# -- batch norm --------------------------------------------------------------------------------------------------------


def renewed(name, weights, examples):
    """The weights with statistics over the first training examples: what a training pass adds, by batches of one size and a rest."""
    task, dataset, network = setting(name)
    if name == "normed":
        size, passed = 2000, lambda inputs: {"norm/mean": inputs.mean(0), "norm/var": inputs.var(0)}
    else:

        @jax.jit
        def training(inputs):
            return network.apply({path: np.float32(leaf) for path, leaf in weights.items()}, inputs, train=True)[1]

        size = 500
        passed = lambda inputs: {path: (new - 0.9 * weights[path]) / 0.1 for path, new in training(inputs).items()}  # noqa: E731
    seen = prepared(dataset, dataset.inputs[split(dataset, task.data, SEED).train[:examples]])
    batches = [seen[first : first + size] for first in range(0, len(seen), size)]
    found = [passed(batch) for batch in batches]
    mean = {path: np.average([one[path] for one in found], axis=0, weights=[len(batch) for batch in batches]) for path in found[0]}
    return {**weights, **mean}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "examples"), [("normed", 2060), ("resnet", 530)])
def test_statistics_are_those_of_the_first_training_examples_or_interpolated(name, examples, monkeypatch):
    monkeypatch.setattr(weight_combinations, "STATISTICS_EXAMPLES", examples)
    sources = [weights_of(setting(name)[2], seed) for seed in range(2)]
    scores = ask(name, sources, [[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]], recompute=np.array([True, False, True]))
    middle, late = mixed(sources, [0.5, 0.5]), mixed(sources, [0.9, 0.1])
    expected = (renewed(name, middle, examples), middle, renewed(name, late, examples))
    for part in scores:
        for point, weights in enumerate(expected):
            check_point(scores[part], point, *by_hand(name, weights, part))
        assert abs(scores[part].loss[0] - scores[part].loss[1]) > 1e-3


@pytest.mark.slow
def test_statistics_of_a_batch_are_what_training_adds_to_the_running_ones():
    _, dataset, network = setting("resnet")
    weights, inputs = weights_of(network, 0), prepared(dataset, dataset.inputs[:40])
    found = network.statistics(weights, inputs)
    assert equal(weights, weights_of(network, 0))  # what is given is not written to
    trained = network.apply(weights, inputs, train=True)[1]
    assert equal(weights, weights_of(network, 0))
    assert tuple(found) == network.running == tuple(path for path in network.shapes if path.endswith(("/mean", "/var")))
    for path in found:
        np.testing.assert_allclose(found[path], (trained[path] - 0.9 * weights[path]) / (1 - 0.9), rtol=1e-3, atol=1e-4)


def test_statistics_need_no_dropout():
    _, dataset, network = setting("normed")
    found = network.statistics(weights_of(network, 0), dataset.inputs[:40])
    np.testing.assert_allclose(found["norm/mean"], dataset.inputs[:40].mean(0), rtol=1e-4)
    np.testing.assert_allclose(found["norm/var"], dataset.inputs[:40].var(0), rtol=1e-4)


def test_without_batch_norm_there_is_nothing_to_renew():
    _, dataset, network = setting("mlp")
    sources = [weights_of(network, seed) for seed in range(2)]
    assert network.running == ()
    assert network.statistics(sources[0], dataset.inputs[:5]) == {}
    same(ask("mlp", sources, [[0.5, 0.5]], recompute=np.array([True])), ask("mlp", sources, [[0.5, 0.5]]))


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
def test_a_mixture_does_not_depend_on_the_number_of_devices():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-c", _ON_DEVICES, str(Path(__file__).parent)]
    subprocess.run(command, env=environment, check=True)
