"""Objectives: right values by hand, training against a plain loop, a user's own, and what is wrong in one line."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from toys import own_test_set

import tombola as tb
from tombola.api.train import train
from tombola.core import keys, trees
from tombola.core.errors import TombolaError, TombolaWarning
from tombola.core.objective import Measure, objectives
from tombola.core.registry import Registry
from tombola.core.task import Data, Model, Recipe, Task
from tombola.data.dataset import Dataset, datasets, load
from tombola.data.order import epoch_order
from tombola.data.split import split
from tombola.engine.configuring import resolve
from tombola.evaluation.weight_combinations import WeightCombinations, evaluate
from tombola.objectives import Classification, Objective, Reconstruction, Regression
from tombola.studies.wording import Wording

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own(monkeypatch):
    """Registries of this test alone; data sets `toy-values`, `toy-classes` (imbalanced) and `toy-inputs`."""
    monkeypatch.setattr(objectives, "_parts", dict(objectives._parts))
    monkeypatch.setattr(datasets, "_parts", dict(datasets._parts))
    x = RANDOM.standard_normal((60, 5)).astype(np.float32)
    values = (x[:, :2] * [1, 3] + 0.1 * RANDOM.standard_normal((60, 2))).astype(np.float32)
    classes = np.minimum(np.arange(60) % 6, 2).astype(np.int32)
    for name, targets, count in (("toy-values", values, None), ("toy-classes", classes, 3), ("toy-inputs", None, None)):
        cut = (None, None) if targets is None else (targets[:40], targets[40:])
        dataset = Dataset(x[:40], cut[0], x[40:], cut[1], count, validation=10)
        datasets.register(name)(lambda folder, dataset=dataset: dataset)


def toy(data="toy-values", objective="regression", **recipe):
    recipe = {"steps": "7it", "batch": 8, "learning_rate": 0.01, "evaluate_every": "3it", "optimizer": "sgd", **recipe}
    return Task(data=Data(name=data), model=Model(name="mlp", options={"widths": [6]}), recipe=Recipe(**recipe), objective=objective)


def one_line(raised):
    assert "\n" not in str(raised.value)


# -- values by hand ------------------------------------------------------------------------------------------------------


def test_classification_by_hand():
    logits, classes = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]], np.float32), np.array([0, 2])
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    plain, weighted = Classification(), Classification(class_weights=(1, 2, 3))
    np.testing.assert_allclose(plain.loss(logits, classes), -log_p[[0, 1], classes], rtol=1e-6)
    np.testing.assert_allclose(weighted.loss(logits, classes), -log_p[[0, 1], classes] * [1, 3], rtol=1e-6)
    np.testing.assert_allclose(weighted.training_loss(logits, classes, 0.0), -log_p[[0, 1], classes] * [1, 3], rtol=1e-6)
    np.testing.assert_array_equal(plain.measures(jnp.array(logits), classes)["error"], [0, 1])
    assert plain.chance(np.array([0, 0, 1, 2])) == 0.5
    assert plain.disagreement(np.array([0, 1]), np.array([0, 2])) == 0.5
    assert plain.columns == ("loss", "acc")
    assert plain.headline_of(0.75) == 0.25


def test_regression_and_reconstruction_by_hand():
    outputs, targets = np.array([[1.0, 2.0], [0.0, 0.0]]), np.array([[0.0, 4.0], [1.0, 1.0]])
    for objective in (Regression(), Reconstruction()):
        np.testing.assert_allclose(objective.loss(outputs, targets), [2.5, 1.0])
        np.testing.assert_allclose(objective.measures(outputs, targets)["mse"], [2.5, 1.0])
        assert objective.chance(targets) == pytest.approx((0.25 + 2.25) / 2)
        assert objective.disagreement(outputs, targets) == pytest.approx(1.75)
        assert objective.columns == ("loss", "mse")
        assert objective.headline_of(0.75) == 0.75


def test_balanced_weights_are_those_of_the_pool():
    counts = np.bincount(load(Data(name="toy-classes")).targets)
    found = Classification(class_weights="balanced").fitted(load(Data(name="toy-classes")))
    np.testing.assert_allclose(found.class_weights, 40 / (3 * counts))
    assert np.dot(found.class_weights, counts) == pytest.approx(40)


# -- training ------------------------------------------------------------------------------------------------------------


def forward(weights, x):
    hidden = np.maximum(x @ weights["hidden1/kernel"] + weights["hidden1/bias"], 0)
    return hidden, hidden @ weights["output/kernel"] + weights["output/bias"]


def test_regression_trains_as_a_plain_loop_does():
    """A network 5-6-2 by hand, in NumPy and float64."""
    found, dataset = train(toy(), 1, seed=3), load(Data(name="toy-values"))
    seed = keys.replicate_seed(3, 0)
    part = split(dataset, Data(name="toy-values"), seed)
    w = {path: leaf.astype(np.float64) for path, leaf in trees.replica(found.initial, 0).items()}
    orders = [epoch_order(seed, "data_order", epoch, part.train) for epoch in range(3)]
    for t in range(7):
        batch = orders[t // 3][t % 3 * 8 : t % 3 * 8 + 8]
        x, y = dataset.inputs[batch], dataset.targets[batch]
        hidden, outputs = forward(w, x)
        slope = 2 * (outputs - y) / y.size
        back = (slope @ w["output/kernel"].T) * (hidden > 0)
        steps = {"output/kernel": hidden.T @ slope, "output/bias": slope.sum(0), "hidden1/kernel": x.T @ back, "hidden1/bias": back.sum(0)}
        w = {path: w[path] - 0.01 * steps[path] for path in w}
    for path, leaf in trees.replica(found.final, 0).items():
        np.testing.assert_allclose(leaf, w[path], rtol=1e-4, atol=1e-6)

    def mse(inputs, targets):
        return np.mean((forward(w, inputs)[1] - targets) ** 2)

    assert found.metrics["step"].tolist() == [0, 3, 6, 7]
    validation = part.validation
    assert found.metrics["val_mse"][0, -1] == pytest.approx(mse(dataset.inputs[validation], dataset.targets[validation]), rel=1e-4)
    assert found.metrics["test_mse"][0, -1] == pytest.approx(mse(dataset.test_inputs, dataset.test_targets), rel=1e-4)
    assert found.summary["train_mse"][0] == pytest.approx(mse(dataset.inputs[part.train], dataset.targets[part.train]), rel=1e-4)
    assert not any("acc" in name for name in [*found.metrics, *found.summary])


@pytest.mark.parametrize("data", ["toy-inputs", "toy-values", "toy-classes"])
def test_reconstruction_takes_the_inputs_as_targets(data):
    found, dataset = train(toy(data, "reconstruction"), 2), load(Data(name=data))
    for index in range(2):
        outputs = forward(trees.replica(found.final, index), dataset.test_inputs)[1]
        assert found.metrics["test_mse"][index, -1] == pytest.approx(np.mean((outputs - dataset.test_inputs) ** 2), rel=1e-5)


@pytest.mark.slow
def test_class_weights_change_training_and_its_loss():
    plain, weighted = (train(toy("toy-classes", Classification(class_weights=weights)), 1) for weights in (None, "balanced"))
    assert not trees.equal(plain.final, weighted.final)
    assert not np.allclose(plain.metrics["val_loss"][:, 0], weighted.metrics["val_loss"][:, 0])
    assert plain.metrics["val_acc"][:, 0] == weighted.metrics["val_acc"][:, 0]


def test_measurements_have_the_same_numbers_as_training():
    for task in (toy(), toy("toy-classes", "classification"), toy("toy-inputs", "reconstruction")):
        found, dataset = train(task, 1), load(task.data)
        scores = evaluate(
            task, dataset, WeightCombinations(found.seeds[0], (trees.replica(found.final, 0),)), ("train", "validation", "test")
        )
        column = task.objective.columns[1]
        assert scores["test"].error[0] == pytest.approx(task.objective.headline_of(found.metrics[f"test_{column}"][0, -1]), rel=1e-5)
        assert scores["validation"].loss[0] == pytest.approx(found.metrics["val_loss"][0, -1], rel=1e-5)
        assert scores["train"].error[0] == pytest.approx(task.objective.headline_of(found.summary[f"train_{column}"][0]), rel=1e-5)


def test_errors_by_class():
    task = toy("toy-classes", "classification")
    found, dataset = train(task, 1), load(task.data)
    scores = evaluate(task, dataset, WeightCombinations(found.seeds[0], (trees.replica(found.final, 0),)))["test"]
    wrong = scores.prediction[0] != dataset.test_targets
    expected = [wrong[dataset.test_targets == one].mean() for one in range(3)]
    np.testing.assert_allclose(scores.by_class[0], expected)
    assert scores.balanced_error[0] == pytest.approx(np.mean(expected))
    assert scores.error[0] == wrong.mean() != scores.balanced_error[0]


# -- batches -------------------------------------------------------------------------------------------------------------


def test_an_objective_may_change_its_batches():
    """A denoising autoencoder; the noise is drawn anew each step, by the run's stream `batch`."""

    @tb.objectives.register("denoising")
    class Denoising(Reconstruction):
        scale: float = 1.0

        def batch(self, key, examples, predict):
            inputs, targets = examples
            assert predict(inputs).shape == targets.shape
            return inputs + self.scale * jax.random.normal(key, inputs.shape), targets

    task = toy("toy-inputs", {"name": "denoising", "scale": 0.0})
    noisy = task.but(objective="denoising")
    plain, without, first, again, other = (
        train(toy("toy-inputs", "reconstruction"), 1),
        train(task, 1),
        train(noisy, 1),
        train(noisy, 1),
        train(noisy, 1, noise={"augmentation": "child/1"}),
    )
    assert trees.equal(plain.final, without.final)
    assert trees.equal(first.final, again.final)
    assert not trees.equal(plain.final, first.final)
    assert not trees.equal(other.final, first.final)
    dataset, outputs = load(task.data), forward(trees.replica(first.final, 0), load(task.data).test_inputs)[1]
    assert first.metrics["test_mse"][0, -1] == pytest.approx(np.mean((outputs - dataset.test_inputs) ** 2), rel=1e-5)  # no noise there


