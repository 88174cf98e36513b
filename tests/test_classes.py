"""Imbalanced classes: what becomes of each, and means over classes in the place of means over examples."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

import tombola as tb
from tombola.api.session import Session
from tombola.core.trees import stack
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.engine.configuring import resolve
from tombola.engine.study import run_study
from tombola.report.result import panels_of
from tombola.store.store import Store
from tombola.studies.figure import Figure, Panel
from tombola.studies.wording import Wording

COUNTS = (160, 60, 20)
RANDOM = np.random.default_rng(0)
Y = RANDOM.permutation(np.repeat(np.arange(3), COUNTS))
X = (RANDOM.normal(size=(240, 5)) + 0.8 * np.eye(5)[Y]).astype(np.float32)
TEST = slice(180, 240)


def task(**objective):
    recipe = tb.Recipe(steps="30it", batch=20, learning_rate=0.02, evaluate_every="10it")
    data, model = tb.from_arrays(X[:180], Y[:180], X[TEST], Y[TEST], validation=40), tb.Model(name="mlp", options={"widths": [6]})
    return tb.Task(data=data, model=model, recipe=recipe, objective={"name": "classification", **objective})


@pytest.fixture(scope="module")
def dense():
    return tb.train(task(average="classes"), 2, store=Store())


@pytest.fixture(scope="module")
def predicted(dense):
    return tb.predict(dense.task, dense.final, X[TEST]).argmax(-1)


# -- what becomes of each class ---------------------------------------------------------------------------------------------


def test_classes_are_counted_as_scikit_learn_counts_them(dense, predicted):
    found, truth = tb.classes(dense.task, dense.final), Y[TEST]
    for replica, own in enumerate(predicted):
        assert found.confusion[replica].tolist() == confusion_matrix(truth, own).tolist()
        kept = {"average": None, "zero_division": 0}
        assert found.recall[replica] == pytest.approx(recall_score(truth, own, **kept))
        assert found.precision[replica] == pytest.approx(precision_score(truth, own, **kept))
        assert found.f1[replica] == pytest.approx(f1_score(truth, own, **kept))
        assert found.macro_f1[replica] == pytest.approx(f1_score(truth, own, average="macro"))
        assert found.balanced_accuracy[replica] == pytest.approx(balanced_accuracy_score(truth, own))
        assert found.accuracy[replica] == pytest.approx((truth == own).mean())
    assert found.to_pandas("classes").examples.tolist() == np.bincount(truth).tolist()


def test_a_class_without_examples_counts_in_no_mean():
    found = tb.classes.__globals__["Classes"](("a", "b", "c"), np.array([[[3, 1, 0], [0, 0, 0], [1, 1, 2]]]))
    assert np.isnan(found.recall[0, 1])
    assert np.isnan(found.f1[0, 1])
    assert found.balanced_accuracy[0] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert found.macro_f1[0] == pytest.approx((2 * 3 / (4 + 4) + 2 * 2 / (4 + 2)) / 2)


def test_classes_are_of_classifications():
    values = tb.task("diabetes-mlp")
    weights = stack([Session.of(values, None, None).network.init(1)])
    with pytest.raises(tb.TombolaError, match="targets are none"):
        tb.classes(values, weights)


# -- means over classes -----------------------------------------------------------------------------------------------------


def test_evaluations_average_over_classes(dense, predicted):
    truth = Y[TEST]
    balanced = [balanced_accuracy_score(truth, own) for own in predicted]
    assert dense.metrics["test_acc"][:, -1] == pytest.approx(balanced)
    assert balanced[0] != pytest.approx((predicted[0] == truth).mean(), abs=1e-3)
    whole = load(dense.task.data)
    for replica, seed in enumerate(dense.seeds):
        own = split(whole, dense.task.data, seed)
        outputs = np.asarray(tb.predict(dense.task, dense.final, whole.inputs[own.validation]))[replica].astype(np.float64)
        targets = own.targets[own.validation]
        losses = np.log(np.exp(outputs).sum(-1)) - outputs[np.arange(len(targets)), targets]
        by_class = [losses[targets == one].mean() for one in np.unique(targets)]
        assert dense.metrics["val_loss"][replica, -1] == pytest.approx(np.mean(by_class), rel=1e-5)


def test_training_is_the_same_whatever_evaluations_average_over(dense):
    plain = tb.train(task(), 2)
    assert all(np.array_equal(plain.final[path], leaf) for path, leaf in dense.final.items())
    assert plain.runs[0].digest != dense.runs[0].digest


def test_measurements_average_as_training_does(dense):
    found = tb.robustness(dense.task, dense, ["0it"])
    assert 1 - found.own_error == pytest.approx(dense.metrics["test_acc"][:, -1])
    assert found.chance == pytest.approx(2 / 3)
    line = tb.path(dense.task, dense.final, dense.initial, seed=0, points=2)
    assert line.loss["test"][:, -1] == pytest.approx(dense.metrics["test_loss"][:, -1], rel=1e-5)


def test_studies_say_balanced_accuracy_and_judge_their_claims():
    study = resolve("frankle2019.sparsity", scale="smoke", task=task(average="classes"), settings=["levels=1"])
    found = run_study(study, Store(), quiet=True)
    labels = [panel.label for panel in panels_of(found, "")]
    assert "test balanced accuracy at early stop (%)" in labels
    assert "acc_es" in found.table
    assert not any("the claim is about classification" in reason for one in found.verdicts for reason in one.reasons)
    panel = Panel("rise", "rise of the test error (pp)", 100, threshold=0.02)
    words = Wording(study.task)
    (shown,) = words.figures([Figure("f", "Error by layer", (panel,))])
    assert (shown.title, shown.panels[0].label, shown.panels[0].threshold) == (
        "Error by layer",
        "rise of the test balanced error (pp)",
        0.02,
    )
