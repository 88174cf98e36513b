"""`tombola.path` and `tombola.instability`, copies trained in one cohort, and cohorts whose members begin at several iterations."""

from dataclasses import replace
from itertools import combinations

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh

import tombola as tb
from tombola.api.session import Session
from tombola.api.train import train
from tombola.core import trees
from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.task import Data, Model, Recipe, Task
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.engine import execute
from tombola.engine.progress import Progress
from tombola.engine.study import run_study, study_graph
from tombola.store.store import Store
from tombola.studies.catalogue import studies
from tombola.surgery.permute import permute
from tombola.training import cohort, replica_batch
from tombola.training import setup as limits
from tombola.training.cohort import train_cohort
from tombola.training.plan import Plan
from tombola.training.replica import NOISE, Replica


def digits(noise=0.4, **recipe):
    common = {"steps": "40it", "batch": 60, "learning_rate": 1e-2, "evaluate_every": "10it"}
    return Task(
        data=Data(name="digits", train=300, validation=60, test=120, label_noise=noise),
        model=Model(name="mlp", options={"widths": [8, 6]}),
        recipe=Recipe(**(common | recipe)),
    )


TASK, SEED, POINTS = digits(), 3, 4


@pytest.fixture(scope="module")
def dense():
    return train(TASK, 2, SEED, keep=["20it"])


@pytest.fixture(scope="module")
def found():
    return tb.instability(TASK, "20it", children=3, replicates=2, seed=SEED, points=POINTS)


def again(k="20it", **options):
    return tb.instability(TASK, k, **{"children": 2, "replicates": 2, "seed": SEED, "points": POINTS, **options})


def by_hand(error, a, form):
    """Barriers of paths (..., P), point by point, in percentage points."""
    heights = []
    for path in error.reshape(-1, len(a)):
        level = [(path[0] + path[-1]) / 2] * len(a) if form != "linear" else [one * path[-1] + (1 - one) * path[0] for one in a]
        above = [point - low for point, low in zip(path, level, strict=True)]
        heights.append(100 * (above[list(a).index(0.5)] if form == "midpoint" else max(above)))
    return np.array(heights).reshape(error.shape[:-1])


# -- instability -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_instability_is_said_by_replicate_and_pair(found):
    assert (found.k, found.part, found.form, len(found.children)) == ("20it", "test", "maximum", 3)
    assert found.paths.a.tolist() == pytest.approx([0, 1 / 3, 1 / 2, 2 / 3, 1])
    for part in ("train", "test"):
        assert found.paths.error[part].shape == found.paths.loss[part].shape == (2, 3, 5)
        assert found.paths.own[part].shape == (2, 3, 2)
        assert found.paths.disagreement[part].shape == (2, 3)
    assert found.paths.distance.shape == found.paths.cosine.shape == (2, 3)
    assert found.barrier.shape == found.stable.shape == (2,)
    assert (found.paths.distance > 0.1).all()


def test_the_barrier_is_the_rise_above_the_mean_of_the_ends(found):
    for part in ("train", "test"):
        for form in ("maximum", "midpoint", "linear"):
            expected = by_hand(found.paths.error[part], found.paths.a, form)
            np.testing.assert_allclose(found.paths.barrier(part, form), expected, atol=1e-9)
            other = replace(found, part=part, form=form)
            np.testing.assert_allclose(other.barrier, expected.mean(1), atol=1e-9)
            assert other.stable.tolist() == (expected.mean(1) < 2).tolist()
    assert found.paths.barrier("train").max() > 1  # there is one to be seen
    assert not np.allclose(found.paths.barrier("train"), found.paths.barrier("test"))


def test_part_and_form_are_what_was_asked(found):
    other = again(children=3, part="train", form="linear")
    assert np.array_equal(other.paths.error["train"], found.paths.error["train"])
    np.testing.assert_allclose(other.barrier, by_hand(found.paths.error["train"], found.paths.a, "linear").mean(1), atol=1e-9)


