"""Whole units: declared, pruned, shuffled, removed exactly, and exported as a smaller network."""

import json
import shlex

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import tombola as tb
from tombola import cli
from tombola.core import masks
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.task import Model
from tombola.core.trees import stack
from tombola.models.build import build
from tombola.models.custom import from_class
from tombola.models.resnet import Design, ResNet
from tombola.models.units import Units
from tombola.pruning import selection
from tombola.pruning.selection import ties_of
from tombola.pruning.structured import kept_units, prune_units, shuffle_units
from tombola.store.export import load_ticket
from tombola.surgery.compact import compact, compact_model, smaller

# -- units as data ---------------------------------------------------------------------------------------------------


def network_of(factory, shape=(3,), **options):
    return build(from_class(factory, **options), DataInfo.of_classes(shape, 2))


class Flat(nnx.Module):
    """A convolution, flattened: two channels of four pixels."""

    def __init__(self, shape, classes, *, rngs, feeds=(("conv", "output"),)):
        self.before = nnx.BatchNorm(shape[2], rngs=rngs)  # of the inputs: as many as channels, but not theirs
        self.conv = nnx.Conv(shape[2], 2, (1, 1), rngs=rngs)
        self.norm = nnx.BatchNorm(2, rngs=rngs)
        self.output = nnx.Linear(8, classes, rngs=rngs)
        self.feeds = feeds

    def __call__(self, images):
        hidden = nnx.relu(self.norm(self.conv(self.before(images, use_running_average=True))))
        return self.output(hidden.reshape(hidden.shape[0], -1))


class Nested(nnx.Module):
    """The declaration of a part of the network, used below another name."""

    def __init__(self, shape, classes, *, rngs, depth=2):
        self.parts = nnx.List([Part(shape[0], rngs) for _ in range(depth)])
        self.output = nnx.Linear(shape[0], classes, rngs=rngs)

    def __call__(self, inputs):
        for part in self.parts:
            inputs = part(inputs)
        return self.output(inputs)


class Part(nnx.Module):
    feeds = (("first", "second"),)

    def __init__(self, size, rngs):
        self.first = nnx.Linear(size, 2 * size, rngs=rngs)
        self.second = nnx.Linear(2 * size, size, rngs=rngs)

    def __call__(self, inputs):
        return inputs + self.second(nnx.relu(self.first(inputs)))


def test_units_say_which_leaves_are_a_units_own_and_who_reads_it():
    units = network_of(Flat, (2, 2, 2)).units
    own = {"conv/bias", "norm/scale", "norm/bias", "norm/mean", "norm/var"}
    assert [(one.layer, one.count, one.incoming, set(one.own), one.outgoing, one.spread) for one in units] == [
        ("conv", 2, "conv/kernel", own, "output/kernel", 4)
    ]
    rows = units[0].by_unit(np.arange(8)[:, None])
    assert rows[:, 0, 0].tolist() == [0, 2, 4, 6]  # channels last: the first channel's pixels


def test_a_declaration_is_relative_to_the_module_that_makes_it():
    network = network_of(Nested)
    assert [(one.layer, one.outgoing) for one in network.units] == [
        ("parts/0/first", "parts/0/second/kernel"),
        ("parts/1/first", "parts/1/second/kernel"),
    ]


def test_a_declaration_is_no_leaf_and_survives_split_and_merge():
    module = Flat((2, 2, 2), 2, rngs=nnx.Rngs(0))
    again = nnx.merge(*nnx.split(module))
    assert again.feeds == (("conv", "output"),)
    assert not any("feeds" in map(str, path) for path, _ in nnx.to_flat_state(nnx.state(module)))


