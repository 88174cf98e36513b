"""Layers and blocks taken out of networks, and layers taken together."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.task import Model
from tombola.core.trees import equal
from tombola.models.build import build, removable
from tombola.models.custom import from_class
from tombola.models.groups import groups
from tombola.models.network import Network
from tombola.surgery.compact import compact_model

of = DataInfo.of_classes

IMAGES = (8, 8, 3)
DEEP = Model(name="resnet", options={"depth": 14, "width": 2})
MLP = Model(name="mlp", options={"widths": [4, 4, 4]})


def outputs(network: Network, weights, inputs):
    return np.asarray(jax.jit(partial(network.apply, train=False))(weights, inputs)[0])


def drawn(network: Network, seed: int = 0):
    """Weights of which none is as at initialisation: biases and running statistics too."""
    draw = np.random.default_rng(seed)
    return {path: draw.uniform(0.1, 1, leaf.shape).astype(leaf.dtype) for path, leaf in network.shapes.items()}


def images(count: int = 3, shape: tuple[int, ...] = IMAGES):
    return jnp.asarray(np.random.default_rng(1).normal(size=(count, *shape)), jnp.float32)


# What is left


def test_an_mlp_without_a_layer_is_the_smaller_mlp():
    less, small = (
        build(MLP.but(without=("hidden2",)), of((5,), 3)),
        build(Model(name="mlp", options={"widths": [4, 4]}), of((5,), 3)),
    )
    assert [layer.name for layer in less.layers] == ["hidden1", "hidden3", "output"]
    weights = drawn(less)
    moved = {path.replace("hidden3", "hidden2"): leaf for path, leaf in weights.items()}
    inputs = images(4, (5,))
    np.testing.assert_array_equal(outputs(less, weights, inputs), outputs(small, moved, inputs))
    assert outputs(less, weights, inputs).std() > 0


@pytest.mark.slow
def test_a_residual_network_without_a_block_is_what_stands_around_it():
    whole, less = build(DEEP, of(IMAGES, 5)), build(DEEP.but(without=("stage2/block2",)), of(IMAGES, 5))
    assert list(less.shapes) == [path for path in whole.shapes if not path.startswith("stage2/block2/")]
    weights = drawn(less)

    @jax.jit
    def by_hand(inputs):
        module = whole.factory(jax.random.key(0))
        for place, leaf in nnx.to_flat_state(nnx.state(module)):
            if (path := "/".join(map(str, place))) in weights:
                leaf.set_value(jnp.asarray(weights[path]))
        module.eval()
        hidden = module.stage1(jax.nn.relu(module.norm(module.conv(inputs))))
        return module.output(module.stage3(module.stage2.block1(hidden)).mean((1, 2)))

    np.testing.assert_allclose(outputs(less, weights, images()), by_hand(images()), rtol=1e-4)


def test_a_layer_takes_its_normalisation_along():
    whole, less = (
        build(DEEP, of(IMAGES, 5)),
        build(DEEP.but(without=("stage1/block1/conv1",)), of(IMAGES, 5)),
    )
    gone = {path for path in whole.shapes if path.startswith(("stage1/block1/conv1/", "stage1/block1/norm1/"))}
    assert len(gone) == 5
    assert list(less.shapes) == [path for path in whole.shapes if path not in gone]
    assert less.running == tuple(path for path in whole.running if path not in gone)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "shape", "without"),
    [
        (DEEP, IMAGES, ("stage1/block1", "stage2/block2/conv1")),
        (Model(name="mlp", options={"widths": [4, 4], "dropout": 0.5}, initializer="own"), (5,), ("hidden2",)),
    ],
)
def test_no_other_tensor_moves(model, shape, without):
    whole, less = (
        build(model, of(shape, 5)).init(3),
        build(model.but(without=without), of(shape, 5)).init(3),
    )
    assert less.keys() < whole.keys()
    assert equal({path: whole[path] for path in less}, less)


def test_the_order_of_names_says_nothing():
    names = ("hidden2", "hidden3")
    assert build(MLP.but(without=names), of((5,), 3)) is build(MLP.but(without=names[::-1]), of((5,), 3))
    assert MLP.but(without=names).digest not in (MLP.digest, MLP.but(without=names[:1]).digest)


# What is declared


def fed(model: Model, shape=IMAGES):
    return [(one.layer, one.outgoing.rpartition("/")[0]) for one in build(model, of(shape, 3)).units]


def test_feeds_are_joined_over_the_gap():
    assert fed(MLP, (5,)) == [("hidden1", "hidden2"), ("hidden2", "hidden3"), ("hidden3", "output")]
    assert fed(MLP.but(without=("hidden2",)), (5,)) == [("hidden1", "hidden3"), ("hidden3", "output")]
    assert fed(MLP.but(without=("hidden2", "hidden3")), (5,)) == [("hidden1", "output")]
    assert fed(MLP.but(without=("hidden1",)), (4,)) == [("hidden2", "hidden3"), ("hidden3", "output")]
    less = build(Model(name="conv2", options={"widths": [3, 3, 6, 6]}, without=("conv2",)), of(IMAGES, 3)).units
    assert (less[0].layer, less[0].outgoing, less[0].spread) == ("conv1", "hidden1/kernel", 16)


@pytest.mark.slow
def test_what_a_removed_part_alone_fed_or_was_fed_by_goes():
    whole = fed(DEEP)
    assert ("stage1/block1/conv1", "stage1/block1/conv2") in whole
    for name in ("stage1/block1", "stage1/block1/conv1", "stage1/block1/conv2"):
        assert fed(DEEP.but(without=(name,))) == [pair for pair in whole if not pair[0].startswith("stage1/block1")]


@pytest.mark.slow
def test_blocks_stay_blocks_where_one_of_their_layers_goes():
    whole = {layer.name: layer.block for layer in build(DEEP, of(IMAGES, 3)).layers}
    for name in removable(DEEP, of(IMAGES, 3)):
        less = {layer.name: layer.block for layer in build(DEEP.but(without=(name,)), of(IMAGES, 3)).layers}
        assert less == {layer: block for layer, block in whole.items() if not f"{layer}/".startswith(f"{name}/")}


# A user's networks


class Parts(nnx.Module):
    """Layers in containers, in one module of several, shared, tied, of another shape; weights of the network's own."""

    def __init__(self, shape, classes, *, rngs, blocks=()):
        def linear(inputs=4, outputs=4):
            return nnx.Linear(inputs, outputs, rngs=rngs)

        self.body = nnx.Sequential(linear(shape[0]), jax.nn.relu, linear())
        self.rows = nnx.List([linear(), linear()])
        self.named = nnx.Dict(one=linear())
        self.again = linear()
        self.other = self.again
        self.tied, self.twin = linear(), linear()
        self.twin.kernel = self.tied.kernel
        self.read = linear()
        self.unused = linear()
        self.mixed = Mixed(rngs)
        self.narrow, self.wide, self.side = linear(4, 1), linear(1, 4), linear()
        self.loose = nnx.Param(jnp.ones((4, 4)))
        self.output = linear(4, classes)
        if blocks:
            self.blocks = blocks

    def __call__(self, inputs):
        hidden = self.body(inputs)
        for row in self.rows:
            hidden = row(hidden)
        hidden = self.twin(self.tied(self.other(self.again(self.named["one"](hidden)))))
        hidden = self.mixed(self.read(hidden) + self.read.bias, scale=2.0)
        return self.output((self.side(hidden) + self.wide(self.narrow(hidden))) @ self.loose)