def test_pairs_are_in_order_and_their_ends_are_the_children(found):
    for place, (first, second) in enumerate(combinations(found.children, 2)):
        for r in range(2):
            square = sum(((first.final[path][r].astype(float) - leaf[r]) ** 2).sum() for path, leaf in second.final.items())
            assert found.paths.distance[r, place] == pytest.approx(np.sqrt(square))
            for end, child in ((-1, first), (0, second)):
                assert found.paths.error["test"][r, place, end] == pytest.approx(1 - child.metrics["test_acc"][r, -1])
                assert found.paths.error["train"][r, place, end] == pytest.approx(1 - child.summary["train_acc"][r])


def test_a_child_is_the_dense_run_from_k_under_noise_of_its_own(found, dense):
    for index, child in enumerate(found.children):
        assert trees.equal(child.at("20it"), dense.at("20it"))
        noise = dict.fromkeys(NOISE, f"child/{index}")
        alone = train(TASK, seed=SEED, start=dense.at("20it"), begin="20it", noise=noise)
        assert trees.equal(child.final, alone.final)


@pytest.mark.parametrize("k", ["0it", "20it"])
def test_a_start_that_is_given_is_the_one_that_is_trained_to(k, dense):
    inside, given = again(k), again(k, start=dense.at(k))
    assert trees.equal(inside.children[0].at(k), dense.at(k))
    assert np.array_equal(inside.paths.error["test"], given.paths.error["test"])
    for one, other in zip(inside.children, given.children, strict=True):
        assert trees.equal(one.final, other.final)


def test_children_of_a_sparse_network_keep_what_is_pruned(dense):
    mask = tb.prune(tb.score(dense), 0.6, quiet=True)
    inside = again(mask=mask)
    given = again(mask=mask, start=trees.per_replica(tb.combine, mask, dense.at("20it")))
    held = again(mask=mask, start=dense.at("20it"))
    for child, other, kept in zip(inside.children, given.children, held.children, strict=True):
        assert trees.equal(child.final, other.final)
        for path, leaf in mask.items():
            assert not child.final[path][~leaf].any()
            assert np.array_equal(kept.final[path][~leaf], dense.at("20it")[path][~leaf])
    assert held.paths.distance.shape == (2, 1)
    at_init = again("0it", mask=mask).children[0].initial
    assert trees.equal(at_init, trees.per_replica(tb.combine, mask, dense.initial))


def test_only_the_streams_that_vary_differ(found):
    # This network has neither dropout nor augmentation: the order of the data is all the noise there is.
    ordered = again(vary=["data_order"])
    assert trees.equal(ordered.children[1].final, found.children[1].final)
    described = [copy.runs[0].noise for copy in again(vary=["data_order", "dropout"]).children]
    assert described == [{"data_order": "child/0", "dropout": "child/0"}, {"data_order": "child/1", "dropout": "child/1"}]


def test_an_end_that_is_not_the_child_is_an_error(monkeypatch):
    found = Session.found

    def shifted(self, measurements):
        return [{**between, "test_own": between["test_own"] + [0, 0.1]} for between in found(self, measurements)]

    monkeypatch.setattr(Session, "found", shifted)
    with pytest.raises(TombolaError, match=r"an end of a path has .*error .* recorded"):
        again()


def test_points_and_examples_reach_the_paths(found, dense):
    some = again(points=3, train_examples=50)
    assert some.paths.a.tolist() == [0, 0.5, 1]
    error = some.paths.error["train"][:, 0]
    assert np.allclose(error * 50, np.round(error * 50), atol=1e-6)
    assert not np.allclose(error[:, [0, -1]], found.paths.error["train"][:, 0][:, [0, -1]])
    assert np.array_equal(some.paths.error["test"][:, 0, [0, 2]], found.paths.error["test"][:, 0, [0, -1]])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"children": 1}, "children = 1, but a path needs 2"),
        ({"k": "41it"}, "after the end of training at 40"),
        ({"k": "40it"}, "the end of training at iteration 40.* choose less"),
        ({"k": "end"}, "the end of training at iteration 40.* choose less"),
        ({"part": "validation"}, "part of the data 'validation'"),
        ({"form": "mean"}, "form of barrier 'mean'"),
        ({"vary": ["order"]}, "stream of SGD noise 'order'"),
        ({"vary": ["dropout", "augmentation"]}, "none of that noise.* add data_order"),
        ({"vary": []}, "none of that noise"),
        ({"points": 1}, "points = 1"),
        ({"batch_norm": "keep"}, "policy for batch norm 'keep'"),
        ({"train_examples": 0}, "train_examples = 0"),
        ({"replicates": 0}, "at least 1"),
    ],
)
def test_mistakes_are_one_line_before_training(options, words, monkeypatch):
    def never(*args, **options):
        raise AssertionError("it trained")

    monkeypatch.setattr(execute, "train_cohort", never)
    with pytest.raises(TombolaError, match=words) as error:
        again(**options)
    assert "\n" not in str(error.value)


