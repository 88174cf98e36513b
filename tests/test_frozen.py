"""Frozen layers: they keep their start bit for bit, are not differentiated, and the others train as ever."""

import json
import re
from itertools import pairwise

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh

import tombola as tb
from tombola import cli
from tombola.api.train import train
from tombola.core import masks, trees
from tombola.core.errors import TombolaError
from tombola.core.task import Data, Model, Recipe, Task
from tombola.data.dataset import load
from tombola.engine import checkpoints
from tombola.engine.execute import Engine
from tombola.engine.graph import graph
from tombola.engine.progress import Progress
from tombola.procedures.run import Run
from tombola.store.store import Store
from tombola.training import optimizers, replica_batch
from tombola.training import setup as limits
from tombola.training.cohort import setup, train_cohort
from tombola.training.cost import step_operations
from tombola.training.frozen import trained_paths
from tombola.training.plan import Plan, plan
from tombola.training.program import Batches, Fixed, compile_program
from tombola.training.replica import Replica


class Normed(nnx.Module):
    """Two hidden layers with batch norm."""

    def __init__(self, shape, classes, *, rngs):
        self.hidden1 = nnx.Linear(shape[0], 8, rngs=rngs)
        self.norm1 = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.hidden2 = nnx.Linear(8, 6, rngs=rngs)
        self.norm2 = nnx.BatchNorm(6, momentum=0.9, rngs=rngs)
        self.output = nnx.Linear(6, classes, rngs=rngs)

    def __call__(self, inputs):
        hidden = nnx.relu(self.norm1(self.hidden1(inputs)))
        return self.output(nnx.relu(self.norm2(self.hidden2(hidden))))


MLP = Model(name="mlp", options={"widths": [8, 6]})
NORMED = tb.model(Normed)
ODD = np.array([0.0, -0.0, 1e-30, -1e-40, np.pi], np.float32)
"""Values that arithmetic would change, if any were done: signs of zeros, subnormal numbers."""


def digits(model=MLP, **recipe):
    common = {"steps": "15it", "batch": 60, "learning_rate": 1e-2, "evaluate_every": "5it"}
    return Task(data=Data(name="digits"), model=model, recipe=Recipe(**(common | recipe)))


def network_of(task):
    return setup(task, load(task.data)).network


def odd_start(task, count=1):
    """Initial weights with some odd values in every leaf."""
    start = trees.stack([network_of(task).init(seed) for seed in range(count)])
    for leaf in start.values():
        flat = leaf.reshape(count, -1)
        flat[:, : ODD.size] = ODD[: flat.shape[1]]
    return start


def half(task, count=1):
    """A mask that keeps every other weight of every layer."""
    network = network_of(task)
    shapes = {path: (count, *network.shapes[path].shape) for path in network.prunable}
    return {path: np.arange(np.prod(shape)).reshape(shape) % 2 == 0 for path, shape in shapes.items()}


def check_frozen(task, run):
    """Frozen leaves are those of the start; all others have moved, running statistics among them."""
    trained = trained_paths(network_of(task), task.recipe.frozen)
    running = network_of(task).running
    for path, leaf in run.final.items():
        if path in trained or path in running:
            assert (leaf != run.initial[path]).any(), path
        else:
            assert leaf.tobytes() == run.initial[path].tobytes(), path


# -- what is frozen does not move ------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True], ids=["dense", "masked"])
@pytest.mark.parametrize("optimizer", list(optimizers.optimizers))
def test_a_frozen_layer_keeps_its_start_bit_for_bit_and_its_statistics_move(optimizer, masked):
    task = digits(NORMED, optimizer=optimizer, weight_decay=0.1, label_smoothing=0.1, frozen=("hidden2",))
    start, mask = odd_start(task), half(task) if masked else None
    run = train(task, start=start, mask=mask)
    assert trees.equal(run.initial, start)
    check_frozen(task, run)
    for path, kept in run.mask.items():
        assert run.final[path][~kept].tobytes() == start[path][~kept].tobytes()
    assert {"norm2/scale", "norm2/bias", "hidden2/bias"} <= network_of(task).trainable - trained_paths(network_of(task), ("hidden2",))
    assert {"norm1/mean", "norm2/mean", "norm2/var"} <= set(network_of(task).running)