def test_batches_may_follow_the_gradient_of_the_network():
    """One step of a plain loop under an attack of one step (fast gradient sign)."""

    @tb.objectives.register("attacked")
    class Attacked(Regression):
        def batch(self, key, examples, predict):
            inputs, targets = examples
            slope = jax.grad(lambda x: self.loss(predict(x), targets).sum())(inputs)
            return inputs + 0.1 * jnp.sign(slope), targets

    found, dataset = train(toy(objective="attacked", steps="1it"), 1), load(Data(name="toy-values"))
    w, seed = trees.replica(found.initial, 0), keys.replicate_seed(0, 0)
    batch = epoch_order(seed, "data_order", 0, split(dataset, Data(name="toy-values"), seed).train)[:8]
    x, y = dataset.inputs[batch], dataset.targets[batch]

    def loss(w, x):
        hidden = jnp.maximum(x @ w["hidden1/kernel"] + w["hidden1/bias"], 0)
        return ((hidden @ w["output/kernel"] + w["output/bias"] - y) ** 2).mean()

    moved = x + 0.1 * jnp.sign(jax.grad(loss, 1)(w, x))
    for path, slope in jax.grad(loss)(w, moved).items():
        np.testing.assert_allclose(found.final[path][0], w[path] - 0.01 * slope, rtol=1e-4, atol=1e-6)


