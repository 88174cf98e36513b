"""The benchmark runs and says what it should; how fast anything is, no test asks."""

import copy
import importlib
import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import conftest
import numpy as np
import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
PARTS = {"training", "evaluation", "store", "progress", "starts and masks", "replica set-up", "tables and claims", "rest"}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """(what it printed, what it wrote)."""
    folder = tmp_path_factory.mktemp("bench")
    printed = script("bench.py", "--smoke", "-o", folder)
    (output,) = folder.iterdir()
    assert output.suffix == ".json"
    assert output.stem == output.stem.lower()
    return printed, json.loads(output.read_text())


def script(name, *words):
    """What a script of the benchmark prints."""
    paths = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, ROOT / "benchmarks" / name, *words]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths, "XLA_FLAGS": conftest.CHEAP})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def part(monkeypatch):
    """A module of the benchmark by name."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module


def numbers(value, path=""):
    """(path, number) of all in nested JSON."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from numbers(item, f"{path}/{name}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from numbers(item, f"{path}/{index}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


def test_every_number_is_there_and_finite(smoke):
    _, results = smoke
    assert results["smoke"]
    assert results.keys() == {
        *("date", "smoke", "cores", "processor", "disturbed", "device", "versions", "seconds", "seconds_of_parts"),
        *("tombola", "tombola_one_core", "torch", "arithmetic", "study", "paths", "memory", "beside", "start"),
    }
    for path, number in numbers(results):
        assert math.isfinite(number), path
        # What a step takes is a difference of two runs: on a busy machine, tiny ones may come out the wrong way round.
        assert number >= 0 or "seconds_per_step_and_replica" in path, path
    assert results["tombola"].keys() == results["arithmetic"].keys() == {"mlp", "lenet", "conv2"}
    assert results["tombola_one_core"].keys() == {"mlp"}
    for name, found in results["tombola"].items():
        assert found["seconds_per_step_and_replica"].keys() == found["peak_mib"].keys() == {"2"}
        assert found["peak_mib"]["2"] > 50
        assert results["arithmetic"][name]["limit_seconds"]["median"] > 0
    assert results["start"].keys() == {"first_step_compiled", "first_step_nothing_compiled", "help", "finished_study"}
    assert results["start"]["finished_study"]["runs"] == 4  # dense, and three arms of a level


@pytest.mark.parametrize(
    ("seconds_of_others", "calls", "share"),
    [([0, 0.01], 1, 0.01), ([0, 9, 9, 9.04], 2, 0.04), ([0, 9, 9, 15, 15, 22], 3, 6)],
    ids=["quiet", "disturbed once", "disturbed always: the least"],
)
def test_what_other_work_disturbed_is_measured_again(part, monkeypatch, seconds_of_others, calls, share):
    setting, found, shares = part("setting"), iter(range(9)), {}
    monkeypatch.setattr(setting, "_of_others", iter(seconds_of_others).__next__)
    monkeypatch.setattr(setting.time, "perf_counter", iter([0, 1, 0, 1, 0, 1]).__next__)
    monkeypatch.setattr(setting.os, "cpu_count", lambda: 1)
    least = setting.undisturbed("lenet", shares, found.__next__)
    assert least == int(np.argmin(np.diff(seconds_of_others)[::2]))
    assert shares == {"lenet": pytest.approx(share)}
    assert next(found) == calls


def test_disturbed_numbers_are_said_to_be_so(smoke, part):
    assert "DISTURBED" not in smoke[0]
    text = part("table").table(smoke[1] | {"disturbed": {"conv2 2": 0.3, "mlp 2": 0.01}})
    assert "DISTURBED: other work had 30% of the cores during conv2 2: not to be believed" in text
    assert "Other work had at most 1% of the cores." in part("table").table(smoke[1] | {"disturbed": {"mlp 2": 0.01}})


def test_full_length_covers_every_network_at_every_number_of_replicas(part):
    full, networks = part("setting").FULL, part("networks").NETWORKS
    assert networks.keys() == full.timings.keys() == full.one_core.keys()
    for timings in full.timings.values():
        assert timings.keys() == {1, 2, 8, 32}
        assert list(timings) == sorted(timings)  # peak memory is that of the process so far
        assert all(one.short < one.long for one in timings.values())


def test_the_share_of_paths_is_of_training_and_paths(smoke):
    text, results = smoke
    median = {name: value["median"] for name, value in results["paths"].items()}
    assert median["share"] == pytest.approx(median["paths"] / (median["training"] + median["paths"]))
    assert f"Share of the paths: {median['share']:.1%}" in text


def test_the_parts_of_a_study_make_up_its_time(smoke):
    study = smoke[1]["study"]
    assert study["seconds"].keys() == study["share"].keys() == study["cold"]["parts"].keys() == PARTS
    assert sum(study["cold"]["parts"].values()) == pytest.approx(study["cold"]["wall"], rel=0.02)
    for name in ("training", "evaluation", "store", "progress", "starts and masks"):
        assert study["seconds"][name]["median"] > 0, name
    assert study["replica_steps"] == 2 * (1 + 3) * 100  # replicates x (dense, then three arms) x steps
    assert study["peak_mib"] > 50


def test_the_table_fits_a_terminal(smoke):
    printed, _ = smoke
    assert max(map(len, printed.splitlines())) <= 100
    assert "SMOKE" in printed
    for word in (
        *("MLP 40-300-100-10", "LeNet-300-100", "Conv-2", "of its limit", "at least 1.9x", "Peak memory", "Target: flat"),
        *("evaluation, store and progress together", "finished study run again (4 runs), under 2 s", "tombola --help, under 0.3 s"),
    ):
        assert word in printed


def test_without_pytorch_its_column_is_empty_and_says_how_to_fill_it(smoke, part):
    printed, results = smoke
    if importlib.util.find_spec("torch"):
        times = results["torch"]["conv2"]["seconds_per_step_and_replica"]
        assert times.keys() == {
            f"{way} {how}{lies}" for way in ("1x1", "1x2", "2x1") for how in ("default", "fused") for lies in ("", " nhwc")
        }
    else:
        assert results["torch"] is None
        assert "PyTorch is not installed" in printed
    without = part("table").table(results | {"torch": None})
    assert "PyTorch is not installed: pip install -e '.[bench]'" in without
    assert "at least 3x" not in without


@pytest.fixture
def timed(smoke, part):
    """(results of which a step of each network takes 100 us, or 2 of the faster PyTorch; how to set a time)."""
    results, summary = copy.deepcopy(smoke[1]), part("setting").summary
    for found in results["tombola"].values():
        found["seconds_per_step_and_replica"]["2"] = summary([1e-4])
    options = ("default", "fused", "default nhwc")
    ways = {f"{way} {option}": summary([9e-4]) for way in ("1x1", "1x2", "2x1") for option in options}
    loops = {"seconds_per_step_and_replica": ways | {"2x1 fused": summary([2e-4])}}
    results["torch"] = {name: copy.deepcopy(loops) for name in results["tombola"]}
    return results, summary


@pytest.mark.parametrize(("times", "verdict"), [(3.01, "3.01x, met"), (2.99, "2.99x, NOT MET")])
def test_a_target_is_met_against_the_plain_loop_at_its_best(timed, part, times, verdict):
    results, summary = timed
    results["torch"]["mlp"]["seconds_per_step_and_replica"]["2x1 default"] = summary([times * 1e-4])
    line = f"Target: MLP 40-300-100-10, at least 3x the plain loop: {verdict}; its best optimiser: 2.00x"
    assert line in part("table").table(results)


def test_channels_last_is_a_way_of_the_plain_loop(timed, part):
    results, summary = timed
    results["torch"]["conv2"]["seconds_per_step_and_replica"]["2x1 default nhwc"] = summary([1.5e-4])
    assert "Target: Conv-2, at least 1x the plain loop: 1.50x, met; its best optimiser: 1.50x" in part("table").table(results)


def test_a_loop_over_another_network_is_no_comparison(smoke, part):
    results = copy.deepcopy(smoke[1])
    results["torch"] = {"conv2": {"parameters": results["tombola"]["conv2"]["parameters"]}}
    part("bench").check_same_networks(results)
    results["torch"]["conv2"]["parameters"] += 1
    with pytest.raises(SystemExit, match="conv2: PyTorch's has 4301643 parameters, Tombola's 4301642"):
        part("bench").check_same_networks(results)


@pytest.mark.parametrize(
    ("limit", "one", "reached", "scaled"), [(1.61, 1.91, "80%, met", ", met"), (1.58, 1.89, "79%, NOT MET", ", NOT MET")]
)
def test_the_targets_of_the_limit_and_of_two_cores(timed, part, limit, one, reached, scaled):
    results, summary = timed
    results["cores"], results["arithmetic"]["lenet"]["limit_seconds"] = 2, summary([1e-4 * limit])  # the cores share it
    results["tombola_one_core"]["mlp"]["seconds_per_step_and_replica"]["2"] = summary([1e-4 * one])
    printed = part("table").table(results)
    assert f"Target: LeNet-300-100, R = 2, at least 80% of its limit: {reached}" in printed
    assert f"Target: at least 1.9x, of each: {one}x at worst{scaled}" in printed


def test_a_leak_is_seen(smoke, part):
    results = copy.deepcopy(smoke[1])
    for step, verdict in ((0.0, "met"), (1.0, "NOT MET")):
        in_use = [60 + step * 4.0 * level for level in range(22)]
        results["memory"] = {"weights_mib": 4.0, "resident_mib": [300.0] * 22, "in_use_mib": in_use}
        printed = part("table").table(results)
        assert f"In use, from the middle third to the last {step * 28:+.1f}" in printed
        assert f"under 25% of that: {verdict}" in printed


@pytest.mark.parametrize(("again", "shown", "verdicts"), [(1.9, 0.29, ["met", "met"]), (2.1, 0.31, ["NOT MET", "NOT MET"])])
def test_the_targets_for_starts(smoke, part, again, shown, verdicts):
    results, summary = copy.deepcopy(smoke[1]), part("setting").summary
    results["start"]["help"], results["start"]["finished_study"]["again"] = summary([shown]), summary([again])
    assert [line.rsplit(", ", 1)[1] for line in part("table").table(results).splitlines()[-2:]] == verdicts


def test_the_target_for_shares(smoke, part):
    results = copy.deepcopy(smoke[1])
    for share, verdict in ((0.099, "met"), (0.101, "NOT MET")):
        results["study"]["overhead_share"] = part("setting").summary([share])
        assert part("table").table(results).count(f"({share:.1%}-{share:.1%}), {verdict}") == 1


def test_a_step_has_three_products_a_layer_but_the_first(part):
    products = part("networks").NETWORKS["mlp"].products
    assert products[:2] == [("x @ W", 60, 40, 300), ("x.T @ d", 40, 60, 300)]
    assert ("d @ W.T", 60, 10, 100) in products
    assert len(products) == 8
    convolution = part("networks").NETWORKS["conv2"].products[2:5]
    assert convolution == [("x @ W", 61_440, 576, 64), ("x.T @ d", 576, 61_440, 64), ("d @ W.T", 61_440, 64, 576)]
    forward, inputs = 40 * 300 + 300 * 100 + 100 * 10, 300 * 100 + 100 * 10
    assert sum(m * k * n for _, m, k, n in products) == 60 * (2 * forward + inputs)


@pytest.mark.parametrize("name", ["mlp", "lenet", "conv2", "resnet20"])
def test_products_are_those_of_the_network_that_trains(part, name):
    from tombola.core.data_info import DataInfo
    from tombola.core.task import Model
    from tombola.models.build import build

    described = part("networks").NETWORKS[name]
    network = build(Model(name=described.model, options=described.options), DataInfo.of_classes(described.shape, 10))
    assert [inputs * outputs for _, inputs, outputs in described.layers] == [
        math.prod(network.shapes[path].shape) for path in network.prunable
    ]
    # An input gradient for every layer but the first: three times the forward products, less one of the first layer.
    rows, inputs, outputs = described.layers[0]
    forward = sum(math.prod(layer) for layer in described.layers)
    assert described.operations == 2 * described.batch * (3 * forward - rows * inputs * outputs)


def test_a_part_within_a_part_is_counted_once(part, monkeypatch):
    clock = part("shares").Clock()
    ticks = iter([0.0, 1.0, 3.0, 7.0])
    monkeypatch.setattr("shares.time.perf_counter", lambda: next(ticks))
    clock.enter("rest")
    clock.enter("store")
    clock.leave()
    clock.leave()
    assert clock.seconds == {"rest": 1.0 + 4.0, "store": 2.0}


def test_growth_says_how_cost_and_work_grow_and_draws_it(tmp_path):
    printed = script("growth.py", "--smoke", "-o", tmp_path / "growth.png", "--json", tmp_path / "growth.json")
    found = json.loads((tmp_path / "growth.json").read_text())
    assert found["axes"].keys() == {"replicas", "levels", "width", "steps"}
    for one in found["axes"].values():
        assert len(one["values"]) == len(one["seconds"]) == len(one["operations"]) == 2
        assert all(number > 0 for number in (*one["values"], *one["seconds"], *one["operations"]))
        assert one["label"] in printed
    exponents = {name: one["work_exponent"] for name, one in found["axes"].items()}
    assert [exponents["replicas"], exponents["steps"]] == pytest.approx([1, 1])
    assert exponents["levels"] == pytest.approx(math.log2(3 / 2))  # the dense run is there without any level
    assert 1 < exponents["width"] < 2
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")


def test_an_exponent_is_that_of_the_upper_half(part):
    exponent = part("growth").exponent
    assert exponent([1, 2, 4, 8, 16], [7, 7, 16, 64, 256]) == pytest.approx(2)


def test_what_grows_faster_than_its_work_is_named(part):
    one = {"label": "steps", "values": [1, 2], "seconds": [1.0, 2.0], "work_exponent": 1.0}
    for exponent, named in ((1.09, False), (1.11, True)):
        assert ("FASTER THAN ITS WORK" in part("growth").table({"steps": one | {"cost_exponent": exponent}}, smoke=False)) == named


def test_sparse_formats_are_timed(tmp_path):
    printed = script("sparse.py", "--smoke", "--json", tmp_path / "sparse.json")
    found = json.loads((tmp_path / "sparse.json").read_text())["masks"]["random"]
    assert found.keys() == {"0.5", "0.01"}
    for density, one in found.items():
        assert one["seconds"].keys() == {"dense, masked", "dense, no dead units", "JAX BCOO", "JAX BCSR", "SciPy CSR", "packed"}
        assert one["kept"][:2] == pytest.approx([float(density)] * 2, abs=1e-4)
        assert all(number > 0 for _, number in numbers(one["seconds"]))
    assert found["0.5"]["left"] == [[784, 300], [300, 100], [100, 10]]
    assert found["0.01"]["left"][0][0] < 784
    assert "SciPy CSR beats dense, no dead units: " in printed


def test_dead_units_go_until_none_is_left(part):
    first = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], bool)  # unit 3 reads nothing
    second = np.array([[1, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 1]], bool)  # nothing reads unit 1; unit 2 reads only what is dead
    third = np.array([[1], [0], [1]], bool)  # nothing reads the second layer's unit 1, so nothing the first's unit 2
    left = part("sparse_ways").compacted([first, second, third])
    assert [mask.tolist() for mask in left] == [[[True]], [[True]], [[True]]]


