"""Results show themselves: a short line, tables, pictures, HTML; progress below a cell; a cell that is interrupted loses nothing."""

import base64
import inspect
import os
import re
import signal
import sys
import typing
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from toys import tiny

import tombola as tb
from tombola.core.brief import MOST, brief
from tombola.core.interrupts import heeded
from tombola.core.task import Data
from tombola.engine import cells
from tombola.engine.configuring import resolve
from tombola.engine.progress import Progress
from tombola.procedures.imp import imp_runs
from tombola.pruning.pruning import Pruning
from tombola.report.notebook import Picture
from tombola.store.store import Store
from tombola.studies.base import Findings
from tombola.studies.shown import Shown, long

TASK = tiny(train=300, validation=60, test=120)
TEXT = "the cat sat on a mat and the dog ran to the door " * 700


@pytest.fixture(scope="module")
def store():
    return Store()


@pytest.fixture(scope="module")
def results(store, tmp_path_factory):
    """One of each kind of result, by its type."""
    text = tmp_path_factory.mktemp("text") / "my.txt"
    text.write_text(TEXT)
    dense = tb.train(TASK, 2, keep=["10it"], store=store)
    spoken = tb.task("words-skipgram", steps="4it", batch=2).but(data=tb.from_text(text))
    found = [
        dense,
        tb.imp(TASK, 1, fraction=0.5, replicates=2, store=store),
        tb.instability(TASK, "10it", children=2, replicates=2, points=3, store=store),
        tb.path(TASK, dense.final, dense.at("10it"), seed=0, points=3),
        tb.robustness(TASK, dense, ["0it", "10it"]),
        tb.attack(TASK, dense.final, eps=[0.05, 0.1], attacks=["fgsm"], examples=20),
        tb.classes(TASK, dense.final),
        tb.search(TASK, "flips", budget=20_000, looks=3, replicates=2, store=store),
        tb.supermask(TASK, steps="20it", replicates=2, store=store),
        tb.words(tb.train(spoken)),
        tb.run("frankle2019.sparsity", "smoke", task=TASK, store=store, quiet=True, settings=["levels=1"], replicates=2),
    ]
    return {type(one): one for one in found}


def public_types():
    """Classes of Tombola's that calls in `tombola` give, and those that are public themselves."""
    for name in set(tb.__all__) - {"tracker"}:  # what a call is given is no result
        part = getattr(tb, name)
        yield part if inspect.isclass(part) else typing.get_type_hints(part).get("return") if inspect.isfunction(part) else None


KINDS = {one for one in public_types() if inspect.isclass(one) and one.__module__.startswith("tombola.api.")} | {Findings}


@pytest.mark.slow
def test_every_public_result_is_tried_here(results):
    """A result is told by its base; none that is a frozen heap of arrays goes without."""
    assert all(issubclass(one, Shown) for one in KINDS)
    assert set(results) == KINDS


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS, key=str), ids=lambda kind: kind.__name__)
def test_a_result_shows_itself(results, kind):
    value = results[kind]
    assert len(repr(value)) <= MOST
    assert repr(value).startswith(f"{kind.__name__}(")
    for name, table in value.tables().items():
        assert value.to_pandas(name).equals(table)
        assert len(table)
    html = value._repr_html_()
    assert "<table" in html
    with pytest.raises(tb.TombolaError, match="unknown table 'nothing'"):
        value.to_pandas("nothing")
    if kind is tb.Words:
        with pytest.raises(tb.TombolaError, match="nothing to draw"):
            value.plot()
        return
    picture = value.plot()
    assert picture.figure.axes
    assert picture.caption.startswith(f"{picture.described.title}. ")
    drawn = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', html).group(1)
    assert "<svg" in base64.b64decode(drawn).decode()
    assert "nothing of this was run" not in base64.b64decode(drawn).decode()
    with pytest.raises(tb.TombolaError, match="unknown figure 'nothing'"):
        value.plot("nothing")


