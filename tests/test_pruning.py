import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tombola.api.pruning import prune as prune_stacked
from tombola.core import masks
from tombola.core.errors import TombolaError, TombolaWarning
from tombola.procedures.actions import Context, mask_actions
from tombola.pruning import controls, selection
from tombola.pruning.criteria import criteria, scores, slope_of

# -- ladders of density (Frankle & Carbin 2019; PAPERS section 0), in per cent ----------------------------------------

LENET = "100 80.04 64.06 51.28 41.05 32.87 26.32 21.07 16.88 13.52 10.83 8.68 6.95 5.57 4.47 3.58 2.87 2.31 1.85 1.49 1.19"
CONV2 = "80.1 64.2 51.4 41.2 33.0 26.5 21.2 17.0 13.7 11.0 8.8 7.1 5.7 4.6"
CONV4 = {11: "11.06", 12: "9.18", 13: "7.65", 15: "5.37"}
SHAPES = {
    "lenet": {"hidden1": (784, 300), "hidden2": (300, 100), "output": (100, 10)},
    "conv2": {"conv1": (27, 64), "conv2": (576, 64), "fc1": (16384, 256), "fc2": (256, 256), "output": (256, 10)},
    "conv4": {
        **{"conv1": (27, 64), "conv2": (576, 64), "conv3": (576, 128), "conv4": (1152, 128)},
        **{"fc1": (8192, 256), "fc2": (256, 256), "output": (256, 10)},
    },
}
RATES = {"hidden": 0.2, "fc": 0.2, "conv": 0.1, "output": 0.1}


def ladder(network, levels):
    shapes = SHAPES[network]
    rates = {path: RATES[path.rstrip("0123456789")] for path in shapes}
    random = np.random.default_rng(0)
    scores = {path: random.random(shape, np.float32) for path, shape in shapes.items()}
    mask = selection.dense(shapes)
    found = [100.0]
    for _ in range(levels):
        mask = selection.prune(scores, mask, rates)
        found.append(100 * masks.density(mask))
    return found


def test_the_ladder_of_lenet_is_the_papers():
    assert [f"{value:.2f}".removesuffix(".00") for value in ladder("lenet", 20)] == LENET.split()


@pytest.mark.slow
def test_the_ladder_of_conv2_is_the_papers():
    assert [f"{value:.1f}" for value in ladder("conv2", 14)[1:]] == CONV2.split()


@pytest.mark.slow
def test_the_ladder_of_conv4_is_the_papers():
    found = ladder("conv4", 15)
    assert {level: f"{found[level]:.2f}" for level in CONV4} == CONV4


# -- selection -------------------------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.floats(0, 1), st.integers(0, 2**32 - 1), st.booleans())
def test_exactly_the_rounded_share_of_what_is_left_goes(size, rate, seed, tied):
    random = np.random.default_rng(seed)
    scores = {"a": np.zeros(size) if tied else random.random(size)}
    before = {"a": random.random(size) < 0.7}
    after = selection.prune(scores, before, {"a": rate})
    kept = masks.kept(before)
    assert masks.kept(after) == kept - round(rate * kept)
    assert not (after["a"] & ~before["a"]).any()
    if 0 < masks.kept(after) < kept and not tied:
        assert scores["a"][after["a"]].min() >= scores["a"][before["a"] & ~after["a"]].max()


@given(st.lists(st.integers(1, 60), min_size=1, max_size=4), st.floats(0.01, 1), st.integers(0, 2**32 - 1))
def test_global_pruning_counts_over_all_layers(sizes, rate, seed):
    random = np.random.default_rng(seed)
    scores = {f"l{index}": random.random((size, 2)) for index, size in enumerate(sizes)}
    before = {path: random.random(leaf.shape) < 0.6 for path, leaf in scores.items()}
    after = selection.prune(scores, before, dict.fromkeys(scores, rate), "global")
    assert masks.kept(after) == masks.kept(before) - round(rate * masks.kept(before))
    gone = np.concatenate([scores[path][before[path] & ~after[path]] for path in scores])
    left = np.concatenate([scores[path][after[path]] for path in scores])
    assert not len(gone) or not len(left) or gone.max() <= left.min()


