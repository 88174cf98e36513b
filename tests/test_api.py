"""Functions of Python: arrays that are given, stores, what is found again, whole numbers, predictions."""

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits
from toys import tiny

import tombola as tb
from tombola.api.session import arrays
from tombola.cli import main
from tombola.core import trees
from tombola.core.numbers import whole
from tombola.data.dataset import load
from tombola.store.lineage import lineage
from tombola.store.store import Store
from tombola.training.cohort import setup

TASK = tiny(train=300, validation=60, test=120)


@pytest.fixture(scope="module")
def dense():
    return tb.train(TASK, 2, keep=["10it"])


# -- stores ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_a_store_has_is_not_trained_again_and_is_the_command_lines(tmp_path, trained, capsys):
    found = tb.imp(TASK, 1, fraction=0.5, replicates=2, store=tmp_path)
    assert sum(map(len, trained)) == 4
    again = tb.imp(TASK, 1, fraction=0.5, replicates=2, store=Store(tmp_path))
    assert sum(map(len, trained)) == 4
    assert trees.equal(again[1].final, found[1].final)
    assert trees.equal(tb.imp(TASK, 1, fraction=0.5, replicates=2)[1].final, found[1].final)  # in memory: trained, and the same
    assert sum(map(len, trained)) == 8
    assert main(["runs", "--store", str(tmp_path), "--json"]) == 0
    rows = {row["run"]: row["test_acc"] for row in json.loads(capsys.readouterr().out)}
    for level in found:
        for run, accuracy in zip(level.runs, level.metrics["test_acc"][:, -1], strict=True):
            assert rows[run.digest] == round(float(accuracy), 4)


def test_a_study_finds_the_runs_of_a_function(tmp_path, trained):
    levels = tb.imp(TASK, 1, replicates=2, store=tmp_path)
    trained.clear()
    found = tb.run("frankle2019.sparsity", "smoke", task=TASK, settings={"levels": 1}, replicates=2, store=tmp_path, quiet=True)
    mine = [trees.replica(levels[1].initial, r) for r in range(2)]
    assert trained  # the controls
    assert not any(trees.equal(one.start, start) for wave in trained for one in wave for start in mine)
    table = found.table[(found.table.arm == "ticket") & (found.table.level == 1)].sort_values("replicate")
    assert table.acc_final.tolist() == levels[1].metrics["test_acc"][:, -1].tolist()


def test_weights_of_a_trajectory_are_told_by_their_runs_and_others_by_their_content(dense, tmp_path):
    child = tb.train(TASK, start=dense.at("10it"), begin="10it")
    assert [run.kept.of[0].run for run in child.runs] == list(dense.runs)
    assert child.store is dense.store
    changed = dense.at("10it")
    changed["output/bias"] = changed["output/bias"] + 1
    other = tb.train(TASK, start=changed, begin="10it", store=tmp_path)
    given = other.runs[0].kept.of[0].run
    assert trees.equal(other.initial, changed)
    assert other.runs[0].kept.of[0].run.content != tb.train(TASK, start=dict(dense.at("10it")), begin="10it").runs[0].kept.of[0].run.content
    *_, last = lineage(Store(tmp_path), other.runs[0].digest)
    assert last["run"] == given.digest
    assert "given as arrays: 644 values in 6 leaves" in last["what"]


def test_runs_are_brought_into_the_store_that_is_named(dense, tmp_path, trained):
    found = tb.robustness(TASK, dense, ["0it"], store=tmp_path)
    assert trained == []
    assert {record.digest for record in Store(tmp_path)} == {run.digest for run in dense.runs}
    assert found.error.tolist() == tb.robustness(TASK, dense, ["0it"]).error.tolist()
    child = tb.train(TASK, start=dense.at("10it"), begin="10it", store=tmp_path)
    assert sum(map(len, trained)) == 2
    assert all(run.digest in Store(tmp_path) for run in child.runs)


# -- what is given ---------------------------------------------------------------------------------------------------------