# -- a user's own --------------------------------------------------------------------------------------------------------

FOCAL = '''
import jax.numpy as jnp
import optax

import tombola as tb


@tb.objectives.register
class focal(tb.objectives.Classification):
    """Focal loss (Lin et al. 2017): -(1 - p)^gamma log p."""

    gamma: float = 2.0

    def loss(self, outputs, targets):
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
        return (1 - jnp.exp(-losses)) ** self.gamma * losses
'''


@pytest.fixture
def focal(tmp_path):
    from tombola.core.loading import load_file

    path = tmp_path / "focal.py"
    path.write_text(FOCAL)
    load_file(path)
    return path


@pytest.mark.slow
def test_a_focal_loss_of_a_users_file(focal):
    task = toy("toy-classes", "focal")
    found, plain, zero = (
        train(task, 1),
        train(toy("toy-classes", "classification"), 1),
        train(task.but(objective={"name": "focal", "gamma": 0}), 1),
    )
    assert not trees.equal(found.final, plain.final)
    for path, leaf in zero.final.items():
        np.testing.assert_allclose(leaf, plain.final[path], rtol=1e-5, atol=1e-6)
    assert found.metrics["val_loss"][0, 0] < plain.metrics["val_loss"][0, 0]
    assert found.metrics["val_acc"][0, 0] == plain.metrics["val_acc"][0, 0]
    stored = task.canonical()["objective"]
    assert stored.keys() == {"spec", "source"}
    assert Task(**{name: getattr(task, name) for name in ("data", "model", "recipe")}, objective=stored) == task