class Mixed(nnx.Module):
    def __init__(self, rngs):
        self.left = nnx.Param(rngs.params.normal((4, 4)))
        self.right = nnx.Param(rngs.params.normal((4, 4)))

    def __call__(self, hidden, scale):
        return scale * hidden @ self.left @ self.right


def test_a_users_parts_that_can_be_taken_out():
    found = removable(from_class(Parts), of((3,), 5))
    assert found == ("body/layers/2", "rows/0", "rows/1", "named/one", "again", "twin", "mixed", "side")
    assert "body/layers/0" in removable(from_class(Parts), of((4,), 5))


@pytest.mark.parametrize("name", ["body/layers/2", "rows/0", "rows/1", "named/one", "again", "twin", "mixed", "side"])
def test_what_is_taken_out_is_gone_wherever_it_was_used(name):
    model = from_class(Parts)
    whole, less = build(model, of((3,), 5)), build(model.but(without=(name,)), of((3,), 5))
    gone = {path for path in whole.shapes if path.startswith(f"{name}/")}
    assert gone
    assert list(less.shapes) == [path for path in whole.shapes if path not in gone]
    weights = drawn(whole)
    neutral = {path: np.eye(4, dtype=np.float32) if leaf.ndim == 2 else 0 * leaf for path, leaf in weights.items() if path in gone}
    if name == "mixed":
        neutral["mixed/left"] = neutral["mixed/left"] / 2
    if name == "twin":  # its kernel is the tied layer's
        neutral["tied/kernel"] = np.eye(4, dtype=np.float32)
    np.testing.assert_allclose(
        outputs(less, {**weights, **neutral}, images(2, (3,))), outputs(whole, {**weights, **neutral}, images(2, (3,))), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bdoy/layers/2", r"unknown layer or block in without 'bdoy/layers/2': did you mean 'body/layers/2'"),
        ("body", "unknown layer or block in without 'body'"),  # a container is no block unless the network says so
        ("body/layers/0", r"body/layers/0 takes \(2, 3\) and gives \(2, 4\) for 2 examples, so the identity cannot stand in its place"),
        ("wide", r"wide takes \(2, 1\) and gives \(2, 4\)"),  # broadcasting would hide it
        ("tied", "tied shares tied/kernel with twin/kernel"),
        ("read", "read is not only called, but asked for its bias"),
        ("unused", "unused is never called"),
        ("mixed/left", "mixed/left lies in one module with mixed/right"),
        ("loose", "weights of 'loose' lie in the network itself"),
        ("output", r"output takes \(2, 4\) and gives \(2, 5\)"),
    ],
)
def test_what_cannot_be_taken_out_is_one_line(name, words):
    with pytest.raises(TombolaError, match=words) as caught:
        build(from_class(Parts).but(without=(name,)), of((3,), 5))
    assert "\n" not in str(caught.value)