def test_start_and_replicates_must_agree(dense):
    with pytest.raises(TombolaError, match="must agree"):
        again(start=dense.at("20it"), replicates=3)


# -- paths -----------------------------------------------------------------------------------------------------------------


def test_a_path_is_what_instability_walks(found):
    between = tb.path(TASK, found.children[0].final, found.children[2].final, seed=SEED, points=POINTS)
    for part in ("train", "test"):
        assert np.array_equal(between.error[part], found.paths.error[part][:, 1])
        np.testing.assert_allclose(between.barrier(part, "midpoint"), by_hand(between.error[part], between.a, "midpoint"), atol=1e-9)
    assert between.error["test"].shape == (2, 5)
    with pytest.raises(TombolaError, match="part of the data 'validation'"):
        between.barrier("validation")


def test_a_path_has_the_labels_of_its_seed(found):
    first, second = found.children[0].final, found.children[1].final
    own, other = (tb.path(TASK, first, second, seed=seed, points=POINTS) for seed in (SEED, SEED + 1))
    assert np.array_equal(own.error["test"], other.error["test"])
    assert not np.array_equal(own.error["train"], other.error["train"])


def test_between_two_networks_weights_are_mixed(found):
    first, second = found.children[0].final, found.children[1].final
    between = tb.path(TASK, first, second, seed=SEED, points=POINTS)
    dataset = load(TASK.data)
    for r in range(2):
        part = split(dataset, TASK.data, replicate_seed(SEED, r))
        for place, a in enumerate(between.a):
            w = {path: a * leaf[r] + (1 - a) * second[path][r] for path, leaf in first.items()}
            hidden = dataset.inputs[part.train]
            for layer in ("hidden1", "hidden2"):
                hidden = np.maximum(hidden @ w[f"{layer}/kernel"] + w[f"{layer}/bias"], 0)
            wrong = (hidden @ w["output/kernel"] + w["output/bias"]).argmax(1) != part.targets[part.train]
            assert between.error["train"][r, place] == pytest.approx(wrong.mean(), abs=1.5 / 300)


def test_units_are_matched_where_that_is_asked(dense):
    network = cohort.setup(TASK, load(TASK.data)).network
    orders = {unit.layer: np.random.default_rng(0).permutation(unit.count) for unit in network.units}
    shuffled = trees.per_replica(lambda one: permute(one, network.units, orders), dense.final)
    plain, matched = (tb.path(TASK, dense.final, shuffled, seed=SEED, points=POINTS, matched=on) for on in (False, True))
    assert (plain.barrier() > 5).all()
    np.testing.assert_allclose(matched.barrier(), 0, atol=1e-6)
    np.testing.assert_allclose(matched.distance, 0, atol=1e-6)
    assert (plain.distance > 1).all()


@pytest.mark.parametrize("which", ["first", "second"])
def test_networks_that_do_not_fit_are_one_line(which, dense):
    wrongs = {
        "missing": ({path: leaf for path, leaf in dense.final.items() if path != "output/bias"}, rf"{which}: 'output/bias' is missing"),
        "shape": ({**dense.final, "output/kernel": dense.final["output/kernel"][:, :, :3]}, rf"{which}: 'output/kernel' .*\(2, 6, 10\)"),
        "replicas": (trees.stack([trees.replica(dense.final, 0)]), "first has . replicas and second ."),
    }
    for wrong, words in wrongs.values():
        given = {"first": dense.final, "second": dense.initial} | {which: wrong}
        with pytest.raises(TombolaError, match=words) as error:
            tb.path(TASK, **given, seed=SEED, points=POINTS)
        assert "\n" not in str(error.value)
    for options, words in (
        ({"batch_norm": "own"}, "batch norm 'own'"),
        ({"train_examples": 0}, "1 or more"),
        ({"points": 1}, "points = 1"),
    ):
        with pytest.raises(TombolaError, match=words):
            tb.path(TASK, dense.final, dense.initial, seed=SEED, **options)
    with pytest.raises(TombolaError, match="equal"):
        tb.path(TASK, dense.final, dense.final, seed=SEED)


