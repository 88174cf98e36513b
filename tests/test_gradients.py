"""Criteria and actions that ask for a gradient of the loss; networks that diverged."""

import itertools

import jax
import jax.flatten_util
import numpy as np
import pytest
from flax import nnx

import tombola as tb
from tombola.core import masks
from tombola.core.errors import TombolaError, TombolaWarning
from tombola.core.keys import generator, replicate_seed
from tombola.core.task import Data, Model, Recipe, Task
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.engine.execute import Engine
from tombola.engine.graph import graph
from tombola.engine.progress import Progress
from tombola.procedures.actions import Context, mask_actions
from tombola.procedures.imp import imp_runs
from tombola.procedures.start_masks import flows
from tombola.pruning.criteria import scores
from tombola.pruning.pruning import Pruning
from tombola.store.store import Store
from tombola.training.cohort import setup
from tombola.training.slopes import SLOPES, mean_gradient, mean_squares

TASK = Task(
    data=Data(name="digits", train=120),
    model=Model(name="mlp", options={"widths": [8]}),
    recipe=Recipe(steps="10it", batch=60, learning_rate=1e-2, evaluate_every="5it"),
)
SEED = replicate_seed(0, 0)


def loss(weights, inputs, labels):
    """Mean cross-entropy of a network with one hidden layer, in float64, written by hand."""
    tree = {path: np.asarray(leaf, np.float64) for path, leaf in weights.items()}
    hidden = np.maximum(inputs.reshape(len(inputs), -1) @ tree["hidden1/kernel"] + tree["hidden1/bias"], 0)
    logits = hidden @ tree["output/kernel"] + tree["output/bias"]
    logits = logits - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]))


def test_the_gradient_is_the_finite_difference_of_the_mean_loss_over_the_named_examples():
    dataset = load(TASK.data, None)
    weights = setup(TASK, dataset).network.init(SEED)
    parts = split(dataset, TASK.data, SEED)
    found = mean_gradient(TASK, None, SEED, weights, size=60)
    examples = generator(SEED, "gradient/0").permutation(parts.train)[:60]
    inputs, labels = np.asarray(dataset.inputs[examples], np.float64), parts.targets[examples]
    random = np.random.default_rng(0)
    for path, leaf in weights.items():
        for place in zip(*(random.integers(0, size, 12) for size in leaf.shape), strict=True):
            ends = []
            for step in (1e-5, -1e-5):
                moved = {**weights, path: np.asarray(leaf, np.float64).copy()}
                moved[path][place] += step
                ends.append(loss(moved, inputs, labels))
            assert found[path][place] == pytest.approx((ends[0] - ends[1]) / 2e-5, abs=2e-6), (path, place)
    assert not np.array_equal(found["hidden1/kernel"], mean_gradient(TASK, None, SEED, weights, "1", 60)["hidden1/kernel"])
    both = mean_gradient(TASK, None, SEED, weights, size=1000)  # two batches are all there is
    halves = [loss(weights, np.asarray(dataset.inputs[parts.train], np.float64), parts.targets[parts.train])]
    assert np.isfinite(halves).all()
    assert not np.array_equal(both["hidden1/kernel"], found["hidden1/kernel"])


def test_snip_keeps_the_largest_products_of_weight_and_gradient_at_initialisation():
    snip = Pruning(criterion="snip", prune_at="0it", rates=0.9, scope="global")
    dense, pruned = tb.imp(TASK, 1, pruning=snip, replicates=2)
    for index in range(2):
        seed = replicate_seed(0, index)
        weights = {path: leaf[index] for path, leaf in dense.initial.items()}
        slope = mean_gradient(TASK, None, seed, weights)
        scores = np.concatenate([abs(weights[path] * slope[path]).reshape(-1) for path in pruned.mask])
        mask = np.concatenate([leaf[index].reshape(-1) for leaf in pruned.mask.values()])
        assert mask.sum() == mask.size - round(0.9 * mask.size)
        assert scores[mask].min() >= scores[~mask].max()
    assert tb.score(dense, "snip").keys() == pruned.mask.keys()
    again = tb.train(TASK, 2, mask=pruned.mask, until="1it")  # a mask that is given has no run that could have diverged
    assert np.isfinite(again.final["output/kernel"]).all()


