"""Detectors of the stable phase: they change no bit of training, and each says what it says that it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh

import tombola as tb
from tombola.core import keys, trees
from tombola.core.errors import TombolaError
from tombola.core.step import Timeline
from tombola.core.task import Data, Detect, MaskSchedule, Model, Recipe, Task
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.engine.progress import Progress
from tombola.training import replica_batch
from tombola.training.cohort import setup, train_cohort
from tombola.training.curvature import lanczos
from tombola.training.detectors import Stop, made
from tombola.training.plan import Plan
from tombola.training.probe import Probe
from tombola.training.replica import Replica
from tombola.training.watch import stops_of

BESIDE = ("sign_changes", "cosine", "mask_distance", "barrier", "loss_spike", "sharpness", "edge", "gradient_share", "kernel")
STEPS = ("5it", "10it", "20it", "40it")
TIMELINE = Timeline(60, 19)


def digits(detect=None, **recipe):
    common = {"steps": "60it", "batch": 60, "learning_rate": 0.1, "optimizer": "sgd", "evaluate_every": "20it"}
    model = Model(name="mlp", options={"widths": [8, 6]})
    return Task(data=Data(name="digits"), model=model, recipe=Recipe(**(common | recipe), detect=detect))


def watching(name="divergence", beside=(), **fields):
    return Detect(name=name, beside=beside, at=STEPS, **fields)


def members(task, count=1, **fields):
    network = setup(task, load(task.data)).network
    mask = {path: np.arange(np.prod(network.shapes[path].shape)).reshape(network.shapes[path].shape) % 4 > 0 for path in network.prunable}
    return [
        Replica(seed, **({"start": network.init(seed), "mask": mask, "keep": frozenset({5, 19, 60})} | fields)) for seed in range(count)
    ]


def outcomes(task, some, **options):
    return [outcome for _, outcome in train_cohort(task, load(task.data), some, **options)]


@pytest.fixture(scope="module")
def seen():
    """Two replicas with every detector."""
    task = digits(watching(beside=BESIDE))
    return outcomes(task, members(task, 2))


def columns(outcome):
    return dict(zip(outcome.signal_names, np.array(outcome.signals).T, strict=True))


@pytest.mark.slow
def test_who_is_watched_trains_bitwise_as_who_is_not(seen):
    for one, other in zip(seen, outcomes(digits(), members(digits(), 2)), strict=True):
        assert one.rows == other.rows
        assert {name: value for name, value in one.summary.items() if name != "detected"} == other.summary
        for t, weights in other.snapshots.items():
            assert trees.equal(one.snapshots[t], weights)
    found = columns(seen[0])
    assert list(found["step"]) == [5, 10, 20, 40]
    assert list(found) == ["step", "probe_loss", "divergence", *BESIDE]
    assert np.isfinite(found["divergence"][1:]).all()
    assert columns(seen[1])["kernel"][3] != found["kernel"][3]


def test_replicas_side_by_side_see_the_same(seen):
    task = digits(watching(beside=BESIDE))
    side_by_side = Plan(Mesh(np.array(jax.devices()[:1]), ("replica",)), 2, loop=True, evaluation_batch=5000)
    for one, other in zip(seen, outcomes(task, members(task, 2), layout=side_by_side), strict=True):
        np.testing.assert_allclose(np.array(one.signals)[:, 3:], np.array(other.signals)[:, 3:], rtol=0.02, atol=2e-3)


def test_no_perturbation_gives_no_divergence_bitwise():
    task = digits(watching(options={"size": 0}))
    assert {row[2] for row in outcomes(task, members(task))[0].signals[1:]} == {0.0}


def test_the_shadow_is_a_copy_moved_a_little_that_trains_on_the_same_batches():
    task = digits(watching(options={"size": 0.1, "horizon": 1 / 60}))
    (found,) = outcomes(task, members(task))
    (one,) = members(task)
    random = keys.generator(0, "detect/20")
    here = found.snapshots[19]
    move = {path: random.standard_normal(leaf.shape) * one.mask.get(path, 1) for path, leaf in here.items()}
    length = np.sqrt(sum(np.sum(leaf**2) for leaf in move.values()) / sum(np.sum(leaf.astype(float) ** 2) for leaf in here.values()))
    start = {path: (leaf + 0.1 / length * move[path]).astype(np.float32) for path, leaf in here.items()}
    ends = [
        outcomes(digits(), members(digits(), start=start, begin=19, keep=frozenset({20})), until=20)[0].snapshots[20]
        for start in (start, here)
    ]
    apart, moved = (np.sqrt(sum(np.sum((one[p].astype(float) - two[p]) ** 2) for p in one)) for one, two in (ends, (start, here)))
    assert columns(found)["divergence"][2] == pytest.approx(np.log2(apart / moved), rel=1e-4)
    assert abs(np.log2(apart / moved)) > 1e-3


def test_from_the_detected_step_on_the_rate_is_another():
    losses = columns(outcomes(digits(watching("fixed_loss")), members(digits()))[0])["fixed_loss"]
    first, level = 20, float(losses[2])
    assert level < losses[1]
    switched = outcomes(digits(watching("fixed_loss", level=level, then=0.5)), members(digits()))[0]
    stepped = outcomes(digits(schedule="stepped", milestones=(f"{first:.0f}it",), decay=0.5), members(digits()))[0]
    assert switched.summary["detected"] == first
    assert trees.equal(switched.snapshots[60], stepped.snapshots[60])


def test_a_resumed_run_goes_on_watching_bitwise(monkeypatch):
    monkeypatch.setattr(replica_batch, "CHECKPOINT_SECONDS", -1.0)
    task, saved = digits(watching(beside=("fixed_loss", "cosine", "loss_spike"), level=1.0, then=0.5)), {}
    (whole,) = outcomes(task, members(task), on_checkpoint=lambda _, point: saved.update({point.iteration: point}))
    assert whole.summary["detected"] < 40
    assert len(saved) > 2
    for point in saved.values():
        (resumed,) = outcomes(task, members(task, resume=point))
        assert (resumed.rows, resumed.signals, resumed.summary) == (whole.rows, whole.signals, whole.summary)


def test_a_network_at_chance_is_not_found_stable():
    network = setup(digits(), load(digits().data)).network
    dead = {path: np.zeros(leaf.shape, np.float32) for path, leaf in network.shapes.items()}
    task = digits(watching("fixed_step", level=1.0), learning_rate=1e-12)
    (found,) = outcomes(task, members(task, start=dead))
    assert np.isnan(found.summary["detected"])
    assert np.isnan(columns(found)["fixed_step"]).all()


# -- what each says ----------------------------------------------------------------------------------------------------


def toy(**fields):
    weights = {"a": np.array([1.0, -2, 3, 4]), "b": np.array([0.5])}
    before = {"a": np.array([1.0, 2, 1, 4]), "b": np.array([0.5])}
    first = {"a": np.array([0.0, 2, 1, 4]), "b": np.array([0.5])}
    mask = {"a": np.array([True, True, True, False])}
    given = {"t": 30, "weights": weights, "before": before, "first": first, "mask": mask, "trained": ("a", "b"), "probe": None}
    given |= {"loss": 3.0, "lowest": 2.0, "rate": 0.1, "recipe": digits().recipe, "shadow": {}, "moved": 0.0, "horizon": 4, "memo": {}}
    return Stop(**(given | fields))


def read(name, stop, **options):
    return made(name, TIMELINE, options).signal(stop)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("sign_changes", {}, 1 / 3),
        ("cosine", {}, 20 / np.sqrt(20 * 21)),
        ("mask_distance", {"density": 0.4}, 2 / (2 * 1 * (1 - 1 / 3))),
        ("loss_spike", {}, 1.5),
        ("fixed_loss", {}, 3.0),
        ("fixed_step", {}, 30.0),
        ("fixed_share", {}, 0.5),
    ],
)
def test_signals_of_a_toy_are_those_by_hand(name, options, expected):
    assert read(name, toy(), **options) == pytest.approx(expected)


def test_divergence_is_counted_in_doublings_an_iteration():
    shadow = {"a": np.array([1.0, -2, 3, 7]), "b": np.array([0.9])}
    assert read("divergence", toy(shadow=shadow, moved=0.1)) == pytest.approx(np.log2(4) / 4)


@pytest.fixture(scope="module")
def network():
    task = digits().but(model=Model(name="mlp", options={"widths": [4]}))
    dataset, found = load(task.data), setup(task, load(task.data))
    probe, weights = Probe(found, dataset, split(dataset, task.data, 1), 1), found.network.init(1)
    return found, probe, weights


def test_lanczos_finds_the_ends_of_a_spectrum():
    random = np.random.default_rng(0)
    turned, _ = np.linalg.qr(random.standard_normal((60, 60)))
    values = np.concatenate([[50, 20, 19.9, -30], random.uniform(-1, 1, 56)])
    matrix = turned @ np.diag(values) @ turned.T
    found, vectors = lanczos(lambda v: matrix @ v, random.standard_normal(60), 30)
    np.testing.assert_allclose(found[[0, 1, 2, -1]], [50, 20, 19.9, -30], rtol=1e-8)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(30), atol=1e-10)
    np.testing.assert_allclose(matrix @ vectors[:, 0], 50 * vectors[:, 0], atol=1e-6)
    alone, _ = lanczos(lambda v: 2 * v, np.ones(5), 4)
    assert alone.tolist() == pytest.approx([2.0])  # the space ends


@pytest.mark.slow
def test_curvature_is_that_of_the_dense_hessian(network):
    found, probe, weights = network
    everything = {path: np.ones(weights[path].shape, bool) for path in found.network.prunable}
    trained = tuple(path for path in found.network.shapes)
    stop = toy(weights=weights, before=weights, first=weights, mask=everything, trained=trained, probe=probe)
    flat, back = ravel_pytree({path: jnp.asarray(weights[path]) for path in trained})
    targets = jnp.asarray(probe.targets)

    def loss(vector):
        outputs, _ = found.network.apply(back(vector), jnp.asarray(probe.inputs), train=False)
        return -jnp.mean(jax.nn.log_softmax(outputs)[jnp.arange(len(targets)), targets])

    hessian, gradient = np.asarray(jax.hessian(loss)(flat), np.float64), np.asarray(jax.grad(loss)(flat), np.float64)
    values, vectors = np.linalg.eigh(hessian)
    assert read("sharpness", stop, iterations=30) == pytest.approx(values[-1], rel=1e-3)
    momentum = stop._replace(recipe=digits(optimizer="momentum").recipe)
    assert read("edge", stop, iterations=30) == pytest.approx(values[-1] * 0.1 / 2, rel=1e-3)
    assert read("edge", momentum, iterations=30) == pytest.approx(values[-1] * 0.1 / (2 * 1.9), rel=1e-3)
    share = np.sum((gradient @ vectors[:, -5:]) ** 2) / (gradient @ gradient)
    assert read("gradient_share", stop, vectors=5, iterations=60) == pytest.approx(share, rel=1e-2)


def test_the_tangent_kernel_is_that_of_jacobians(network):
    found, probe, weights = network
    other = {path: (leaf * 1.5).astype(np.float32) for path, leaf in weights.items()}

    def of(weights):
        signs = jax.random.rademacher(jax.random.fold_in(probe.key, 1), (10,), jnp.float32)
        jacobian = jax.jacrev(lambda w: found.network.apply(w, jnp.asarray(probe.inputs[:64]), train=False)[0] @ signs)(weights)
        rows = np.concatenate([np.asarray(leaf).reshape(64, -1) for leaf in jacobian.values()], axis=1)
        return rows @ rows.T

    np.testing.assert_allclose(probe.tangent_kernel(weights), of(weights), rtol=1e-3)
    stop = toy(weights=weights, before=other, probe=probe)
    one, two = (of(tree).ravel() for tree in (weights, other))
    assert read("kernel", stop) == pytest.approx(1 - one @ two / np.sqrt(one @ one * (two @ two)), rel=1e-2)
    assert read("kernel", stop._replace(before=weights)) == pytest.approx(0, abs=1e-9)


def test_the_barrier_is_over_the_straight_line(network):
    _, probe, weights = network
    before = {path: (leaf * -1).astype(np.float32) for path, leaf in weights.items()}
    ends = [probe.scores(one)[0] for one in (before, weights)]
    between = [
        probe.scores({path: ((2 * a - 1) * leaf).astype(np.float32) for path, leaf in weights.items()})[0] for a in (0.25, 0.5, 0.75)
    ]
    line = [(1 - a) * ends[0] + a * ends[1] for a in (0.25, 0.5, 0.75)]
    found = read("barrier", toy(weights=weights, before=before, probe=probe, loss=ends[1]))
    assert found == pytest.approx(max(np.subtract(between, line)), rel=1e-4)


# -- asked for -----------------------------------------------------------------------------------------------------------


def test_stops_are_named_or_lie_at_halves():
    assert stops_of(watching(), TIMELINE) == [5, 10, 20, 40]
    assert stops_of(Detect(name="cosine"), Timeline(512, 19)) == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert stops_of(Detect(name="cosine"), Timeline(10, 19)) == [1, 2, 5]


@pytest.mark.parametrize(
    ("detect", "message"),
    [
        (watching("cosin"), "did you mean 'cosine'"),
        (watching(options={"horizon": 0}), "divergence: horizon = 0; write a share of up to 1 and above 0"),
        (watching(options={"size": 2}), "divergence: size = 2"),
        (watching("cosine", beside=("cosine",)), "name each once"),
        (watching("gradient_share", options={"vectors": 20}), "below iterations = 20"),
        (watching("sharpness", options={"iterations": 0}), "a whole number of at least 1"),
        (watching("mask_distance", options={"density": 1}), "a share between 0 and 1"),
        (Detect(name="cosine", at=("61it",)), "after the end of training"),
    ],
)
def test_what_cannot_be_detected_is_one_line(detect, message):
    with pytest.raises(TombolaError, match=message) as error:
        tb.train(digits(detect))
    assert "\n" not in str(error.value)


def test_masks_that_move_are_not_watched():
    moving = MaskSchedule(name="gradual", options={"final": 0.5, "end": "20it", "every": "10it"})
    with pytest.raises(TombolaError, match="there is a mask_schedule"):
        tb.train(digits(watching(), mask_schedule=moving))


def test_trajectories_and_imp_know_the_detected_step(monkeypatch):
    monkeypatch.setattr(tb.detectors, "_parts", dict(tb.detectors._parts))

    @tb.detectors.register
    def ours(timeline, *, add=0.0):
        return tb.Detector(lambda stop: stop.t + add, level=12.0, falls=False)

    task = digits(watching("ours"))
    found = tb.train(task, 2)
    assert found.detected.tolist() == [20, 20]
    assert found.signals["ours"].shape == (2, 4)
    assert np.isnan(tb.train(digits(), detect=watching("ours", level=100.0)).detected).all()
    levels = tb.imp(task, 1, replicates=2, rewind="detected")
    assert levels[1].runs[0].begin == "20it"
    with pytest.raises(TombolaError, match="did not find 2 of 2 networks"):
        tb.imp(digits(watching("ours", options={"add": -100.0})), 1, replicates=2, rewind="detected")
    with pytest.raises(TombolaError, match="the recipe has no detector"):
        tb.imp(digits(), 1, rewind="detected")
    with pytest.raises(TombolaError, match="nothing was asked"):
        _ = tb.train(digits()).signals


def test_the_progress_line_says_it(capsys):
    task, told = digits(watching("fixed_step", level=10.0)), []
    (found,) = outcomes(task, members(task), on_progress=lambda *given: told.append(given[1:]))
    assert told[0] == ()
    assert told[-1] == (f"stable phase from {found.summary['detected']:.0f}it",)
    progress = Progress({"x": "dense"})
    progress.start({"x": 2})
    progress.training(["x"])
    progress._drawn = -100.0
    progress.advance(1, "stable phase from 10it")
    assert capsys.readouterr().err.rstrip().endswith("dense  stable phase from 10it")