@pytest.mark.slow
def test_units_of_the_registered_networks():
    def layers(name, shape=(8, 8, 3), **options):
        return [one.layer for one in build(Model(name=name, options=options), DataInfo.of_classes(shape, 4)).units]

    assert layers("mlp", widths=[5, 4]) == ["hidden1", "hidden2"]
    assert layers("conv2", width=2) == ["conv1", "conv2", "hidden1", "hidden2"]
    assert layers("vgg", (16, 16, 3), depth=11, width=1) == [f"conv{index}" for index in range(1, 9)]
    assert layers("resnet", depth=8, width=2) == [f"stage{index}/block1/conv1" for index in (1, 2, 3)]
    for name, options, shape in [
        ("conv2", {"widths": [2, 3, 4, 5]}, (8, 8, 3)),
        ("vgg", {"depth": 11, "widths": [1, 2, 3, 4, 5, 6, 7, 8]}, (16, 16, 3)),
        ("resnet", {"depth": 8, "width": 2, "widths": [5, 6, 7]}, (8, 8, 3)),
    ]:
        assert [one.count for one in build(Model(name=name, options=options), DataInfo.of_classes(shape, 4)).units] == options["widths"]
    assert layers("deep_resnet", depth=50, width=1)[:3] == ["stage1/block1/conv1", "stage1/block1/conv2", "stage1/block2/conv1"]


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ((("cnov", "output"),), "did you mean 'conv'"),
        ((("output", "conv"),), "no multiple"),
        ((("conv", "output"), ("conv", "output")), "already"),
        (("conv", "output"), "tuple of pairs"),
        ("conv", "tuple of pairs"),
    ],
)
def test_a_wrong_declaration_is_one_line(feeds, words):
    with pytest.raises(TombolaError, match=words) as error:
        network_of(Flat, (2, 2, 3), feeds=feeds)
    assert "\n" not in str(error.value)


def test_without_a_declaration_the_error_says_how_to_make_one():
    network = build(Model(name="mlp", options={"widths": []}), DataInfo.of_classes((3,), 2))
    assert network.units == ()
    with pytest.raises(TombolaError, match="feeds ="):
        prune_units({}, {}, {}, network.units)
    with pytest.raises(TombolaError, match="feeds ="):
        shuffle_units({}, network.units, 0, "mask")
    with pytest.raises(TombolaError, match="feeds ="):
        compact(network, network.init(0))


# -- pruning units ---------------------------------------------------------------------------------------------------

A = Units("a", 3, "a/kernel", ("a/bias",), "b/kernel", 1)
B = Units("b", 2, "b/kernel", ("b/bias",), "c/kernel", 2)
UNITS = (A, B)
SHAPES = {"a/kernel": (2, 3), "b/kernel": (3, 2), "c/kernel": (4, 1)}
SCORES = {
    "a/kernel": np.array([[3.0, 1.0, 2.0], [0.0, 1.9, 2.0]]),  # l1 3, 2.9, 4; l2 3, 2.15, 2.83
    "b/kernel": np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0]]),
    "c/kernel": np.zeros((4, 1)),
}
DENSE = selection.dense(SHAPES)


def rates(rate):
    return dict.fromkeys(SHAPES, rate)


def test_a_unit_goes_with_its_column_and_its_rows():
    mask = prune_units(SCORES, DENSE, {**rates(0.0), "a/kernel": 1 / 3, "b/kernel": 0.5}, UNITS)
    assert mask["a/kernel"].tolist() == [[True, False, True]] * 2
    assert mask["b/kernel"].tolist() == [[False, True], [False, False], [False, True]]
    assert mask["c/kernel"].ravel().tolist() == [False, True, False, True]  # position p is of unit p % 2
    assert all(leaf.all() for leaf in DENSE.values())  # the given mask is not written to


def test_norms_rank_differently_and_only_kept_weights_count():
    def kept(norm, mask=DENSE, rate=2 / 3):
        return kept_units(prune_units(SCORES, mask, {**rates(0.0), "a/kernel": rate}, UNITS, norm), UNITS)["a"].tolist()

    assert kept("l1") == [False, False, True]
    assert kept("l2") == [True, False, False]
    # Without its 3, unit 0 has only the score 0.
    sparse = {**DENSE, "a/kernel": np.array([[False, True, True], [True, True, True]])}
    assert kept("l2", sparse, 1 / 3) == [False, True, True]
    with pytest.raises(TombolaError, match="did you mean 'l1'"):
        kept("l11")


