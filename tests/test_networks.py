"""Networks of users: what their modules hold, what computes their outputs, and what they are made of."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tombola import cli
from tombola.api.train import train
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.task import Data, Model, Recipe, Supermask, Task
from tombola.data.dataset import load
from tombola.evaluation.weight_combinations import WeightCombinations, evaluate
from tombola.models.build import build, removable
from tombola.models.custom import from_class
from tombola.models.masked import masked
from tombola.surgery.matching import match_units

DATA = DataInfo.of_classes((4,), 3)
X = jnp.asarray(np.random.default_rng(0).standard_normal((5, 4)), jnp.float32)


def network_of(factory, data=DATA, **options):
    return build(from_class(factory, **options), data)


def kinds(network):
    return {layer.name: layer.kind for layer in network.layers}


# Arrays that a module holds


class Holding(nnx.Module):
    """Constants as plain attributes, in a list and as a variable; fixed random features; a count of the steps."""

    def __init__(self, shape, classes, *, rngs):
        self.output = nnx.Linear(4, classes, rngs=rngs)
        self.causal = jnp.tril(jnp.ones((4, 4)))
        self.order = jnp.arange(4)[::-1]
        self.several, self.numpy = [jnp.arange(4)], np.arange(4)
        self.buffer = nnx.Variable(jnp.arange(4))
        self.features = jax.random.normal(rngs.params(), (4, 4))
        self.steps = nnx.Variable(jnp.zeros((), jnp.int32))

    def __call__(self, inputs):
        self.steps[...] = self.steps[...] + 1
        hidden = (inputs @ self.causal @ self.features)[:, self.order]
        return self.output(hidden[:, self.several[0]][:, self.numpy][:, self.buffer[...]])


def test_constants_are_no_leaves_and_what_a_key_or_training_changes_is():
    network = network_of(Holding)
    assert set(network.shapes) == {"output/kernel", "output/bias", "features", "steps"}
    assert (network.running, network.trainable) == (("steps",), {"output/kernel", "output/bias"})
    weights = network.init(3)
    assert not np.array_equal(weights["features"], network.init(4)["features"])
    hidden = (X @ np.tril(np.ones((4, 4))) @ weights["features"])[:, ::-1]
    outputs, changed = jax.jit(lambda tree: network.apply(tree, X, train=True))(weights)
    np.testing.assert_allclose(outputs, hidden @ weights["output/kernel"], rtol=1e-5)
    assert changed == {"steps": 1}
    gradient = jax.grad(lambda kernel: network.apply({**weights, "output/kernel": kernel}, X, train=False)[0].sum())
    assert np.isfinite(jax.vmap(gradient)(weights["output/kernel"][None])).all()
    scores = masked(network, Supermask(density=0.5))
    assert scores.apply(scores.init(0), X, train=False)[0].shape == (5, 3)


class Shuffled(nnx.Module):
    """Reads its inputs in a random order, which is an array of integers, and counts its steps."""

    def __init__(self, shape, classes, *, rngs):
        self.order, self.steps = jax.random.permutation(rngs.params(), 64), nnx.Variable(jnp.zeros((), jnp.int32))
        self.output = nnx.Linear(64, classes, rngs=rngs)

    def __call__(self, inputs):
        self.steps[...] = self.steps[...] + 1
        return self.output(inputs.reshape(len(inputs), -1)[:, self.order])


@pytest.mark.slow
def test_integers_train_and_stay_whole_on_a_path():
    task = Task(data=Data(name="digits"), model=from_class(Shuffled), recipe=Recipe(steps="5it", batch=8, learning_rate=0.1))
    run = train(task, keep=["2it"])
    before, after = ({path: leaf[0] for path, leaf in run.snapshots[step].items()} for step in (2, 5))
    assert (before["steps"], after["steps"]) == (2, 5)
    assert before["order"].tobytes() == after["order"].tobytes()
    assert sorted(after["order"]) == list(range(64))
    shares = np.array([[0.3, 0.7]])
    middle = {path: (0.3 * before[path] + 0.7 * after[path]).astype(np.float32) for path in before} | {"order": after["order"]}
    networks = WeightCombinations(0, (before, after), shares), WeightCombinations(0, (middle | {"steps": after["steps"]},), np.ones((1, 1)))
    mixed, by_hand = (evaluate(task, load(task.data), one, ("test",))["test"].loss for one in networks)
    np.testing.assert_allclose(mixed, by_hand, rtol=1e-5)


class Key(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.output, self.key = nnx.Linear(4, classes, rngs=rngs), rngs.params()

    def __call__(self, inputs):
        return self.output(inputs)


class Closed(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        scale = jnp.ones(4)
        self.output, self.scale = nnx.Linear(4, classes, rngs=rngs), lambda inputs: inputs * scale

    def __call__(self, inputs):
        return self.output(self.scale(inputs))


class HalfWeights(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.output = nnx.Linear(4, classes, param_dtype=jnp.bfloat16, rngs=rngs)

    def __call__(self, inputs):
        return self.output(inputs)


class Two(Key):
    def __init__(self, shape, classes, *, rngs):
        self.output = nnx.Linear(4, classes, rngs=rngs)

    def __call__(self, inputs):
        return self.output(inputs), 1


@pytest.mark.parametrize(
    ("factory", "words"),
    [
        (Key, "holds a key at 'key'; hold random streams instead"),
        (Closed, "a function holds an array that the constructor makes; hold it as an attribute"),
        (HalfWeights, r"'output/bias' are bfloat16, but weights train in float32; leave `param_dtype` out"),
        (Two, r"returns tuple for 2 examples, but it must return logits, \(2, 3\)"),
    ],
)
def test_what_cannot_work_is_one_line(factory, words):
    with pytest.raises(TombolaError, match=words):
        network_of(factory)


class Half(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.output = nnx.Linear(4, classes, dtype=jnp.bfloat16, rngs=rngs)

    def __call__(self, inputs):
        return self.output(inputs)


def test_outputs_that_are_computed_in_half_precision_are_float32():
    network = network_of(Half)
    outputs, _ = network.apply(weights := network.init(0), X, train=True)
    assert outputs.dtype == jnp.float32
    np.testing.assert_allclose(outputs, X @ weights["output/kernel"], atol=0.05)
    assert np.array_equal(outputs, outputs.astype(jnp.bfloat16).astype(jnp.float32))


# What computes the outputs


class DeclaredFirst(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.output = nnx.Linear(6, classes, rngs=rngs)
        self.hidden = nnx.Linear(4, 6, rngs=rngs)

    def __call__(self, inputs):
        return self.output(jax.nn.relu(self.hidden(inputs)))


class Residual(nnx.Module):
    """Its last layer adds to a stream that earlier ones reach, too."""

    def __init__(self, shape, classes, *, rngs):
        self.last = nnx.Linear(classes, classes, rngs=rngs)
        self.first = nnx.Linear(4, classes, rngs=rngs)
        self.offset = nnx.Param(jnp.zeros((1, classes)))

    def __call__(self, inputs):
        stream = self.first(inputs)
        return stream + self.last(jax.checkpoint(jax.nn.relu)(stream)) + self.offset


class Heads(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.body, self.one, self.two = (nnx.Linear(4, n, rngs=rngs) for n in (4, 1, classes - 1))

    def __call__(self, inputs):
        hidden = self.body(inputs)
        return jnp.concatenate([self.one(hidden), self.two(hidden)], -1)


class Convolutional(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.stem, self.head = nnx.Conv(1, 2, (3,), rngs=rngs), nnx.Conv(2, classes, (1,), rngs=rngs)

    def __call__(self, inputs):
        return self.head(self.stem(inputs[..., None])).mean(1)


class TiedTokens(nnx.Module):
    def __init__(self, data, *, rngs):
        self.table = nnx.Embed(data.vocabulary, 4, rngs=rngs)
        self.hidden = nnx.Linear(4, 4, rngs=rngs)

    def __call__(self, tokens):
        return self.table.attend(self.hidden(self.table(tokens).mean(1)))


class Recurrent(nnx.Module):
    """The loop's kernels are used one after the other; that of the outputs stands after it."""

    def __init__(self, shape, classes, *, rngs):
        self.output, self.step = nnx.Linear(4, classes, rngs=rngs), nnx.Param(jax.random.normal(rngs.params(), (4, 4)))

    def __call__(self, inputs):
        return self.output(jax.lax.scan(lambda h, _: (jnp.tanh(h @ self.step[...]), None), inputs, length=3)[0])