class Normal(nnx.Module):
    def __init__(self, shape, classes, *, rngs):
        self.hidden = nnx.Linear(shape[0], 6, rngs=rngs)
        self.norm = nnx.BatchNorm(6, rngs=rngs)
        self.output = nnx.Linear(6, classes, rngs=rngs)

    def __call__(self, x):
        return self.output(nnx.relu(self.norm(self.hidden(x))))


@pytest.mark.slow
def test_statistics_of_batch_norm_are_computed_anew_or_interpolated():
    task = TASK.but(model=tb.model(Normal), recipe=TASK.recipe.but(steps="3it", evaluate_every="3it", learning_rate=0.1))
    anew = tb.instability(task, "1it", children=2, replicates=2, points=2, seed=SEED)
    final = [child.final for child in anew.children]
    mixed = tb.path(task, *final, seed=SEED, points=2, batch_norm="interpolate")
    assert np.array_equal(anew.paths.own["test"][:, 0], mixed.own["test"])
    assert np.array_equal(mixed.error["test"][:, [-1, 0]], mixed.own["test"])  # the ends keep their own
    assert not np.allclose(anew.paths.loss["train"][:, 0, [-1, 0]], mixed.loss["train"][:, [-1, 0]])
    passed = tb.instability(task, "1it", children=2, replicates=2, points=2, seed=SEED, batch_norm="interpolate")
    assert np.array_equal(passed.paths.loss["train"][:, 0], mixed.loss["train"])


# -- one route -------------------------------------------------------------------------------------------------------------


def test_children_are_the_runs_of_the_study_whatever_they_were_made_of(found, dense, tmp_path, trained):
    study = studies["frankle2020.instability"](task=TASK, replicates=2, seed=SEED, ticket=0, k=("20it",), points=POINTS)
    table = run_study(study, Store(tmp_path), quiet=True).table
    trained.clear()
    again = tb.instability(TASK, "20it", children=3, replicates=2, seed=SEED, points=POINTS, store=tmp_path)
    assert trained == []  # every run and every measurement was there
    for r in range(2):
        rows = table[(table.replicate == r) & (table.step == 20)]
        np.testing.assert_allclose(100 * rows["test_maximum"], again.paths.barrier()[r], rtol=0, atol=1e-12)
        assert rows.distance.tolist() == again.paths.distance[r].tolist()
    for copy, one in zip(again.children, found.children, strict=True):
        assert trees.equal(copy.final, one.final)
    from_weights = tb.instability(TASK, "20it", children=3, seed=SEED, points=POINTS, start=dense.at("20it"), store=tmp_path)
    assert trained == []
    assert [run.digest for run in from_weights.children[0].runs] == [run.digest for run in again.children[0].runs]


# -- members that begin at several iterations ------------------------------------------------------------------------------


def shared_layout(per_device, devices=1):
    return Plan(Mesh(np.array(jax.devices()[:devices]), ("replica",)), per_device, loop=True, evaluation_batch=5000)


def member(seed, begin, noise=None):
    network = cohort.setup(TASK, load(TASK.data)).network
    mask = {path: np.random.default_rng(seed).random(network.shapes[path].shape) < 0.7 for path in network.prunable}
    return Replica(seed, network.init(seed), mask, begin, noise or {}, frozenset({begin, 25, 40}))


def outcomes(members, per_device, **options):
    return [outcome for _, outcome in train_cohort(TASK, load(TASK.data), members, layout=shared_layout(per_device), **options)]


def same(one, other):
    assert one.rows == other.rows
    assert one.summary == other.summary
    assert one.snapshots.keys() == other.snapshots.keys()
    assert all(trees.equal(leaves, other.snapshots[step]) for step, leaves in one.snapshots.items())