def test_an_edited_objective_is_another_one(focal, monkeypatch):
    from tombola.core.loading import load_file

    first = toy("toy-classes", "focal")
    monkeypatch.setattr(objectives, "_parts", {name: part for name, part in objectives._parts.items() if name != "focal"})
    focal.write_text(FOCAL.replace("** self.gamma", "** (self.gamma + 1)"))
    load_file(focal)
    assert toy("toy-classes", "focal").digest != first.digest
    with pytest.raises(TombolaError, match="'focal' is not the one that this was described with") as raised:
        toy("toy-classes", first.canonical()["objective"])
    one_line(raised)


def test_one_with_measures_of_its_own():
    @tb.objectives.register("huber")
    class Huber(Objective):
        measured = {"absolute": Measure("absolute error"), "mse": Measure("mean squared error")}

        def loss(self, outputs, targets):
            return optax.huber_loss(outputs, targets).mean(-1)

        def measures(self, outputs, targets):
            return {"mse": ((outputs - targets) ** 2).mean(-1), "absolute": abs(outputs - targets).mean(-1)}

        def chance(self, targets):
            return float(np.abs(targets - np.median(targets, axis=0)).mean())

    found, dataset = train(toy(objective="huber"), 1), load(Data(name="toy-values"))
    apart = forward(trees.replica(found.final, 0), dataset.test_inputs)[1] - dataset.test_targets
    assert found.metrics["test_absolute"][0, -1] == pytest.approx(np.abs(apart).mean(), rel=1e-5)
    assert found.summary["es_test_mse"].shape == (1,)
    assert [name for name in found.metrics if name.startswith("val")] == ["val_loss", "val_absolute", "val_mse"]


# -- identity ------------------------------------------------------------------------------------------------------------


def test_the_default_changes_no_digest_and_others_do():
    task = toy("toy-classes", "classification")
    assert "objective" not in task.canonical()
    assert task == toy("toy-classes", Classification()) == toy("toy-classes", Classification)
    assert len({task.digest, *(toy("toy-classes", one).digest for one in ("regression", {"class_weights": "balanced"}))}) == 3