TOKENS = DataInfo((5,), (7,), "int32", 7, vocabulary=7)


@pytest.mark.parametrize(
    ("factory", "data", "found"),
    [
        (DeclaredFirst, DATA, {"hidden": "dense", "output": "output"}),
        (Residual, DATA, {"first": "dense", "offset": "dense", "last": "output"}),
        (Heads, DATA, {"body": "dense", "one": "output", "two": "output"}),
        (Convolutional, DATA, {"stem": "conv", "head": "output"}),
        (TiedTokens, TOKENS, {"table": "output", "hidden": "dense"}),
        (Recurrent, DATA, {"step": "dense", "output": "output"}),
    ],
)
def test_the_output_layer_is_the_one_that_computes_the_outputs(factory, data, found):
    network = network_of(factory, data)
    assert list(kinds(network).items()) == list(found.items())  # declared first, it comes last
    assert network.convolutional == (factory is Convolutional)


def test_no_output_layer_is_removable():
    assert removable(from_class(TiedTokens), TOKENS) == ("hidden",)
    assert removable(from_class(Residual), DATA) == ()


# Kinds that a module sets


class Named(DeclaredFirst):
    def __init__(self, shape, classes, *, rngs, kinds=None):
        super().__init__(shape, classes, rngs=rngs)
        self.kinds = kinds