BEGINS = {2: (0, 20), 3: (13, 0, 20)}
"""Replicas that share a device -> where they begin; 13 is no iteration at which others are evaluated."""


@pytest.fixture(scope="module", params=BEGINS)
def mixed(request):
    """(replicas that share a device, members, what they give together)."""
    members = [member(seed, begin, {"data_order": "child/1"}) for seed, begin in enumerate(BEGINS[request.param])]
    return request.param, members, outcomes(members, request.param)


def test_members_that_begin_later_wait(mixed):
    per_device, members, together = mixed
    for one, outcome in zip(members, together, strict=True):
        same(outcome, outcomes([one], per_device)[0])  # a wave of the same size, padded with itself
        assert [row[0] for row in outcome.rows] == [step for step in (0, 10, 20, 30, 40) if step >= one.begin]
        assert trees.equal(outcome.snapshots[one.begin], one.start)
        assert not trees.equal(outcome.snapshots[25], one.start)


def test_waiting_takes_no_step_from_what_comes_after(mixed):
    _, members, together = mixed
    for one, outcome in zip(members, together, strict=True):
        ((_, alone),) = train_cohort(TASK, load(TASK.data), [one])  # by itself on its device, where nothing waits
        for path, leaf in alone.snapshots[25].items():
            np.testing.assert_allclose(outcome.snapshots[25][path], leaf, atol=1e-4)


def test_two_members_that_begin_later_are_one_wave_of_equal_begins(mixed):
    per_device, members, together = mixed
    last = members[-1]
    companions = [member(7 + index, last.begin) for index in range(per_device - 1)]
    same(outcomes([*companions, last], per_device)[-1], together[-1])


def test_before_it_begins_no_step_is_the_best(mixed):
    per_device, members, _ = mixed
    learnt = trees.replica(train(digits(noise=0.0), 1, SEED).final, 0)  # noisy labels only make it worse
    for outcome in outcomes([replace(one, start=learnt) for one in members], per_device):
        assert outcome.summary["es_step"] == outcome.rows[0][0]
        assert outcome.rows[0][1] == min(row[1] for row in outcome.rows)


def test_a_wave_of_several_begins_resumes_before_and_after_the_later_one(mixed, monkeypatch):
    per_device, members, together = mixed
    monkeypatch.setattr(replica_batch, "CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(limits, "_MOST_ITERATIONS", 10)
    saved = []
    outcomes(members, per_device, on_checkpoint=lambda index, point: saved.append((index, point)))
    for iteration in (10, 30):
        points = {index: point for index, point in saved if point.iteration == iteration}
        resumed = [replace(one, resume=points[index]) for index, one in enumerate(members)]
        for one, other in zip(outcomes(resumed, per_device), together, strict=True):
            same(one, other)


def test_steps_that_are_waited_are_not_trained(mixed):
    per_device, members, _ = mixed
    trained = []
    outcomes(members, per_device, on_progress=trained.append)
    assert sum(trained) == sum(40 - one.begin for one in members)


@pytest.mark.parametrize("per_device", [3, 1])
def test_the_engine_trains_them_in_one_wave_where_they_share_a_device(per_device, tmp_path, trained, monkeypatch):
    study = studies["frankle2020.instability"](task=TASK, replicates=1, ticket=0, children=5, k=("0it", "20it"))
    graph = study_graph(study)
    layout = shared_layout(per_device, devices=1 if per_device > 1 else 2)
    monkeypatch.setattr(execute, "plan", lambda *args, **options: layout)
    records = execute.Engine(graph, Store(tmp_path), progress=Progress(quiet=True)).execute()
    begins = [[one.begin for one in wave] for wave in trained]
    if per_device > 1:
        assert begins == [[0], [0, 0, 0], [0, 0, 20], [20, 20, 20], [20]]
    else:
        assert all(len(set(wave)) == 1 for wave in begins)
        assert sum(map(len, begins)) == 11
    for digest, run in graph.runs.items():
        assert records[digest].metrics()["step"][0] == run.begin.iterations(5, 40)