def test_ties_go_by_position_or_at_random_and_nan_is_refused():
    only_a = {**rates(0.0), "a/kernel": 1 / 3}
    tied = {**SCORES, "a/kernel": np.ones((2, 3))}
    assert kept_units(prune_units(tied, DENSE, only_a, UNITS), UNITS)["a"].tolist() == [False, True, True]
    broken = {**SCORES, "a/kernel": np.array([[3.0, 1.0, np.nan], [0.0, 1.9, 2.0]])}
    with pytest.raises(TombolaError, match="1 of 6 scores of kept weights of 'a/kernel' are not finite"):
        prune_units(broken, DENSE, only_a, UNITS)
    gone = [kept_units(prune_units(tied, DENSE, only_a, UNITS, ties=ties_of(seed)), UNITS)["a"] for seed in range(60)]
    assert all(kept.sum() == 2 for kept in gone)
    assert min(np.sum(~np.array(gone), axis=0)) > 5  # each of the three in about a third of the seeds


def test_global_scope_ranks_layers_together_and_leaves_out_those_of_rate_zero():
    # l2: a 3, 2.15, 2.83; b 1, 2.24. The lowest two of five are b's first and a's second.
    mask = prune_units(SCORES, DENSE, rates(0.4), UNITS, scope="global")
    assert {layer: kept.tolist() for layer, kept in kept_units(mask, UNITS).items()} == {"a": [True, False, True], "b": [False, True]}
    mask = prune_units(SCORES, DENSE, {**rates(0.4), "b/kernel": 0.0}, UNITS, scope="global")
    assert kept_units(mask, UNITS)["b"].all()
    assert kept_units(mask, UNITS)["a"].tolist() == [True, False, True]
    with pytest.raises(TombolaError, match="one rate"):
        prune_units(SCORES, DENSE, {**rates(0.4), "b/kernel": 0.2}, UNITS, scope="global")
    with pytest.raises(TombolaError, match="'layer' or 'global'"):
        prune_units(SCORES, DENSE, rates(0.4), UNITS, scope="all")


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_no_layer_is_emptied(scope):
    mask = prune_units(SCORES, DENSE, rates(1.0), UNITS, scope=scope)
    assert {layer: kept.tolist() for layer, kept in kept_units(mask, UNITS).items()} == {"a": [True, False, False], "b": [False, True]}


def test_negative_scores_and_impossible_rates_are_one_line():
    with pytest.raises(TombolaError, match="must not be negative"):
        prune_units({**SCORES, "a/kernel": -SCORES["a/kernel"]}, DENSE, rates(0.5), UNITS)
    for rate in (1.5, None, float("nan")):
        with pytest.raises(TombolaError, match="0 to 1"):
            prune_units(SCORES, DENSE, {**rates(0.5), "b/kernel": rate}, UNITS)


@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.sampled_from(["layer", "global"]), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_counts_are_exact_and_rounds_are_nested(first, second, rate, scope, seed):
    random = np.random.default_rng(seed)
    units = (Units("a", first, "a", (), "b", 1), Units("b", second, "b", (), "c", 3))
    shapes = {"a": (4, first), "b": (first, second), "c": (3 * second, 2)}
    scores = {path: random.random(shape) for path, shape in shapes.items()}
    mask = selection.dense(shapes)
    for _ in range(3):
        before = {layer: int(kept.sum()) for layer, kept in kept_units(mask, units).items()}
        after = prune_units(scores, mask, dict.fromkeys(shapes, rate), units, scope=scope)
        left = {layer: int(kept.sum()) for layer, kept in kept_units(after, units).items()}
        if scope == "layer":
            assert left == {layer: max(1, count - round(rate * count)) for layer, count in before.items()}
        else:
            assert sum(left.values()) == max(2, sum(before.values()) - round(rate * sum(before.values())))
            assert min(left.values()) >= 1
        assert not any((after[path] & ~mask[path]).any() for path in mask)
        mask = after


