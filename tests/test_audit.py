"""One question, one command: the size that fits a time, what happens when it is over, and the short answers."""

import json
import re
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tombola import cli
from tombola.core import interrupts
from tombola.core.objective import find_objective
from tombola.engine import answers, audit
from tombola.engine.audit import Pace, Part, Size
from tombola.models.tasks import task
from tombola.report import page
from tombola.store.store import Store

TASK = task("digits-mlp")


# -- the size -------------------------------------------------------------------------------------------------------------


def test_the_largest_size_that_fits_is_chosen(monkeypatch):
    monkeypatch.setattr(audit, "SIZES", audit.SIZES[5:])
    monkeypatch.setattr(audit, "pace", lambda *_: Pace(1e-2, 1.0, 10.0))
    needed = [audit.estimated(audit.studies_at(TASK, size, 0, None), audit.pace(), None) for size in audit.SIZES]
    assert needed == sorted(needed, reverse=True)
    assert audit.plan(TASK, 1e6, 0, None).size == audit.SIZES[0]
    assert audit.plan(TASK, 1.0, 0, None).size == audit.SIZES[-1]
    enough = needed[2] / 0.85 + 20.1  # and the report's 20 s
    assert audit.plan(TASK, enough, 0, None).size == audit.SIZES[2]
    assert audit.plan(TASK, enough - 1, 0, None).size == audit.SIZES[3]
    assert audit.plan(TASK, enough, 0, None).seconds == pytest.approx(needed[2])


def test_an_estimate_counts_each_run_once():
    """Of 1 replicate, 1 level, 100 steps: the dense run, a ticket and its control; four pairs of children at both ends, ten tried."""
    small = TASK.but(recipe=TASK.recipe.but(steps="100it"))
    studies = audit.studies_at(small, Size(1, 1, 1.0), 0, None)
    of_runs = audit.estimated(studies, Pace(0.0, 1.0, 0.0), None)
    assert of_runs == 1 + 2 + 4 + 10
    assert audit.estimated(studies, Pace(0.0, 0.0, 1.0), None) == 6


def test_a_shorter_recipe_keeps_its_shape():
    own = TASK.but(recipe=TASK.recipe.but(steps="2000it", schedule="stepped", milestones=("1000it", "1500it"), warmup="100it"))
    (study, *_) = audit.studies_at(own, Size(2, 2, 0.25), 0, None)
    recipe = study.task.recipe
    assert (recipe.steps, recipe.milestones, recipe.warmup) == ("500it", ("250it", "375it"), "25it")
    assert recipe.evaluate_every == "25it"
    assert audit.studies_at(own, Size(2, 2, 1.0), 0, None)[0].task.recipe == own.recipe


def test_a_size_is_remembered_for_the_same_question(monkeypatch):
    store, ends = Store(), time.monotonic() + 100

    def size_of(seconds=60, seed=0):
        return audit.planned(TASK, seconds, ends, seed, store, None).size

    monkeypatch.setattr(audit, "SIZES", audit.SIZES[8:])
    monkeypatch.setattr(audit, "pace", lambda *_: Pace(1e-6, 1e-4, 0.0))
    assert size_of() == audit.SIZES[0]
    monkeypatch.setattr(audit, "pace", lambda *_: Pace(1.0, 1.0, 1.0))
    assert size_of() == audit.SIZES[0]
    assert size_of(seed=1) == size_of(61) == audit.SIZES[-1]


def test_work_stops_when_its_time_is_over():
    interrupts.check()
    with interrupts.until(time.monotonic() + 60):
        interrupts.check()
        assert not interrupts.told()
        with interrupts.until(time.monotonic() - 1):
            assert interrupts.told()
            with pytest.raises(interrupts.OutOfTime):
                interrupts.check()
        interrupts.check()


# -- the answers ----------------------------------------------------------------------------------------------------------


def part_of(name, table, lacks="", **details):
    study = SimpleNamespace(
        name=name,
        task=SimpleNamespace(objective=find_objective("classification")(), data=SimpleNamespace(name="own", test=None)),
        arms={"magnitude": "by magnitude"},
        variants={"init": "initial values"},
    )
    return Part(study, SimpleNamespace(study=study, table=pd.DataFrame(table), details=details, verdicts=[]), lacks)


def tickets(*accuracies):
    rows = [
        {"arm": arm, "level": level, "acc_es": accuracy, "density": 0.5**level}
        for arm, off in (("ticket", 0.0), ("reinit", 0.1))
        for level, accuracy in enumerate(np.array(accuracies) - off)
    ]
    return part_of("frankle2019.sparsity", [row for row in rows if row["arm"] == "ticket" or row["level"]])


def test_the_sparsest_ticket_as_good_as_the_dense_network():
    assert answers.answer(tickets(0.9, 0.92, 0.892, 0.8)) == (
        "Winning tickets",
        "Tickets with 25 % of the weights are as good as the dense network, which has a test accuracy of 90.0 %: 89.2 %, with fresh "
        "initial values 79.2 %.",
    )
    none = "No ticket is as good as the dense network, which has a test accuracy of 90.0 %: 80.0 % with 50 % of the weights."
    assert answers.answer(tickets(0.9, 0.8, 0.7))[1] == none


@pytest.mark.parametrize(
    ("onsets", "said"),
    [
        ([0, 0, 5], "The network is stable to SGD noise from its initialisation on."),
        ([10, 20, 40], "The network is stable to SGD noise from step 20 on, 20 % of training (median, in single replicates 10 to 40)."),
        ([20, 20], "The network is stable to SGD noise from step 20 on, 20 % of training (median)."),
        ([np.inf, np.inf, 3], "2 of 3 networks are not stable to SGD noise at any step that was tried."),
    ],
)
def test_the_onset_is_a_median(onsets, said):
    table = {"onset": onsets, "share": np.array(onsets) / 100}
    assert answers.answer(part_of("frankle2020.onset", table)) == ("Stability", said)