@pytest.mark.slow
def test_a_frozen_block_of_a_residual_network():
    random = np.random.default_rng(0)
    images = random.normal(size=(120, 8, 8, 1)).astype(np.float32)
    labels = (images.mean((1, 2, 3)) > 0).astype(int)
    recipe = Recipe(steps="4it", batch=20, learning_rate=0.01, optimizer="momentum", weight_decay=0.1, frozen=("conv", "stage2/block1"))
    data = tb.from_arrays(images[:80], labels[:80], images[80:], labels[80:], validation=20)
    task = Task(data=data, model=Model(name="resnet", options={"depth": 8, "width": 4}), recipe=recipe)
    run = train(task)
    check_frozen(task, run)
    held = network_of(task).trainable - trained_paths(network_of(task), recipe.frozen)
    assert {path.rpartition("/")[0] for path in held} == {"conv", "norm"} | {
        f"stage2/block1/{part}" for part in ("conv1", "norm1", "conv2", "norm2", "shortcut", "shortcut_norm")
    }


@pytest.mark.slow
def test_replicas_that_share_a_device_and_wait_keep_their_frozen_layers():
    task = digits(NORMED, optimizer="adamw", weight_decay=0.1, frozen=("hidden1",))
    network, starts, kept = network_of(task), odd_start(task, 3), half(task, 3)
    members = [
        Replica(seed, trees.replica(starts, seed), trees.replica(kept, seed), begin=begin, keep=frozenset({15}))
        for seed, begin in enumerate((0, 4, 9))
    ]
    layout = Plan(Mesh(np.array(jax.devices()[:1]), ("replica",)), per_device=4, loop=True, evaluation_batch=500)
    for index, outcome in train_cohort(task, load(task.data), members, layout=layout):
        for path, leaf in outcome.snapshots[15].items():
            same = leaf.tobytes() == members[index].start[path].tobytes()
            assert same == (path in network.trainable - trained_paths(network, ("hidden1",))), path


# -- the others train as they would ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_one_step_of_what_trains_is_that_of_the_whole_network(optimizer):
    whole = digits(NORMED, optimizer=optimizer, weight_decay=0.1, steps="1it")
    part = whole.but(recipe=whole.recipe.but(frozen=("hidden1", "output")))
    start = odd_start(whole)
    before, after = train(whole, start=start).final, train(part, start=start).final
    for path in trained_paths(network_of(part), part.recipe.frozen) | set(network_of(part).running):
        np.testing.assert_allclose(after[path], before[path], rtol=1e-5, atol=1e-6, err_msg=path)


def test_without_frozen_layers_nothing_is_different():
    task = digits()
    assert task.recipe.but(frozen=()).digest == task.recipe.digest
    assert "frozen" not in task.recipe.canonical()
    assert trained_paths(network_of(task), ()) == network_of(task).trainable


def test_a_mask_in_a_frozen_layer_counts_and_changes_nothing():
    task = digits(frozen=("hidden1",))
    start = odd_start(task)
    full = {path: np.ones_like(kept) for path, kept in half(task).items()}
    pruned = {**full, "hidden1/kernel": half(task)["hidden1/kernel"]}
    dense, sparse = (train(task, start=start, mask=mask) for mask in (full, pruned))
    assert trees.equal(dense.final, sparse.final)
    assert masks.density(sparse.mask) < masks.density(dense.mask)


