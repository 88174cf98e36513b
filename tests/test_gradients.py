"""Criteria and actions that ask for a gradient of the loss; networks that diverged."""

import numpy as np
import pytest

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
from tombola.procedures.imp import imp_runs
from tombola.pruning.criteria import scores
from tombola.pruning.pruning import Pruning
from tombola.store.store import Store
from tombola.training.cohort import setup
from tombola.training.slopes import mean_gradient

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


# -- divergence ----------------------------------------------------------------------------------------------------------


def test_what_is_pruned_from_a_network_that_diverged_is_nan_under_a_mask_of_the_right_counts(tmp_path, capsys):
    wild = TASK.but(recipe=TASK.recipe.but(optimizer="sgd", learning_rate=1e30))
    chain = imp_runs(wild, SEED, 2, rates=0.5)
    again = [run.but(kept=None) for run in chain[2:]]
    engine = Engine(graph([*chain, *again]), Store(tmp_path), progress=Progress())
    records = engine.execute()
    said = capsys.readouterr().err
    assert said.count("diverged") >= 3
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