def test_tables_hold_the_arrays(results):
    dense, tickets = results[tb.Trajectory], results_of(results, "Tickets")
    curves = dense.to_pandas("curves")
    assert curves[(curves.replicate == 1) & (curves.step == 10)].val_loss.item() == dense.metrics["val_loss"][1, 1]
    assert dense.to_pandas().es_test_acc.tolist() == dense.summary["es_test_acc"].tolist()
    assert dense.to_pandas().seed.tolist() == list(dense.seeds)
    assert tickets.to_pandas().level.tolist() == [0, 0, 1, 1]
    assert tickets.to_pandas().density.tolist() == [1.0, 1.0, *tickets[1].summary["density"]]
    rises = results_of(results, "Robustness")
    resets = rises.to_pandas()
    one = resets[(resets.replicate == 1) & (resets.unit == "hidden2") & (resets.reset_to == "10it")]
    assert one.rise.item() == rises.rise[1, 1, 1]


def results_of(results, name):
    return next(one for kind, one in results.items() if kind.__name__ == name)


def test_long_tables_repeat_what_has_fewer_axes():
    table = long([("a", ["x", "y"]), ("b", [1, 2, 3])], whole=np.arange(6).reshape(2, 3), part=np.array([7, 8]))
    assert table.to_dict("list") == {
        "a": ["x", "x", "x", "y", "y", "y"],
        "b": [1, 2, 3, 1, 2, 3],
        "whole": [0, 1, 2, 3, 4, 5],
        "part": [7, 7, 7, 8, 8, 8],
    }


def test_pictures_and_pages_are_files(results, tmp_path):
    picture = results[tb.Trajectory].plot()
    assert picture.save(tmp_path / "curves.svg").read_text().count("<svg") == 1
    with pytest.raises(tb.TombolaError, match="unknown form of a picture 'jpeg': one of pdf, png, svg"):
        picture.save(tmp_path / "curves.jpeg")
    page = replace(results[Findings], figures=results[Findings].figures[:1]).report(tmp_path / "report")
    assert page == tmp_path / "report" / "index.html"
    assert "frankle2019.sparsity" in page.read_text()


def test_a_study_shows_its_verdicts_and_names_its_other_figures(results):
    found = results[Findings]
    html = found._repr_html_()
    assert all(one.id in html and one.verdict in html for one in found.verdicts)
    assert html.count("<img") == 2 < len(found.figures)
    assert f"{found.figures[2].name!r}".replace("'", "&#x27;") in html


def test_what_is_shown_is_escaped(results):
    found = results[Findings]
    named = SimpleNamespace(**{"name": "<script>", "answers": "a & b", "task": TASK, "replicates": 2, "counted": "rounds"})
    html = replace(found, study=named, figures=(), verdicts=[], arms={"ticket": "<b>"}, variants={})._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


# -- lines ----------------------------------------------------------------------------------------------------------------


def test_descriptions_are_short_however_deep():
    sweep = resolve("frankle2019.sparsity", task=TASK, replicates=1, settings=["levels=2"], sweep={"steps": ["10it", "20it"]})
    assert len(repr([*sweep.rows()][-1])) < 3 * MOST  # which is worked out, and kept
    for one in (TASK, imp_runs(TASK, 1, 20, Pruning(rates=0.2))[-1], sweep.first, sweep):
        assert repr(one) == str(one)
        assert len(repr(one)) <= MOST


def test_a_description_says_what_is_not_by_default():
    assert repr(Data(name="digits", train=300)) == "Data(name='digits', train=300)"
    assert repr(tb.Action(name="sparse", options={"density": 0.1})) == "Action(name='sparse', options={'density': 0.1})"


