"""Finished studies: read without JAX, damage found all the same, reports made again only where something changed."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tombola.core.errors import TombolaWarning
from tombola.core.step import Step
from tombola.data.dataset import load
from tombola.engine import reading, study
from tombola.engine.configuring import resolve
from tombola.engine.resolved import resolved
from tombola.engine.steps import iteration, last_iteration
from tombola.engine.study import findings, run_study
from tombola.models.tasks import task as named_task
from tombola.procedures.network_info import from_json, network_info_of
from tombola.procedures.run import Run
from tombola.report import figures, kept, page
from tombola.store.store import Store
from tombola.training.cohort import setup

SETTINGS = ("widths=[6, 5]", "steps=6it", "evaluate_every=3it")
NAMES = ("frankle2019.movement", "frankle2020.instability", "zhang2019.robustness")
"""One that looks at weights and masks, one with measurements, one that asks for layers."""


def small(name):
    settings = ["task.model.options.widths=[6, 5]", *SETTINGS[1:]]
    return resolve(name, scale="smoke", task="digits-mlp", settings=settings, replicates=2)


@pytest.fixture(scope="module")
def carried_out(tmp_path_factory):
    """A store, and the findings of the studies in it by name."""
    store = Store(tmp_path_factory.mktemp("store"))
    return store, {name: run_study(small(name), store, quiet=True) for name in NAMES}


@pytest.fixture
def copied(carried_out, tmp_path):
    shutil.copytree(carried_out[0].folder, tmp_path / "store")
    return Store(tmp_path / "store")


def same(a, b):
    pd.testing.assert_frame_equal(a.table, b.table, check_exact=True)
    pd.testing.assert_frame_equal(a.curves, b.curves, check_exact=True)
    assert a.verdicts == b.verdicts or repr(a.verdicts) == repr(b.verdicts)  # NaN is not itself


# -- read ----------------------------------------------------------------------------------------------------------------


AGAIN = """
import sys
from tombola.cli import main
main(sys.argv[1:])
print(json.dumps([name for name in ("jax", "flax", "optax", "scipy.stats", "matplotlib") if name in sys.modules]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_finished_study_needs_no_jax(carried_out, name, tmp_path):
    store, found = carried_out
    page.write([found[name]], tmp_path)
    settings = [f"--set=task.model.options.{SETTINGS[0]}", *(f"--set={one}" for one in SETTINGS[1:])]
    options = ["--scale=smoke", "--task=digits-mlp", "--replicates=2", f"--store={store.folder}", f"--output={tmp_path}", "--json"]
    command = [sys.executable, "-c", f"import json{AGAIN}", "run", name, *options, *settings]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    assert said.stderr == ""
    *printed, loaded = said.stdout.splitlines()
    assert json.loads(loaded) == []
    assert [row["arm"] for row in json.loads("\n".join(printed))["table"]] == found[name].table.arm.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_computed_again(copied, carried_out, name, monkeypatch):
    monkeypatch.setattr("tombola.engine.compute.compute", None)
    same(run_study(small(name), copied, quiet=True), carried_out[1][name])
    same(findings(small(name), copied), carried_out[1][name])


def test_runs_that_are_lacking_are_computed(copied, carried_out, capsys):
    name = NAMES[0]
    first, second = sorted(study.study_graph(small(name)).runs)[:2]
    copied.remove(first)
    next((copied.folder / second / "weights").iterdir()).unlink()
    with pytest.warns(TombolaWarning, match=f"{second}.* is damaged; computing it again"):
        same(run_study(small(name), copied, quiet=True), carried_out[1][name])
    assert copied.get(first).damaged() == copied.get(second).damaged() == []


@pytest.mark.parametrize("file", ["metrics.csv", "summary.json", "made.json", "spec.json", "mask.safetensors", "weights", "manifest.json"])
def test_a_damaged_file_is_found_whether_the_report_reads_it_or_not(copied, carried_out, capsys, file):
    name = NAMES[1]
    runs = study.study_graph(small(name)).runs
    folder = copied.folder / next(digest for digest in runs if any((copied.folder / digest / "weights").glob("*")))
    path = next((folder / "weights").iterdir()) if file == "weights" else folder / file
    path.write_bytes(path.read_bytes()[:-3] + b"???")
    same(run_study(small(name), copied), carried_out[1][name])
    said = capsys.readouterr().err
    assert f"{path} is damaged; computing it again" in said
    assert said.count("computing it again") == 1
    assert copied.get(folder.name).damaged() == []


# -- networks and steps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", ["7it", "2ep", "1ep3it"])
def test_steps_are_those_of_training(steps):
    task = named_task("digits-mlp", steps="3ep5it")
    found, end = resolved(task, None)
    run = Run(task=task, seed=1)
    assert last_iteration(run, None) == end
    assert iteration(run, Step(steps), None) == Step(steps).iterations(found.steps_per_epoch, end)
    assert iteration(run, Step("end"), None) == end
    shorter = run.but(until=Step(steps))
    assert iteration(shorter, Step("end"), None) == last_iteration(shorter, None) == iteration(run, Step(steps), None)
    assert run.but(until=Step("end")).digest == run.digest != shorter.digest


def test_steps_in_iterations_read_no_data(monkeypatch):
    monkeypatch.setattr("tombola.engine.steps.load", None)
    run = Run(task=named_task("digits-mlp", steps="9it"), seed=1)
    assert (iteration(run, Step("4it"), None), last_iteration(run, None)) == (4, 9)


@pytest.mark.parametrize("frozen", [(), ("hidden1",)])
def test_an_outline_says_what_the_network_says(frozen):
    task = named_task("digits-mlp", "smoke", frozen=frozen)
    dataset = replace(load(task.data), class_names=("nought", "one"))
    found = setup(task, dataset)
    network, network_info = found.network, network_info_of(found, dataset)
    back = from_json(json.loads(json.dumps(network_info.as_json())))
    for one in (network_info, back):
        assert list(one.shapes.items()) == [(path, leaf.shape) for path, leaf in network.shapes.items()]
        assert one.sizes == {path: network.shapes[path].size for path in network.shapes if path in network.trainable}
        assert (one.prunable, one.trainable, one.trained) == (network.prunable, network.trainable, found.trained)
        assert one.steps_per_epoch == found.steps_per_epoch
        assert one.inputs["classes"] == ["nought", "one"]
    assert back.layers == network.layers


@pytest.mark.parametrize("how", ["there", "removed", "damaged", "stored before there were any"])
def test_what_a_network_looks_like_is_stored_with_its_runs(copied, carried_out, how, monkeypatch):
    name = NAMES[2]
    (path,) = (copied.folder / "networks").iterdir()  # of a study of one network, one
    content = path.read_bytes()
    if how == "removed":
        path.unlink()
    elif how == "damaged":
        path.write_bytes(content.replace(b"steps_per_epoch", b"steps_per_epoc?"))
    elif how != "there":
        for record in copied:
            files = {
                name: record.files.read(f"{record.digest}/{name}") for name in json.loads((record.folder / "manifest.json").read_text())
            }
            summary = record.json("summary")
            del summary["network"]
            copied.put(record.digest, {**files, "summary.json": json.dumps(summary).encode()}, {}, replace=True)
    built = []
    monkeypatch.setattr("tombola.engine.reading.network_info_of", lambda *given: built.append(given) or network_info_of(*given))
    reading.built_info.cache_clear()
    same(run_study(small(name), copied, quiet=True), carried_out[1][name])
    assert bool(built) == (how != "there")
    run = next(iter(study.study_graph(small(name)).runs.values()))
    assert copied.put_network(reading.built_info(run.task, None).as_json()) == path.stem
    assert path.read_bytes() == content  # mended


# -- reports -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def report(carried_out, tmp_path, monkeypatch):
    """Findings, their folder, and a function that writes them again: which figures were drawn, and which tables written."""
    made = []

    def draw(figure, findings):
        made.append(figure.name)
        return figure.title  # in the place of a drawing: that takes a second

    def as_csv(frame):
        made.extend([] if "meaning" in frame else ["table"])  # not of the dictionary of columns, which is soon written
        return frame.to_csv().encode()

    monkeypatch.setattr(figures, "draw", draw)
    monkeypatch.setattr(figures, "files", lambda title, stem: {f"{stem}.{form}": f"<svg>{title}</svg>".encode() for form in figures.FORMS})
    monkeypatch.setattr(page, "as_csv", as_csv)

    def again(one=carried_out[1][NAMES[0]]):
        made.clear()
        page.write([one], tmp_path)
        return list(made)

    again()
    return carried_out[1][NAMES[0]], tmp_path / NAMES[0], again


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_report_of_the_same_is_left(report):
    _, folder, again = report
    before = contents(folder)
    assert again() == []
    assert contents(folder) == before


@pytest.mark.parametrize("how", ["changed", "removed"])
def test_a_file_that_was_changed_is_made_again(report, how):
    found, folder, again = report
    before, name = contents(folder), found.figures[0].name
    for path in (folder / f"{name}.pdf", folder / "curves.csv"):
        path.unlink() if how == "removed" else path.write_bytes(b"?" + path.read_bytes())
    assert sorted(again()) == sorted([name, "table"])
    assert contents(folder) == before


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b'{"table.csv": 1}'])
def test_without_its_note_a_report_is_made_again(report, note):
    found, folder, again = report
    before = contents(folder)
    (folder / kept.NOTE).write_bytes(note)
    assert {figure.name for figure in found.figures} < set(again())
    assert contents(folder) == before


@pytest.mark.slow
def test_other_numbers_labels_figures_or_code_are_drawn(report, monkeypatch):
    found, _, again = report
    every = {figure.name for figure in found.figures}
    table = found.table.copy()
    table.loc[0, found.columns[-1]] += 1
    assert every < set(again(replace(found, table=table)))
    assert every < set(again())
    arms = {arm: f"{label}!" for arm, label in found.study.arms.items()}
    assert set(again(replace(found, arms=arms))) == every
    titled = replace(found.figures[0], title="another")
    assert titled.name in again(replace(found, figures=(titled, *found.figures[1:])))
    again()
    monkeypatch.setattr(kept, "source_digest", lambda *packages: "another")
    assert every < set(again())


def test_the_digest_of_source_is_of_every_file():
    from tombola.core import source

    root = Path(source.__file__).parents[1]
    assert source.source_digest() != source.source_digest("numpy")
    assert len(list(root.rglob("*.py"))) > 100
