"""Masks that are learnt: scores become masks, gradients reach scores, weights stay bit for bit."""

import dataclasses
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_networks import Normed

import tombola as tb
from tombola.core import keys, trees
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.task import Data, Model, Recipe, Supermask, Task
from tombola.data.dataset import load
from tombola.evaluation.weight_combinations import WeightCombinations, evaluate
from tombola.models import supermask as learnt
from tombola.models.build import build
from tombola.models.masked import masked
from tombola.models.supermask import SCORE
from tombola.procedures.measurements import Context
from tombola.procedures.supermask_measurements import heuristic_supermasks, learnt_supermask, picture
from tombola.training.cohort import setup
from tombola.training.cost import step_operations

MLP = Model(name="mlp", options={"widths": [30, 20]})
BERNOULLI, POPUP, SIGNED = Supermask(), Supermask(method="edge_popup", density=0.3), Supermask(method="signed", density=0.3)
METHODS = [BERNOULLI, Supermask(density=0.2, rescale="dynamic"), POPUP, Supermask(method="edge_popup", density=0.3, rescale="root"), SIGNED]


def digits(spec, model=MLP, **recipe):
    rate = 0.1 if spec is not None and spec.method == "edge_popup" else 50.0
    common = {"steps": "40it", "batch": 100, "learning_rate": rate, "optimizer": "momentum", "evaluate_every": "20it"}
    return Task(data=Data(name="digits"), model=model, recipe=Recipe(**(common | recipe), supermask=spec))