# -- divergence ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["toy-values", "toy-classes"])
def test_what_is_not_finite_is_no_result(data):
    task = toy(data, "classification" if data == "toy-classes" else "regression", learning_rate=1e30, steps="12it")
    column = "acc" if data == "toy-classes" else "mse"
    with pytest.warns(TombolaWarning, match="diverged"):
        found = train(task, 1)
    assert np.isfinite(found.metrics[f"test_{column}"][0, 0])
    assert np.isnan(found.metrics[f"test_{column}"][0, -1])
    assert np.isnan(found.summary[f"train_{column}"][0])
    ends = tuple({path: leaf[0] for path, leaf in tree.items()} for tree in (found.initial, found.final))
    scores = evaluate(task, load(task.data), WeightCombinations(found.seeds[0], ends))["test"]
    assert np.isfinite(scores.error).tolist() == [True, False]
    assert np.isnan(scores.disagreement(0, 1))


# -- studies and procedures -----------------------------------------------------------------------------------------------

STUDIES = ("frankle2019.sparsity", "frankle2020.instability", "zhang2019.robustness", "zhou2019.mask1", "zhou2019.trained")


@pytest.mark.parametrize("task", ["diabetes-mlp", "digits-autoencoder"])
@pytest.mark.parametrize("name", STUDIES)
def test_columns_labels_and_units_are_the_objectives(name, task):
    study = resolve(name, scale="smoke", task=task)
    words = Wording(study.task)
    columns, figures = words.columns(study.columns), words.figures(study.figures())
    assert not [column for column in columns if "acc" in column.split("_")]
    assert len(columns) == len(study.columns)
    for panel in [panel for figure in figures for panel in figure.panels]:
        assert "accuracy" not in panel.label
        assert "nats" not in panel.label
        if "mean squared error" in panel.label:
            assert (panel.scale, panel.threshold) == (1, None)
            assert "%" not in panel.label
    if name == "frankle2019.sparsity":
        assert [panel.metric for panel in figures[0].panels] == ["es_iteration", "mse_es", "mse_final"]
    for verdict in study.judge(pd.DataFrame()):
        assert (verdict.verdict, verdict.effects) == ("not judged", ())
        assert "about classification" in verdict.lacks


def test_a_study_of_regression_end_to_end(tmp_path):
    settings = ["steps=20it", "evaluate_every=10it", "levels=1", "replicates=1", "reinits=0"]
    found = tb.run("frankle2019.sparsity", "smoke", task="diabetes-mlp", settings=settings, store=tmp_path, quiet=True)
    assert {"test_mse", "val_mse"} <= set(found.curves.columns)
    ends = found.curves[found.curves.step == 20].groupby(["arm", "level"]).test_mse.mean()
    for row in found.table.itertuples():
        assert row.mse_final == ends[row.arm, row.level]


@pytest.mark.slow
def test_procedures_in_python():
    task = tb.task("diabetes-mlp", "smoke", steps="20it", evaluate_every="10it")
    levels = tb.imp(task, 1, replicates=1)
    assert levels[1].summary["es_test_mse"].shape == (1,)
    unstable = tb.instability(task, children=2, replicates=1, points=3, mask=levels[1].mask, start=levels[1].initial)
    ends = unstable.paths.error["test"][0, 0][[-1, 0]]
    assert ends == pytest.approx([child.metrics["test_mse"][0, -1] for child in unstable.children], rel=1e-4)
    layers = tb.robustness(task, levels[0], ["0it"])
    _, targets = own_test_set(task, levels[0].seeds[0])
    assert layers.chance[0] == pytest.approx(targets.var(axis=0).mean(), rel=1e-5)
    assert layers.own_error[0] == pytest.approx(levels[0].metrics["test_mse"][0, -1], rel=1e-4)
    tb.supermask(task, steps="10it", samples=2)


def test_a_focal_loss_on_the_command_line(focal, tmp_path, capsys):
    from tombola.cli import main

    settings = [
        f"--set={one}"
        for one in ("objective=focal", "task.objective.gamma=1", "steps=10it", "evaluate_every=5it", "levels=1", "replicates=1")
    ]
    common = ["--task", "digits-mlp", "--scale", "smoke", "--load", str(focal), *settings]
    main(["run", "frankle2019.sparsity", *common, "--store", str(tmp_path / "store"), "--json"])
    assert "acc_es" in capsys.readouterr().out
    main(["show", "frankle2019.sparsity", *common, "--json"])
    shown = json.loads(capsys.readouterr().out)["configuration"]
    assert (shown["task.objective"], shown["task.objective.gamma"]) == ("focal", 1.0)
    main(["runs", "--store", str(tmp_path / "store")])
    assert "test acc" in capsys.readouterr().out


