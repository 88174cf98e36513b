"""Swapped words: which may be swapped in, that the best swap to first order is made, and what a study makes of it."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from toys import toy_text

import tombola as tb
from tombola.core.errors import TombolaError
from tombola.data.dataset import load
from tombola.engine.configuring import resolve
from tombola.engine.measuring import rehearse_measurements
from tombola.engine.study import run_study
from tombola.evaluation.word_swaps import TABLE, as_frequent, near, swapped
from tombola.store.store import Store
from tombola.training.cohort import setup

TINY = ("steps=30it", "evaluate_every=30it", "test_every=30it", "levels=1", "replicates=2", "attacked_examples=null")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return toy_text(tmp_path_factory.mktemp("text"), 6000)


@pytest.fixture(scope="module")
def task(text):
    data = tb.from_text(text, length=20, parts=3)
    recipe = tb.Recipe(steps="30it", batch=20, learning_rate=0.05, evaluate_every="30it")
    return tb.Task(data=data, model=tb.model("bag_of_words", dimension=6, widths=[5]), recipe=recipe)


def test_blocks_are_told_by_the_stretch_of_the_text_that_they_stand_in(tmp_path):
    path = tmp_path / "text.txt"
    words = [f"w{place % 7}" for place in range(600)] + ["first"] * 5
    path.write_text(" ".join(words))
    found = load(tb.from_text(path, length=5, parts=3))
    assert (found.classes, found.shape, found.vocabulary) == (3, (5,), 8)
    counts = np.bincount(np.concatenate([found.targets, found.test_targets]))
    assert counts.tolist() == [41, 40, 40]
    assert (np.diff(found.targets) >= 0).all()  # in the order of the text
    assert (np.diff(found.test_targets) >= 0).all()
    last = np.flatnonzero((found.inputs == found.words.index("first")).any(1))
    assert set(found.targets[last]) <= {2}
    with pytest.raises(TombolaError, match="parts"):
        tb.from_text(path, parts=1)
    assert load(tb.from_text(path, length=5)).targets is None


def test_near_words_are_those_within_the_cosine_and_frequent_ones_about_as_frequent():
    angles = np.deg2rad([0, 10, 30, 90])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array([[1], [5], [1], [2]])
    assert near(vectors, np.array([0, 3]), 2, np.cos(np.deg2rad(20))).tolist() == [[1, 0], [3, 3]]
    assert sorted(near(vectors, np.array([0]), 2, 0.5)[0].tolist()) == [1, 2]
    words = np.array([0, 50, 99])
    found = as_frequent(words, 100, 5, seed=1)
    assert (found != words[:, None]).all()
    assert all(len(set(row)) == 5 for row in found.tolist())
    assert (abs(found - words[:, None]) <= 20).all()
    assert np.array_equal(found, as_frequent(words, 100, 5, seed=1))
    assert not np.array_equal(found, as_frequent(words, 100, 5, seed=2))


def test_the_best_swap_of_a_linear_classifier_is_made_and_words_once_wrong_stay_wrong(task):
    dataset = load(task.data)
    linear = task.but(model=tb.model("bag_of_words", dimension=4, widths=[]))
    network = setup(linear, dataset).network
    random = np.random.default_rng(0)
    weights = {path: random.standard_normal(leaf.shape).astype(np.float32) for path, leaf in network.shapes.items()}
    texts, classes = dataset.inputs[:200, :3], dataset.targets[:200]
    sets = random.integers(dataset.vocabulary, size=(dataset.vocabulary, 2)).astype(np.int32)

    def loss(words, label):
        outputs = weights[TABLE][words].mean(0) @ weights["head/output/kernel"] + weights["head/output/bias"]
        return np.log(np.exp(outputs).sum()) - outputs[label], outputs.argmax() != label

    found = swapped(network, weights, texts, classes, sets, 3)
    assert found.shape == (200, 4)
    assert (np.diff(found.astype(int), axis=1) >= 0).all()
    for row, words, label in zip(found, texts, classes, strict=True):
        assert row[0] == loss(words, label)[1]
        ways = [[word, *sets[word]] for word in words]
        assert row[3] <= any(loss(np.array(way), label)[1] for way in product(*ways)) or row[0]  # nothing else is swapped in
        outputs = weights[TABLE][words].mean(0) @ weights["head/output/kernel"] + weights["head/output/bias"]
        share = np.exp(outputs) / np.exp(outputs).sum()
        slope = weights["head/output/kernel"] @ (share - np.eye(3)[label])
        gains = {(i, c): (weights[TABLE][c] - weights[TABLE][words[i]]) @ slope for i in range(3) for c in sets[words[i]]}
        (place, word), gain = max(gains.items(), key=lambda one: one[1])
        changed = words.copy()
        changed[place] = word if gain > 0 else words[place]
        assert row[1] == (row[0] or loss(changed, label)[1])
    # A swap can raise the loss and put things right again: wrong unattacked is wrong all the same.
    weights |= {TABLE: np.zeros_like(weights[TABLE]), "head/output/bias": np.zeros(3, np.float32)}
    weights[TABLE][:2, :3], weights["head/output/kernel"] = [[0, 0.1, -2], [0, -0.05, -0.05]], np.eye(4, 3, dtype=np.float32)
    assert [loss(np.array([word]), 0)[1] for word in (0, 1)] == [True, False]
    assert swapped(network, weights, np.array([[0]]), np.array([0]), np.ones_like(sets), 1).tolist() == [[True, True]]


def tiny(text, *settings):
    return resolve("attacks.text", scale="smoke", settings=[f"text={text}", *TINY, *settings])


@pytest.mark.slow
def test_a_study_attacks_all_networks_of_a_replicate_with_one_dictionary(text):
    study = tiny(text)
    rows = list(study.rows())
    assert {row.measurement.of[0].run for row in rows} == {study.dictionary}
    assert study.dictionary.task.data == tb.from_text(text)
    asked = tiny(text, "neighbours=3", "cosine=0.1", "shares=[0.5]", "attacked_examples=7")
    options = next(iter(asked.rows())).measurement.options
    assert options == {"shares": [0.5], "neighbours": 3, "cosine": 0.1, "examples": 7}
    found = run_study(study, Store(), quiet=True)
    table = found.table
    assert set(zip(table.arm, table.level, strict=True)) == {("ticket", 0), ("ticket", 1), ("reinit", 1)}
    assert set(table.variant) == {f"{name} {share}" for name in ("near", "frequent") for share in (0.02, 0.05, 0.1)}
    assert (table.left_acc <= table.clean_acc + 1e-6).all()
    more = table.pivot(index=["arm", "level", "replicate"], columns="variant", values="left_acc")
    assert (more["near 0.1"] <= more["near 0.05"]).all()
    dense = found.curves[(found.curves.arm == "ticket") & (found.curves.level == 0)].groupby("replicate").test_acc.last()
    assert np.allclose(table[(table.level == 0) & (table.variant == "near 0.1")].set_index("replicate").clean_acc, dense, atol=1e-6)
    for setting, said in (("shares=[2]", "shares"), ("cosine=1.5", "cosine")):
        with pytest.raises(TombolaError, match=said):
            tiny(text, setting)
    with pytest.raises(TombolaError, match="has no text that words can be swapped in"):
        list(resolve("attacks.text", task="digits-mlp").rows())
    measurement = rows[0].measurement
    other = measurement.but(of=(rows[0].run.at("end"), study.dictionary.at("end")), task=study.dictionary.task)
    with pytest.raises(TombolaError, match="of networks that average vectors of words"):
        rehearse_measurements([other], None)


def test_whether_words_decide_is_judged():
    study, rows = resolve("attacks.text", scale="smoke", replicates=8), []
    random = np.random.default_rng(0)

    def table(near, frequent, ticket):
        rows.clear()
        for replicate, variant, level in product(range(8), study.variants, (0, 1)):
            success = (near if variant.startswith("near") else frequent) + ticket * level + 0.002 * random.standard_normal()
            where = {"variant": variant, "arm": "ticket", "replicate": replicate, "level": level, "density": 0.3 if level else 1.0}
            rows.append({**where, "success": success, "left_acc": 0.8 * (1 - success)})
        return pd.DataFrame(rows)

    judged = lambda *given: study.judge(table(*given))[0]  # noqa: E731
    assert judged(0.2, 0.5, 0.05).verdict == "replicated"
    assert judged(0.3, 0.32, 0.2).verdict == "not replicated"
    assert judged(0.0, 0.0, 0.0).verdict == "not judged"
    assert judged(0.0, 0.0, 0.0).reasons[0].startswith("no room: success is ")