def test_a_name_that_comes_twice_is_an_error():
    for names in [("hidden2", "hidden2"), ("hidden2", "hidden3", "hidden2")]:
        with pytest.raises(TombolaError, match="'hidden2' is taken out twice"):
            build(MLP.but(without=names), of((5,), 3))
    with pytest.raises(TombolaError, match="'stage1/block1/conv1' is taken out twice"):
        build(DEEP.but(without=("stage1/block1/conv1", "stage1/block1")), of(IMAGES, 3))


def test_declared_blocks():
    model = from_class(Parts, blocks=("body", "rows"))
    found = removable(model, of((4,), 5))
    assert found[:5] == ("body", "body/layers/0", "body/layers/2", "rows/0", "rows/1")
    less = build(model.but(without=("body",)), of((4,), 5))
    assert [layer.name for layer in less.layers][:2] == ["rows/0", "rows/1"]
    with pytest.raises(TombolaError, match="weights of 'rows' lie in rows, which is no module that is called"):
        build(model.but(without=("rows",)), of((4,), 5))


class Strided(nnx.Module):
    """Averages pixels away, so that a lost stride would not show in the shape of the outputs."""

    def __init__(self, shape, classes, *, rngs):
        self.first = nnx.Conv(shape[2], shape[2], (3, 3), rngs=rngs)
        self.second = nnx.Conv(shape[2], shape[2], (3, 3), strides=2, rngs=rngs)
        self.output = nnx.Linear(shape[2], classes, rngs=rngs)

    def __call__(self, inputs):
        return self.output(self.second(self.first(inputs)).mean((1, 2)))


def test_a_stride_is_seen_where_only_the_outputs_have_the_same_shape():
    assert removable(from_class(Strided), of(IMAGES, 3)) == ("first",)
    with pytest.raises(TombolaError, match=r"second takes \(2, 8, 8, 3\) and gives \(2, 4, 4, 3\)"):
        build(from_class(Strided).but(without=("second",)), of(IMAGES, 3))


class Picky(nnx.Module):
    """Looks at the kind of one of its modules: nothing can be watched in the place of that."""

    def __init__(self, shape, classes, *, rngs):
        self.first = nnx.Linear(shape[0], shape[0], rngs=rngs)
        self.second = nnx.Linear(shape[0], shape[0], rngs=rngs)
        self.output = nnx.Linear(shape[0], classes, rngs=rngs)

    def __call__(self, inputs):
        if not isinstance(self.first, nnx.Linear):
            raise TypeError("first must be linear")
        return self.output(self.second(self.first(inputs)))


