import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from toy_networks import Small, textbook

import tombola as tb
from tombola.api.train import train
from tombola.core import trees
from tombola.core.errors import TombolaError
from tombola.core.step import Timeline
from tombola.core.task import Data, Model, Recipe, Task
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.objectives import Classification
from tombola.training import optimizers, program, replica_batch
from tombola.training import setup as limits
from tombola.training.cohort import setup, train_cohort
from tombola.training.plan import Plan
from tombola.training.replica import Replica
from tombola.training.schedules import learning_rate

pytestmark = pytest.mark.usefixtures("optimized")


def digits(**recipe):
    common = {"steps": "40it", "batch": 60, "learning_rate": 1e-2, "evaluate_every": "10it"}
    return Task(
        data=Data(name="digits"),
        model=Model(name="mlp", options={"widths": [8, 6]}),
        recipe=Recipe(**(common | recipe)),
    )


# -- parity with the obvious loop -------------------------------------------------------------------------------------


def plain_loop(task, weights, mask, seed, update):
    """Minibatch training of an MLP in NumPy, float64, as a textbook has it."""
    w, state = {path: np.array(leaf, np.float64) for path, leaf in weights.items()}, {}
    for t, gradient in textbook(task, w, seed):
        for path, g in gradient.items():
            moved = update(state.setdefault(path, {}), g, w[path], t)
            w[path] = np.where(mask[path], moved, w[path]) if path in mask else moved
    return w


def plain_adam(state, g, w, t):
    m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    v = state["v"] = 0.999 * state.get("v", 0) + 0.001 * g * g
    return w - 0.01 * (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)


def plain_momentum(state, g, w, t):
    m = state["m"] = 0.9 * state.get("m", 0) + g + 0.01 * w
    return w - 0.01 * (0.1 ** sum(t >= k for k in (20, 30))) * m


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "update"),
    [
        ({}, plain_adam),
        ({"optimizer": "momentum", "weight_decay": 0.01, "schedule": "stepped", "milestones": ("20it", "30it")}, plain_momentum),
    ],
)
def test_training_is_the_plain_loop(recipe, update):
    task = digits(**recipe)
    dense = train(task, 2, seed=3)
    mask = tb.prune(tb.score(dense), 0.5, quiet=True)
    start = trees.per_replica(tb.combine, mask, dense.initial)
    run = train(task, seed=3, start=start, mask=mask)
    for r in range(2):
        expected = plain_loop(task, trees.replica(start, r), trees.replica(mask, r), run.seeds[r], update)
        for path, leaf in expected.items():
            np.testing.assert_allclose(run.final[path][r], leaf, rtol=2e-3, atol=2e-5, err_msg=path)
            if path in mask:
                assert np.abs(leaf - start[path][r]).max() > 1e-3  # it did train


def test_metrics_are_those_of_the_weights():
    task = digits()
    run = train(task, 2, seed=1, keep=["10it"])
    dataset = load(task.data)
    for step, weights in run.snapshots.items():
        row = list(run.metrics["step"]).index(step)
        for r in range(2):
            part = split(dataset, task.data, run.seeds[r])
            for name, x, y in (
                ("val", dataset.inputs[part.validation], part.targets[part.validation]),
                ("test", dataset.test_inputs, dataset.test_targets),
            ):
                loss, accuracy = plain_score(trees.replica(weights, r), x, y)
                np.testing.assert_allclose(run.metrics[f"{name}_loss"][r, row], loss, rtol=1e-5)
                np.testing.assert_allclose(run.metrics[f"{name}_acc"][r, row], accuracy, rtol=1e-6)
    part = split(dataset, task.data, run.seeds[0])
    loss, accuracy = plain_score(trees.replica(run.final, 0), dataset.inputs[part.train], part.targets[part.train])
    np.testing.assert_allclose([run.summary["train_loss"][0], run.summary["train_acc"][0]], [loss, accuracy], rtol=1e-5)


def plain_score(w, x, y):
    h = np.maximum(x @ w["hidden1/kernel"] + w["hidden1/bias"], 0)
    h = np.maximum(h @ w["hidden2/kernel"] + w["hidden2/bias"], 0)
    logits = (h @ w["output/kernel"] + w["output/bias"]).astype(np.float64)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return -np.log(p[np.arange(len(y)), y]).mean(), (logits.argmax(1) == y).mean()