def test_a_study_prunes_by_snip_and_a_criterion_without_data_is_told(tmp_path):
    sets = [*(["levels=1", "steps=4it", "evaluate_every=2it", "widths=[8]", "replicates=1", "criterion=snip", "prune_at=0it"])]
    sets[3] = "task.model.options.widths=[8]"
    found = tb.run("frankle2019.one_shot", "smoke", task="digits-mlp", settings=sets, store=tmp_path, quiet=True)
    assert set(found.table.arm) == {"iterative", "one_shot", "reinit"}
    assert found.table[found.table.arm == "one_shot"].density.iloc[0] < 0.9
    with pytest.raises(TombolaError, match="criterion 'snip' asks for a gradient"):
        scores("snip", np.ones(3), np.ones(3))


# -- scores of trained weights ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_squares_are_those_of_single_examples_and_brain_damage_and_taylor_are_scored_by_them_at_trained_weights():
    dense, pruned = tb.imp(TASK, 1, criterion="optimal_brain_damage", fraction=0.6, replicates=1)
    weights, dataset = {path: leaf[0] for path, leaf in dense.final.items()}, load(TASK.data, None)
    examples = generator(SEED, "gradient/0").permutation(split(dataset, TASK.data, SEED).train)[:120]
    labels = split(dataset, TASK.data, SEED).targets[examples]

    def by_hand(tree, x, y):
        hidden = jax.numpy.maximum(x.ravel() @ tree["hidden1/kernel"] + tree["hidden1/bias"], 0)
        return -jax.nn.log_softmax(hidden @ tree["output/kernel"] + tree["output/bias"])[y]

    each = [jax.grad(by_hand)(weights, dataset.inputs[one], label) for one, label in zip(examples, labels, strict=True)]
    squares, found = mean_squares(TASK, None, SEED, weights), tb.score(dense, "optimal_brain_damage")
    for path in weights:
        np.testing.assert_allclose(squares[path], np.mean([np.asarray(one[path]) ** 2 for one in each], 0), rtol=1e-3, atol=1e-7)
    for path, kept in pruned.mask.items():
        damage = weights[path] ** 2 * squares[path] / 2
        np.testing.assert_allclose(found[path][0], damage, rtol=1e-5)
        assert damage[kept[0]].min() >= damage[~kept[0]].max()
        assert kept.sum() == kept.size - round(0.6 * kept.size)
        slope = np.mean([np.asarray(one[path]) for one in each], 0)
        np.testing.assert_allclose(tb.score(dense, "snip")[path][0], abs(slope * weights[path]), rtol=2e-3, atol=1e-6)
    action = Pruning(criterion="optimal_brain_damage", rates=0.6).options(TASK) | {"inverted": True}
    parents = (dense.runs[0].at("0it"), dense.runs[0].at("end"), dense.runs[0].its_mask())
    control = tb.train(TASK, mask=tb.Action(name="prune", of=parents, options=action), store=dense.store)
    for path, kept in control.mask.items():
        assert kept.sum() == kept.size - round(0.6 * kept.size)
        assert found[path][kept].max() <= found[path][~kept].min()
    for wrong in ({"inverted": "no"}, {"structure": "units", "norm": "l2"}):
        with pytest.raises(TombolaError, match=r"prune: inverted = .*; write true or false, and true of single weights only"):
            tb.train(TASK, mask=tb.Action(name="prune", of=parents, options=action | wrong), store=dense.store)


# -- pruning at initialisation ---------------------------------------------------------------------------------------------

TINY = TASK.but(model=Model(name="mlp", options={"widths": [3]}))


def tiny_context():
    network = setup(TINY, load(TINY.data, None)).network
    return Context(network, SEED, slopes=lambda what, *given, **options: SLOPES[what](TINY, None, *given, **options))


