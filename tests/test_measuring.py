"""Probes carried out: kept in the store, evaluated once, computed again where they are damaged; studies that grow by what was found."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from toys import made_up

from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.step import Step
from tombola.core.task import Data, Model, Recipe, Task
from tombola.core.trees import equal
from tombola.data.dataset import load
from tombola.engine import measuring
from tombola.engine.measuring import rehearse_measurements
from tombola.engine.standing import study_status
from tombola.engine.study import findings, run_study, study_graph, study_measurements
from tombola.evaluation.barrier import barrier
from tombola.evaluation.weight_combinations import evaluate
from tombola.procedures.measurement import Measurement
from tombola.procedures.measurements import Context, measurements
from tombola.procedures.run import Action, Run
from tombola.store.places import places
from tombola.store.store import Store
from tombola.studies.base import Row
from tombola.training.cohort import setup

TASK = Task(
    data=Data(name="digits", train=120, validation=40, test=60),
    model=Model(name="mlp", options={"widths": [6, 5]}),
    recipe=Recipe(steps="12it", batch=30, learning_rate=1e-2, evaluate_every="6it"),
)
DENSE = Run(task=TASK, seed=replicate_seed(0, 0))
STEPS = ("0it", "3it", "6it")


def children(k):
    from_k = DENSE.but(kept=Action(name="rewind", of=(DENSE.at(k),)), begin=Step(k))
    return [from_k.but(noise={"data_order": f"child/{index}"}) for index in range(2)]


def between(k, **options):
    first, second = children(k)
    of = (first.at("end"), second.at("end"), first.at(k), DENSE.at("0it"), first.its_mask())
    return Measurement(task=TASK, seed=DENSE.seed, name="path", of=of, options={"points": 3, **options})


def row_of(level, **options):
    return Row("tried", 0, level, children(STEPS[level])[0], measurement=between(STEPS[level], **options))


def measure(study, row, results):
    found = results.measured(row.measurement)
    return {"barrier": float(barrier(found["test_error"], found["a"])), "loss": float(found["test_loss"].sum())}


def study_of(*rows, **own):
    return made_up(TASK, rows=rows, name="tiny", columns=("barrier", "loss"), measure=measure, **own)


STUDY = study_of(row_of(0), row_of(1))


def more(query, results):
    """One further step k at a time."""
    tried = [level for level, k in enumerate(STEPS) if children(k)[0] in results]
    query.append(tried)
    return () if len(tried) == len(STEPS) else (row_of(len(tried)),)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store with the study's runs and measurements, and its findings."""
    store = Store(tmp_path_factory.mktemp("whole"))
    return store, run_study(STUDY, store, quiet=True)


@pytest.fixture
def evaluated(monkeypatch):
    """Points of every networks that is evaluated."""
    found = []

    def spy(task, dataset, networks, *rest):
        found.append(len(networks.shares))
        return evaluate(task, dataset, networks, *rest)

    monkeypatch.setattr(measuring, "evaluate", spy)
    return found


@pytest.fixture
def copied(whole, tmp_path):
    """A store of one's own, with all that the whole one has."""
    shutil.copytree(whole[0].folder, tmp_path / "store")
    return Store(tmp_path / "store")


# -- the store ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_a_measurement_found_is_kept_under_its_name(whole):
    store, found = whole
    assert {record.digest for record in store.measurements} == {cell.measurement.digest for cell in STUDY.rows()}
    dataset = load(TASK.data)
    network = setup(TASK, dataset).network
    for level, cell in enumerate(STUDY.rows()):
        record = store.measurements.get(cell.measurement.digest)
        assert record.folder == store.folder / "probes" / cell.measurement.digest
        assert {file.name for file in record.folder.iterdir()} == {"spec.json", "made.json", "found.safetensors", "manifest.json"}
        assert record.damaged() == []
        assert record.json("spec") == json.loads(json.dumps(cell.measurement.canonical()))
        assert record.json("made")["networks"] == 3
        first, second = (store.get(run.digest).weights(12) for run in children(STEPS[level]))
        dense, mask = store.get(DENSE.digest).weights(0), {path: np.ones(network.shapes[path].shape, bool) for path in network.prunable}
        start = store.get(children(STEPS[level])[0].digest).weights(level * 3)
        query = measurements["path"](Context(network, DENSE.seed), first, second, start, dense, mask, points=3)
        assert equal(record.found(), dict(sorted(query.read(evaluate(TASK, dataset, query.networks)).items())))
        assert found.table.loss[level] == pytest.approx(record.found()["test_loss"].sum())