def test_weights_are_told_by_their_shapes(results):
    said = repr(results[tb.Trajectory].final)
    assert "'hidden1/kernel': float32[2, 64, 8]" in said
    assert len(said) <= MOST
    assert brief({"x": np.zeros((3, 2))}) == "{'x': float64[3, 2]}"
    assert len(brief({f"{place}" * 60: "y" * 900 for place in range(99)})) <= MOST


def test_a_store_says_where_it_is(tmp_path):
    assert repr(Store(tmp_path)) == f"Store({str(tmp_path)!r})"


# -- notebooks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def kernel(monkeypatch):
    """What a notebook's front end is sent."""
    sent = []
    handle = SimpleNamespace(update=lambda content, raw: sent.append(content["text/plain"]))

    def display(content, raw, display_id):
        sent.append(content["text/plain"])
        return handle

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=True)))
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    return sent


def test_lines_of_a_cell_are_rewritten(kernel):
    cell = cells.Cell()
    for text in ("training 2 runs\n", "\r 10 %", "\r 20 % ", "\r      \r", "trained\n"):
        cell.write(text)
    assert kernel == ["training 2 runs", "training 2 runs\n 10 %", "training 2 runs\n 20 %", "training 2 runs", "training 2 runs\ntrained"]


def test_a_long_call_says_in_a_notebook_how_far_it_is(kernel, monkeypatch):
    monkeypatch.setattr("tombola.engine.progress._SHORT", 0.0)
    progress = Progress(of_call=True)
    progress.start({"a": 10, "b": 10})
    progress._drawn = 0
    with progress:
        progress.advance(5)
    assert kernel[0].startswith(" 25%")
    assert kernel[-1] == ""
    monkeypatch.setattr("tombola.engine.progress._SHORT", 1.0)
    progress.start({"a": 10})
    progress._drawn, count = 0, len(kernel)
    progress.advance(5)
    assert len(kernel) == count


def test_outside_notebooks_a_call_says_nothing(capsys, monkeypatch):
    monkeypatch.setattr("tombola.engine.progress._SHORT", 0.0)
    monkeypatch.setattr("tombola.engine.progress._PLAIN_SECONDS", 0.0)
    progress = Progress(of_call=True)
    progress.start({"a": 10})
    with progress:
        progress.advance(5)
    assert capsys.readouterr() == ("", "")
    progress.warn("it diverged")
    with pytest.warns(tb.TombolaWarning, match="it diverged"):
        progress.warn_python()


def test_a_cell_that_is_interrupted_goes_on_where_it_stopped(tmp_path, trained, monkeypatch):
    task = TASK.but(recipe=TASK.recipe.but(steps="400it"))
    advance, seen = Progress.advance, []

    def interrupted(self, steps, said=""):
        seen.append(steps)
        if len(seen) == 1:
            os.kill(os.getpid(), signal.SIGINT)  # as if while the next steps are computed
        else:
            advance(self, steps, said)

    monkeypatch.setattr(Progress, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tb.train(task, store=tmp_path)
    assert not list(tmp_path.glob(".work/*.claim"))
    monkeypatch.setattr(Progress, "advance", advance)
    again = tb.train(task, store=tmp_path)
    assert [[one.resume is not None for one in wave] for wave in trained] == [[False], [True]]
    whole = tb.train(task)
    assert again.metrics["val_loss"].tolist() == whole.metrics["val_loss"].tolist()


def test_a_second_interrupt_of_a_cell_does_not_end_the_kernel():
    before = signal.getsignal(signal.SIGINT)
    with heeded(ends=False):
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is before
        with heeded():  # that of the outer one holds
            assert signal.getsignal(signal.SIGINT) is before
    with heeded():
        inner = signal.getsignal(signal.SIGINT)
        with heeded(ends=False):
            assert signal.getsignal(signal.SIGINT) is inner


def test_a_picture_says_what_it_is(results):
    assert isinstance(results[tb.Trajectory].plot(), Picture)
    assert repr(results[tb.Trajectory].plot()) == "Picture(name='curves', title='Training')"