# -- masks ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimizer", list(optimizers.optimizers))
def test_where_the_mask_is_0_a_weight_keeps_its_start_bit_for_bit(optimizer, weight_decay):
    task = digits(optimizer=optimizer, weight_decay=weight_decay, steps="15it")
    first = train(digits(steps="1it"), 1)
    mask = tb.prune(tb.score(first, "large_init"), 0.6, quiet=True)
    frozen = {path: np.where(leaf > 0, -0.0, np.float32(1e-30)) for path, leaf in first.initial.items()}
    start = trees.per_replica(tb.combine, mask, first.initial, frozen)
    start["hidden1/kernel"][mask["hidden1/kernel"]] = 0.0  # kept weights may be 0, and train all the same
    run = train(task, start=start, mask=mask)
    for path, kept in mask.items():
        assert run.final[path][~kept].tobytes() == start[path][~kept].tobytes()
    moved = run.final["hidden2/kernel"] != start["hidden2/kernel"]
    assert moved[mask["hidden2/kernel"]].mean() > 0.2
    assert (run.final["hidden1/kernel"][mask["hidden1/kernel"]] != 0).mean() > 0.3
    assert (run.final["hidden1/bias"] != start["hidden1/bias"]).any()


def test_kept_weights_equal_the_source_bitwise():
    dense = train(digits(), 2, keep=["20it"])
    mask = tb.prune(tb.score(dense), 0.5, quiet=True)
    start = trees.per_replica(tb.combine, mask, dense.at("20it"))
    run = train(digits(), start=start, mask=mask, begin="20it")
    for path, leaf in run.initial.items():
        source = dense.at("20it")[path]
        kept = mask.get(path, np.ones(leaf.shape, bool))
        assert leaf[kept].tobytes() == source[kept].tobytes()
        assert not leaf[~kept].any()


# -- a run is a function of its own description ------------------------------------------------------------------------


def members(task, count, **fields):
    network = setup(task, load(task.data)).network
    mask = {path: np.ones(network.shapes[path].shape, bool) for path in network.prunable}
    end = frozenset({40})
    return [Replica(seed, network.init(seed), mask, **({"keep": end} | fields)) for seed in range(count)]


def outcomes(task, some, **options):
    return [outcome for _, outcome in train_cohort(task, load(task.data), some, **options)]


def same(a, b):
    assert a.rows == b.rows or np.array_equal(np.array(a.rows), np.array(b.rows), equal_nan=True)
    assert a.summary == b.summary
    assert all(trees.equal(a.snapshots[step], b.snapshots[step]) for step in a.snapshots)


def test_a_result_does_not_depend_on_who_shares_the_cohort():
    task = digits()
    five = members(task, 5)
    together = outcomes(task, five)
    backwards = outcomes(task, five[::-1])[::-1]
    alone = [outcomes(task, [member])[0] for member in five]
    for one, other, third in zip(together, backwards, alone, strict=True):
        same(one, other)
        same(one, third)


_ON_DEVICES = """
import numpy as np, hashlib, jax
import tombola as tb
from tombola.core.task import *
task = Task(data=Data(name="digits"), model=Model(name="mlp", options={"widths": [8, 6]}),
            recipe=Recipe(steps="40it", batch=60, learning_rate=1e-2, evaluate_every="10it"))
run = tb.train(task, 3, seed=5)
assert len(jax.devices()) == int(__import__("sys").argv[1])
print(hashlib.sha256(b"".join(run.final[path].tobytes() for path in sorted(run.final))).hexdigest())
"""


@pytest.mark.slow
def test_a_result_does_not_depend_on_the_number_of_devices():
    found = []
    for count in (1, 4):  # with fewer than replicas: `test_devices`, and every test on two cores
        environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}
        command = [sys.executable, "-c", _ON_DEVICES, str(count)]
        found.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert found[0] == found[1]