def test_ties_go_by_position_and_equal_magnitudes_do_not_empty_a_layer():
    # "keep > sorted[n]" would prune everything here.
    mask = selection.prune({"a": np.ones(10)}, {"a": np.ones(10, bool)}, {"a": 0.3})
    assert mask["a"].tolist() == [False] * 3 + [True] * 7


def test_layers_with_rate_zero_are_left_whole_and_out_of_the_count():
    scores = {"a": np.arange(10.0), "b": np.arange(10.0) - 100}
    mask = selection.prune(scores, selection.dense({"a": (10,), "b": (10,)}), {"a": 0.5, "b": 0.0}, "global")
    assert masks.kept({"a": mask["a"]}) == 5
    assert mask["b"].all()


def test_global_pruning_with_two_rates_is_an_error():
    with pytest.raises(TombolaError, match="one rate"):
        selection.prune({"a": np.ones(2), "b": np.ones(2)}, selection.dense({"a": (2,), "b": (2,)}), {"a": 0.1, "b": 0.2}, "global")


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan, None])
def test_impossible_rates_are_errors(rate):
    with pytest.raises(TombolaError, match="0 to 1"):
        selection.prune({"a": np.ones(4)}, {"a": np.ones(4, bool)}, {"a": rate})


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize(("value", "words"), [(np.nan, "1 of 3 scores of kept weights of 'a'"), (np.inf, "not finite"), (1j, "complex128")])
def test_scores_of_kept_weights_that_are_no_finite_numbers_are_refused_and_those_of_pruned_ones_are_not_looked_at(scope, value, words):
    scores = {"a": np.array([1.0, value, 0.5, 0.0])}
    with pytest.raises(TombolaError, match=words):
        selection.prune(scores, {"a": np.array([True, True, True, False])}, {"a": 0.25}, scope)
    if not np.iscomplex(value):
        left = selection.prune(scores, {"a": np.array([True, False, True, True])}, {"a": 1 / 3}, scope)
        assert left["a"].tolist() == [True, False, True, False]


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_ties_are_broken_at_random_by_named_streams_and_nothing_else_is(scope):
    shape, dense = {"a": (40, 30), "b": (30, 10)}, selection.dense({"a": (40, 30), "b": (30, 10)})
    plateau = {path: np.zeros(size) for path, size in shape.items()}
    plateau["a"][:, :3] = 1  # 120 of 1,200 stand out
    rates = dict.fromkeys(shape, 0.75)
    by_position = selection.prune(plateau, dense, rates, scope)
    found, again, other = (selection.prune(plateau, dense, rates, scope, selection.ties_of(seed)) for seed in (1, 1, 2))
    assert not by_position["a"][:10, 3:].any()  # whole rows are gone
    assert found["a"][:10].any(axis=1).all()
    assert all(mask["a"][:, :3].all() for mask in (found, other))
    assert masks.kept(found) == masks.kept(by_position)
    assert all((found[path] == again[path]).all() for path in shape)
    assert any((found[path] != other[path]).any() for path in shape)
    half = selection.prune(
        plateau,
        selection.prune(plateau, dense, dict.fromkeys(shape, 0.5), scope, selection.ties_of(1)),
        dict.fromkeys(shape, 0.5),
        scope,
        selection.ties_of(1),
    )
    assert all((half[path] == found[path]).all() for path in shape)  # round by round as at once
    apart = {path: np.random.default_rng(3).permutation(np.prod(size)).reshape(size) + 0.5 * (path == "b") for path, size in shape.items()}
    assert all(
        (selection.prune(apart, dense, rates, scope)[path] == selection.prune(apart, dense, rates, scope, selection.ties_of(1))[path]).all()
        for path in shape
    )


def test_a_criterion_cannot_write_into_the_weights():
    def greedy(initial, final):
        final *= 0
        return final

    weights = np.ones(3)
    with pytest.raises(TombolaError, match="read-only"):
        scores(criteria.described(greedy), weights, weights)
    assert weights.all()