# -- what is wrong, in one line ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "objective", "message"),
    [
        ("toy-values", "regresion", "unknown objective 'regresion': did you mean 'regression'"),
        ("toy-values", "classification", "targets of the data set are values; .*objective=regression"),
        ("toy-classes", "regression", "targets of the data set are classes; .*objective=classification"),
        ("toy-inputs", "classification", "the data set has no targets; .*objective=reconstruction"),
        ("toy-classes", {"class_weights": [1, 2]}, "2 numbers for 3 classes"),
        ("toy-classes", {"class_weights": [1, -2, 3]}, "must be greater than 0"),
        ("toy-values", {"name": "regression", "gamma": 1}, "there is no field 'gamma'"),
        ("toy-values", 3, "objective = 3"),
    ],
)
def test_what_does_not_fit_is_refused(data, objective, message):
    with pytest.raises(TombolaError, match=message) as raised:
        train(toy(data, objective), 1)
    one_line(raised)


def test_label_smoothing_and_label_noise_are_of_classes():
    with pytest.raises(TombolaError, match="label_smoothing is of the objective 'classification'"):
        toy(label_smoothing=0.1)
    with pytest.raises(TombolaError, match="label_noise draws other classes, but the targets of toy-values are no classes"):
        load(Data(name="toy-values", label_noise=0.5))


@pytest.mark.parametrize(
    ("y", "objective", "remedy"),
    [
        (np.arange(8), "regression", r"such as objective=classification; or, .*targets='values'\), or that beside y in the .npz"),
        (np.arange(8.0) % 2, "classification", r"such as objective=regression; or, .*targets='classes'\), or that beside"),
        (np.arange(8) / 2, "classification", "such as objective=regression$"),
        (np.array(["a", "b"] * 4), "regression", "such as objective=classification$"),
    ],
)
def test_whole_numbers_may_be_classes_or_values(y, objective, remedy):
    data = tb.from_arrays(np.eye(8, 3), y, np.eye(8, 3), y, validation=2)
    with pytest.raises(TombolaError, match=remedy) as raised:
        tb.train(tb.task("digits-mlp", steps="2it", batch=2).but(data=data, objective=objective))
    one_line(raised)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (lambda outputs, targets: outputs, "must be a class derived from"),
        (type("bare", (Objective,), {}), "says no `measured`"),
        (type("lossy", (Regression,), {"measured": {"loss": Measure("loss")}}), "a measure is called 'loss'"),
    ],
)
def test_what_is_no_objective_is_not_registered(part, message):
    with pytest.raises(TombolaError, match=message) as raised:
        tb.objectives.register(part)
    one_line(raised)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            {"loss": lambda self, outputs, targets: outputs.mean()},
            r"loss returns shape \(\), but one number for each example is needed, \(B,\)",
        ),
        ({"loss": lambda self, outputs, targets: 1 / 0}, "ZeroDivisionError"),
        ({"measures": lambda self, outputs, targets: {"rmse": outputs.mean(-1)}}, "measures gives 'rmse', but `measured` says 'mse'"),
        ({"batch": lambda self, key, examples, predict: examples[0]}, "batch must return"),
    ],
)
def test_methods_that_do_not_fit_are_refused_before_training(method, message):
    tb.objectives.register(type("odd", (Regression,), method))
    with pytest.raises(TombolaError, match=message) as raised:
        train(toy(objective="odd"), 1)
    one_line(raised)


def test_every_objective_is_documented():
    for name in objectives:
        assert objectives[name].__doc__
        assert isinstance(objectives, Registry)