def test_layers_by_their_class():
    table = [
        {"variant": variant, "level": 0, "arm": arm, "rise": rise}
        for variant in ("reinit", "random")
        for arm, rises in (("first", (0.3, 0.5)), ("second", (0.0, -0.02)))
        for rise in rises
    ]
    layers = pd.DataFrame({"row": ["first", "second"], "mark": ["critical", "robust"]})
    said = answers.answer(part_of("zhang2019.robustness", table, layers=layers))[1]
    assert said.endswith("critical: first (+40.0 pp); robust: second (+0.0 pp).")


def test_the_best_mask_is_chosen_on_validation_examples():
    at = {"variant": "init", "arm": "magnitude", "chance_acc": 0.1}
    rows = [
        {"level": 0, "acc": 0.99, "validation_acc": 0.99, "density": 1.0},
        {"level": 1, "acc": 0.3, "validation_acc": 0.5, "density": 0.5},
        {"level": 2, "acc": 0.4, "validation_acc": 0.2, "density": 0.25},
    ]
    said = answers.answer(part_of("zhou2019.supermask", [{**at, **row} for row in rows]))[1]
    assert "(by magnitude, initial values, 50 % kept) has a test accuracy of 30.0 %; the best constant answer 10.0 %." in said


def test_what_is_not_complete_says_so():
    part = tickets(0.9, 0.92)
    assert answers.answer(part._replace(lacks="3 of 9 runs"))[1].startswith("So far (3 of 9 runs): Tickets with 50 %")
    said = "There is no answer yet: the time was over with 3 of 9 runs done."
    assert answers.answer(part._replace(findings=None, lacks="3 of 9 runs"))[1] == said
    assert answers.answer(tickets(0.9)._replace(lacks="3 of 9 runs"))[1] == said  # the dense network alone
    searching = part_of("frankle2020.onset", {"onset": [np.inf], "share": [np.inf]}, lacks="3 of 9 runs")
    assert answers.answer(searching)[1] == said  # of a search that is not over nothing follows
    states = (("A", "not judged", ("x", "y")), ("B", "undecided", ()), ("C", "not judged", ("x",)))
    verdicts = [SimpleNamespace(id=name, verdict=state, reasons=why) for name, state, why in states]
    part.findings.verdicts.extend(verdicts)
    assert answers.not_judged([part]) == ["Not judged: A, C (x)."]
    assert "takes 6" in answers.expected(5)
    assert answers.expected(6) == ""


# -- the command ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """A size of seconds, figures for which the time is over after the first, and a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(audit, "SIZES", (Size(2, 2, 0.01),))
    monkeypatch.setattr(audit, "pace", lambda *_: Pace(1e-4, 0.01, 1.0))
    monkeypatch.setattr(page, "told", lambda: any(tmp_path.glob("audit/*/*/*.svg")))
    return tmp_path


@pytest.mark.slow
def test_an_audit_of_ones_own_answers_on_one_page_and_goes_on(quick, capsys):
    np.savez(quick / "my data.npz", x=np.eye(4, dtype=np.float32)[np.arange(200) % 4], y=np.arange(200) % 4)
    ask = ["audit", "--task", "digits-mlp", "--data", "my data.npz", "--minutes", "900", "--json"]
    late = audit.report_time
    audit.report_time = lambda seconds: seconds + 1  # the time is over before it begins
    try:
        assert cli.main(ask) == 2
    finally:
        audit.report_time = late
    assert "900 minutes were over before anything could be shown; the same command goes on" in capsys.readouterr().err
    assert cli.main(ask) == 0
    out, err = capsys.readouterr()
    assert "This goes on with what was begun, at the size that was chosen then." in err
    assert "trained by the recipe of digits-mlp" in err
    found = json.loads(out)
    assert found["audit"] == "my-data-mlp"
    assert list(found["answers"]) == ["Winning tickets", "Stability", "Supermask", "Layers"]
    assert found["size"] == {"replicates": 2, "levels": 2, "share": 0.01, "random_masks": 0, "steps": 20}
    shown = (quick / "audit" / "my-data-mlp" / "index.html").read_text()
    assert "<title>Audit of my-data-mlp - Tombola</title>" in shown
    assert re.findall("<h2>(.*?)</h2>", shown)[2:] == [
        "frankle2019.sparsity",
        "frankle2020.onset",
        "zhou2019.supermask",
        "zhang2019.robustness",
    ]
    assert "digits-mlp" not in re.sub("recipe of digits-mlp|<dt>command</dt>.*|<code>.*?</code>", "", shown)
    assert len(re.findall("<figure>", shown)) == 1
    assert shown.count("The time was over before all was drawn") == 4
    for title, said in found["answers"].items():
        assert f"<dt>{title}</dt>" in shown
        assert "no answer yet" not in said
    assert any("With 2 replicates no claim can be judged" in one for one in found["notes"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--task", "digits-mlp", "--minutes", "0"], "--minutes 0: give more than 0"),
        ([], "nothing to audit: give --model net.py:Net, --data my.npz or --task NAME"),
        (["--task", "nothing"], "unknown task 'nothing'"),
    ],
)
def test_what_cannot_be_audited_is_one_line(options, said, quick, capsys):
    assert cli.main(["audit", *options]) == 2
    assert said in capsys.readouterr().err
    assert not (quick / "audit").exists()