def test_ranks_are_comparable_between_layers_of_different_size():
    random = np.random.default_rng(0)
    leaves = {"a": random.normal(size=(2, 5000)), "b": random.normal(size=(2, 100))}
    found = {path: scores("large_init_large_final", *leaf) for path, leaf in leaves.items()}
    left = selection.prune(found, selection.dense({"a": (5000,), "b": (100,)}), {"a": 0.5, "b": 0.5}, "global")
    assert 0.4 < left["b"].mean() < 0.6


def test_criteria_of_a_user_are_checked_and_told_apart_by_their_source():
    def wrong(initial):
        return initial

    def flat(initial, final):
        return abs(final).sum()

    def mine(initial, final):
        return abs(final)

    for function in (wrong, flat, mine):
        criteria.add(function.__name__, function)
    with pytest.raises(TombolaError, match="criterion 'wrong' must take"):
        scores(criteria.described("wrong"), np.ones(3), np.ones(3))
    with pytest.raises(TombolaError, match=r"returns shape \(\)"):
        scores(criteria.described("flat"), np.ones(3), np.ones(3))
    before = criteria.code_digest("mine")

    def mine(initial, final):
        return -abs(final)

    criteria.add("mine", mine)
    assert before != criteria.code_digest("mine") != ""
    assert criteria.code_digest("large_final") == ""
    for name in ("wrong", "flat", "mine"):
        criteria._parts.pop(name)


def test_an_emptied_layer_is_named():
    with pytest.warns(TombolaWarning, match="^layer 'a' of replicate 0 is empty: [^;]*; layer 'a' of replicate 1 is empty: [^;]*$") as said:
        prune_stacked({"a": np.ones((2, 4)), "b": np.ones((2, 4))}, {"a": 1.0, "b": 0.5}, quiet=True)
    assert said[0].filename == __file__  # where the user called, not in the package


def test_pruning_stacked_replicas_is_pruning_each(capsys):
    scores = {"a": np.random.default_rng(0).random((3, 5, 4))}
    mask = prune_stacked(scores, 0.8)
    alone = [selection.prune({"a": one}, {"a": np.ones((5, 4), bool)}, {"a": 0.8})["a"] for one in scores["a"]]
    np.testing.assert_array_equal(mask["a"], alone)
    assert "4 / 20" in capsys.readouterr().out
    again = prune_stacked(scores, 0.5, mask=mask, quiet=True)
    assert masks.kept(again) == 3 * 2


# -- criteria --------------------------------------------------------------------------------------------------------


def test_no_two_criteria_agree():
    random = np.random.default_rng(2)
    w_i, w_f = random.normal(size=(2, 400))
    slopes = {"examples": random.normal(size=(30, 400)), "activity": random.random(400)}
    slope = random.normal(size=400)
    chosen = {
        name: tuple(np.argsort(scores(name, w_i, w_f, gradient=slopes.get(slope_of(name), slope)), kind="stable")[-100:])
        for name in criteria
        if not criteria.code_digest(name)
    }
    assert len(set(chosen.values())) == len(chosen)


# -- control masks ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_a_shuffled_mask_has_the_same_count_in_each_layer(seed, share):
    random = np.random.default_rng(seed)
    mask = {"a": random.random((6, 5)) < share, "b": random.random((40,)) < share}
    shuffled = controls.shuffle(mask, seed, "mask/1/0")
    assert {path: leaf.sum() for path, leaf in shuffled.items()} == {path: leaf.sum() for path, leaf in mask.items()}


def test_a_shuffled_mask_is_another_mask_and_hits_places_uniformly():
    mask = {"a": np.arange(40) < 10}
    hits = sum(controls.shuffle(mask, seed, "mask/1/0")["a"].astype(int) for seed in range(2000))
    assert abs(hits / 2000 - 0.25).max() < 0.05