def test_what_measurements_look_at_is_trained_and_kept(whole):
    graph = study_graph(STUDY)
    assert set(graph.runs) == {DENSE.digest, *(run.digest for k in STEPS[:2] for run in children(k))}
    first, second = children("3it")
    assert graph.keep[first.digest] == {"3it", "end"}
    assert graph.keep[second.digest] == {"end"}
    assert graph.keep[DENSE.digest] == {"0it", "3it"}
    assert [run for run in whole[0] if run.digest not in graph.runs] == []


def test_parents_and_measurements_are_named_once():
    first = children("0it")[0]
    twice = Measurement(task=TASK, seed=1, name="path", of=(first.at("end"), first.at("0it"), first.at("end")))
    assert list(twice.parents()) == [first.at("end"), first.at("0it")]
    cell = row_of(0)
    assert study_measurements(study_of(cell, cell, row_of(1), measurements=lambda study: (cell.measurement, twice))) == [
        cell.measurement,
        row_of(1).measurement,
        twice,
    ]


def test_a_measurement_is_evaluated_once(copied, whole, evaluated, capsys):
    again = run_study(STUDY, copied)
    assert evaluated == []
    assert capsys.readouterr().err == ""
    pd.testing.assert_frame_equal(again.table, whole[1].table, check_exact=True)
    run_study(study_of(*STUDY.rows(), row_of(1, points=5)), copied, quiet=True)
    assert evaluated == [5]


@pytest.mark.parametrize("name", ["found.safetensors", "manifest.json", "nothing left"])
def test_a_damaged_measurement_is_named_and_computed_again(name, copied, whole, evaluated, capsys):
    folder = copied.measurements.get(STUDY.rows()[1].measurement.digest).folder
    if name == "nothing left":
        copied.measurements.remove(folder.name)
    else:
        (folder / name).write_bytes(b"damaged")
    again = run_study(STUDY, copied)
    told = f"warning: {folder / name} is damaged; computing it again"
    assert (told in capsys.readouterr().err) == (name != "nothing left")
    assert evaluated == [3]
    assert copied.measurements.get(folder.name).damaged() == []
    assert not list((copied.folder / "measurements" / ".work").glob("*.claim"))
    pd.testing.assert_frame_equal(again.table, whole[1].table, check_exact=True)


def test_a_measurement_that_another_process_evaluates_is_waited_for(copied, whole, evaluated, monkeypatch):
    digest = STUDY.rows()[0].measurement.digest
    copied.measurements.remove(digest)
    other, slept = Store(copied.folder).measurements, []
    assert other.claim(digest)

    def sleep(seconds):
        shutil.copytree(whole[0].measurements.get(digest).folder, copied.measurements.get(digest).folder)
        other.release([digest])
        slept.append(seconds)

    monkeypatch.setattr(measuring.time, "sleep", sleep)
    run_study(STUDY, copied, quiet=True)
    assert (len(slept), evaluated) == (1, [])


def test_findings_need_every_measurement(copied, evaluated):
    pd.testing.assert_frame_equal(findings(STUDY, copied).table, run_study(STUDY, copied, quiet=True).table, check_exact=True)
    copied.measurements.remove(STUDY.rows()[0].measurement.digest)
    with pytest.raises(TombolaError, match=r"tiny: some of 2 measurements are not in store .*`tombola run tiny`") as error:
        findings(STUDY, copied)
    assert "\n" not in str(error.value)
    assert evaluated == []
    assert study_status(STUDY, copied) == {
        "runs": 5,
        "done": 5,
        "in progress": 0,
        "missing": 0,
        "measurements": 2,
        "measurements missing": 1,
    }


def test_details_may_read_measurements_of_their_own(copied):
    plane = Measurement(
        task=TASK, seed=DENSE.seed, name="plane", of=tuple(run.at("end") for run in (*children("0it"), *children("3it")[:1]))
    )
    plane = plane.but(options={"grid": 2})
    study = study_of(
        *STUDY.rows(),
        measurements=lambda study: (plane,),
        details=lambda study, results: {"surface": pd.DataFrame(results.measured(plane)["test_error"])},
    )
    found = run_study(study, copied, quiet=True)
    assert found.details["surface"].to_numpy().tolist() == copied.measurements.get(plane.digest).found()["test_error"].tolist()
    assert len(found.table) == 2


