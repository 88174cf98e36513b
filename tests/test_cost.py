"""Estimates of time: learnt from what a store has, of what it lacks, with the steps that a search would take."""

import jax
import numpy as np
import pytest

from tombola.engine import cost, provenance
from tombola.engine.configuring import resolve
from tombola.engine.cost import estimate
from tombola.engine.study import planned, with_foreseen
from tombola.engine.timings import Timed, Timings
from tombola.kernels import compiling
from tombola.models.tasks import task
from tombola.procedures.measurement import Measurement
from tombola.procedures.run import Run
from tombola.store.files import dump_json
from tombola.store.store import Store
from tombola.studies.frankle2020.onset import Search

TASK = task("digits-mlp", "smoke")


def put(store, spec, seconds, steps=100, weights=(), **made):
    """A finished run, or measurement, of which nothing but its time is known."""
    versions = {"command": "", "date": "", "versions": {}, "device": provenance.device(), "trained_together": 2}
    files = {"spec.json": dump_json(spec.canonical()), "made.json": dump_json(versions | {"seconds": seconds} | made)}
    files |= {"metrics.csv": f"step,val_loss\n0,1\n{steps},1\n".encode()}
    if isinstance(spec, Run):
        files["summary.json"] = dump_json({"density": 1.0, "kept": 1, "prunable": 1})
    store.put(spec.digest, files, {f"weights/{step}it.safetensors": {"w": np.zeros(1)} for step in weights})


def runs(of=TASK, number=3):
    return [Run(task=of, seed=seed) for seed in range(number)]


def test_a_step_takes_the_median_without_compilation_of_those_that_are_alike():
    store = Store()
    for run, seconds, compiled in zip(runs(), (10.0, 22.0, 60.0), (0.0, 2.0, 30.0), strict=True):
        put(store, run, seconds, compiling=compiled)
    put(store, Run(task=TASK, seed=9), 1000.0, device="another")
    put(store, Run(task=task("mnist1d-mlp", "smoke"), seed=9), 1000.0)
    # two replicas together: on two devices at once, on one after each other, on a GPU counted by replica
    for devices, each in ((2, 0.1985), (1, 0.09925), (0, 0.09925)):
        assert Timings(store, devices).step(TASK) == pytest.approx(Timed(each, 16.0))
    longer = TASK.but(recipe=TASK.recipe.but(steps="9000it", learning_rate=1.0))
    assert Timings(store, 2).step(longer) == pytest.approx(Timed(0.1985, 16.0))
    assert Timings(store, 2).step(task("digits-20-mlp", "smoke")) is None


def test_those_that_are_most_alike_count_and_else_the_network():
    store, often = Store(), TASK.but(recipe=TASK.recipe.but(evaluate_every="1it"))
    put(store, runs(often)[0], 50.0)
    assert Timings(store, 2).step(TASK) == pytest.approx(Timed(0.4985, 0.0))
    put(store, runs()[0], 0.1)
    assert Timings(store, 2).step(TASK) == pytest.approx(Timed(0.0001, 0.0))  # too short to say more
    assert Timings(store, 2).step(often) == pytest.approx(Timed(0.4985, 0.0))


def test_a_measurement_takes_as_long_as_its_kind():
    store, (first, second, _) = Store(), runs()
    path = Measurement(task=TASK, seed=0, name="path", of=(first.at("end"), second.at("end")), options={"points": 5})
    put(store.measurements, path, 3.0, compiling=1.0)
    assert Timings(store, 2).measurement(path.but(seed=1)) == Timed(2.0, 1.0)
    assert Timings(store, 2).measurement(path.but(options={"points": 9})) == Timed(2.0, 1.0)
    assert Timings(store, 2).measurement(path.but(name="plane")) is None


def study(**fields):
    return resolve("frankle2020.onset", scale="smoke", task="digits-mlp", children=2, points=3, **fields)


def test_what_is_stored_is_subtracted_and_the_rest_takes_what_the_store_took():
    store, one = Store(), study(replicates=1, k=("0it", "50it"))
    nothing = estimate(one, store)
    assert (nothing.runs, nothing.missing_runs, nothing.measurements, nothing.missing_measurements) == (5, 5, 2, 2)
    assert not nothing.learnt
    assert nothing.compiling > 0
    assert nothing.evaluating > 0
    assert nothing.seconds > nothing.training + nothing.evaluating + nothing.compiling
    graph, measurements = with_foreseen(one, planned(one))
    for run in (one for one in graph.runs.values() if one.begin == "0it"):
        put(store, run, 10.0, weights=(0, 50, 100), compiling=4.0)
    put(store.measurements, measurements[0], 2.0)
    found = estimate(one, store)
    assert (found.missing_runs, found.missing_measurements, found.learnt) == (2, 1, True)
    # 6 seconds took 100 steps of two together, whatever the devices; the two that are missing train 50 together
    assert (found.training, found.evaluating, found.compiling) == pytest.approx((3.0, 2.0, 4.0), abs=0.25)
    put(store, next(one for one in graph.runs.values() if one.begin == "50it"), 10.0)
    assert estimate(one, store).missing_runs == 2  # one that lacks the weights that others need is trained again


def test_a_search_is_counted_with_the_steps_that_it_would_try():
    one = study(replicates=1, steps="1500it")
    places, tried = len(one.steps), {0: (0, 1.0), len(one.steps) - 1: (0, 0.0)}
    while (place := Search(tried, 0, min(at for at in tried if at)).next) is not None:
        tried[place] = (0, 0.0)
    graph, measurements = with_foreseen(one, planned(one))
    assert len(measurements) == len(tried) == 2 + 4
    assert places == 19
    assert {run.begin for run in graph.runs.values() if run.noise} == {one.steps[place] for place in tried}
    further = (*planned(one), *one.tried(0, one.steps[14]))
    assert len(with_foreseen(one, further)[1]) == len(measurements)


def test_searches_whose_time_nobody_knows_are_named():
    one = resolve("search.masks", scale="smoke")
    found = estimate(one, Store())
    assert found.unknown
    assert any(f"not in it: {found.unknown} measurements" in line for line in cost.told(found, one))


def test_only_a_first_call_compiles():
    compiling.seconds()
    function = jax.jit(lambda x: jax.jit(lambda y: y * 3)(x) + 1)
    before = compiling.seconds()
    function(1.0)
    after = compiling.seconds()
    function(2.0)
    assert before < after == compiling.seconds()
    assert after - before < 5