def test_a_shuffle_does_not_depend_on_the_order_of_the_layers():
    mask = {path: np.arange(40) < 10 for path in "abc"}
    backwards = dict(reversed(mask.items()))
    one, other = (controls.shuffle(some, 1, "mask/1/0") for some in (mask, backwards))
    assert all((one[path] == other[path]).all() for path in mask)
    assert (one["a"] != one["b"]).any()
    assert (one["a"] != controls.shuffle(mask, 1, "mask/1/1")["a"]).any()


# -- sparse start masks ------------------------------------------------------------------------------------------------


def shaped(**shapes):
    """A context of a network that has such prunable leaves."""
    leaves = {path: SimpleNamespace(shape=shape) for path, shape in shapes.items()}
    return Context(SimpleNamespace(shapes=leaves, prunable=tuple(leaves)), 7)


LAYERS = {"conv": (3, 3, 16, 32), "fc": (300, 100), "out": (100, 10)}


@pytest.mark.parametrize(
    ("densities", "raw"),
    [
        ("uniform", {"conv": 1, "fc": 1, "out": 1}),
        ("er", {"conv": 48 / 512, "fc": 400 / 30000, "out": 110 / 1000}),
        ("erk", {"conv": 54 / 4608, "fc": 400 / 30000, "out": 110 / 1000}),
    ],
)
def test_sparse_masks_have_the_densities_of_the_formula_in_exact_counts(densities, raw):
    sizes = {path: math.prod(shape) for path, shape in LAYERS.items()}
    mask = mask_actions.call("sparse", shaped(**LAYERS), density=0.02, densities=densities)
    assert {path: leaf.shape for path, leaf in mask.items()} == LAYERS
    total = round(0.02 * sum(sizes.values()))
    assert masks.kept(mask) == total
    e = total / sum(raw[path] * sizes[path] for path in raw)
    assert max(e * one for one in raw.values()) < 1
    for path, leaf in mask.items():
        assert abs(leaf.sum() - e * raw[path] * sizes[path]) < 1
    # one layer is whole, and the others share the rest
    dense = mask_actions.call("sparse", shaped(**LAYERS), density=0.3, densities=densities)
    assert masks.kept(dense) == round(0.3 * sum(sizes.values()))
    whole = {path for path, leaf in dense.items() if leaf.all()}
    assert whole == {"uniform": set(), "er": {"out", "conv"}, "erk": {"out"}}[densities]
    rest = (masks.kept(dense) - sum(sizes[path] for path in whole)) / sum(raw[path] * sizes[path] for path in raw if path not in whole)
    for path in raw.keys() - whole:
        assert abs(dense[path].sum() - rest * raw[path] * sizes[path]) < 1


def test_sparse_masks_leave_no_layer_empty_and_are_drawn_by_named_streams():
    shapes = {"big": (400, 400), **{f"small{i}": (2, 3) for i in range(5)}}
    for densities in ("uniform", "er", "erk"):
        mask = mask_actions.call("sparse", shaped(**shapes), density=0.001, densities=densities)
        assert masks.kept(mask) == 160
        assert min(leaf.sum() for leaf in mask.values()) >= 1
    one, again, other = (mask_actions.call("sparse", shaped(**shapes), density=0.1, stream=stream) for stream in ("a", "a", "b"))
    assert all((one[path] == again[path]).all() for path in one)
    assert (one["big"] != other["big"]).any()
    alone = mask_actions.call("sparse", shaped(big=(400, 400)), density=one["big"].mean(), stream="a")
    assert (alone["big"] == one["big"]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"density": 0}, "sparse: density = 0; write a share above 0 and up to 1"),
        ({"density": "x"}, "sparse: density = 'x'"),
        ({"density": 1e-5}, "sparse: density 1e-05 keeps 0 weights of 3 layers, and none may be empty"),
        ({"density": 0.1, "densities": "ekr"}, "unknown densities of sparse 'ekr': did you mean 'er"),
    ],
)
def test_sparse_masks_that_cannot_be_are_one_line(options, words):
    with pytest.raises(TombolaError, match=words) as error:
        mask_actions.call("sparse", shaped(**LAYERS), **options)
    assert "\n" not in str(error.value)
