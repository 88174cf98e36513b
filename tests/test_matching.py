"""Units in another order: the same function, and the order that brings two networks nearest."""

from functools import partial
from itertools import combinations, pairwise, permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.task import Model
from tombola.core.trees import equal, select
from tombola.models.build import build
from tombola.models.units import Units
from tombola.surgery import matching
from tombola.surgery.matching import match_units
from tombola.surgery.permute import permute

NETWORKS = {
    "mlp": ("mlp", {"widths": [16, 12]}, (20,)),
    "conv2": ("conv2", {"width": 3}, (8, 8, 3)),
    "vgg": ("vgg", {"depth": 11, "width": 2}, (16, 16, 3)),
    "resnet": ("resnet", {"depth": 8, "width": 4}, (8, 8, 3)),
}


def network_of(name):
    model, options, shape = NETWORKS[name]
    return build(Model(name=model, options=options), DataInfo.of_classes(shape, 4))


def drawn(network, seed):
    """Every leaf random, so that each is missed if it stays behind; variances are positive."""
    random = np.random.default_rng(seed)
    tree = {path: random.normal(0.1, 0.4, leaf.shape).astype(np.float32) for path, leaf in network.shapes.items()}
    return {path: np.abs(leaf) + 0.5 if path.endswith("/var") else leaf for path, leaf in tree.items()}


def random_orders(units, seed):
    random = np.random.default_rng(seed)
    return {one.layer: random.permutation(one.count) for one in units}


def inverse(orders):
    return {layer: np.argsort(order) for layer, order in orders.items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(order, b[layer]) for layer, order in a.items())


# -- permuting -------------------------------------------------------------------------------------------------------

A = Units("a", 3, "a/kernel", ("a/bias",), "b/kernel", 1)
B = Units("b", 2, "b/kernel", (), "c/kernel", 2)


def test_new_unit_i_is_old_unit_order_i():
    weights = {
        "a/kernel": np.array([[1, 2, 3], [4, 5, 6]]),
        "a/bias": np.array([10, 20, 30]),
        "b/kernel": np.array([[1, 2], [3, 4], [5, 6]]),
        "c/kernel": np.array([[1], [2], [3], [4]]),  # units 0 1 0 1
    }
    moved = permute(weights, (A, B), {"a": np.array([2, 0, 1]), "b": [1, 0]})
    assert moved["a/kernel"].tolist() == [[3, 1, 2], [6, 4, 5]]
    assert moved["a/bias"].tolist() == [30, 10, 20]
    assert moved["b/kernel"].tolist() == [[6, 5], [2, 1], [4, 3]]
    assert moved["c/kernel"].ravel().tolist() == [2, 1, 4, 3]
    assert weights["a/bias"].tolist() == [10, 20, 30]  # what was given is not written to
    only = permute(weights, (A, B), {"b": [1, 0]})
    assert only["a/kernel"] is weights["a/kernel"]
    assert only["b/kernel"].tolist() == [[2, 1], [4, 3], [6, 5]]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_the_inverse_order_undoes_it_bitwise(first, second, spread, mask, seed):
    random = np.random.default_rng(seed)
    units = (Units("a", first, "a", ("a/bias",), "b", 1), Units("b", second, "b", ("b/bias",), "c", spread))
    shapes = {"a": (3, 3, 2, first), "b": (first, second), "c": (spread * second, 2)} | {"a/bias": (first,), "b/bias": (second,)}
    tree = {path: random.standard_normal(shape) for path, shape in shapes.items()}
    if mask:
        tree = {path: leaf > 0 for path, leaf in tree.items() if "bias" not in path}
    orders = random_orders(units, seed)
    moved = permute(tree, units, orders)
    assert {path: (leaf.shape, leaf.dtype) for path, leaf in moved.items()} == {
        path: (leaf.shape, leaf.dtype) for path, leaf in tree.items()
    }
    for (i, old_i), (j, old_j) in [(pair_a, pair_b) for pair_a in enumerate(orders["a"]) for pair_b in enumerate(orders["b"])]:
        assert moved["b"][i, j] == tree["b"][old_i, old_j]
        for pixel in range(spread):
            assert np.array_equal(moved["c"][pixel * second + j], tree["c"][pixel * second + old_j])
    assert equal(permute(moved, units, inverse(orders)), tree)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_computes_the_same_with_its_units_in_another_order(name):
    network = network_of(name)
    weights = drawn(network, 0)
    inputs = np.random.default_rng(1).standard_normal((6, *NETWORKS[name][2])).astype(np.float32)
    evaluate, train = (jax.jit(partial(network.apply, train=train)) for train in (False, True))
    evaluated, (trained, changed) = evaluate(weights, inputs)[0], train(weights, inputs)
    for seed in range(3):
        orders = random_orders(network.units, seed)
        moved = permute(weights, network.units, orders)
        np.testing.assert_allclose(evaluate(moved, inputs)[0], evaluated, rtol=0, atol=1e-5 * np.abs(evaluated).max())
        again, statistics = train(moved, inputs)
        np.testing.assert_allclose(again, trained, rtol=0, atol=1e-4 * np.abs(trained).max())
        expected = permute(weights | changed, network.units, orders)
        for path in statistics:
            np.testing.assert_allclose(statistics[path], expected[path], rtol=1e-3, atol=1e-4)
        assert equal(permute(moved, network.units, inverse(orders)), weights)