@pytest.mark.slow
def test_the_plan_of_an_accelerator_is_the_same_training_up_to_rounding():
    # There, all replicas of a wave share a device through vmap, and a wave is padded to its full size.
    task = digits()
    some = members(task, 3)
    layout = Plan(Mesh(np.array(jax.devices()[:1]), ("replica",)), per_device=4, loop=True, evaluation_batch=200)
    assert layout.capacity == 4
    for one, other in zip(outcomes(task, some), outcomes(task, some, layout=layout), strict=True):
        (_, *losses), (_, *others) = (np.array(rows.rows)[:, [0, 1, 3]].T for rows in (one, other))
        np.testing.assert_allclose(losses, others, rtol=1e-4)
        example = 1.5 / 300  # one of 300, whose two largest logits differ by no more than rounding
        np.testing.assert_allclose(np.array(one.rows)[:, [2, 4]], np.array(other.rows)[:, [2, 4]], rtol=0, atol=example)
        for path, leaf in one.snapshots[40].items():
            np.testing.assert_allclose(other.snapshots[40][path], leaf, rtol=1e-3, atol=1e-4)


def test_evaluating_and_keeping_weights_changes_nothing():
    task = digits()
    final = train(task, 1, seed=2).final
    often = train(digits(evaluate_every="7it", test_every="14it"), 1, seed=2, keep=["1it", "13it", "1ep"])
    assert trees.equal(often.final, final)
    assert set(often.snapshots) == {0, 1, 13, 19, 40}
    assert list(often.metrics["step"]) == [0, 7, 14, 21, 28, 35, 40]
    assert list(np.flatnonzero(~np.isnan(often.metrics["test_acc"][0]))) == [0, 2, 4, 6]


@pytest.mark.slow
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(monkeypatch):
    task = digits(optimizer="adam")
    some = members(task, 2, keep=frozenset({5, 40}))
    whole = outcomes(task, some)
    monkeypatch.setattr(replica_batch, "CHECKPOINT_SECONDS", -1.0)
    for most, stops in ((10, [5, 10, 20, 30]), (20, [5, 20]), (1000, [5])):  # iterations of a call
        monkeypatch.setattr(limits, "_MOST_ITERATIONS", most)
        saved = []
        watched = outcomes(task, some, on_checkpoint=lambda index, point, saved=saved: saved.append((index, point)))
        for one, other in zip(watched, whole, strict=True):
            same(one, other)
        assert sorted({point.iteration for _, point in saved}) == stops
        for iteration in stops:
            points = {index: point for index, point in saved if point.iteration == iteration}
            resumed = [Replica(m.seed, m.start, m.mask, keep=m.keep, resume=points[index]) for index, m in enumerate(some)]
            for one, other in zip(outcomes(task, resumed), whole, strict=True):
                same(one, other)


def test_a_call_has_no_more_evaluations_than_there_is_room_for():
    task, progress = digits(evaluate_every="1it", test_every="3it"), []
    (found,) = outcomes(task, members(task, 1), on_progress=progress.append)
    assert progress == [program.INTERVALS - 1, 40 - program.INTERVALS + 1]  # the first is before training
    assert [row[0] for row in found.rows] == list(range(41))
    assert [row[0] for row in found.rows if not np.isnan(row[3])] == [*range(0, 40, 3), 40]