def test_shuffled_units_are_as_many_elsewhere_and_still_whole():
    units = (Units("a", 40, "a", (), "b", 1), Units("b", 30, "b", (), "c", 4))
    shapes = {"a": (5, 40), "b": (40, 30), "c": (120, 3)}
    random = np.random.default_rng(0)
    mask = prune_units(
        {path: random.random(shape) for path, shape in shapes.items()}, selection.dense(shapes), dict.fromkeys(shapes, 0.6), units
    )
    shuffled = shuffle_units(mask, units, 7, "mask")
    assert {path: masks.kept({path: leaf}) for path, leaf in shuffled.items()} == {
        path: masks.kept({path: leaf}) for path, leaf in mask.items()
    }
    before, after = kept_units(mask, units), kept_units(shuffled, units)
    assert all(after[layer].sum() == before[layer].sum() and (after[layer] != before[layer]).any() for layer in before)
    again = shuffle_units(shuffled, units, 7, "mask")  # raises unless it is whole
    assert not np.array_equal(again["a"], shuffled["a"])
    assert all(np.array_equal(leaf, shuffled[path]) for path, leaf in shuffle_units(mask, units, 7, "mask").items())
    assert not np.array_equal(shuffle_units(mask, units, 8, "mask")["a"], shuffled["a"])
    torn = {**mask, "b": mask["b"] & (np.arange(30) != np.flatnonzero(before["b"])[0]) | (np.eye(40, 30) > 0)}
    with pytest.raises(TombolaError, match="whole units"):
        shuffle_units(torn, units, 7, "mask")


# -- exact removal ---------------------------------------------------------------------------------------------------

TOY = Model(name="mlp", options={"widths": [3, 2]})


def toy(**changes):
    """2 - 3 - 2 - 2 with whole numbers, all present."""
    weights = {
        "hidden1/kernel": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        "hidden1/bias": np.array([1.0, -1.0, 2.0]),
        "hidden2/kernel": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        "hidden2/bias": np.array([0.5, -0.5]),
        "output/kernel": np.array([[1.0, 2.0], [3.0, 4.0]]),
        "output/bias": np.array([0.0, 1.0]),
    }
    return {path: changes.get(path.replace("/", "_"), leaf).astype(np.float32) for path, leaf in weights.items()}


def compacted(weights, mask=None):
    return compact(build(TOY, DataInfo.of_classes((2,), 2)), weights, mask)


def test_nothing_is_removed_from_a_network_without_dead_units():
    found = compacted(toy())
    assert found.sizes == {"hidden1": 3, "hidden2": 2}
    assert all(np.array_equal(leaf, toy()[path]) for path, leaf in found.weights.items())
    assert found.mask is None


def test_units_that_nothing_reads_go_and_so_do_those_that_only_they_read():
    # hidden2's first unit is read by no output; then hidden1's middle one feeds only that.
    weights = toy(output_kernel=np.array([[0.0, 0.0], [3.0, 4.0]]), hidden2_kernel=np.array([[1.0, 2.0], [3.0, 0.0], [5.0, 6.0]]))
    found = compacted(weights)
    assert {layer: kept.tolist() for layer, kept in found.kept.items()} == {"hidden1": [0, 2], "hidden2": [1]}
    assert found.weights["hidden1/kernel"].tolist() == [[1, 3], [4, 6]]
    assert found.weights["hidden1/bias"].tolist() == [1, 2]
    assert found.weights["hidden2/kernel"].tolist() == [[2], [6]]
    assert found.weights["hidden2/bias"].tolist() == [-0.5]
    assert found.weights["output/kernel"].tolist() == [[3, 4]]