class Tensor:
    """As PyTorch's with a gradient: NumPy must not take it before it is detached."""

    def __init__(self, values):
        self.values = values

    def detach(self):
        return self

    def cpu(self):
        return self.values

    def __array__(self, *_, **__):
        raise RuntimeError("call detach() first")


def test_arrays_of_other_libraries_and_lists_are_taken(dense):
    start = {path: Tensor(leaf) for path, leaf in dense.initial.items()}
    mask = {path: np.asarray(leaf).tolist() for path, leaf in dense.mask.items()}
    assert trees.equal(tb.train(TASK, start=start, mask=mask).final, dense.final)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tb.train(TASK, 1, seed=3.0), "seed = 3.0, but a whole number"),
        (lambda: tb.train(TASK, 1, seed=True), "seed = True"),
        (lambda: tb.train(TASK, 1, seed=-1), "seed = -1"),
        (lambda: tb.train(TASK, 2.0), "replicates = 2.0"),
        (lambda: tb.imp(TASK, 1.0), "levels = 1.0"),
        (lambda: tb.train(TASK, start=[1, 2]), "a tree is needed.* not list"),
        (lambda: tb.train(TASK, start={"a": 1.0}), "replicas first"),
        (lambda: tb.train(TASK, start={"a": [object()]}), "array of numbers"),
        (lambda: tb.train(TASK, start={"a": np.ones(2), "b": np.ones(3)}), "2 and 3 replicas"),
        (lambda: tb.predict(TASK, {}, np.zeros((1, 64))), "a tree is needed"),
        (lambda: tb.imp("digits-mlp", 1), "^'digits-mlp' is no task; make one of a name"),
        (lambda: tb.supermask("digits-mlp"), "is no task"),
        (lambda: tb.values("signed_constant", TASK, keepsign=True), "it takes context, weights=None, keep_sign=True"),
    ],
)
def test_what_does_not_fit_is_one_line(call, words):
    with pytest.raises(tb.TombolaError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_integers_of_numpy_are_integers(dense):
    assert whole("x", np.int64(3)) == 3
    found = tb.train(TASK, np.int64(2), np.int32(0), keep=[np.int64(10)])
    assert found.seeds == dense.seeds
    assert trees.equal(found.at(np.int64(10)), dense.at("10it"))
    assert arrays("x", {"a": [1, 2]})["a"].tolist() == [1, 2]


# -- divergence ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.* at chance")  # of a replicate that stayed finite, with dead units
def test_what_diverged_is_no_number_and_one_warning():
    wild = TASK.but(recipe=TASK.recipe.but(optimizer="sgd", learning_rate=1e38))
    with pytest.warns(tb.TombolaWarning, match="diverged") as said:
        found = tb.instability(wild, "10it", children=2, replicates=2, points=2)
    assert sum("diverged" in str(one.message) for one in said) == 1
    lost = np.isnan([child.metrics["val_loss"][:, -1] for child in found.children]).any(axis=0)
    assert lost.any()  # a replicate may stay finite, with dead units
    assert np.array_equal(np.isnan(found.barrier), lost)
    assert not found.stable[lost].any()
    with pytest.warns(tb.TombolaWarning):
        dense = tb.train(wild, 2)
    with pytest.warns(tb.TombolaWarning, match="not finite"):
        layers = tb.robustness(wild, dense, ["0it"])
    assert np.array_equal(np.isnan(layers.own_error), np.isnan(dense.metrics["val_loss"][:, -1]))
    assert np.isnan(layers.rise[np.isnan(layers.own_error)]).all()


def test_an_empty_layer_is_a_warning_of_python():
    with pytest.warns(tb.TombolaWarning, match="'output/kernel' of replicate 0 is empty"):
        tb.imp(TASK, 1, fraction={"dense": 0.2, "output": 1.0}, replicates=1)


def test_what_is_not_finite_is_a_warning_wherever_it_is_given(dense):
    lost = {path: np.where(np.arange(2).reshape(-1, *[1] * (leaf.ndim - 1)) == 1, np.nan, leaf) for path, leaf in dense.final.items()}
    with pytest.warns(tb.TombolaWarning, match="^outputs of replicate 1 are not finite: [^;]*$"):
        tb.predict(TASK, lost, np.ones((3, 64)))
    with pytest.warns(tb.TombolaWarning, match="^replicate 1 starts from weights that are not finite[^;]*; give others$"):
        trained = tb.train(TASK, start=lost)
    with pytest.warns(tb.TombolaWarning, match="^scores of replicate 1 are not finite: [^;]*$"):
        tb.score(trained)
    with pytest.warns(tb.TombolaWarning, match="^values for replicate 1 are not finite: [^;]*$"):
        tb.values("rewind", TASK, lost)
    with pytest.raises(tb.TombolaError, match=r"^replicate 1 diverged in both networks: no weights to go between"):
        tb.path(TASK, lost, lost, seed=0, points=2)


def test_networks_at_chance_are_a_warning(dense):
    nothing = {path: np.zeros_like(leaf) for path, leaf in dense.final.items()}
    nearly = {path: leaf + np.float32(1e-6) for path, leaf in nothing.items()}
    with pytest.warns(tb.TombolaWarning, match="the ends of 2 of 2 paths are at chance") as said:
        tb.path(TASK, nothing, nearly, seed=0, points=2)
    assert said[0].filename == __file__
    with pytest.warns(tb.TombolaWarning, match="2 of 2 networks are at chance"):
        tb.robustness(TASK, tb.train(TASK, start=nothing), ["0it"])
    long = TASK.but(recipe=TASK.recipe.but(steps="200it", learning_rate=0.01))
    learnt = tb.train(long, 1)
    tb.robustness(long, learnt, ["0it"])  # says nothing: warnings are errors here


# -- predictions -----------------------------------------------------------------------------------------------------------


def test_predictions_are_those_of_the_network_on_raw_inputs(dense):
    raw = load_digits()
    inputs, labels = raw.data[:150], raw.target[:150]
    outputs = tb.predict(TASK, dense.final, inputs)
    assert outputs.shape == (2, 150, 10)
    network = setup(TASK, load(TASK.data)).network
    for r in range(2):
        logits, _ = network.apply(trees.replica(dense.final, r), (inputs / 16).astype(np.float32), train=False)
        np.testing.assert_allclose(outputs[r], logits, atol=1e-5)
    assert np.array_equal(tb.predict(TASK, dense.final, (inputs / 16).astype(np.float32), scaled=True), outputs)
    longer = tb.predict(TASK, dense.final, np.tile(inputs, (5, 1)))  # in several batches
    np.testing.assert_allclose(longer[:, -150:], outputs, atol=1e-5)
    assert (outputs.argmax(-1) == labels).mean() > 0.2
    whole_test = tb.predict(TASK, dense.final, load(TASK.data).test_inputs, scaled=True)
    right = (whole_test.argmax(-1) == load(TASK.data).test_targets).mean(axis=1)
    np.testing.assert_allclose(right, dense.metrics["test_acc"][:, -1], atol=1e-6)
    with pytest.raises(tb.TombolaError, match=r"x has shape \(150, 63\), but \(n, 64\)"):
        tb.predict(TASK, dense.final, inputs[:, 1:])


def test_a_ticket_says_what_its_inputs_are(tmp_path):
    from safetensors import safe_open

    run = tb.train(TASK, 1, store=tmp_path / "store").runs[0]
    assert main(["export", run.digest, "--store", str(tmp_path / "store"), "-o", str(tmp_path / "t.safetensors")]) == 0
    with safe_open(tmp_path / "t.safetensors", "numpy") as file:
        said = json.loads(file.metadata()["inputs"])
    assert said == {"shape": [64], "dtype": "float32", "divisor": 16, "mean": [0.0], "std": [1.0]}