def test_a_call_trains_no_longer_than_a_moment():
    of = lambda **options: setup(digits(**options), load(Data(name="digits")))  # noqa: E731
    assert of(evaluate_every="10it").span == 16 * (1197 // 60)  # epochs
    assert of(evaluate_every="2000it").span == of(evaluate_every="2000it").chunk == 1000
    large = of(evaluate_every="10it")._replace(model=Model(name="mlp", options={"widths": [3000, 3000]}))
    assert large.span == 5 * 10**10 // (6 * 60 * (64 * 3000 + 3000 + 3000**2 + 3000 + 3000 * 10 + 10))


@pytest.mark.slow
def test_a_run_that_begins_at_k_goes_on_with_schedule_and_data_order():
    # Plain SGD has no state, so from W_k on everything must repeat.
    task = digits(optimizer="sgd", schedule="cosine", warmup="10it", learning_rate=0.1)
    dense_run = train(task, 2, keep=["25it"])
    child = train(task, start=dense_run.at("25it"), begin="25it")
    assert trees.equal(child.final, dense_run.final)
    other = train(task, start=dense_run.at("25it"), begin="24it")
    assert not trees.equal(other.final, dense_run.final)


@pytest.mark.slow
def test_training_until_a_step_is_the_beginning_of_the_whole():
    task = digits(schedule="cosine", warmup="10it")
    whole = train(task, 2, keep=["25it", "30it"])
    for until, evaluated in (("25it", [0, 10, 20, 25]), ("30it", [0, 10, 20, 30]), ("1ep11it", [0, 10, 20, 30])):
        dense_run = train(task, 2, until=until, keep=["5it"])
        assert list(dense_run.metrics["step"]) == evaluated
        assert dense_run.end == evaluated[-1]
        assert set(dense_run.snapshots) == {0, 5, dense_run.end}
        assert trees.equal(dense_run.final, whole.at(f"{dense_run.end}it"))
        assert not np.isnan(dense_run.metrics["test_acc"][:, -1]).any()
    assert whole.end == 40
    assert trees.equal(train(task, 2, until="40it").final, whole.final)


def test_a_cohort_stops_where_it_is_told():
    task = digits()
    some = members(task, 3, keep=frozenset({17, 40}))
    for short, long in zip(outcomes(task, some, until=17), outcomes(task, some), strict=True):
        assert trees.equal(short.snapshots[17], long.snapshots[17])
        assert short.rows[-1][0] == 17
        assert set(short.snapshots) == {17}


def test_noise_is_another_draw_of_one_stream_only():
    task = digits()
    one, other = train(task, 1), train(task, 1, noise={"data_order": "child1"})
    assert trees.equal(one.initial, other.initial)
    assert not trees.equal(one.final, other.final)
    assert trees.equal(train(task, 1, noise={"dropout": "child1"}).final, one.final)  # this network has none


def test_replicates_and_seeds_differ_and_pair():
    task = digits()
    three = train(task, 3, seed=0)
    assert len({leaf.tobytes() for leaf in three.final["hidden1/kernel"]}) == 3
    assert trees.equal(trees.replica(train(task, 1, seed=0).final, 0), trees.replica(three.final, 0))
    assert not trees.equal(train(task, 1, seed=1).final, train(task, 1, seed=0).final)


# -- early stopping ----------------------------------------------------------------------------------------------------


def test_accuracy_at_early_stop_is_that_of_the_minimum_of_validation_loss():
    task = digits(steps="300it", learning_rate=0.02, evaluate_every="20it", test_every="20it")
    run = train(task, 3)
    for r in range(3):
        row = np.argmin(run.metrics["val_loss"][r])
        assert run.summary["es_step"][r] == run.metrics["step"][row]
        assert run.summary["es_test_acc"][r] == run.metrics["test_acc"][r, row]


def test_divergence_is_reported_not_hidden():
    with pytest.warns(tb.TombolaWarning, match="^replicate 0 diverged") as said:
        run = train(digits(learning_rate=1e30, optimizer="sgd"), 2)
    assert len(said) == 1
    assert np.isnan(run.metrics["val_loss"][0, -1])
    assert run.summary["es_step"][0] == 0


# -- schedules and losses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {0: 0.1, 99: 0.1}),
        ({"schedule": "stepped", "milestones": ("50it", "4ep"), "decay": 0.5}, {49: 0.1, 50: 0.05, 79: 0.05, 80: 0.025}),
        ({"schedule": "cosine"}, {0: 0.1, 50: 0.05, 25: 0.1 * (1 + np.sqrt(0.5)) / 2}),
        ({"warmup": "10it"}, {0: 0.01, 4: 0.05, 9: 0.1, 50: 0.1}),
        ({"warmup": "10it", "schedule": "stepped", "milestones": ("5it",)}, {4: 0.05, 5: 0.006, 20: 0.01}),
    ],
)
def test_schedules(fields, expected):
    rate = learning_rate(Recipe(steps="100it", batch=1, learning_rate=1.0, **fields), Timeline(100, 20))
    for t, value in expected.items():
        np.testing.assert_allclose(rate(0.1, t), value, rtol=1e-5)