def test_gradients_are_permuted_too():
    network = network_of("mlp")
    weights, orders = drawn(network, 0), random_orders(network.units, 1)
    inputs = np.random.default_rng(1).standard_normal((6, 20)).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda tree: jnp.square(network.apply(tree, inputs, train=True)[0]).sum()))
    expected = permute(gradient(weights), network.units, orders)
    given = gradient(permute(weights, network.units, orders))
    for path, leaf in expected.items():
        np.testing.assert_allclose(given[path], leaf, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("orders", "words"),
    [
        ({"hiden1": [0]}, "did you mean 'hidden1'"),
        ({"output": [0, 1, 2, 3]}, "layer with units"),
        ({"hidden2": [*range(11), 10]}, "0 to 11 once"),
        ({"hidden2": [*range(11)]}, "0 to 11 once"),
        ({"hidden2": [*range(1, 13)]}, "0 to 11 once"),
        ({"hidden2": [[*range(12)]]}, "0 to 11 once"),
        ({"hidden2": np.arange(12.0)}, "integers"),
    ],
)
def test_orders_that_are_no_permutation_are_one_line(orders, words):
    network = network_of("mlp")
    with pytest.raises(TombolaError, match=words) as error:
        permute(drawn(network, 0), network.units, orders)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("path", "leaf", "words"),
    [
        ("hidden1/kernel", np.zeros((20, 8)), "axis -1 must have 16"),
        ("hidden1/bias", np.zeros((2, 16)), "axis 0 must have 16.*one replicate"),
        ("hidden2/kernel", np.zeros((8, 12)), "axis -2 must have 16"),
        ("hidden2/kernel", np.zeros(16), "axis -2 must have 16"),
        ("hidden1/bias", np.zeros(()), "axis 0 must have 16"),
    ],
)
def test_weights_of_another_network_are_one_line(path, leaf, words):
    network = network_of("mlp")
    with pytest.raises(TombolaError, match=words) as error:
        permute({**drawn(network, 0), path: leaf}, network.units, {"hidden1": np.arange(16)})
    assert "\n" not in str(error.value)
    with pytest.raises(TombolaError, match="'hidden2/kernel' is missing"):
        permute({"hidden1/kernel": np.zeros((20, 16))}, network.units, {"hidden1": np.arange(16)})


# -- matching --------------------------------------------------------------------------------------------------------


def similarity(network, fixed, moving):
    return sum(float(np.vdot(fixed[path].astype(float), np.asarray(moving[path], float))) for path in network.trainable)


def distance(network, fixed, moving):
    return np.sqrt(sum(np.square(fixed[path].astype(float) - moving[path]).sum() for path in network.trainable))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("weights_of", [drawn, lambda network, seed: network.init(seed)], ids=["drawn", "init"])
def test_a_permuted_copy_is_matched_back_exactly(name, weights_of):
    network = network_of(name)
    for seed in range(3):
        fixed, orders = weights_of(network, seed), random_orders(network.units, seed)
        moving = permute(fixed, network.units, orders)
        found = match_units(network, fixed, moving, seed=seed)
        assert same(found, inverse(orders))
        assert equal(permute(moving, network.units, found), fixed)


def test_running_statistics_do_not_count_and_need_not_be_there():
    network = network_of("vgg")
    fixed, orders = drawn(network, 0), random_orders(network.units, 0)
    moving = permute(fixed, network.units, orders)
    other = {path: leaf if path in network.trainable else 1000 * leaf[::-1] for path, leaf in moving.items()}
    assert same(match_units(network, fixed, other), inverse(orders))
    parameters = [select(tree, network.trainable) for tree in (fixed, moving)]
    assert same(match_units(network, *parameters), inverse(orders))


@pytest.mark.parametrize("path", ["hidden1/kernel", "hidden1/bias", "output/kernel"])
def test_what_enters_belongs_to_or_leaves_a_unit_counts(path):
    network = build(Model(name="mlp", options={"widths": [6]}), DataInfo.of_classes((3,), 2))
    fixed, orders = {**{path: np.ones(leaf.shape) for path, leaf in network.shapes.items()}}, random_orders(network.units, 3)
    fixed[path] = np.random.default_rng(0).standard_normal(fixed[path].shape)
    assert same(match_units(network, fixed, permute(fixed, network.units, orders)), inverse(orders))


