"""Journeys of weights, optimal brain surgery, units by activity, early-bird masks, gates, and what finding a network cost: by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import tombola as tb
from tombola.core.errors import TombolaError
from tombola.core.keys import generator
from tombola.core.task import Supermask
from tombola.core.trees import replica
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.evaluation.journeys import auc, follow, magnitudes, survival
from tombola.models.masked import masked
from tombola.models.supermask import SCORE, chosen
from tombola.procedures.actions import Context, mask_actions, value_actions
from tombola.procedures.mask_training import mask_recipe
from tombola.procedures.run import Action, Run
from tombola.pruning import surgeon
from tombola.pruning.criteria import score_leaves
from tombola.pruning.early_bird import distance, magnitude_mask, settled
from tombola.studies.effort import effort, efforts, needed
from tombola.studies.moving.picture import fates, rows_of_fates
from tombola.studies.results import Result, Results
from tombola.training import slopes
from tombola.training.cohort import setup
from tombola.training.slopes import SLOPES, example_gradients, mean_activity, mean_gradient, mean_squares

RANDOM = np.random.default_rng(0)
TASK = tb.task("digits-mlp", steps="40it", evaluate_every="20it")
TASK = TASK.but(model=TASK.model.but(options={"widths": [12, 8]}))


# -- journeys ------------------------------------------------------------------------------------------------------------


def test_auc_is_that_of_mann_and_whitney_with_ties():
    for members, others in ((RANDOM.integers(0, 5, 30), RANDOM.integers(0, 6, 50)), (RANDOM.normal(1, 1, 20), RANDOM.normal(size=9))):
        assert auc(members, others) == pytest.approx(stats.mannwhitneyu(members, others).statistic / (len(members) * len(others)))
    assert (auc([2, 3], [0, 1]), auc([0], [1, 2]), auc([1, 1], [1])) == (1, 0, 0.5)
    assert np.isnan(auc(np.zeros(0), np.ones(2)))


def test_a_journey_by_hand():
    looks = [
        (0, {"a": np.array([4.0, 3.0, -2.0, 0.1])}),
        (10, {"a": np.array([4.0, 0.0, 3.0, 0.2])}),  # the third flips and gets in; the second is 0: no sign
        (20, {"a": np.array([1.0, -3.5, 3.0, -0.1])}),  # the second flips since it last had a sign, and gets in for the first
        (30, {"a": np.array([1.0, -3.5, 3.0, 0.1])}),
    ]
    final = magnitudes(looks[-1][1], 0.5)
    assert final["a"].tolist() == [False, True, True, False]
    found = follow(looks, final, 0.5)
    assert found.steps == [0, 10, 20, 30]
    assert found.decided["a"].tolist() == [20, 20, 10, 0]
    assert found.flips["a"].tolist() == [0, 1, 1, 2]
    assert found.last_flip["a"].tolist() == [-1, 20, 10, 30]
    assert found.comebacks["a"] == [0.5, 0.5, 0, 0]
    assert found.auc["a"] == found.pooled == [0.5, 0.25, 1, 1]
    begun = follow([(0, {"a": np.array([0.0, 1.0])}), (1, {"a": np.array([2.0, -1.0])})], {"a": np.array([True, False])}, 0.5)
    assert begun.flips["a"].tolist() == [0, 1]  # what begins at 0 has no sign to flip


def test_magnitudes_of_all_leaves_or_of_each():
    weights = {"a": np.array([3.0, -4.0]), "b": np.array([1.0, 2.0])}
    assert {path: leaf.tolist() for path, leaf in magnitudes(weights, 0.5).items()} == {"a": [True, True], "b": [False, False]}
    each = magnitudes(weights, {"a": 0.5, "b": 0.5})
    assert {path: leaf.tolist() for path, leaf in each.items()} == {"a": [False, True], "b": [False, True]}


def test_survival_follows_each_that_grew():
    masks = [{"a": np.array(list(bits)) == "1"} for bits in ("1100", "1010", "0011", "0110", "1100")]
    # grown: 3rd at 1, 4th at 2, 2nd at 3, 1st at 4
    assert survival(masks, 1) == (2 / 3, 3)  # the 3rd lives at 2, the 4th not at 3, the 2nd at 4
    assert survival(masks, 2) == (0.5, 2)  # the 3rd lives at 3, the 4th not at 4
    assert survival(masks, 3) == (0, 1)
    assert np.isnan(survival(masks, 4)[0])


def test_fates_and_the_ranks_of_the_picture():
    final, early = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert [np.flatnonzero(group).tolist() for group in fates(final, early).values()] == [[3], [2], [0], [1]]
    weights = [{"a": np.array(row)} for row in ([4.0, 1.0, 3.0, 2.0], [4.0, 1.0, 3.0, 2.0], [5.0, 4.0, 1.0, 2.0])]
    rows = list(rows_of_fates({"a": np.array([True, True, False, False])}, weights, [0, 10, 100]))
    back = [row for row in rows if row["arm"] == "returns"]
    assert [row["value"] for row in back if row["weight"] == 1] == pytest.approx([1 / 1.118034, 1 / 1.118034, 4 / 1.118034], rel=1e-5)
    assert [row["value"] for row in back if row["weight"] == -1] == pytest.approx([0, 0, 2 / 3])
    assert {row["arm"] for row in rows if row["weight"] == 2} == {"falls"}


# -- scores ----------------------------------------------------------------------------------------------------------------


def test_brain_surgery_is_that_of_the_whole_inverse():
    gradients, weights = RANDOM.normal(size=(7, 3, 5)), RANDOM.normal(size=(3, 5))
    flat = gradients.reshape(7, 15)
    fisher = flat.T @ flat / 7 + 0.1 * np.mean(flat**2) * np.eye(15)
    expected = weights.ravel() ** 2 / (2 * np.diag(np.linalg.inv(fisher)))
    np.testing.assert_allclose(surgeon.losses(weights, gradients, 0.1).ravel(), expected, rtol=1e-4)
    kept = RANDOM.random(15) < 0.6
    moved = weights.ravel().copy()
    moved[kept] += np.linalg.solve(fisher[np.ix_(kept, kept)], fisher[np.ix_(kept, ~kept)] @ moved[~kept])
    found = surgeon.compensated(weights, gradients, kept.reshape(3, 5), 0.1).ravel()
    np.testing.assert_allclose(found, moved, rtol=1e-4)
    # One weight: the loss that is left after the others have made up is the score.
    one = np.arange(15) != 4
    step = surgeon.compensated(weights, gradients, one.reshape(3, 5), 0.1).ravel() * one - weights.ravel()
    assert step @ fisher @ step / 2 == pytest.approx(expected[4], rel=1e-4)
    assert not surgeon.losses(weights, 0 * gradients).any()
    np.testing.assert_array_equal(surgeon.compensated(weights, 0 * gradients, kept.reshape(3, 5)), weights)


@pytest.mark.slow
def test_gradients_of_examples_have_the_mean_and_the_squares_of_the_others(monkeypatch):
    assert slopes.EXAMPLE_GRADIENTS == 1000
    monkeypatch.setattr(slopes, "EXAMPLE_GRADIENTS", 170)
    dense = tb.train(TASK, 1)
    weights, seed = replica(dense.final, 0), dense.seeds[0]
    each = example_gradients(TASK, None, seed, weights, size=120)
    gradient, squares = (one(TASK, None, seed, weights, size=120) for one in (mean_gradient, mean_squares))
    for path, leaf in each.items():
        assert leaf.shape == (120, *weights[path].shape)
        np.testing.assert_allclose(leaf.mean(0), gradient[path], rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(np.square(leaf).mean(0), squares[path], rtol=1e-3, atol=1e-7)
    assert set(each) == set(dense.mask)
    assert len(example_gradients(TASK, None, seed, weights)["output/kernel"]) == 180  # whole batches
    monkeypatch.setattr(slopes, "MOST_VALUES", 2 * 60 * sum(leaf.size for leaf in dense.mask.values()))
    assert len(example_gradients(TASK, None, seed, weights)["output/kernel"]) == 120  # as many as fit
    with pytest.raises(TombolaError, match="the gradients of 180 examples by 944 weights take more than 256 MiB; give fewer examples"):
        example_gradients(TASK, None, seed, weights, size=180)
    scores = tb.score(dense, "optimal_brain_surgeon")
    thousand = example_gradients(TASK, None, seed, weights)
    np.testing.assert_allclose(scores["output/kernel"][0], surgeon.losses(weights["output/kernel"], thousand["output/kernel"]), rtol=1e-5)
    # What is pruned already makes up for nothing.
    half = {path: leaf[0] & (np.arange(leaf[0].size).reshape(leaf[0].shape) % 2 == 0) for path, leaf in dense.mask.items()}
    found = score_leaves("optimal_brain_surgeon", weights, weights, half, lambda which: thousand)
    kept = half["output/kernel"]
    alone = surgeon.losses(weights["output/kernel"], thousand["output/kernel"] * kept)
    np.testing.assert_allclose(found["output/kernel"][kept], alone[kept])
    assert not np.allclose(alone[kept], scores["output/kernel"][0][kept])


def test_activity_is_what_the_next_layer_reads():
    dense = tb.train(TASK, 1)
    weights, seed = replica(dense.final, 0), dense.seeds[0]
    found = mean_activity(TASK, None, seed, weights, size=60)
    data = load(TASK.data)
    inputs = data.inputs[generator(seed, "gradient/0").permutation(split(data, TASK.data, seed).train)[:60]].reshape(60, -1)
    hidden = np.maximum(inputs @ weights["hidden1/kernel"] + weights["hidden1/bias"], 0)
    second = np.maximum(hidden @ weights["hidden2/kernel"] + weights["hidden2/bias"], 0)
    for name, values in (("hidden1", hidden), ("hidden2", second)):
        np.testing.assert_allclose(found[f"{name}/kernel"], np.broadcast_to(values.mean(0), found[f"{name}/kernel"].shape), rtol=1e-4)
    assert not found["output/kernel"].any()
    pruned = tb.imp(TASK, levels=1, fraction=0.5, replicates=1, criterion="activity", structure="units")[1]
    assert pruned.mask["hidden1/kernel"][0].any(0).sum() == 6


def test_early_bird_distance_is_relative_to_chance():
    first, second = ({"a": np.array(list(bits)) == "1"} for bits in ("11000000", "10100000"))
    assert distance(first, second) == pytest.approx((2 / 8) / (2 * 0.25 * 0.75))
    assert distance(first, first) == 0
    for p in (0.02, 0.3):
        one, other = ({"a": RANDOM.random(200_000) < p} for _ in range(2))
        assert distance(one, other) == pytest.approx(1, abs=0.03)
    assert np.isnan(distance({"a": np.ones(3, bool)}, {"a": np.ones(3, bool)}))
    far, near = {"a": np.arange(8) > 5}, first
    assert settled([far, near, near, near], 0.1, 2) == (3, True)
    assert settled([far, near, near, near], 0.1, 1) == (2, True)
    assert settled([near, near, far, near], 0.1, 2) == (3, False)


def test_early_bird_masks_and_weights_are_those_of_the_look_that_settled():
    network = setup(TASK, load(TASK.data)).network
    looks = [network.init(0, f"look/{index}") for index in range(3)] + [network.init(0, "look/3")] * 3
    context = Context(network, 0)
    options = {"density": 0.2, "look_back": 1, "threshold": 0.5}
    mask = mask_actions["early_bird"](context, *looks, **options)
    assert sum(leaf.sum() for leaf in mask.values()) == round(0.2 * sum(leaf.size for leaf in mask.values()))
    for path, leaf in magnitude_mask(looks[4], network.prunable, 0.2, 0).items():
        np.testing.assert_array_equal(mask[path], leaf)
    assert value_actions["early_bird"](context, *looks, **options) is looks[4]
    assert value_actions["early_bird"](context, *looks, **{**options, "look_back": 2}) is looks[5]
    by_layer = mask_actions["early_bird"](context, *looks, **options, scope="layer")
    assert [leaf.sum() for leaf in by_layer.values()] == [round(0.2 * leaf.size) for leaf in by_layer.values()]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"density": 0}, "early_bird: density = 0; write a share above 0 and below 1"),
        ({"density": 0.1, "look_back": 2}, "early_bird: look_back = 2 of 2 looks; write a whole number from 1 to 1"),
        ({"density": 0.1, "look_back": 1, "scope": "all"}, "unknown scope of early_bird 'all'"),
    ],
)
def test_mistakes_of_early_bird_are_one_line(options, words):
    network = setup(TASK, load(TASK.data)).network
    with pytest.raises(TombolaError, match=words) as error:
        mask_actions["early_bird"](Context(network, 0), network.init(0), network.init(1), **options)
    assert "\n" not in str(error.value)


def test_brain_surgery_as_an_action_moves_kept_weights_alone():
    dense = tb.train(TASK, 1)
    weights, network = replica(dense.final, 0), setup(TASK, load(TASK.data)).network
    mask = {path: RANDOM.random(leaf[0].shape) < 0.5 for path, leaf in dense.mask.items()}
    context = Context(network, dense.seeds[0], mask, lambda what, *given, **options: SLOPES[what](TASK, None, *given, **options))
    found = value_actions["brain_surgery"](context, weights, size=60)
    for path, kept in mask.items():
        assert (found[path][kept] != weights[path][kept]).mean() > 0.5
        np.testing.assert_array_equal(found[path][~kept], weights[path][~kept])
    np.testing.assert_array_equal(found["output/bias"], weights["output/bias"])
    stiff = value_actions["brain_surgery"](context, weights, size=60, dampening=1e6)
    np.testing.assert_allclose(stiff["output/kernel"], weights["output/kernel"], rtol=1e-3, atol=1e-5)
    for wrong, words in ((context._replace(mask=None), "needs a mask"), (context._replace(slopes=None), "where there are no data")):
        with pytest.raises(TombolaError, match=words):
            value_actions["brain_surgery"](wrong, weights)
    with pytest.raises(TombolaError, match="dampening = 0; write a number above 0"):
        value_actions["brain_surgery"](context, weights, dampening=0)


# -- gates -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_gates_train_scores_and_the_weights_beside_them():
    plain = setup(TASK, load(TASK.data)).network
    network = masked(plain, Supermask(method="gates", density=0.3))
    assert network.trainable == plain.trainable | {path + SCORE for path in plain.prunable}
    weights, inputs = network.init(0), load(TASK.data).inputs[:9]
    size = {path: abs(weights[path + SCORE]) for path in plain.prunable}
    mask = {path: leaf >= np.sort(leaf.ravel())[::-1][max(1, round(0.3 * leaf.size)) - 1] for path, leaf in size.items()}
    bare = {path: weights[path] * mask.get(path, 1) for path in plain.shapes}

    def total(of):
        return lambda leaves: jnp.sum(jnp.sin(of.apply(leaves, inputs, train=True)[0]))

    inner, outer = jax.grad(total(plain))(bare), jax.grad(total(network))(weights)
    for path, kept in mask.items():
        np.testing.assert_allclose(outer[path], inner[path] * kept, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(outer[path + SCORE], inner[path] * weights[path] * np.sign(weights[path + SCORE]), rtol=1e-4, atol=1e-6)
        assert (np.abs(outer[path + SCORE][~kept]) > 0).any()  # a gate that is closed may open
    still = masked(plain, Supermask(method="edge_popup", density=0.3))
    assert still.trainable == {path + SCORE for path in plain.prunable}


@pytest.mark.slow
def test_gates_are_as_open_as_they_are_told():
    spec = Supermask(method="gates", density=0.25)
    run = tb.train(TASK.but(recipe=mask_recipe(TASK.recipe, spec)), 1)
    assert run.task.recipe.but(supermask=None) == TASK.recipe  # the scores train as the weights do
    for leaf in chosen(spec, replica(run.final, 0)).values():
        assert leaf.sum() == max(1, round(0.25 * leaf.size))
    for path in ("hidden1/kernel", "hidden1/bias", "hidden1/kernel" + SCORE):
        assert (run.initial[path] != run.final[path]).mean() > 0.1


# -- effort ----------------------------------------------------------------------------------------------------------------


def done(kept, begin=0, **metrics):
    return Result({"step": np.array([begin, max(begin, 20.0), 40.0]), **metrics}, {"density": kept}, None, begin, 40, 10.0)


def test_effort_is_that_of_all_that_had_to_be_trained():
    dense = Run(task=TASK, seed=0)

    def pruned(last):
        return Action(name="prune", of=(dense.at("0it"), last.at("end"), last.its_mask()), options={"rates": {}})

    first = dense.but(mask=pruned(dense))
    second = dense.but(mask=pruned(first))
    shuffled = dense.but(mask=Action(name="shuffle", of=(second.its_mask(),), options={"stream": "x"}))
    rewound = first.but(kept=Action(name="rewind", of=(dense.at("30it"),)), begin="30it")
    moves = dense.but(
        task=TASK.but(recipe=TASK.recipe.but(mask_schedule=tb.MaskSchedule(name="gradual", options={"final": 0.5, "end": "40it"})))
    )
    after = dense.but(mask=Action(name="parent_mask", of=(moves.its_mask(),)))
    early = dense.but(mask=Action(name="early_bird", of=(dense.at("20it"), dense.at("end")), options={"density": 0.1}))
    snip = dense.but(mask=Action(name="prune", of=(dense.at("0it"), dense.at("0it"), dense.its_mask()), options={"criterion": "snip"}))
    results = Results(
        {
            **{
                run: done(d)
                for run, d in ((dense, 1.0), (first, 0.5), (second, 0.2), (shuffled, 0.2), (after, 0.5), (early, 0.1), (snip, 0.1))
            },
            rewound: done(0.5, begin=30),
            moves: done(0.5, density=np.array([1.0, 0.8, 0.5])),
        },
        lambda measurement: {},
    )
    assert needed(dense, results) == {}
    assert needed(second, results) == {dense: 40, first: 40}
    assert needed(shuffled, results) == {dense: 40, first: 40}  # not the ticket itself: its mask was there before
    assert needed(after, results) == {moves: 40}  # that of a mask that moves was not
    assert needed(rewound, results) == {dense: 40}
    assert needed(snip, results) == {}
    assert needed(early, results) == {dense: 40}
    assert needed(early, results, {dense: 20}) == {dense: 20}
    batch = TASK.recipe.batch
    assert effort(moves, results) == (40, batch * (20 * 0.9 + 20 * 0.65), 10)
    assert effort(dense, results, 20) == (20, 20 * batch, 5)
    assert efforts(second, results) == pytest.approx({"finding": 1.5, "spent": 1.7, "iterations": 120, "seconds": 30})
    assert efforts(early, results, {dense: 20}) == pytest.approx({"finding": 0.5, "spent": 0.6, "iterations": 60, "seconds": 15})
    assert efforts(snip, results)["finding"] == pytest.approx(512 / (40 * batch))
