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

import pytest

ROOT = Path(__file__).parent.parent
PARTS = {"training", "evaluation", "store", "progress", "starts and masks", "wave set-up", "tables and claims", "rest"}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """(what it printed, what it wrote)."""
    output = tmp_path_factory.mktemp("bench") / "results.json"
    command = [sys.executable, ROOT / "benchmarks" / "bench.py", "--smoke", "-o", output]
    paths = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(output.read_text())


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
        *("date", "smoke", "cores", "device", "versions", "seconds"),
        *("tombola", "tombola_one_core", "torch", "arithmetic", "study", "paths", "start"),
    }
    for path, number in numbers(results):
        assert math.isfinite(number), path
        assert number >= 0, path
    for name in ("mlp", "lenet"):
        assert results["tombola"]["seconds_per_step_and_replica"][name].keys() == {"2"}
        assert results["tombola_one_core"]["seconds_per_step_and_replica"][name].keys() == {"2"}
        assert results["arithmetic"][name]["limit_seconds"]["median"] > 0
    for part in ("tombola", "tombola_one_core"):
        assert all(number > 0 for _, number in numbers(results[part]))
    assert results["start"].keys() == {"first_step_compiled", "first_step_nothing_compiled", "help"}


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
    for word in ("MLP 40-300-100-10", "LeNet-300-100", "evaluation, store and progress together", "tombola --help"):
        assert word in printed


def test_without_pytorch_its_column_is_empty_and_says_how_to_fill_it(smoke, part):
    printed, results = smoke
    if importlib.util.find_spec("torch"):
        assert results["torch"]["lenet"].keys() == {"1x1 default", "1x2 default", "2x1 default"}
    else:
        assert results["torch"] is None
        assert "PyTorch is not installed" in printed
    without = part("table").table(results | {"torch": None})
    assert "PyTorch is not installed: pip install -e '.[bench]'" in without
    assert "at least 3x" not in without


@pytest.mark.parametrize(("times", "verdict"), [(3.01, "3.01x, met"), (2.99, "2.99x, NOT MET")])
def test_a_target_is_met_against_the_plain_loop_at_its_best(smoke, part, times, verdict):
    results = copy.deepcopy(smoke[1])
    summary = part("setting").summary
    results["tombola"]["seconds_per_step_and_replica"]["mlp"]["2"] = summary([1e-4])
    ways = {f"{layout} {option}": summary([9e-4]) for layout in ("1x1", "1x2", "2x1") for option in ("default", "fused")}
    ways |= {"2x1 default": summary([times * 1e-4]), "2x1 fused": summary([2e-4])}
    results["torch"] = {"mlp": ways, "lenet": ways}
    line = f"Target: MLP 40-300-100-10, R = 2, at least 3x the plain loop (Adam as it comes): {verdict}; with its best Adam 2.00x"
    assert line in part("table").table(results)


def test_the_target_for_shares(smoke, part):
    results = copy.deepcopy(smoke[1])
    for share, verdict in ((0.149, "met"), (0.151, "NOT MET")):
        results["study"]["overhead_share"] = part("setting").summary([share])
        assert part("table").table(results).count(f"({share:.1%}-{share:.1%}), {verdict}") == 1


def test_a_step_has_three_products_a_layer_but_the_first(part):
    products = part("setting").NETWORKS["mlp"].products
    assert products[:2] == [("x @ W", 60, 40, 300), ("x.T @ d", 40, 60, 300)]
    assert ("d @ W.T", 60, 10, 100) in products
    assert len(products) == 8
    forward, inputs = 40 * 300 + 300 * 100 + 100 * 10, 300 * 100 + 100 * 10
    assert sum(m * k * n for _, m, k, n in products) == 60 * (2 * forward + inputs)


def test_a_part_within_a_part_is_counted_once(part, monkeypatch):
    clock = part("shares").Clock()
    ticks = iter([0.0, 1.0, 3.0, 7.0])
    monkeypatch.setattr("shares.time.perf_counter", lambda: next(ticks))
    clock.enter("rest")
    clock.enter("store")
    clock.leave()
    clock.leave()
    assert clock.seconds == {"rest": 1.0 + 4.0, "store": 2.0}