def test_recipes_that_differ_in_their_learning_rate_take_steps_of_its_length():
    """They share a program."""
    one, two, three = (train(digits(steps="1it", optimizer="sgd", learning_rate=rate), 1).final for rate in (0.1, 0.2, 0.3))
    assert not trees.equal(one, two)
    for path in one:
        np.testing.assert_allclose(one[path] - two[path], two[path] - three[path], rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_label_smoothing():
    logits, labels = np.array([[2.0, 0.0, -1.0]]), np.array([0])
    log_p = logits[0] - np.log(np.exp(logits[0]).sum())
    for smoothing, expected in ((0.0, -log_p[0]), (0.3, -(0.8 * log_p[0] + 0.1 * log_p[1] + 0.1 * log_p[2]))):
        np.testing.assert_allclose(Classification().training_loss(logits, labels, smoothing), [expected], rtol=1e-5)
    assert not trees.equal(train(digits(label_smoothing=0.1), 1).final, train(digits(), 1).final)


# -- convolutions, dropout, batch norm, augmentation ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(0)
    x = random.normal(size=(300, 8, 8, 1)).astype(np.float32)
    y = (x.mean((1, 2, 3)) > 0).astype(int)
    return tb.from_arrays(x[:200], y[:200], x[200:], y[200:], validation=40)


def conv_task(images, dropout=0.0, **data):
    recipe = Recipe(steps="8it", batch=40, learning_rate=0.01, optimizer="momentum", evaluate_every="4it")
    return Task(data=images.but(**data), model=tb.model(Small, dropout=dropout), recipe=recipe)


@pytest.mark.slow
def test_a_convolutional_cohort_is_stepped_and_does_not_depend_on_its_company(images):
    task = conv_task(images)
    three, one = train(task, 3), train(task, 1)
    assert trees.equal(trees.replica(three.final, 0), trees.replica(one.final, 0))
    assert (three.final["norm/mean"] != three.initial["norm/mean"]).all()  # running statistics are part of the state
    child = train(task, start=three.at("0it"))
    assert trees.equal(child.final, three.final)


@pytest.mark.slow
def test_dropout_and_augmentation_have_streams_of_their_own(images):
    plain = train(conv_task(images), 1).final
    for task, stream in ((conv_task(images, dropout=0.5), "dropout"), (conv_task(images, augment="flip_crop"), "augmentation")):
        once, again = train(task, 1), train(task, 1)
        other = train(task, 1, noise={stream: "child1"})
        assert trees.equal(once.final, again.final)
        assert not trees.equal(once.final, plain)
        assert not trees.equal(once.final, other.final)
        assert trees.equal(once.initial, other.initial)


# -- mistakes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: train(digits(batch=2000)), "only 1197 training examples"),
        (lambda: train(digits(steps="end")), "500it"),
        (lambda: train(digits(steps="0it")), "how long to train"),
        (lambda: train(digits(warmup="41it")), "warmup '41it' lies after"),
        (lambda: train(digits(milestones=("99it",), schedule="stepped")), "milestones '99it' lies after"),
        (lambda: train(digits(evaluate_every="0it")), "at least 1it"),
        (lambda: train(digits(), keep=["41it"]), "after the end of training"),
        (lambda: train(digits(), begin="50it"), "after the end of training"),
        (lambda: train(digits(), begin="5it", keep=["3it"]), "begins at iteration 5"),
        (lambda: train(digits(), until="41it"), "after the end of training at 40"),
        (lambda: train(digits(), until="0it"), "until = '0it' is iteration 0, but the run begins at iteration 0"),
        (lambda: train(digits(), begin="9it", until="5it"), "until = '5it' .* begins at iteration 9; choose a later step"),
        (lambda: train(digits(), until="9it", keep=["10it"]), "after the end of training at 9"),
        (lambda: train(digits(), 0), "at least 1"),
        (lambda: train(digits(), 1).at("3it"), "keep=\\['3it'\\]"),
        (lambda: train(digits(), start={"a": np.ones((1, 2))}), "not a weight|missing"),
        (lambda: train(digits(), noise={"order": "x"}), "data_order"),
    ],
)
def test_mistakes_are_one_line(call, words):
    with pytest.raises(TombolaError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_replicates_must_agree():
    two = train(digits(steps="1it"), 2)
    with pytest.raises(TombolaError, match="must agree"):
        train(digits(), 3, start=two.final)
    mask = {path: leaf[:1] for path, leaf in two.mask.items()}
    with pytest.raises(TombolaError, match="must agree"):
        train(digits(), start=two.final, mask=mask)


@pytest.mark.slow
def test_each_replica_is_tested_on_its_own_examples():
    task = digits().but(data=Data(name="digits", fresh_test=True))
    found = tb.train(task, replicates=2)
    dataset = load(task.data)
    for index, seed in enumerate(found.seeds):
        own = split(dataset, task.data, seed).test
        outputs = tb.predict(task, found.final, dataset.inputs[own], scaled=True)[index]
        right = (outputs.argmax(1) == dataset.targets[own]).mean()
        assert found.metrics["test_acc"][index, -1] == pytest.approx(right, abs=1e-6)
