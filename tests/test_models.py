import math
import sys
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.parts import models
from tombola.core.task import Model
from tombola.core.trees import equal, replica, stack
from tombola.models.build import build
from tombola.models.custom import from_class
from tombola.models.initializers import fans, initializers, std
from tombola.models.network import Network
from tombola.models.parts import max_pool
from tombola.models.program import QUICK
from tombola.models.tasks import task

CIFAR = (32, 32, 3)
TINY = Model(name="resnet", options={"depth": 8, "width": 2})
KEY = jax.random.key(0)


@cache
def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(jax.jit(initializers[name], static_argnums=1, compiler_options=QUICK)(KEY, shape))


def network(name: str, shape: tuple[int, ...] = CIFAR, classes: int = 10, **options) -> Network:
    return build(Model(name=name, options=options), DataInfo.of_classes(shape, classes))


def count(net: Network, *kinds: str) -> int:
    layers = [layer for layer in net.layers if not kinds or layer.kind in kinds]
    return sum(math.prod(net.shapes[path].shape) for layer in layers for path in layer.prunable)


def parameters(net: Network) -> int:
    return sum(math.prod(net.shapes[path].shape) for path in net.trainable)


# Sizes


@pytest.mark.parametrize(
    ("net", "prunable", "conv"),
    [
        (("mlp", (784,), 10), 266_200, 0),
        (("conv2",), 4_300_992, 38_592),
        (("conv4",), 2_425_024, 259_776),
        (("conv6",), 2_261_184, 1_144_512),
        (("resnet",), 270_896, 267_696),
        (("vgg",), 20_018_880 + 5_120, 20_018_880),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_prunable_weights_of_the_papers(net, prunable, conv):
    built = network(*net)
    assert (count(built), count(built, "conv")) == (prunable, conv)
    assert built.convolutional == (conv > 0)


@pytest.mark.slow
def test_imagenet_resnets_have_the_published_number_of_parameters():
    assert parameters(network("deep_resnet", (224, 224, 3), 1000, depth=18)) == 11_689_512
    assert parameters(network("deep_resnet", (224, 224, 3), 1000, depth=50)) == 25_557_032


@pytest.mark.slow
def test_small_images_get_a_small_first_convolution():
    assert network("deep_resnet", depth=18, width=4).shapes["conv/kernel"].shape == (3, 3, 3, 4)
    assert network("deep_resnet", (64, 64, 3), depth=18, width=4).shapes["conv/kernel"].shape == (7, 7, 3, 4)


def test_convolutions_have_a_bias_exactly_where_no_batch_norm_follows():
    assert "conv1/bias" in network("conv2").shapes
    assert "conv1/bias" not in network("vgg", width=4).shapes
    bare = network("vgg", depth=11, width=4, norm=False).shapes
    assert "conv8/bias" in bare
    assert not any("norm" in path for path in bare)
    assert "stage1/block1/conv1/bias" not in build(TINY, DataInfo.of_classes(CIFAR, 10)).shapes
    plain = network("resnet", depth=8, width=2, norm=False).shapes
    assert "stage1/block1/conv1/bias" in plain
    assert not any(path.endswith("/mean") for path in plain)


# Layers


def test_every_leaf_is_in_exactly_one_layer():
    for net in (network("mlp", (64,)), network("conv2", dropout=0.5), build(TINY, DataInfo.of_classes(CIFAR, 10)), network("vgg", width=4)):
        paths = [path for layer in net.layers for path in layer.paths]
        assert paths == list(net.shapes)
        assert len(set(paths)) == len(paths)
        assert net.prunable == tuple(path for path in net.shapes if path.endswith("kernel"))


def test_layers_of_lenet():
    net = network("mlp", (784,))
    assert [(layer.name, layer.kind, layer.block) for layer in net.layers] == [
        ("hidden1", "dense", "hidden1"),
        ("hidden2", "dense", "hidden2"),
        ("output", "output", "output"),
    ]
    assert net.layers[0].paths == ("hidden1/kernel", "hidden1/bias")
    assert {path: tuple(leaf.shape) for path, leaf in net.shapes.items()}["hidden2/kernel"] == (300, 100)


def test_layers_of_conv4():
    net = network("conv4")
    kinds = [layer.kind for layer in net.layers]
    assert kinds == ["conv"] * 4 + ["dense"] * 2 + ["output"]
    assert [layer.name for layer in net.layers] == ["conv1", "conv2", "conv3", "conv4", "hidden1", "hidden2", "output"]
    assert all(layer.block == layer.name for layer in net.layers)


def test_layers_of_a_residual_network():
    by_name = {layer.name: layer for layer in build(TINY, DataInfo.of_classes(CIFAR, 10)).layers}
    assert list(by_name) == [
        "conv",
        *("stage1/block1/conv1", "stage1/block1/conv2"),
        *("stage2/block1/conv1", "stage2/block1/conv2", "stage2/block1/shortcut"),
        *("stage3/block1/conv1", "stage3/block1/conv2", "stage3/block1/shortcut"),
        "output",
    ]
    shortcut = by_name["stage2/block1/shortcut"]
    assert (shortcut.kind, shortcut.block) == ("shortcut", "stage2/block1")
    assert set(shortcut.paths) == {shortcut.name + "/kernel"} | {
        f"stage2/block1/shortcut_norm/{leaf}" for leaf in ("scale", "bias", "mean", "var")
    }
    assert (by_name["conv"].block, by_name["output"].block) == ("conv", "output")
    assert by_name["stage3/block1/conv2"].kind == "conv"


def test_trainable_leaves_are_all_but_running_statistics():
    net = build(TINY, DataInfo.of_classes(CIFAR, 10))
    assert net.shapes.keys() - net.trainable == {path for path in net.shapes if path.endswith(("/mean", "/var"))}


class Mixed(nnx.Module):
    """Layers in a list, a norm before the first, matrices of its own, two blocks, a lone wrapped layer."""

    def __init__(self, shape, classes, *, rngs, units: int = 6):
        self.before = nnx.LayerNorm(shape[0], rngs=rngs)
        self.zeta = nnx.List([nnx.Linear(shape[0], units, rngs=rngs), nnx.Linear(units, units, rngs=rngs)])
        self.alpha = Pair(units, rngs)
        self.wrapped = Wrapped(units, rngs)
        self.matrix = nnx.Param(jax.random.normal(rngs.params(), (units, units)))
        self.offset = nnx.Param(jax.random.normal(rngs.params(), (units,)))
        self.attention = nnx.MultiHeadAttention(2, units, decode=False, rngs=rngs)
        self.head = nnx.Linear(units, classes, rngs=rngs)

    def __call__(self, inputs):
        hidden = self.before(inputs)
        for layer in self.zeta:
            hidden = layer(hidden)
        hidden = self.wrapped(self.alpha(hidden)) @ self.matrix + self.offset
        return self.head(self.attention(hidden[:, None])[:, 0])


class Pair(nnx.Module):
    def __init__(self, units, rngs):
        self.one = nnx.Linear(units, units, rngs=rngs)
        self.two = Wrapped(units, rngs)

    def __call__(self, hidden):
        return hidden + self.two(self.one(hidden))


class Wrapped(nnx.Module):
    def __init__(self, units, rngs):
        self.linear = nnx.Linear(units, units, rngs=rngs)

    def __call__(self, hidden):
        return self.linear(hidden)


def test_layers_and_blocks_of_a_users_module():
    net = build(from_class(Mixed), DataInfo.of_classes((4,), 3))
    assert [(layer.name, layer.kind, layer.block) for layer in net.layers] == [
        ("zeta/0", "dense", "zeta/0"),
        ("zeta/1", "dense", "zeta/1"),
        ("alpha/one", "dense", "alpha"),
        ("alpha/two/linear", "dense", "alpha"),
        ("wrapped/linear", "dense", "wrapped/linear"),
        ("matrix", "dense", "matrix"),
        *((f"attention/{name}", "dense", "attention") for name in ("query", "key", "value", "out")),
        ("head", "output", "head"),
    ]
    assert set(net.layers[0].paths) == {"zeta/0/kernel", "zeta/0/bias", "before/scale", "before/bias"}
    assert net.layers[5].paths == ("matrix", "offset")
    assert net.prunable[5] == "matrix"


class Declared(Mixed):
    blocks = ("zeta", "alpha/two")


def test_a_module_may_name_its_blocks():
    blocks = {layer.name: layer.block for layer in build(from_class(Declared), DataInfo.of_classes((4,), 3)).layers}
    assert (blocks["zeta/0"], blocks["zeta/1"], blocks["alpha/two/linear"]) == ("zeta", "zeta", "alpha/two")
    assert (blocks["alpha/one"], blocks["attention/key"]) == ("alpha/one", "attention/key")


class Tied(nnx.Module):
    """Token embedding, whose table is the output layer too."""

    def __init__(self, shape, classes, *, rngs):
        self.table = nnx.Embed(classes, 4, rngs=rngs)
        self.again = self.table

    def __call__(self, tokens):
        return self.again.attend(self.table(tokens).mean(1))


def test_shared_weights_are_one_layer():
    net = build(from_class(Tied), DataInfo.of_classes((5,), 7, "int32"))
    (layer,) = net.layers
    assert (layer.kind, layer.prunable) == ("output", tuple(net.shapes))  # it computes the logits


class Normed(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.norm = nnx.BatchNorm(shape[0], momentum=0.9, rngs=rngs)
        self.output = nnx.Linear(shape[0], classes, rngs=rngs)

    def __call__(self, inputs):
        return self.output(self.norm(inputs))


class Plain(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.output = nnx.Linear(2, classes, rngs=rngs)

    def __call__(self, inputs):
        return self.output(inputs)


class Dropped(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.one = nnx.Dropout(0.5, rngs=rngs)
        self.two = nnx.Dropout(0.5, rngs=rngs)
        self.output = nnx.Linear(2, classes, rngs=rngs)

    def __call__(self, inputs):
        twice = jnp.stack([self.one(inputs).sum(-1), self.two(inputs).sum(-1)], -1)
        return self.output(twice)


# Initialisation


@pytest.mark.parametrize("name", list(initializers))
@pytest.mark.parametrize("shape", [(200, 100), (3, 3, 20, 50)])
def test_draws_have_the_standard_deviation_of_the_formula(name, shape):
    draw = drawn(name, shape)
    assert draw.shape == shape
    assert draw.dtype == np.float32
    assert np.sqrt(np.mean(draw**2)) == pytest.approx(std(initializers[name], shape), rel=0.03)
    assert abs(draw.mean()) < 0.05 * draw.std()


def test_standard_deviations_by_hand():
    expected = {
        "glorot_normal": math.sqrt(2 / 400),
        "glorot_uniform": math.sqrt(2 / 400),
        "kaiming_normal": math.sqrt(2 / 300),
        "kaiming_uniform": math.sqrt(2 / 300),
        "lecun_normal": math.sqrt(1 / 300),
        "orthogonal": math.sqrt(1 / 300),
        "signed_constant": math.sqrt(2 / 400),
    }
    assert {name: std(initializers[name], (300, 100)) for name in expected} == expected
    assert fans((3, 3, 64, 128)) == (576, 1152)


def test_bounds():
    shape = (200, 100)
    sigma = std(initializers["glorot_normal"], shape)
    truncated = np.abs(drawn("glorot_normal", shape)).max()
    assert 0.98 * 2 * sigma / 0.87962566 < truncated <= 2 * sigma / 0.87962566 * (1 + 1e-6)
    uniform = np.abs(drawn("glorot_uniform", shape)).max()
    assert 0.99 * math.sqrt(3) * sigma < uniform <= math.sqrt(3) * sigma * (1 + 1e-6)
    normal = np.abs(drawn("kaiming_normal", shape)).max()
    assert normal > 3 * math.sqrt(2 / 200)


def test_orthogonal_columns_are_orthonormal():
    matrix = drawn("orthogonal", (3, 3, 20, 50)).reshape(180, 50)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(50), atol=1e-5)


def test_signed_constant_has_two_values_and_the_signs_of_glorot():
    constant, normal = drawn("signed_constant", (200, 100)), drawn("glorot_normal", (200, 100))
    assert np.unique(constant) == pytest.approx([-math.sqrt(2 / 300), math.sqrt(2 / 300)])
    np.testing.assert_array_equal(np.sign(normal), np.sign(constant))


def test_init_is_a_function_of_seed_and_stream():
    net = network("mlp", (8,), widths=[5])
    assert equal(net.init(0), net.init(0))
    for other in (net.init(1), net.init(0, "reinit")):
        assert all((net.init(0)[path] != other[path]).any() for path in net.prunable)
    assert not any(net.init(0)[path].any() for path in net.shapes if path.endswith("bias"))
    assert {path: (leaf.shape, leaf.dtype) for path, leaf in net.init(0).items()} == {
        path: (leaf.shape, leaf.dtype) for path, leaf in net.shapes.items()
    }


@pytest.mark.parametrize("initializer", ["glorot_normal", "own"])
def test_init_tensor_redraws_one_tensor_bit_for_bit(initializer):
    net = build(Model(name="mlp", options={"widths": [5]}, initializer=initializer), DataInfo.of_classes((8,), 10))
    weights = net.init(3, "reinit")
    assert equal({path: net.init_tensor(path, 3, "reinit") for path in net.shapes}, weights)


def test_adding_layers_moves_no_other_tensor():
    short, long = network("mlp", (8,), widths=[5, 5]).init(0), network("mlp", (8,), widths=[5, 5, 5]).init(0)
    assert "hidden3/kernel" not in short
    assert equal({path: long[path] for path in short}, short)
    plain, dropped = (build(from_class(net, initializer="own"), DataInfo.of_classes((2,), 3)) for net in (Plain, Dropped))
    np.testing.assert_array_equal(*(net.init_tensor("output/kernel", 0, "init") for net in (plain, dropped)))


def test_tensors_of_one_shape_differ():
    weights = network("mlp", (8,), widths=[5, 5, 5]).init(0)
    assert (weights["hidden2/kernel"] != weights["hidden3/kernel"]).any()


def test_kernels_are_drawn_by_the_named_initializer():
    net = build(Model(name="mlp", options={"widths": [5]}, initializer="signed_constant"), DataInfo.of_classes((8,), 3))
    assert np.unique(np.abs(net.init(0)["hidden1/kernel"])) == pytest.approx(net.std("hidden1/kernel"))
    assert net.std("hidden1/kernel") == pytest.approx(math.sqrt(2 / 13))
    assert net.std("hidden1/bias") == 0


def test_own_initializer_is_the_modules():
    net = build(Model(name="mlp", options={"widths": [100]}, initializer="own"), DataInfo.of_classes((400,), 3))
    kernel = net.init(0)["hidden1/kernel"]
    assert kernel.std() == pytest.approx(math.sqrt(1 / 400), rel=0.02)  # Flax draws Lecun normal
    assert np.abs(kernel).max() <= 2 * math.sqrt(1 / 400) / 0.87962566 * (1 + 1e-6)
    assert net.std("hidden1/kernel") == pytest.approx(math.sqrt(1 / 400), rel=0.02)
    assert (kernel != net.init(1)["hidden1/kernel"]).any()


def test_what_no_named_initializer_draws_is_the_modules_with_a_key_of_its_own():
    net = build(from_class(Mixed, initializer="glorot_normal"), DataInfo.of_classes((4,), 3))
    weights, other = net.init(0), net.init(1)
    assert weights["before/scale"].tolist() == [1.0] * 4
    assert (weights["offset"] != other["offset"]).any()
    assert net.std("offset") > 0
    # A kernel (6, 2, 3) of an attention is a 6 x 6 matrix: its fans are 6 and 6.
    assert net.shapes["attention/query/kernel"].shape == (6, 2, 3)
    assert net.std("attention/query/kernel") == pytest.approx(math.sqrt(2 / 12))


def test_batch_norm_begins_as_the_identity():
    weights = build(from_class(Normed), DataInfo.of_classes((2,), 3)).init(0)
    assert {path: leaf.tolist() for path, leaf in weights.items() if path.startswith("norm/")} == {
        "norm/scale": [1, 1],
        "norm/bias": [0, 0],
        "norm/mean": [0, 0],
        "norm/var": [1, 1],
    }


# Application


def test_apply_computes_the_network():
    net = network("mlp", (8,), widths=[5])
    weights = {path: leaf + np.float32(0.1) for path, leaf in net.init(0).items()}
    inputs = np.arange(16, dtype=np.float32).reshape(2, 8) / 16
    hidden = np.maximum(inputs @ weights["hidden1/kernel"] + weights["hidden1/bias"], 0)
    logits, changed = net.apply(weights, inputs, train=True)
    np.testing.assert_allclose(logits, hidden @ weights["output/kernel"] + weights["output/bias"], rtol=1e-5, atol=1e-6)
    assert changed == {}


def test_apply_under_jit_grad_vmap_and_loops():
    net = network("mlp", (8,), widths=[5])
    stacked = stack([net.init(seed) for seed in range(3)])
    inputs = np.ones((5, 8), np.float32)

    def loss(weights):
        return net.apply(weights, inputs, train=True)[0].mean()

    def descend(weights):
        return jax.lax.fori_loop(0, 2, lambda _, now: jax.tree.map(lambda w, g: w - g, now, jax.grad(loss)(now)), weights)

    gradient = jax.jit(jax.grad(loss))
    together = jax.jit(jax.vmap(descend))(stacked)
    for index in range(3):
        alone = replica(stacked, index)
        for _ in range(2):
            alone = {path: alone[path] - np.asarray(change) for path, change in gradient(alone).items()}
        for path in net.shapes:
            np.testing.assert_allclose(together[path][index], alone[path], rtol=1e-4, atol=1e-6)
            assert (together[path][index] != stacked[path][index]).any()


def test_batch_norm_statistics_change_in_training_only():
    net = build(from_class(Normed), DataInfo.of_classes((2,), 3))
    weights = net.init(0)
    inputs = jnp.array([[0.0, 2.0], [4.0, 2.0]])  # mean (2, 2), variance (4, 0)
    trained, changed = jax.jit(partial(net.apply, train=True))(weights, inputs)
    assert changed.keys() == net.shapes.keys() - net.trainable
    np.testing.assert_allclose(changed["norm/mean"], [0.2, 0.2], rtol=1e-5)
    np.testing.assert_allclose(changed["norm/var"], [0.9 + 0.4, 0.9], rtol=1e-5)
    evaluated, unchanged = jax.jit(partial(net.apply, train=False))(weights, inputs)
    assert unchanged == {}
    np.testing.assert_allclose(evaluated, inputs / np.sqrt(1 + 1e-5) @ weights["output/kernel"], rtol=1e-4)
    np.testing.assert_allclose(trained, jnp.array([[-1.0, 0], [1, 0]]) @ weights["output/kernel"], rtol=1e-3, atol=1e-6)


def test_running_statistics_have_the_momentum_of_the_papers():
    net = build(TINY, DataInfo.of_classes((8, 8, 3), 10))
    ones = {path: np.ones(leaf.shape, leaf.dtype) for path, leaf in net.shapes.items()}
    _, changed = jax.jit(partial(net.apply, train=True))(ones, jnp.zeros((4, 8, 8, 3)))
    np.testing.assert_allclose(changed["norm/var"], 0.9, rtol=1e-6)  # of a constant batch, variance 0


def test_dropout_follows_its_key_and_is_off_in_evaluation():
    net = build(from_class(Dropped), DataInfo.of_classes((100,), 2))
    assert net.stochastic
    assert not network("conv2", (4, 4, 1), width=2).stochastic
    weights = {"output/kernel": jnp.eye(2), "output/bias": jnp.zeros(2)}
    inputs = jnp.ones((3, 100))
    apply = jax.jit(partial(net.apply, train=True))
    kept, changed = apply(weights, inputs, dropout_key=jax.random.key(1))
    assert changed == {}
    np.testing.assert_array_equal(kept, apply(weights, inputs, dropout_key=jax.random.key(1))[0])
    assert (kept != apply(weights, inputs, dropout_key=jax.random.key(2))[0]).any()
    assert (kept[:, 0] != kept[:, 1]).any(), "two dropout modules must not draw the same units"
    assert 140 / 2 < float(kept.mean()) < 260 / 2
    np.testing.assert_array_equal(net.apply(weights, inputs, train=False)[0], np.full((3, 2), 100.0))
    with pytest.raises(TombolaError, match="needs a dropout_key"):
        net.apply(weights, inputs, train=True)


def test_dropout_under_vmap_draws_for_each_replica():
    net = build(from_class(Dropped), DataInfo.of_classes((100,), 2))
    weights = {"output/kernel": jnp.eye(2), "output/bias": jnp.zeros(2)}
    apply = jax.jit(lambda key: net.apply(weights, jnp.ones((3, 100)), train=True, dropout_key=key)[0])
    keys = jax.random.split(KEY, 2)
    together = jax.vmap(apply)(keys)
    for index, key in enumerate(keys):
        np.testing.assert_array_equal(together[index], apply(key))


def test_conv2_drops_hidden_units():
    net = network("conv2", (4, 4, 1), width=2, dropout=0.5)
    ones = {path: np.ones(leaf.shape, leaf.dtype) for path, leaf in net.shapes.items()}
    apply = jax.jit(lambda key: net.apply(ones, jnp.ones((200, 4, 4, 1)), train=True, dropout_key=key)[0])
    assert (apply(jax.random.key(0)) != apply(jax.random.key(1))).any()
    # Of 8 + 8 equal units k1 and k2 are kept: 9 values of the logits if only one of the layers dropped any, more if both do.
    assert len(np.unique(apply(KEY))) > 9


@pytest.mark.parametrize(("size", "window", "stride", "padding"), [(7, 2, 2, 0), (8, 3, 2, 1)])
def test_max_pool_equals_that_of_flax(size, window, stride, padding):
    draw = np.random.default_rng(0)
    images = draw.normal(size=(2, size, size, 3)).astype(np.float32)
    weight = draw.normal(size=(2, size // 2, size // 2, 3)).astype(np.float32)
    pad = ((padding, padding), (padding, padding))

    def flax(images):
        return nnx.max_pool(images, (window, window), (stride, stride), pad)

    def ours(images):
        return max_pool(images, window, stride, padding)

    def value_and_gradient(pool):
        return pool(images), jax.grad(lambda images: (pool(images) * weight).sum())(images)

    value, gradient = jax.jit(value_and_gradient, static_argnums=0)(ours)
    expected, expected_gradient = jax.jit(value_and_gradient, static_argnums=0)(flax)
    np.testing.assert_array_equal(value, expected)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [("conv6", {"width": 2}), ("vgg", {"width": 2, "depth": 11}), ("resnet", {"width": 2, "depth": 14, "norm": False})],
)
def test_every_network_returns_logits_for_odd_images(name, options):
    net = network(name, (28, 28, 1), 5, **options)
    logits = jax.eval_shape(partial(net.apply, train=False), net.shapes, jax.ShapeDtypeStruct((3, 28, 28, 1), jnp.float32))[0]
    assert logits.shape == (3, 5)


# Descriptions


def test_equal_models_are_the_identical_network():
    assert network("mlp", (8,), widths=[5]) is network("mlp", (8,), widths=(5,))
    assert network("mlp", (8,), widths=[5]) is not network("mlp", (8,), widths=[6])
    assert network("mlp", (8,), widths=[5]) is not network("mlp", (9,), widths=[5])


@pytest.mark.parametrize(
    ("name", "options", "shape", "message"),
    [
        ("nlp", {}, (8,), "unknown model 'nlp': did you mean 'mlp'"),
        ("mlp", {"width": [3]}, (8,), "unknown option of mlp 'width': did you mean 'widths'"),
        ("mlp", {"widths": 3}, (8,), "option widths = 3"),
        ("mlp", {"widths": [3, -1]}, (8,), r"option widths\.1 = -1, but it must be greater than 0"),
        ("conv2", {"dropout": 1.0}, CIFAR, "option dropout = 1.0, but it must be less than 1"),
        ("conv2", {}, (784,), r"examples of shape \(height, width, channels\), not \(784,\)"),
        ("conv6", {}, (7, 7, 1), "images are too small"),
        ("vgg", {"depth": 12}, CIFAR, "depth = 12, but it must be 11, 13, 16 or 19"),
        ("resnet", {"depth": 18}, CIFAR, r"depth = 18, but it must be 6n \+ 2"),
        ("resnet", {"rngs": 1}, CIFAR, "rngs"),
    ],
)
def test_bad_descriptions_are_one_line_errors(name, options, shape, message):
    with pytest.raises(TombolaError, match=message) as caught:
        network(name, shape, **options)
    assert "\n" not in str(caught.value)


def test_an_unknown_initializer_is_an_error():
    with pytest.raises(TombolaError, match=r"unknown initializer 'glorot'.*did you mean 'glorot_normal'.*own"):
        build(Model(name="mlp", initializer="glorot"), DataInfo.of_classes((8,), 3))


FCN = ("mlp", {"widths": [256, 256, 256]}, "none", 0.0)


@pytest.mark.parametrize(
    ("name", "data", "learning_rate", "batch", "network"),
    [
        ("fcn-digits", "digits", 0.05, 60, FCN),
        ("fcn-mnist", "mnist", 0.01, 128, FCN),
        ("fcn-fashion-mnist", "fashion-mnist", 0.01, 128, FCN),
        ("fcn-cifar10", "cifar10", 0.01, 128, FCN),
        ("vgg16-cifar10-zhang", "cifar10", 0.1, 128, ("vgg", {"depth": 16}, "flip_crop", 5e-4)),
        ("resnet18-cifar10-zhang", "cifar10", 0.1, 128, ("deep_resnet", {"depth": 18}, "flip_crop", 5e-4)),
        ("resnet50-cifar10-zhang", "cifar10", 0.1, 128, ("deep_resnet", {"depth": 50}, "flip_crop", 5e-4)),
    ],
)
def test_the_recipes_of_zhang(name, data, learning_rate, batch, network):
    paper, small = (task(name, scale) for scale in ("paper", "small"))
    assert (paper.model.name, paper.model.options, paper.data.augment, paper.recipe.weight_decay) == network
    assert (paper.data.name, paper.recipe.learning_rate, paper.recipe.batch) == (data, learning_rate, batch)
    assert (paper.recipe.optimizer, paper.recipe.momentum, paper.recipe.schedule, paper.recipe.decay) == ("momentum", 0.9, "stepped", 0.2)
    assert (paper.recipe.steps, paper.recipe.milestones) == ("100ep", ("30ep", "60ep", "90ep"))
    short = ("100ep", ("30ep", "60ep", "90ep")) if data == "digits" else ("20ep", ("6ep", "12ep", "18ep"))
    assert (small.recipe.steps, small.recipe.milestones) == short
    assert small.model == paper.model
    assert task(name, "smoke").recipe.steps.iterations(1) <= 40


# A user's own networks

NET = """
import jax.numpy as jnp
from flax import nnx


class Net(nnx.Module):
    def __init__(self, shape, classes, *, rngs, units: int = 5):
        self.first = nnx.Linear(shape[0], units, rngs=rngs)
        self.last = nnx.Linear(units, classes, rngs=rngs)

    def __call__(self, inputs):
        return self.last(nnx.relu(self.first(inputs)))


class Wrong(Net):
    def __call__(self, inputs):
        return self.first(inputs)


class Raises(Net):
    def __call__(self, inputs):
        return self.second(inputs)


class Unfit(nnx.Module):
    def __init__(self, hidden, rngs):
        pass


class Empty(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        pass


def number(shape, classes, *, rngs):
    return 3


class Vector(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.scale = nnx.Param(jnp.ones(classes))

    def __call__(self, x):
        return x[:, :3] * self.scale


class Plain(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.layers = [nnx.Linear(4, 3, rngs=rngs)]

    def __call__(self, x):
        return self.layers[0](x)
"""


@pytest.fixture
def net_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "users_net.py"
    file.write_text(NET)
    yield file
    sys.modules.pop("users_net", None)


def test_a_network_from_a_file_and_from_a_module(net_file):
    for name in ("users_net.py:Net", "users_net:Net"):
        net = build(from_class(name, units=7), DataInfo.of_classes((4,), 3))
        assert [layer.name for layer in net.layers] == ["first", "last"]
        assert net.shapes["first/kernel"].shape == (4, 7)
        assert net.apply(net.init(0), jnp.ones((2, 4)), train=False)[0].shape == (2, 3)
        assert build(from_class(str(net_file) + ":Net", units=7), DataInfo.of_classes((4,), 3)) is net


def test_an_edited_file_is_another_network(net_file):
    before = from_class("users_net.py:Net")
    assert build(before, DataInfo.of_classes((4,), 3)).shapes["first/kernel"].shape == (4, 5)
    net_file.write_text(NET.replace("= 5", "= 6"))
    after = from_class("users_net.py:Net")
    assert before.digest != after.digest
    assert build(after, DataInfo.of_classes((4,), 3)).shapes["first/kernel"].shape == (4, 6)
    assert build(before, DataInfo.of_classes((4,), 3)).shapes["first/kernel"].shape == (4, 5)  # what was described keeps its meaning


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.py:Net", r"no file 'missing\.py'"),
        ("missing.module:Net", r"no module 'missing\.module'.*PYTHONPATH"),
        ("users_net.py:", "write path.py:Name"),
        ("users_net.py:Nett", r"'Nett': did you mean 'Net'\? one of Empty, Net, Plain, Raises, Unfit, Vector, Wrong"),
        ("users_net.py", r"unknown model 'users_net\.py': from a file it is users_net\.py:NAME; one of "),
        ("users_net.py:Vector", "has no weights but scale, of one axis, of which none is pruned; assign layers with a kernel"),
        ("users_net.py:Plain", r"static attribute 'layers' .*; write nnx\.List\(\[\.\.\.\]\), or nnx\.Dict for a dict$"),
        ("users_net.py:Wrong", r"returns \(2, 5\) for 2 examples, but it must return logits, \(2, 3\)"),
        ("users_net.py:Raises", "does not work on examples of shape .*AttributeError"),
        ("users_net.py:Unfit", r"must take \(shape, classes, \*, rngs, \*\*options\), but it takes \(hidden, rngs\)"),
        ("users_net.py:Empty", "has no weights"),
        ("users_net.py:number", "makes a int, but it must make an nnx.Module"),
        ("broken.py:Net", r"broken\.py has a syntax error in line 2"),
        ("failing.py:Net", r"failing\.py cannot be loaded: ZeroDivisionError"),
        ("__main__:Net", "unknown class of __main__ 'Net'"),
    ],
)
def test_mistakes_in_a_users_file_are_one_line_errors(net_file, name, message):
    net_file.with_name("broken.py").write_text("x = 1\nclass :\n")
    net_file.with_name("failing.py").write_text("1 / 0\n")
    with pytest.raises(TombolaError, match=message) as caught:
        build(from_class(name), DataInfo.of_classes((4,), 3))
    assert "\n" not in str(caught.value)


def test_unknown_options_of_a_users_network_are_errors(net_file):
    with pytest.raises(TombolaError, match=r"unknown option of Net 'unit': did you mean 'units'"):
        build(from_class("users_net.py:Net", unit=3), DataInfo.of_classes((4,), 3))
    with pytest.raises(TombolaError, match=r"unknown option of Empty 'unit': it takes none; leave it out, or give it an argument unit$"):
        build(from_class("users_net.py:Empty", unit=3), DataInfo.of_classes((4,), 3))


def test_a_class_handed_over_in_python():
    model = from_class(Normed, initializer="own")
    assert model.name.startswith("Normed@")
    assert build(model, DataInfo.of_classes((4,), 3)).shapes["output/kernel"].shape == (4, 3)
    assert from_class(Mixed, units=8).digest != from_class(Mixed).digest

    class Local(Normed):
        pass

    assert build(from_class(Local), DataInfo.of_classes((4,), 3)) is build(from_class(Local), DataInfo.of_classes((4,), 3))


def test_a_class_without_a_file_is_known_by_its_methods():
    import linecache

    text = "class Cell(Base):\n    def __call__(self, inputs):\n        return self.output(inputs) * {}\n"
    models_made = []
    for factor in (1, 2):
        name = f"<cell {factor}>"
        linecache.cache[name] = (1, None, text.format(factor).splitlines(keepends=True), name)
        scope = {"Base": Normed, "__name__": "__main__"}
        exec(compile(text.format(factor), name, "exec"), scope)
        models_made.append(from_class(scope["Cell"]))
    assert models_made[0] != models_made[1]
    first, second = (build(model, DataInfo.of_classes((4,), 3)) for model in models_made)
    weights, inputs = first.init(0), jnp.ones((2, 4))
    np.testing.assert_allclose(2 * first.apply(weights, inputs, train=False)[0], second.apply(weights, inputs, train=False)[0])


def test_a_registered_factory_is_found_by_name():
    @models.register
    def tiny_for_this_test(shape, classes, *, rngs):
        return Normed(shape, classes, rngs=rngs)

    assert Model(name="tiny_for_this_test").name == models.described(tiny_for_this_test)
    assert network("tiny_for_this_test", (4,), 3).layers[-1].kind == "output"