def products(frozen):
    """Matrix products in one step of a 64-8-6-10 network."""
    task = digits(frozen=frozen)
    found = setup(task, load(task.data))
    program, network = compile_program(found, plan(1, convolutional=False)), found.network

    def one(shape, dtype="int32"):
        return jax.ShapeDtypeStruct((1, *shape), dtype)

    weights = {path: one(leaf.shape, leaf.dtype) for path, leaf in network.shapes.items()}
    mask = {path: one(network.shapes[path].shape, bool) for path in network.prunable}
    fixed = Fixed(one((3, 2), "uint32"), one((1797,)), one((), "float32"), one(()))
    moments = jax.eval_shape(program.start, weights, mask).moments
    step, inputs = jax.ShapeDtypeStruct((), "int32"), jax.ShapeDtypeStruct((1797, 64), "float32")
    batches = Batches(one((found.epochs_ahead, found.train)), step, inputs)
    lowered = program.step.lower(step, weights, moments, mask, fixed, batches)
    return lowered.as_text().count("stablehlo.dot_general")


def test_gradients_of_frozen_layers_are_not_computed():
    forward, backward = 3, 2  # one backward through each layer but the first
    assert products(()) == forward + backward + 3
    assert products(("hidden2",)) == forward + backward + 2
    assert products(("hidden1",)) == forward + 1 + 2
    assert products(("hidden1", "hidden2")) == forward + 0 + 1