@pytest.mark.slow
def test_grasp_is_the_dense_hessians_and_its_sign_is_that_of_the_gradients_norm():
    context = tiny_context()
    weights, dataset, parts = context.network.init(SEED), load(TINY.data, None), split(load(TINY.data, None), TINY.data, SEED)
    examples = generator(SEED, "gradient/x").permutation(parts.train)[:60]
    inputs, labels = jax.numpy.asarray(dataset.inputs[examples].reshape(60, -1)), parts.targets[examples]
    flat, back = jax.flatten_util.ravel_pytree(weights)

    def by_hand(vector):
        tree = back(vector)
        hidden = jax.numpy.maximum(inputs @ tree["hidden1/kernel"] + tree["hidden1/bias"], 0)
        logits = jax.nn.log_softmax(hidden @ tree["output/kernel"] + tree["output/bias"])
        return -logits[jax.numpy.arange(60), labels].mean()

    slope, hessian = jax.grad(by_hand), np.asarray(jax.hessian(by_hand)(flat), np.float64)
    assert hessian.shape == (235, 235)
    g = np.asarray(slope(flat), np.float64)
    scores = back(jax.numpy.asarray(-np.asarray(flat) * (hessian @ g), np.float32))
    found = context.hessian_product(weights, context.gradient(weights, "x", 60), "x", 60)
    for path in weights:
        np.testing.assert_allclose(-weights[path] * found[path], scores[path], rtol=2e-3, atol=1e-6)
    # removing a small share of one weight changes the squared norm by twice its score
    place = int(np.argmax(abs(np.asarray(jax.flatten_util.ravel_pytree(scores)[0]))))
    less, more = (np.asarray(slope(flat.at[place].multiply(1 - share)), np.float64) for share in (0.01, -0.01))
    expected = 2 * float(jax.flatten_util.ravel_pytree(scores)[0][place])
    assert (less @ less - more @ more) / 0.02 == pytest.approx(expected, rel=0.05)
    ordinary, inverted = (
        mask_actions.call("grasp", context, density=0.1, batch="x", size=60, inverted=inverted) for inverted in (False, True)
    )
    flat_scores = np.concatenate([np.asarray(scores[path]).ravel() for path in ordinary])
    for mask, kept_first in ((ordinary, flat_scores), (inverted, -flat_scores)):
        kept = np.concatenate([leaf.ravel() for leaf in mask.values()])
        assert kept.sum() == round(0.1 * kept.size)
        assert kept_first[kept].max() <= kept_first[~kept].min() + 1e-6
    other = mask_actions.call("grasp", context, density=0.1)
    assert any((other[path] != ordinary[path]).any() for path in other)
    own = mask_actions.call("grasp", context, {path: 2 * leaf for path, leaf in weights.items()}, density=0.1, batch="x", size=60)
    assert any((own[path] != ordinary[path]).any() for path in own)


class Straight(nnx.Module):
    """Three products, nothing else: linear."""

    def __init__(self, shape, classes, *, rngs):
        sizes = (shape[0], 7, 5, classes)
        self.a, self.b, self.c = (nnx.Linear(m, n, use_bias=False, rngs=rngs) for m, n in itertools.pairwise(sizes))

    def __call__(self, x):
        return self.c(self.b(self.a(x)))


@pytest.mark.slow
def test_the_flow_is_conserved_in_a_linear_network_and_synflow_prunes_by_it():
    task = TASK.but(model=tb.model(Straight))
    network = setup(task, load(task.data, None)).network
    context = Context(network, SEED)
    weights = network.init(SEED)
    random = np.random.default_rng(0)
    mask = {path: random.random(network.shapes[path].shape) < 0.7 for path in network.prunable}
    found = {path: np.asarray(leaf) for path, leaf in flows(network, weights, mask).items()}
    a, b, c = (abs(weights[path]) * mask[path] for path in ("a/kernel", "b/kernel", "c/kernel"))
    ones = np.ones(64)
    by_hand = {
        "a/kernel": a * (b @ c).sum(1)[None] * ones[:, None],
        "b/kernel": b * (ones @ a)[:, None] * c.sum(1)[None],
        "c/kernel": c * (ones @ a @ b)[:, None],
    }
    for path, leaf in by_hand.items():
        np.testing.assert_allclose(found[path], leaf, rtol=1e-4)
        assert found[path].sum() == pytest.approx((ones @ a @ b @ c).sum(), rel=1e-4)
    masks_of = {}
    for rounds in (1, 20, 100):
        masks_of[rounds] = mask_actions.call("synflow", context, density=0.2, rounds=rounds)
        assert masks.kept(masks_of[rounds]) == round(0.2 * masks.size(masks_of[rounds]))
    # one round by hand
    whole = {path: np.ones(network.shapes[path].shape, bool) for path in network.prunable}
    flat_scores = np.concatenate([np.asarray(leaf).ravel() for leaf in flows(network, weights, whole).values()])
    for inverted, ranked in ((False, flat_scores), (True, -flat_scores)):
        once = mask_actions.call("synflow", context, density=0.2, rounds=1, inverted=inverted)
        kept = np.concatenate([leaf.ravel() for leaf in once.values()])
        assert ranked[kept].min() >= ranked[~kept].max()
    assert any((masks_of[1][path] != masks_of[100][path]).any() for path in whole)
    assert masks.kept(mask_actions.call("synflow", context, density=0.02)) == round(0.02 * flat_scores.size)  # and no layer is empty
    ends = mask_actions.call("synflow", context, {path: leaf[::-1] for path, leaf in weights.items()}, density=0.2)
    assert any((ends[path] != masks_of[100][path]).any() for path in whole)