def test_a_module_sets_the_kinds_of_its_layers():
    assert kinds(network_of(Named, kinds={"hidden": "shortcut"})) == {"hidden": "shortcut", "output": "output"}
    assert kinds(network_of(Named, kinds={"hidden": "output"})) == {"hidden": "output", "output": "dense"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hiden": "dense"}, "layer in kinds 'hiden'.*hidden"),
        ({"hidden": "linear"}, "kind of layer 'linear'.*dense"),
        ("output", "kinds = 'output', but it must be a dict"),
    ],
)
def test_wrong_kinds_are_one_line(given, words):
    with pytest.raises(TombolaError, match=words):
        network_of(Named, kinds=given)


def test_show_says_the_kinds_of_layers(capsys):
    shown = ["show", "frankle2019.sparsity", "--scale", "smoke", "--task", "digits-mlp"]
    assert cli.main(shown) == 0
    assert ["output", "output", "500"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    assert cli.main([*shown, "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert layers[0] == {"name": "hidden1", "kind": "dense", "prunable": 6400}


# Descriptions of data


class Described(nnx.Module):
    def __init__(self, about: DataInfo, *, rngs, units: int = 3):
        self.about = about
        self.output = nnx.Linear(about.shape[0], about.outputs[0], rngs=rngs)

    def __call__(self, inputs):
        return self.output(inputs)


def test_a_factory_may_take_the_description_of_the_data():
    assert network_of(Described, units=5).shapes["output/kernel"].shape == (4, 3)
    with pytest.raises(TombolaError, match=r"option of .*'unit'.*units"):
        network_of(Described, unit=5)


def test_tokens_are_integers():
    network = network_of(TiedTokens, TOKENS)
    assert network.apply(network.init(0), jnp.zeros((2, 5), jnp.int32), train=False)[0].shape == (2, 7)
    with pytest.raises(
        TombolaError,
        match=r"does not work on examples of shape \(5,\), float32: .*integer.*; if they are tokens, .*vocabulary=N in the .npz",
    ):
        network_of(TiedTokens, DataInfo((5,), (7,), "float32", 7, vocabulary=7))


@pytest.mark.parametrize("outputs", [(), (1,), (2, 3), (4,)])
def test_networks_give_outputs_of_any_shape(outputs):
    network = build(Model(name="mlp", options={"widths": [5]}), DataInfo((4,), outputs))
    given, _ = network.apply(weights := network.init(0), X, train=False)
    assert given.shape == (5, *outputs)
    hidden = jax.nn.relu(X @ weights["hidden1/kernel"] + weights["hidden1/bias"])
    np.testing.assert_allclose(given.reshape(5, -1), hidden @ weights["output/kernel"] + weights["output/bias"], rtol=1e-5)


# Units whose order changes what the network computes


class Grouped(nnx.Module):
    feeds = (("hidden", "output"),)

    def __init__(self, shape, classes, *, rngs, groups: int = 2):
        self.hidden, self.norm = nnx.Linear(4, 8, rngs=rngs), nnx.GroupNorm(8, num_groups=groups, rngs=rngs)
        self.output = nnx.Linear(8, classes, rngs=rngs)

    def __call__(self, inputs):
        return self.output(jax.nn.relu(self.norm(self.hidden(inputs))))


def test_matching_through_a_grouped_normalisation_is_refused():
    network = network_of(Grouped, initializer="kaiming_normal")
    with pytest.raises(TombolaError, match="other outputs; its `feeds` must name only"):
        match_units(network, network.init(0), network.init(1))
    whole = network_of(Grouped, groups=1, initializer="kaiming_normal")  # one group mixes all units alike
    assert sorted(match_units(whole, whole.init(0), whole.init(1))["hidden"]) == list(range(8))


# Batch norm


@pytest.mark.slow
def test_the_scale_of_batch_norm_is_1_or_uniform():
    data = DataInfo.of_classes((8, 8, 3), 10)
    for options in ({"name": "vgg", "options": {"depth": 11, "width": 16}}, {"name": "resnet", "options": {"depth": 8, "width": 16}}):
        if options["name"] == "vgg":
            data = DataInfo.of_classes((16, 16, 3), 10)
        ones = build(Model(**options), data).init(0)
        drawn = build(Model(name=options["name"], options=options["options"] | {"norm": "uniform"}), data).init(0)
        assert ones.keys() == drawn.keys()
        for path, leaf in ones.items():
            if path.endswith("/scale"):
                assert (leaf == 1).all()
                assert (drawn[path] >= 0).all()
                assert (drawn[path] < 1).all()
                assert len(np.unique(drawn[path])) > 8
            else:
                assert np.array_equal(leaf, drawn[path])