def test_a_constant_unit_goes_into_the_next_bias_and_on_from_there():
    # Units 1 and 2 of hidden1 read nothing: relu(-1) = 0, relu(2) = 2. hidden2's first unit reads only unit 2:
    # 0.5 + 2 * 5 = 10.5; the output takes that up.
    weights = toy(
        hidden1_kernel=np.array([[1.0, 0.0, 0.0], [4.0, 0.0, 0.0]]), hidden2_kernel=np.array([[0.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    )
    found = compacted(weights)
    assert found.sizes == {"hidden1": 1, "hidden2": 1}
    assert found.weights["hidden2/bias"].tolist() == [-0.5 + 2 * 6]
    assert found.weights["output/bias"].tolist() == [10.5 * 1, 1 + 10.5 * 2]


def test_one_unit_of_each_layer_stays():
    found = compacted({path: np.zeros_like(leaf) for path, leaf in toy().items()})
    assert found.sizes == {"hidden1": 1, "hidden2": 1}


def test_a_kept_weight_of_value_zero_is_not_thrown_away_and_a_frozen_one_computes():
    weights = toy(output_kernel=np.array([[0.0, 0.0], [3.0, 4.0]]))
    mask = {path: np.ones(leaf.shape, bool) for path, leaf in weights.items() if path.endswith("kernel")}
    assert compacted(weights).sizes["hidden2"] == 1
    assert compacted(weights, mask).sizes["hidden2"] == 2  # it may grow in training
    mask["output/kernel"][0] = False
    assert compacted(weights, mask).sizes["hidden2"] == 1
    frozen = toy(output_kernel=np.array([[0.0, 7.0], [3.0, 4.0]]))
    found = compacted(frozen, mask)
    assert found.sizes["hidden2"] == 2
    assert found.mask["output/kernel"].tolist() == [[False, False], [True, True]]


class Normed(nnx.Module):
    """dense, batch norm, ReLU, dense: a normalised unit without inputs is a constant, but not relu(bias)."""

    def __init__(self, shape, classes, *, rngs, widths=(3,)):
        self.hidden = nnx.Linear(shape[0], widths[0], rngs=rngs)
        self.norm = nnx.BatchNorm(widths[0], rngs=rngs)
        self.output = nnx.Linear(widths[0], classes, rngs=rngs)
        self.feeds = (("hidden", "output"),)

    def __call__(self, inputs):
        return self.output(nnx.relu(self.norm(self.hidden(inputs))))


def test_a_normalised_constant_stays():
    model = from_class(Normed)
    weights = scrambled(build(model, DataInfo.of_classes((4,), 2)), 0)
    weights["hidden/kernel"][:, 1] = 0
    assert compact_model(model, DataInfo.of_classes((4,), 2), weights)[1].sizes == {"hidden": 3}
    weights["output/kernel"][2] = 0
    assert compact_model(model, DataInfo.of_classes((4,), 2), weights)[1].kept["hidden"].tolist() == [0, 1]


class Backwards(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.output = nnx.Linear(2, classes, rngs=rngs)
        self.second = nnx.Linear(3, 2, rngs=rngs)
        self.first = nnx.Linear(shape[0], 3, rngs=rngs)
        self.feeds = (("second", "output"), ("first", "second"))

    def __call__(self, inputs):
        return self.output(nnx.relu(self.second(nnx.relu(self.first(inputs)))))


def test_the_order_of_declaration_does_not_matter():
    network = network_of(Backwards, (4,))
    weights = scrambled(network, 0)
    weights["output/kernel"][0] = 0
    weights["second/kernel"][2, 1] = 0
    assert compact(network, weights).sizes == {"second": 1, "first": 2}
    assert weights["output/kernel"].shape == (2, 2)  # the given tree is left alone


class Summed(Normed):
    """Its declaration is wrong: the normalisation mixes units."""

    def __init__(self, shape, classes, *, rngs, widths=(3,)):
        super().__init__(shape, classes, rngs=rngs, widths=widths)
        self.norm = nnx.LayerNorm(widths[0], rngs=rngs)


class Fixed(Normed):
    def __init__(self, shape, classes, *, rngs):
        super().__init__(shape, classes, rngs=rngs)


class Deaf(Normed):
    def __init__(self, shape, classes, *, rngs, widths=()):
        super().__init__(shape, classes, rngs=rngs)


@pytest.mark.parametrize(
    ("factory", "words"),
    [(Summed, "gives other outputs"), (Fixed, "give it an option `widths`"), (Deaf, r"'hidden/bias' the shape \(2,\), not \(3,\)")],
)
def test_a_wrong_declaration_or_no_way_to_be_smaller_is_one_line(factory, words):
    model = from_class(factory)
    weights = scrambled(build(model, DataInfo.of_classes((4,), 2)), 0)
    weights["output/kernel"][2] = 0
    with pytest.raises(TombolaError, match=words) as error:
        compact_model(model, DataInfo.of_classes((4,), 2), weights)
    assert "\n" not in str(error.value)


def test_weights_of_another_network_are_one_line():
    with pytest.raises(TombolaError, match=r"hidden1/bias.*\(3,\)"):
        compacted({**toy(), "hidden1/bias": np.zeros(4)})
    with pytest.raises(TombolaError, match="missing"):
        compacted({path: leaf for path, leaf in toy().items() if path != "output/bias"})
    with pytest.raises(TombolaError, match="mask"):
        compacted(toy(), {"hidden1/kernel": np.ones((2, 3), bool)})


# -- networks x masks ------------------------------------------------------------------------------------------------


class Bottlenecks(ResNet):
    def __init__(self, shape, classes, *, rngs, widths=None):
        super().__init__(shape, classes, Design(4, (1, 1), norm=True, bottleneck=True, inner=widths), rngs)


NETWORKS = {
    "mlp": (Model(name="mlp", options={"widths": [20, 12]}), (10,)),
    "conv2": (Model(name="conv2", options={"width": 4}), (6, 6, 3)),
    "vgg11": (Model(name="vgg", options={"depth": 11, "width": 3}), (16, 16, 3)),
    "resnet8": (Model(name="resnet", options={"depth": 8, "width": 4}), (6, 6, 3)),
    "resnet8 without norm": (Model(name="resnet", options={"depth": 8, "width": 4, "norm": False}), (6, 6, 3)),
    "bottlenecks": (from_class(Bottlenecks), (4, 4, 3)),
}


def scrambled(network, seed):
    """Weights of which none, biases and statistics included, is 0."""
    random = np.random.default_rng(seed)
    weights = {}
    for path, leaf in network.shapes.items():
        if path in network.prunable:
            drawn = random.standard_normal(leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]))
        else:
            drawn = random.uniform(0.5, 1.5, leaf.shape) - (0 if path.endswith(("var", "scale")) else 1)
        weights[path] = drawn.astype(np.float32)
    return weights


def outputs(network, weights, inputs):
    return np.asarray(jax.jit(lambda tree, batch: network.apply(tree, batch, train=False)[0])(weights, inputs))


def masked(network, weights, kind):
    mask = selection.dense({path: network.shapes[path].shape for path in network.prunable})
    if kind == "half of the units":
        scores = {path: abs(weights[path]) for path in mask}
        return prune_units(scores, mask, dict.fromkeys(mask, 0.5), network.units)
    random = np.random.default_rng(1)
    sparse = {path: random.random(leaf.shape) < 0.05 for path, leaf in mask.items()}
    # Some channels of convolutions without a connection, whose biases are constants at a padded border.
    for one in network.units:
        sparse[one.incoming][..., : one.count // 4] = False
    return sparse


@pytest.mark.parametrize("kind", ["half of the units", "5 % of the weights"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_smaller_network_computes_the_same(name, kind):
    model, shape = NETWORKS[name]
    network = build(model, DataInfo.of_classes(shape, 5))
    weights = scrambled(network, 3)
    mask = masked(network, weights, kind)
    weights = tb.combine(mask, weights)
    found = compact(network, weights, mask)
    counts = {one.layer: one.count for one in network.units}
    if kind == "half of the units":
        assert found.sizes == {layer: count - round(count / 2) for layer, count in counts.items()}
        assert all(leaf.all() for leaf in found.mask.values())
    elif name in ("mlp", "conv2"):
        assert sum(found.sizes.values()) < sum(counts.values())
    assert list(found.sizes) == list(counts)
    small = build(smaller(model, found.sizes), DataInfo.of_classes(shape, 5))
    assert {path: leaf.shape for path, leaf in small.shapes.items()} == {path: leaf.shape for path, leaf in found.weights.items()}
    assert all(found.weights[path].dtype == weights[path].dtype for path in weights)
    inputs = np.random.default_rng(2).standard_normal((4, *shape)).astype(np.float32)
    expected, given = outputs(network, weights, inputs), outputs(small, found.weights, inputs)
    assert np.ptp(expected, axis=0).max() > 0 or kind != "half of the units"
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-5 * abs(expected).max())


def test_widths_of_the_wrong_number_are_one_line():
    for name, widths, shape in [("conv2", [3, 3], (6, 6, 3)), ("vgg", [3] * 8, (16, 16, 3)), ("resnet", [1], (6, 6, 3))]:
        with pytest.raises(TombolaError, match="option widths has") as error:
            build(Model(name=name, options={"widths": widths}), DataInfo.of_classes(shape, 5))
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_compact_at_the_top_trains_on_as_the_larger_network_does():
    random = np.random.default_rng(0)
    labels = np.arange(90) % 3
    task = tb.task("digits-mlp", "smoke", steps="3it", evaluate_every="3it")
    task = task.but(data=tb.from_arrays(random.standard_normal((90, 4)), labels, random.standard_normal((30, 4)), labels[:30]))
    task = task.but(model=Model(name="mlp", options={"widths": [6, 5]}), recipe=task.recipe.but(batch=10))
    network = build(task.model, DataInfo.of_classes((4,), 3))
    weights = [scrambled(network, seed) for seed in (0, 1)]
    pruned = [masked(network, one, "half of the units") for one in weights]
    start, mask = stack([tb.combine(one, tree) for one, tree in zip(pruned, weights, strict=True)]), stack(pruned)
    model, small_start, small_mask = tb.compact(task, start, mask, replicate=0)
    assert model.options["widths"] == [3, 3]
    small = tb.train(task.but(model=model), start=small_start, mask=small_mask)
    large = tb.train(task, start=start, mask=mask)
    np.testing.assert_allclose(small.metrics["val_loss"][0], large.metrics["val_loss"][0], rtol=1e-4)
    with pytest.raises(TombolaError, match="replicate = 2"):
        tb.compact(task, start, mask, replicate=2)
    with pytest.raises(TombolaError, match="replicates first"):
        tb.compact(task, weights[0])


# -- export ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_export_compact_writes_the_smaller_network(tmp_path, monkeypatch, capsys):
    from safetensors import safe_open

    monkeypatch.chdir(tmp_path)
    settings = "steps=20it evaluate_every=20it levels=2 rates.dense=0.9 reinits=0 random_masks=0"
    options = " ".join(f"--set {one}" for one in settings.split())
    assert cli.main(shlex.split(f"run frankle2019.sparsity --scale smoke --task digits-mlp --replicates 1 {options}")) == 0
    capsys.readouterr()
    cli.main(["runs", "--json"])
    ticket = min((run for run in json.loads(capsys.readouterr().out) if run["weights"]), key=lambda run: run["density"])
    assert cli.main(["export", ticket["run"], "-o", "whole.safetensors"]) == 0
    assert cli.main(["export", ticket["run"], "--compact", "-o", "small.safetensors"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    (large, mask), (small, small_mask) = load_ticket("whole.safetensors"), load_ticket("small.safetensors")
    with safe_open("small.safetensors", "numpy") as file:
        metadata = file.metadata()
    described = json.loads(metadata["model"])
    assert described.pop("spec") == "Model"
    sizes = described["options"]["widths"]
    assert 0 < sum(sizes) < 150
    values = [sum(leaf.size for leaf in tree.values()) for tree in (large, small)]
    assert said == f"100-50 units -> {sizes[0]}-{sizes[1]}, {values[0]:,} -> {values[1]:,} values"
    units = json.loads(metadata["units"])
    assert [len(units[layer]) for layer in ("hidden1", "hidden2")] == sizes
    assert np.array_equal(small["hidden1/kernel"], large["hidden1/kernel"][:, units["hidden1"]])
    assert np.array_equal(small_mask["hidden1/kernel"], mask["hidden1/kernel"][:, units["hidden1"]])
    inputs = np.random.default_rng(0).standard_normal((5, 64)).astype(np.float32)
    whole = build(Model(name="mlp", options={"widths": [100, 50]}), DataInfo.of_classes((64,), 10))
    given = outputs(build(Model(**described), DataInfo.of_classes((64,), 10)), small, inputs)
    np.testing.assert_allclose(given, outputs(whole, large, inputs), rtol=1e-4, atol=1e-5)