def scores_like(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# -- scores to masks ------------------------------------------------------------------------------------------------


def test_bernoulli_masks_are_drawn_with_probability_sigmoid_of_the_score():
    scores = jnp.asarray(np.repeat(np.array([-3.0, -0.5, 0.0, 2.0], np.float32), 20_000))
    mask = np.asarray(learnt.straight_through(BERNOULLI, scores, jax.random.key(3))).reshape(4, -1)
    assert set(np.unique(mask)) == {0.0, 1.0}
    p = 1 / (1 + np.exp([3.0, 0.5, 0.0, -2.0]))
    np.testing.assert_allclose(mask.mean(axis=1), p, atol=5 * 0.5 / math.sqrt(20_000))
    again = np.asarray(learnt.straight_through(BERNOULLI, scores, jax.random.key(4))).reshape(4, -1)
    assert (mask != again).any()


@pytest.mark.parametrize("density", [0.01, 0.3, 0.5, 0.9])
def test_edge_popup_keeps_exactly_the_largest_scores(density):
    spec, scores = Supermask(method="edge_popup", density=density), scores_like((37, 11))
    kept = np.asarray(learnt.straight_through(spec, jnp.asarray(scores))) == 1
    largest = np.argsort(-np.abs(scores).reshape(-1))[: round(density * scores.size)]
    assert set(np.flatnonzero(kept)) == set(largest)


def test_signed_masks_have_three_values_by_threshold():
    scores = np.array([-0.9, -0.71, -0.69, 0.0, 0.69, 0.71, 2.0], np.float32)
    assert np.asarray(learnt.straight_through(SIGNED, jnp.asarray(scores))).tolist() == [-1, -1, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("spec", METHODS, ids=str)
def test_the_share_that_is_kept_at_the_start_is_the_density(spec):
    scores = learnt.first_scores(spec, (200, 300), 5, "init/some.score")
    mask = np.asarray(learnt.straight_through(spec, jnp.asarray(scores), jax.random.key(0)))
    assert abs(np.abs(mask).mean() - spec.density) < 5 * 0.5 / math.sqrt(60_000)


def test_gradients_pass_through_the_step():
    scores, upstream = scores_like((6, 5)), scores_like((6, 5), 1)

    def gradient(spec, key=None):
        return np.asarray(jax.grad(lambda s: jnp.sum(learnt.straight_through(spec, s, key) * upstream))(jnp.asarray(scores)))

    p = 1 / (1 + np.exp(-scores))
    np.testing.assert_allclose(gradient(BERNOULLI, jax.random.key(0)), upstream * p * (1 - p), rtol=1e-5)
    np.testing.assert_allclose(gradient(POPUP), upstream * np.sign(scores), rtol=1e-6)
    np.testing.assert_allclose(gradient(SIGNED), upstream, rtol=1e-6)


def test_rescaling_has_a_gradient_of_its_own():
    scores, weights, key = scores_like((6, 5)), scores_like((6, 5), 1), jax.random.key(1)
    spec = Supermask(rescale="dynamic")

    def total(s):
        mask = learnt.straight_through(spec, s, key)
        return jnp.sum(weights * mask * learnt.factor(spec, mask, s))

    mask = np.asarray(learnt.straight_through(spec, jnp.asarray(scores), key))
    p, kept = 1 / (1 + np.exp(-scores)), mask.sum()
    expected = p * (1 - p) * mask.size * (weights / kept - (weights * mask).sum() / kept**2)
    np.testing.assert_allclose(np.asarray(jax.grad(total)(jnp.asarray(scores))), expected, rtol=1e-4, atol=1e-6)


def test_rescaling_a_signed_mask_follows_the_sign_of_a_score_also_where_the_mask_is_0():
    """L = sum w b n / sum |b|, straight through b = s: dL/ds = n (w / k - sign(s) sum(w b) / k^2), k the number of kept weights."""
    scores, weights = scores_like((6, 5)), scores_like((6, 5), 1)
    spec = Supermask(method="signed", rescale="dynamic")

    def total(s):
        mask = learnt.straight_through(spec, s)
        return jnp.sum(weights * mask * learnt.factor(spec, mask, s))

    mask = np.asarray(learnt.straight_through(spec, jnp.asarray(scores)))
    assert ((mask == 0) & (scores < 0)).any()
    kept = np.abs(mask).sum()
    expected = mask.size * (weights / kept - np.sign(scores) * (weights * mask).sum() / kept**2)
    np.testing.assert_allclose(np.asarray(jax.grad(total)(jnp.asarray(scores))), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("rescale", "expected"), [("none", 1.0), ("dynamic", 5.0), ("root", math.sqrt(5))])
def test_a_layer_is_rescaled_by_what_is_kept(rescale, expected):
    mask = np.zeros((10, 10), np.int8)
    mask[:2] = -1
    spec = Supermask(rescale=rescale)
    assert learnt.factor_of(spec, mask) == pytest.approx(expected)
    assert float(learnt.factor(spec, jnp.asarray(mask, jnp.float32), jnp.zeros(mask.shape))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_an_empty_layer_is_finite_and_can_come_back():
    network = masked(build(MLP, DataInfo.of_classes((64,), 10)), Supermask(rescale="dynamic"))
    weights = network.init(0)
    weights["hidden2/kernel" + SCORE] = np.full_like(weights["hidden2/kernel" + SCORE], -12.0)

    def loss(scores):
        logits, _ = network.apply({**weights, **scores}, jnp.ones((3, 64)), train=True, dropout_key=jax.random.key(0))
        return jnp.sum(logits**2) + jnp.sum(logits)

    found = jax.grad(loss)({path: jnp.asarray(leaf) for path, leaf in weights.items() if path.endswith(SCORE)})
    assert all(np.isfinite(leaf).all() for leaf in found.values())
    empty = learnt.effective(Supermask(rescale="dynamic"), weights, learnt.chosen(network.spec, weights))
    assert not empty["hidden2/kernel"].any()


# -- networks and training ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", METHODS, ids=str)
def test_evaluation_uses_the_plain_network_under_the_chosen_mask(spec):
    plain = build(MLP, DataInfo.of_classes((64,), 10))
    network = masked(plain, spec)
    weights = network.init(7)
    weights |= {path: scores_like(leaf.shape, index) for index, (path, leaf) in enumerate(weights.items()) if path.endswith(SCORE)}
    inputs = jnp.asarray(scores_like((5, 64), 99))
    seen, _ = network.apply(weights, inputs, train=False)
    expected, _ = plain.apply(learnt.effective(spec, weights, learnt.chosen(spec, weights)), inputs, train=False)
    np.testing.assert_allclose(seen, expected, rtol=2e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("spec", METHODS, ids=str)
def test_training_moves_scores_and_nothing_else(spec):
    run = tb.train(digits(spec), 2)
    for path, leaf in run.final.items():
        same = leaf.tobytes() == run.initial[path].tobytes()
        assert same != path.endswith(SCORE), path


def test_plain_weights_start_as_without_a_mask():
    plain, network = build(MLP, DataInfo.of_classes((64,), 10)), masked(build(MLP, DataInfo.of_classes((64,), 10)), BERNOULLI)
    for path, leaf in plain.init(3).items():
        assert network.init(3)[path].tobytes() == leaf.tobytes()
    assert network.prunable == plain.prunable
    assert network.trainable == {path + SCORE for path in plain.prunable}


def test_normalisation_keeps_its_affine_parameters_and_follows_the_data():
    run = tb.train(digits(BERNOULLI, tb.model(Normed)), 1)
    changed = {path for path, leaf in run.final.items() if leaf.tobytes() != run.initial[path].tobytes()}
    assert changed == {"hidden/kernel.score", "output/kernel.score", "norm/mean", "norm/var"}


def test_a_replica_trains_the_same_in_company():
    alone, both = tb.train(digits(BERNOULLI), 1), tb.train(digits(BERNOULLI), 3)
    for path, leaf in alone.final.items():
        assert leaf[0].tobytes() == both.final[path][0].tobytes()


@pytest.mark.slow
def test_a_learnt_mask_is_far_above_chance():
    for spec in (Supermask(rescale="dynamic"), Supermask(method="edge_popup", rescale="root")):
        run = tb.train(digits(spec, steps="400it", evaluate_every="200it"), 2)
        assert (run.metrics["test_acc"][:, -1] > 0.4).all(), spec


def test_frozen_layers_keep_their_scores_and_weight_decay_shrinks_the_others():
    run = tb.train(digits(BERNOULLI, frozen=["hidden1"]), 1)
    held = {path for path, leaf in run.final.items() if leaf.tobytes() == run.initial[path].tobytes() and path.endswith(SCORE)}
    assert held == {"hidden1/kernel" + SCORE}
    sizes = []
    for decay in (0.0, 0.05):
        scores = tb.train(digits(SIGNED, weight_decay=decay, learning_rate=0.5), 1).final["hidden1/kernel" + SCORE]
        sizes.append(np.abs(scores).mean())
    assert sizes[1] < 0.9 * sizes[0]


def test_bernoulli_draws_are_noise_and_the_others_draw_nothing():
    noises = {spec.method: "dropout" in setup(digits(spec), load(Data(name="digits"))).noise for spec in (BERNOULLI, POPUP, SIGNED)}
    assert noises == {"bernoulli": True, "edge_popup": False, "signed": False}
    first, second = (tb.train(digits(BERNOULLI), 1, noise={"dropout": name}).final["output/kernel.score"] for name in ("a", "b"))
    assert (first != second).any()


def test_runs_without_a_mask_are_described_as_ever():
    assert "supermask" not in digits(None).recipe.canonical()
    assert digits(BERNOULLI).recipe.canonical()["supermask"] == {"spec": "Supermask"}
    assert digits(BERNOULLI).digest != digits(POPUP).digest
    assert step_operations(setup(digits(BERNOULLI), load(Data(name="digits")))) > 0


@pytest.mark.parametrize("wrong", [{"density": 0}, {"density": 1}, {"method": "magic"}, {"rescale": "much"}])
def test_a_wrong_description_is_one_line(wrong):
    with pytest.raises(TombolaError) as caught:
        Supermask(**wrong)
    assert "\n" not in str(caught.value)


# -- what is read off -----------------------------------------------------------------------------------------------


def ask(task, query):
    return query.read(evaluate(task, load(task.data), query.networks, query.parts))


def test_the_probe_looks_at_the_chosen_the_expected_and_drawn_masks():
    task, plain = digits(BERNOULLI), digits(None)
    run = tb.train(task, 1, keep=["20it"])
    steps = [trees.replica(run.at(step), 0) for step in ("0it", "20it", "end")]
    network = setup(plain, load(plain.data)).network
    found = ask(plain, learnt_supermask(Context(network, run.seeds[0]), *steps, supermask={}, samples=4))
    np.testing.assert_allclose(found["threshold_acc"], run.metrics["test_acc"][0], atol=1e-6)
    assert found["sampled_acc"].shape == (4,)
    assert found["density"][0] == pytest.approx(0.5)
    p = learnt.probabilities(steps[2])
    assert found["density"][2] == pytest.approx(sum(leaf.sum() for leaf in p.values()) / sum(leaf.size for leaf in p.values()))
    by_hand = [learnt.sampled(BERNOULLI, steps[2], run.seeds[0], f"supermask/sample/{index}") for index in range(4)]
    networks = tuple(learnt.effective(BERNOULLI, steps[2], mask) for mask in by_hand)
    np.testing.assert_allclose(
        1 - evaluate(plain, load(plain.data), WeightCombinations(run.seeds[0], networks))["test"].error, found["sampled_acc"]
    )
    assert len({leaf["hidden1/kernel"].tobytes() for leaf in by_hand}) == 4


def test_networks_that_are_given_whole_are_evaluated_as_shares_of_them_are():
    plain = digits(None)
    network = setup(plain, load(plain.data)).network
    networks = tuple(network.init(seed) for seed in range(5))
    whole = evaluate(plain, load(plain.data), WeightCombinations(0, networks))
    shared = evaluate(plain, load(plain.data), WeightCombinations(0, networks, np.eye(5)))
    for part in ("train", "test"):
        np.testing.assert_array_equal(whole[part].prediction, shared[part].prediction)


def test_heuristic_masks_are_those_of_rounds_at_once():
    plain = digits(None, learning_rate=0.1, steps="200it")
    run = tb.train(plain, 1)
    first, last, seed = trees.replica(run.initial, 0), trees.replica(run.final, 0), run.seeds[0]
    network = setup(plain, load(plain.data)).network
    options = {"rates": {"dense": 0.5, "output": 0.2}, "rounds": 2, "criterion": "large_final", "pictured": [1]}
    found = ask(plain, heuristic_supermasks(Context(network, seed), first, last, **options))
    counts = {"hidden1/kernel": 64 * 30 // 4, "hidden2/kernel": 30 * 20 // 4, "output/kernel": 128}
    assert found["density"].tolist() == [1.0, *found["density"][1:]]
    assert found["density"][2] == pytest.approx(sum(counts.values()) / sum(network.shapes[path].size for path in counts))
    mask = {path: np.abs(last[path]) >= np.sort(np.abs(last[path]).reshape(-1))[-count] for path, count in counts.items()}
    signed = {path: np.where(first[path] < 0, -1, 1) * network.std(path) for path in mask}
    for column, values in (("init_acc", first), ("constant_acc", signed)):
        one = {**first, **{path: np.where(mask[path], values[path], 0).astype(np.float32) for path in mask}}
        expected = 1 - evaluate(plain, load(plain.data), WeightCombinations(seed, (one,)))["test"].error[0]
        assert found[column][2] == pytest.approx(expected)
    assert found["picture/1"].shape == (25, 25)


def test_a_picture_shows_shares_by_final_and_initial_value():
    network = build(MLP, DataInfo.of_classes((64,), 10))
    first, last = network.init(0), network.init(1)
    kept = picture(network, first, last, {path: last[path] > 0 for path in network.prunable})
    assert np.nanmax(kept[:12]) == 0  # rows are final values, from low to high
    assert np.nanmin(kept[13:]) == 1
    assert np.isnan(kept[:, 0]).all()  # no initial value is there: the initialiser is cut at 2 standard deviations


# -- tombola.supermask ----------------------------------------------------------------------------------------------


def test_a_supermask_in_python():
    task = digits(None, steps="200it", evaluate_every="100it", learning_rate=1e-3)
    found = tb.supermask(task, replicates=2, samples=3)
    assert found.accuracy.shape == (2,)
    assert (found.accuracy > 0.4).all()
    scale = build(MLP, DataInfo.of_classes((64,), 10)).std("hidden1/kernel")
    for index in range(2):
        kept = found.mask["hidden1/kernel"][index]
        sizes = np.abs(found.weights["hidden1/kernel"][index])
        np.testing.assert_allclose(sizes[kept], scale * kept.size / kept.sum(), rtol=1e-5)
        assert not sizes[~kept].any()
    networks = [trees.replica(found.weights, index) for index in range(2)]
    for index, seed in enumerate(found.trajectory.seeds):
        expected = 1 - evaluate(task, load(task.data), WeightCombinations(seed, (networks[index],)))["test"].error[0]
        assert found.threshold_accuracy[index] == pytest.approx(expected)
    assert found.trajectory.seeds == tuple(keys.replicate_seed(0, index) for index in range(2))
    assert list(found.to_pandas())[2:] == ["accuracy", "expected_accuracy", "threshold_accuracy"]
    task = task.but(objective="regression")
    of_values = dataclasses.replace(found, trajectory=SimpleNamespace(task=task, to_pandas=found.trajectory.to_pandas, pictures=list))
    assert list(of_values.to_pandas())[2:] == ["mse", "expected_mse", "threshold_mse"]
    assert {*of_values.pictures()[0][1]["arm"]} == {"drawn masks", "expected weights", "most probable mask"}


@pytest.mark.slow
def test_values_start_and_mask_of_a_supermask():
    task = digits(None, steps="20it", evaluate_every="20it", learning_rate=1e-3)
    dense = tb.train(task, 2)
    mask = {path: np.random.default_rng(0).random(leaf.shape) < 0.5 for path, leaf in dense.final.items() if path.endswith("kernel")}
    spec = Supermask(method="edge_popup", density=0.5)
    found = tb.supermask(task, spec, values="init", start=tb.combine(mask, dense.final), mask=mask)
    kept = found.mask["hidden1/kernel"]
    np.testing.assert_array_equal(found.weights["hidden1/kernel"][kept], (dense.final["hidden1/kernel"] * mask["hidden1/kernel"])[kept])
    with pytest.raises(TombolaError, match="kind of values"):
        tb.supermask(task, values="fancy")
    with pytest.raises(TombolaError, match="samples = 0"):
        tb.supermask(task, samples=0)
    with pytest.raises(TombolaError, match="must agree"):
        tb.supermask(task, start=dense.final, replicates=3)


@pytest.mark.parametrize("values", ["init", "constant"])
@pytest.mark.parametrize("start", [False, True])
def test_pruned_weights_are_no_part_of_a_learnt_mask(values, start):
    task = digits(None)
    dense = tb.train(task, 2)
    mask = tb.prune(tb.score(dense), 0.7, quiet=True)
    given = {"start": dense.final} if start else {}
    found = tb.supermask(task, values=values, mask=mask, batch=100, **given)
    for path, leaf in mask.items():
        assert not found.mask[path][~leaf].any()
        assert not found.weights[path][~leaf].any()
        assert found.mask[path][leaf].any()
        assert not found.trajectory.initial[path][~leaf].any()