def test_one_layer_is_matched_as_well_as_can_be():
    network = build(Model(name="mlp", options={"widths": [5]}), DataInfo.of_classes((3,), 2))
    for seed in range(5):
        fixed, moving = drawn(network, seed), drawn(network, 100 + seed)
        every = [{"hidden1": np.array(order)} for order in permutations(range(5))]
        best = max(every, key=lambda orders: similarity(network, fixed, permute(moving, network.units, orders)))
        assert same(match_units(network, fixed, moving), best)


def test_a_large_common_part_does_not_hide_what_differs():
    network = build(Model(name="mlp", options={"widths": [12]}), DataInfo.of_classes((5,), 2))
    # Similarities near 5e4 that differ by 1e-4: in single precision, noise.
    fixed = {path: (100 + 0.01 * leaf).astype(np.float32) for path, leaf in drawn(network, 0).items()}
    orders = random_orders(network.units, 0)
    assert same(match_units(network, fixed, permute(fixed, network.units, orders)), inverse(orders))


@pytest.mark.parametrize("name", NETWORKS)
def test_no_assignment_makes_it_worse_and_the_end_is_nearer(name, monkeypatch):
    network = network_of(name)
    fixed, moving = network.init(0), network.init(1)
    reached = [similarity(network, fixed, moving)]

    def recorded(weights, units, orders):
        moved = permute(weights, units, orders)
        reached.append(similarity(network, fixed, moved))
        return moved

    monkeypatch.setattr(matching, "permute", recorded)
    orders = match_units(network, fixed, moving)
    assert len(reached) > len(network.units)
    assert all(after > before for before, after in pairwise(reached))
    aligned = permute(moving, network.units, orders)
    assert similarity(network, fixed, aligned) == pytest.approx(reached[-1], rel=1e-12)
    assert distance(network, fixed, aligned) < distance(network, fixed, moving)


def test_no_swap_of_two_units_improves_the_end():
    network = network_of("conv2")
    fixed, moving = drawn(network, 0), drawn(network, 1)
    aligned = permute(moving, network.units, match_units(network, fixed, moving))
    best = similarity(network, fixed, aligned)
    for one in network.units:
        for i, j in combinations(range(one.count), 2):
            order = np.arange(one.count)
            order[[i, j]] = j, i
            assert similarity(network, fixed, permute(aligned, network.units, {one.layer: order})) <= best + 1e-9


def test_the_seed_decides_the_order_of_the_layers_and_sweeps_when_to_stop():
    network = network_of("conv2")
    fixed, moving = drawn(network, 0), drawn(network, 1)
    found = [match_units(network, fixed, moving, seed=seed) for seed in range(6)]
    assert same(found[0], match_units(network, fixed, moving))
    assert all(same(orders, match_units(network, fixed, moving, seed=seed)) for seed, orders in enumerate(found))
    assert any(not same(found[0], other) for other in found[1:])
    once, ended = (match_units(network, fixed, moving, sweeps=sweeps) for sweeps in (1, 1000))
    assert not same(once, found[0])
    assert same(ended, found[0])


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_networks_are_matched_unit_by_unit(name):
    network = network_of(name)
    identity = {one.layer: np.arange(one.count) for one in network.units}
    tied = {path: np.zeros_like(leaf) for path, leaf in drawn(network, 0).items()}  # any order would do
    for weights in (drawn(network, 0), network.init(0), tied):
        assert same(match_units(network, weights, weights), identity)


def test_what_cannot_be_matched_is_one_line():
    network = network_of("mlp")
    weights = drawn(network, 0)
    without = build(Model(name="mlp", options={"widths": []}), DataInfo.of_classes((3,), 2))
    missing = {path: leaf for path, leaf in weights.items() if path != "output/bias"}
    diverged = {**weights, "hidden2/bias": np.full(12, np.nan)}
    stacked = {path: leaf[None] for path, leaf in weights.items()}
    for words, call in [
        ("feeds =", partial(match_units, without, without.init(0), without.init(0))),
        ("moving 'output/bias': missing", partial(match_units, network, weights, missing)),
        ("fixed 'hidden2/bias' is not finite", partial(match_units, network, diverged, weights)),
        (r"moving 'hidden1/kernel': \(1, 20, 16\), but \(20, 16\)", partial(match_units, network, weights, stacked)),
        ("sweeps = 0", partial(match_units, network, weights, weights, sweeps=0)),
    ]:
        with pytest.raises(TombolaError, match=words) as error:
            call()
        assert "\n" not in str(error.value)