def test_a_part_that_bears_no_watching_does_not_hide_the_others():
    assert removable(from_class(Picky), of((4,), 3)) == ("second",)
    with pytest.raises(TombolaError, match=r"first is not only called \(TypeError: first must be linear\)"):
        build(from_class(Picky).but(without=("first",)), of((4,), 3))


class Tokens(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.table = nnx.Embed(classes, 4, rngs=rngs)
        self.hidden = nnx.Linear(4, 4, rngs=rngs)
        self.output = nnx.Linear(4, classes, rngs=rngs)

    def __call__(self, tokens):
        return self.output(self.hidden(self.table(tokens).mean(1)))


def test_networks_of_tokens():
    assert removable(from_class(Tokens), of((5,), 3, "int32")) == ("hidden",)


# The registered networks


@pytest.mark.slow
def test_what_can_be_taken_out_of_the_registered_networks():
    assert removable(MLP, of((5,), 3)) == ("hidden2", "hidden3")
    assert removable(MLP, of((4,), 4)) == ("hidden1", "hidden2", "hidden3")  # never the output
    assert removable(Model(name="conv2", options={"widths": [3, 3, 6, 6]}), of(IMAGES, 3)) == ("conv1", "conv2", "hidden2")
    assert removable(Model(name="vgg", options={"depth": 13, "width": 2}), of((16, 16, 3), 3)) == tuple(
        f"conv{i}" for i in (2, 4, 6, 8, 9, 10)
    )
    assert removable(DEEP, of(IMAGES, 3))[:6] == tuple(f"stage1/block{i}{part}" for i in (1, 2) for part in ("", "/conv1", "/conv2"))
    assert [name for name in removable(DEEP, of(IMAGES, 3)) if name.startswith("stage2/block1")] == ["stage2/block1/conv2"]
    assert removable(DEEP.but(without=("stage1/block1", "stage3/block2/conv1")), of(IMAGES, 3)) == tuple(
        name for name in removable(DEEP, of(IMAGES, 3)) if not name.startswith("stage1/block1") and name != "stage3/block2/conv1"
    )


# Groups


def test_groups_of_layers():
    layers = build(DEEP, of(IMAGES, 3)).layers

    def names(unit):
        return {name: tuple(layer.name for layer in group) for name, group in groups(layers, unit).items()}

    assert names("layer") == {layer.name: (layer.name,) for layer in layers}
    assert list(names("stage")) == ["conv", "stage1", "stage2", "stage3", "output"]
    assert names("stage")["stage1"] == tuple(f"stage1/block{i}/conv{j}" for i in (1, 2) for j in (1, 2))
    assert list(names("block"))[:3] == ["conv", "stage1/block1", "stage1/block2"]
    assert names("block")["stage2/block1"] == tuple(f"stage2/block1/{one}" for one in ("conv1", "conv2", "shortcut"))
    for unit in ("block", "stage"):
        assert sum(names(unit).values(), ()) == tuple(layer.name for layer in layers)


def test_groups_without_blocks_are_layers():
    layers = build(MLP, of((5,), 3)).layers
    assert list(groups(layers, "block")) == list(groups(layers, "stage")) == ["hidden1", "hidden2", "hidden3", "output"]
    lone = build(from_class(Parts), of((3,), 5)).layers
    assert {"named/one", "body", "rows", "mixed", "wide"} <= groups(lone, "stage").keys()


def test_an_unknown_unit_is_an_error():
    with pytest.raises(TombolaError, match=r"unknown unit 'blocks': did you mean 'block'\? one of block, layer, stage"):
        groups(build(MLP, of((5,), 3)).layers, "blocks")


def test_a_network_without_a_part_is_not_made_smaller():
    model = Model(name="mlp", options={"widths": [6, 6, 6]}, without=("hidden2",))
    weights = build(model, of((5,), 3)).init(0)
    with pytest.raises(TombolaError, match="without = hidden2: a network that parts were taken out of cannot be made smaller"):
        compact_model(model, of((5,), 3), weights)