@pytest.mark.parametrize("way", ["BCOO", "BCSR"])
def test_sparse_products_are_the_dense_ones(part, way):
    ways = part("sparse_ways")
    mask = np.random.default_rng(0).random((20, 15)) < 0.3
    layer = ways.layer_of(mask)
    steps = ways.jax_steps(layer)
    kept = layer.weights[np.nonzero(mask)]
    found, expected = steps[way](kept, layer.inputs, layer.gradients), steps["dense"](layer.weights, layer.inputs, layer.gradients)
    for index, (one, other) in enumerate(zip(found, expected, strict=True)):
        other = np.asarray(other)[np.nonzero(mask)] if index == 1 else other
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_an_autoencoder_is_timed_against_every_way_of_the_plain_loop(tmp_path):
    pytest.importorskip("torch")
    said = script("autoencoder.py", "--smoke", "--output", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert next(iter(found)) == "tombola"
    assert len(found) == 5
    assert all(one["median"] > 0 for one in found.values())
    assert "times as fast as the best loop" in said


def test_levels_are_compared_with_dense_trainings(tmp_path):
    printed = script("below_dense.py", "--smoke", "-o", tmp_path / "levels.json")
    found = json.loads((tmp_path / "levels.json").read_text())
    assert [row["density"] for row in found["levels"]] == pytest.approx([1, 0.8, 0.64], abs=1e-2)
    mean = sum(row["seconds"] for row in found["levels"]) / 3
    assert found["ratio"] == pytest.approx(mean / (sum(found["dense_seconds"]) / 2))
    assert "All levels / as many dense trainings" in printed


def test_a_gpu_is_checked_and_timed(tmp_path):
    # At its smallest size, on this machine's CPU: a device and a CPU then agree bit for bit.
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHON": sys.executable, "XLA_FLAGS": conftest.CHEAP}
    command = ["sh", ROOT / "benchmarks" / "gpu.sh", tmp_path, "--smoke"]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    found = json.loads((tmp_path / "gpu.json").read_text())
    agreement = [one for name, one in found.items() if name.startswith("agreement")]
    assert agreement
    assert all(one["agrees"] and one["bitwise_again"] and one["losses_apart"] == 0 for one in agreement)
    times = [one["seconds"]["median"] for name, one in found.items() if name.startswith("step")]
    assert len(times) == 5  # an MLP with 1 and 2 replicas, Conv-2 with 2, and both in TF32
    assert found["algorithms conv2"].keys() == {"direct", "patches", "in_turn"}
    assert found["figure"]["replicas"] == 20
    compared = json.loads((tmp_path / "precision.json").read_text())
    whole, lower = (compared["studies"]["frankle2019.sparsity"][precision] for precision in ("float32", "tf32"))
    assert whole.keys() == lower.keys() != set()
    assert compared["moved"] == [claim for claim in whole if whole[claim][0] != lower[claim][0]]


def test_packed_products_are_the_dense_ones(part):
    ways = part("sparse_ways")
    mask = np.random.default_rng(0).random((20, 15)) < 0.3
    layer = ways.layer_of(mask)
    rows, columns, _ = ways.packed_places(layer)
    found = ways.packed_step(layer)(layer.weights[rows, columns], layer.inputs, layer.gradients)
    forward, gradient, inputs = ways.jax_steps(layer)["dense"](layer.weights, layer.inputs, layer.gradients)
    for one, other in zip(found, (forward, np.asarray(gradient)[rows, columns], inputs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_at_which_densities_a_way_wins(part):
    seconds = {"0.5": (9, 5), "0.1": (4, 5), "0.02": (6, 5), "0.005": (1, 5)}
    found = {density: {"seconds": {"a": {"min": a}, "b": {"min": b}, "c": {"min": 9}}} for density, (a, b) in seconds.items()}
    assert [part("sparse").wins(found, way, "b") for way in "ac"] == ["at 10.0%, 0.5%", "nowhere"]