def test_pruned_at_initialisation_it_trains_and_controls_follow():
    for name in ("grasp", "synflow"):
        action = tb.Action(name=name, options={"density": 0.2})
        run = tb.train(TASK, 2, mask=action)
        assert masks.kept(run.mask) == 2 * round(0.2 * masks.size(run.mask) / 2)
        ref = run.runs[0].its_mask()
        shuffled = tb.train(TASK, mask=tb.Action(name="shuffle", of=(ref,), options={"stream": "mask/1"}), store=run.store)
        for path, leaf in shuffled.mask.items():
            assert leaf.sum() == run.mask[path][0].sum()
        assert any((leaf[0] != run.mask[path][0]).any() for path, leaf in shuffled.mask.items())


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("grasp", {"density": 2}, "grasp: density = 2; write a share above 0 and up to 1"),
        ("grasp", {"density": 0.1, "inverted": "no"}, "grasp: inverted = 'no'; write true or false"),
        ("synflow", {"density": 0.1, "rounds": 0}, "synflow: rounds = 0; write a whole number of at least 1"),
        ("synflow", {"density": 0.1, "inverted": 1}, "synflow: inverted = 1; write true or false"),
        ("synflow", {}, "missing a required .*argument.*density"),
    ],
)
def test_wrong_options_at_initialisation_are_one_line(name, options, words):
    with pytest.raises(TombolaError, match=words) as error:
        mask_actions.call(name, tiny_context(), **options)
    assert "\n" not in str(error.value)
    with pytest.raises(TombolaError, match="asked for where there are no data"):
        Context(tiny_context().network, SEED).hessian_product({}, {})


# -- divergence ----------------------------------------------------------------------------------------------------------


def test_what_is_pruned_from_a_network_that_diverged_is_nan_under_a_mask_of_the_right_counts(tmp_path, capsys):
    wild = TASK.but(recipe=TASK.recipe.but(optimizer="sgd", learning_rate=1e30))
    chain = imp_runs(wild, SEED, 2, rates=0.5)
    again = [run.but(kept=None) for run in chain[2:]]
    engine = Engine(graph([*chain, *again]), Store(tmp_path), progress=Progress())
    records = engine.execute()
    said = capsys.readouterr().err
    assert said.count("diverged") + said.count("starts from weights that are not finite") >= 3
    dense, *tickets = (records[run.digest] for run in chain)
    assert np.isfinite(dense.metrics()["val_loss"][0])
    size = masks.size(dense.mask({"hidden1/kernel": (64, 8), "output/kernel": (8, 10)}))
    for level, ticket in enumerate(tickets, 1):
        assert np.isnan(ticket.metrics()["val_loss"]).all()
        assert np.isnan(ticket.metrics()["test_acc"]).all()
        assert ticket.json("summary")["kept"] == size / 2**level


def test_a_study_with_networks_that_diverged_ends_and_says_nan(tmp_path):
    sets = ["levels=2", "steps=6it", "evaluate_every=3it", "optimizer=sgd", "learning_rate=1e30", "replicates=2"]
    with pytest.warns(TombolaWarning, match="level 0, winning ticket, replicate 0 diverged"):
        found = tb.run("frankle2019.sparsity", "smoke", task="digits-mlp", settings=sets, store=tmp_path, quiet=True)
    sparse = found.table[found.table.level > 0]
    assert len(sparse)
    assert sparse[["acc_es", "acc_final", "val_loss_min"]].isna().all().all()
    assert (found.table.groupby("level").density.nunique() == 1).all()


def test_a_description_says_that_ties_are_random_where_they_may_be_more_than_an_accident():
    names = ("large_final", "random", "large_final_diff_sign", "large_init_large_final")
    assert [name for name in names if "ties" in Pruning(criterion=name).options(TASK)] == list(names[2:])
    constant = TASK.but(model=TASK.model.but(initializer="signed_constant"))
    assert Pruning(criterion="large_init").options(constant)["ties"] == "random"

    def mine(initial, final):
        return np.round(abs(final), 1)

    assert Pruning(criterion=mine).options(TASK)["ties"] == "random"