def test_progress_tells_what_is_evaluated(tmp_path, capsys):
    run_study(STUDY, Store(tmp_path))
    lines = capsys.readouterr().err.splitlines()
    assert [line.rsplit(" in ", 1)[0] for line in lines] == [
        "training 5 runs, 54 steps",
        "trained 5 runs",
        "evaluating 2 measurements",
        "evaluated 2 measurements",
    ]


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "paht"}, "unknown measurement 'paht': did you mean 'path'"),
        ({"options": {"colour": 1}}, "measurement 'path': got an unexpected keyword argument 'colour'; it takes .*points"),
        ({"options": {"points": 1}}, "points = 1"),
        ({"of": (DENSE.at("end"),)}, "measurement 'path': missing a required argument: 'second'"),
        ({"of": (DENSE.at("end"), DENSE.at("end"))}, "are equal"),
    ],
)
def test_a_mistake_in_a_measurement_is_one_line_before_anything_trains(changes, words, tmp_path):
    wrong = Row("tried", 0, 0, DENSE, measurement=between("0it").but(**changes))
    with pytest.raises(TombolaError, match=words) as error:
        run_study(study_of(wrong), Store(tmp_path / "store"), quiet=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "store").exists()


def test_networks_that_differ_in_noise_that_the_task_lacks_are_equal():
    def ends(task):
        runs = [Run(task=task, seed=1, noise={"dropout": f"child/{index}"}) for index in range(2)]
        return Measurement(task=task, seed=1, name="path", of=tuple(run.at("end") for run in runs))

    with pytest.raises(TombolaError, match="SGD noise that the task has"):
        rehearse_measurements([ends(TASK)], None)
    rehearse_measurements([ends(TASK.but(model=Model(name="mlp", options={"widths": [6], "dropout": 0.5})))], None)


# -- studies that grow -------------------------------------------------------------------------------------------------


def test_a_study_grows_until_its_results_call_for_no_more(tmp_path, evaluated):
    store, query = Store(tmp_path), []
    study = study_of(row_of(0), more=lambda study, rows, results: more(query, results))
    found = run_study(study, store, quiet=True)
    assert found.table.level.tolist() == [0, 1, 2]
    assert list(found.table.level) == [0, 1, 2]
    assert evaluated == [3, 3, 3]
    at_once = run_study(study_of(*(row_of(level) for level in range(3))), store, quiet=True)
    pd.testing.assert_frame_equal(found.table, at_once.table, check_exact=True)
    query.clear()
    pd.testing.assert_frame_equal(findings(study, store).table, found.table, check_exact=True)
    assert query == [[0], [0, 1], [0, 1, 2]]
    assert study_status(study, store) == {
        "runs": 7,
        "done": 7,
        "in progress": 0,
        "missing": 0,
        "measurements": 3,
        "measurements missing": 0,
    }
    store.measurements.remove(row_of(1).measurement.digest)
    assert study_status(study, store)["measurements missing"] == 1
    with pytest.raises(TombolaError, match="measurements are not in store"):
        findings(study, store)
    assert len(evaluated) == 3


# -- weights that nobody needs -------------------------------------------------------------------------------------------


def test_the_first_arms_last_weights_are_kept_and_others_when_asked_for(tmp_path):
    first, second = Row("first", 0, 0, DENSE), Row("second", 0, 0, DENSE.but(seed=7))
    study = made_up(TASK, rows=(second, first), arms={"unused": "", "first": "", "second": ""}, columns=(), measure=lambda *_: {})
    store, end = Store(tmp_path), int(TASK.recipe.steps.removesuffix("it"))
    steps = lambda: {row.arm: store.get(row.run.digest).steps() for row in (first, second)}  # noqa: E731
    before = run_study(study, store, quiet=True)
    assert steps() == {"first": {end}, "second": set()}
    assert run_study(study, store, quiet=True, keep=["second"]).table.equals(before.table)
    assert steps() == {"first": {end}, "second": {end}}
    assert list(before.table.run) == [second.run.digest, first.run.digest]
    assert {(one["run"], one["arm"]) for one in places(store)} == {(row.run.digest, row.arm) for row in (first, second)}