# -- resuming, and the store -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(optimizer, monkeypatch, tmp_path):
    task = digits(NORMED, optimizer=optimizer, weight_decay=0.01, frozen=("hidden1",))
    monkeypatch.setattr(replica_batch, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(limits, "_MOST_ITERATIONS", 5)
    network = network_of(task)
    mask = {path: np.ones(network.shapes[path].shape, bool) for path in network.prunable}
    start = Replica(1, network.init(1), mask, keep=frozenset({5, 15}))
    saved = []
    data = load(task.data)
    (whole,) = (one for _, one in train_cohort(task, data, [start], on_checkpoint=lambda _, point: saved.append(point)))
    assert [point.iteration for point in saved] == [5, 10]
    for point in saved:
        checkpoints.save(Store(tmp_path), "abc", point)
        member = Replica(1, start.start, mask, keep=start.keep, resume=checkpoints.load(Store(tmp_path), "abc"))
        ((_, resumed),) = train_cohort(task, data, [member])
        assert resumed.summary == whole.summary
        np.testing.assert_array_equal(resumed.rows, whole.rows)
        assert all(trees.equal(resumed.snapshots[step], whole.snapshots[step]) for step in (5, 15))


def test_the_store_tells_frozen_runs_apart_and_knows_them_again(tmp_path):
    runs = [Run(task=digits(frozen=frozen), seed=1) for frozen in ((), ("hidden1",), ("hidden1", "output"), ("output", "hidden1"))]
    assert len({run.digest for run in runs}) == 3  # in any order they are the same run
    records = Engine(graph(runs, {run.digest: ["0it", "end"] for run in runs}), Store(tmp_path), progress=Progress(quiet=True)).execute()
    held = [
        {path for path, leaf in records[run.digest].weights(15).items() if (leaf == records[run.digest].weights(0)[path]).all()}
        for run in runs
    ]
    first, last = {"hidden1/kernel", "hidden1/bias"}, {"output/kernel", "output/bias"}
    assert held == [set(), first, first | last, first | last]


# -- names -----------------------------------------------------------------------------------------------------------------

MISTAKES = [
    (("hiden1",), r"unknown layer or block to be frozen 'hiden1': did you mean 'hidden1'\? one of hidden1, hidden2, output"),
    (("hidden1/kernel",), "unknown layer or block to be frozen 'hidden1/kernel': did you mean 'hidden1'"),
    (("hidden1", "hidden1"), "'hidden1' freezes 'hidden1' a second time; name each layer once"),
    (("hidden1", "hidden2", "output"), r"every layer is \(hidden1, hidden2, output\), so that nothing is left to train; leave one out"),
]


@pytest.mark.parametrize(("frozen", "words"), MISTAKES)
def test_a_name_that_cannot_be_frozen_is_one_line_and_trains_nothing(frozen, words, tmp_path, monkeypatch, capsys):
    task = digits(frozen=frozen)
    with pytest.raises(TombolaError, match=words) as error:
        train(task)
    assert "\n" not in str(error.value)
    with pytest.raises(TombolaError, match=words):
        Engine(graph([Run(task=task, seed=1)]), Store(tmp_path / "runs"), progress=Progress(quiet=True)).execute()
    monkeypatch.chdir(tmp_path)
    for verb in ("run", "show"):
        query = [verb, "frankle2019.sparsity", "--scale", "smoke", "--task", "digits-mlp", "--set", f"frozen={json.dumps(frozen)}"]
        assert cli.main(query) == 2
        assert re.search(words, capsys.readouterr().err)
    assert not any(tmp_path.iterdir())


def test_a_layer_is_frozen_by_itself_or_by_its_block_not_both():
    network = network_of(Task(data=Data(name="digits"), model=tb.model(Blocked), recipe=digits().recipe))
    assert network.trainable - trained_paths(network, ("body",)) == {
        f"body/{layer}/{leaf}" for layer in ("a", "b") for leaf in ("kernel", "bias")
    }
    assert network.trainable - trained_paths(network, ("body/b",)) == {"body/b/kernel", "body/b/bias"}
    with pytest.raises(TombolaError, match="'body/b' freezes 'body/b' a second time"):
        trained_paths(network, ("body", "body/b"))


class Body(nnx.Module):
    def __init__(self, size, rngs):
        self.a, self.b = nnx.Linear(size, 5, rngs=rngs), nnx.Linear(5, 5, rngs=rngs)

    def __call__(self, inputs):
        return self.b(nnx.relu(self.a(inputs)))


class Blocked(nnx.Module):
    """A block of two layers, and an output."""

    def __init__(self, shape, classes, *, rngs):
        self.body = Body(shape[0], rngs)
        self.output = nnx.Linear(5, classes, rngs=rngs)

    def __call__(self, inputs):
        return self.output(nnx.relu(self.body(inputs)))


# -- from the command line ---------------------------------------------------------------------------------------------------


def test_layers_are_frozen_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["frankle2019.sparsity", "--scale", "smoke", "--task", "digits-mlp", "--set", "steps=20it", "--set", "levels=1"]
    options += ["--set", "replicates=1", "--set", "evaluate_every=10it", "--set", 'frozen=["hidden1"]']
    assert cli.main(["show", *options, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["configuration"]["task.recipe.frozen"] == ["hidden1"]
    assert cli.main(["run", *options, "--json"]) == 0
    steps = [record for record in Store(tmp_path / "runs") if len(record.steps()) > 1]
    assert steps
    for record in steps:
        first, last = (record.weights(step) for step in (min(record.steps()), max(record.steps())))
        moved = {path for path in first if first[path].tobytes() != last[path].tobytes()}
        assert moved == {f"{layer}/{leaf}" for layer in ("hidden2", "output") for leaf in ("kernel", "bias")}


def test_operations_of_a_step_are_of_the_layers_that_train_and_of_the_way_back_to_them():
    widths, batch = (64, 100, 60, 10), 50
    matrices = [2 * batch * before * after for before, after in pairwise(widths)]
    task = tb.task("digits-mlp", steps="10it").but(model=Model(name="mlp", options={"widths": [100, 60]}))
    forward, first, second, output = sum(matrices), *matrices

    def counted(*frozen):
        recipe = task.recipe.but(batch=batch, frozen=frozen)
        return step_operations(setup(task.but(recipe=recipe), load(task.data)))

    assert counted() == pytest.approx(forward + first + 2 * second + 2 * output, rel=0.1)
    assert counted("hidden1") == pytest.approx(forward + second + 2 * output, rel=0.1)
    assert counted("hidden2") == pytest.approx(forward + first + second + 2 * output, rel=0.1)
    assert counted("hidden1", "hidden2") == pytest.approx(forward + output, rel=0.1)
