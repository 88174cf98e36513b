"""Claims are judged by the data: tables with a known answer get the known verdict."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.task import Data
from tombola.data.arrays import from_arrays
from tombola.data.dataset import load
from tombola.engine.configuring import apply, fields_of, resolve
from tombola.engine.study import study_graph
from tombola.evaluation.early_stopping import es_iteration, iterations_to
from tombola.evaluation.paired import effect
from tombola.evaluation.statistics import holm
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.models.tasks import tasks
from tombola.studies.catalogue import studies
from tombola.studies.evidence import Evidence
from tombola.studies.figure import Panel
from tombola.studies.results import Result
from tombola.studies.testbeds import chance, near_chance, resolution

LEVELS = 14
ARMS = ("ticket", "reinit", "random")


def invented(accuracy, speed=lambda arm, density: 1000.0, replicates=8, noise=0.002, seed=0, levels=LEVELS):
    """A table in which `accuracy(arm, density)` is the truth, with noise by replicate."""
    random = np.random.default_rng(seed)
    rows = []
    for replicate in range(replicates):
        for arm in ARMS:
            for level in range(levels):
                if level == 0 and arm != "ticket":
                    continue
                density = 0.8**level
                found = accuracy(arm, density) + noise * random.normal()
                row = {
                    "study": "s",
                    "task": "t",
                    "variant": "",
                    "arm": arm,
                    "replicate": replicate,
                    "level": level,
                    "density": density,
                    "draw": 0,
                }
                step = speed(arm, density) * (1 + 5 * noise * random.random())
                loss = {"es_iteration": step, "es_censored": 0, "val_loss_min": 0.1, "iters_to_1p5x": step, "iters_to_1p1x": step}
                rows.append({**row, **loss, "acc_es": found, "acc_final": found, "train_acc_final": 1.0 - 0.001 * random.random()})
    return pd.DataFrame(rows)


def study(task="mnist1d-mlp", **fields):
    return studies["frankle2019.sparsity"](task=named_task(task), **fields)


def judged(table, task="mnist1d-mlp"):
    return {verdict.id: verdict for verdict in study(task).judge(table)}


def verdicts(table, task="mnist1d-mlp"):
    return {id: verdict.verdict for id, verdict in judged(table, task).items()}


def papers(arm, density):
    """The world of the paper: tickets climb to 13.5 % and are back at dense at 3.6 %; controls fall, most at small density."""
    gain = 0.01 * (1 - abs(np.log(density / 0.135)) / np.log(1 / 0.135))
    loss = {"ticket": 0.0, "reinit": 0.02, "random": 0.035}[arm] * max(0, np.log(0.5 / density)) ** 2
    return 0.9 + 2 * max(gain, 0) - loss - (0.002 if arm != "ticket" else 0)


def papers_speed(arm, density):
    valley = 400 + 300 * abs(np.log(density / 0.21))
    return valley if arm == "ticket" else 1200 + 500 * np.log(1 / density)


def test_the_papers_world_replicates():
    found = judged(invented(papers, papers_speed, noise=0.0005, levels=16))
    assert set(found) == {claim.id for claim in study().claims}
    assert {verdict.verdict for verdict in found.values()} == {"replicated"}, found


def test_the_opposite_world_does_not():
    flipped = {"ticket": "random", "reinit": "reinit", "random": "ticket"}
    found = verdicts(invented(lambda arm, d: papers(flipped[arm], d), lambda arm, d: papers_speed(flipped[arm], d)))
    assert found["LTH-C3"] == found["LTH-C7"] == found["LTH-C23"] == "not replicated"


@pytest.mark.slow
def test_no_difference_replicates_nothing():
    for seed in range(10):
        found = verdicts(invented(lambda arm, density: 0.9, lambda arm, density: 500.0, seed=seed))
        assert found["LTH-C3"] != "replicated"
        assert found["LTH-C7"] != "replicated"


# -- the five states -----------------------------------------------------------------------------------------------------

GOOD = Effect("a", "pp", 1.0, 0.5, 1.5, 8, 0.01)
BAD = Effect("b", "pp", -1.0, -1.5, -0.5, 8, 0.01)
WIDE = Effect("c", "pp", 0.1, -1.0, 1.2, 8, 0.9)
MISSING = Effect("d", "pp", np.nan, -np.inf, np.inf, 0, 1.0, lacks="arm x was not run")


@pytest.mark.parametrize(
    ("effects", "expected"),
    [
        ((GOOD, GOOD), "replicated"),
        ((GOOD, WIDE), "replicated in part"),
        ((GOOD, MISSING), "replicated in part"),
        ((GOOD, BAD), "not replicated"),
        ((WIDE, MISSING), "undecided"),
        ((MISSING,), "not judged"),
        ((), "not judged"),
        ((GOOD, replace(BAD, judged=False)), "replicated"),  # shown, not said by the sentence
        ((replace(GOOD, judged=False),), "not judged"),
        ((replace(GOOD, least=0.5),), "undecided"),  # its interval touches the least effect
        ((replace(GOOD, least=0.49),), "replicated"),
        ((replace(GOOD, p=0.0625),), "undecided"),  # five replicates' p
        ((replace(BAD, p=0.03),), "not replicated"),
        ((replace(BAD, p=0.03), WIDE), "undecided"),  # Holm over two parts
        ((replace(BAD, p=0.03, chosen_of=2),), "undecided"),  # the lowest of two
        ((replace(GOOD, high=0.4, low=0.2, least=0.5),), "not replicated"),  # there, but smaller than what would count
    ],
)
def test_a_verdict_is_what_its_parts_allow(effects, expected):
    assert Verdict("X", "s", "p", tuple(effects)).verdict == expected


def test_a_claim_about_other_networks_judges_nothing():
    found = Verdict("X", "s", "p", (GOOD, BAD), lacks="the claim is about convolutional networks")
    assert (found.verdict, found.parts) == ("not judged", ("not judged",) * 2)
    assert found.reasons == ("the claim is about convolutional networks",)


THOUSANDTHS = st.integers(-5_000, 5_000).map(lambda number: number / 1_000)
"""What is nearer than that is a tie to us and none to SciPy, or the other way round."""


@settings(max_examples=50)
@given(st.lists(THOUSANDTHS, min_size=6, max_size=10, unique=True), THOUSANDTHS)
def test_intervals_and_tests_are_scipys(values, least):
    found = effect("x", "pp", values, least=least)
    expected = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    flips = scipy.stats.permutation_test((np.array(values) - least,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert found.p == pytest.approx(flips.pvalue, abs=1e-9)


def test_holm_is_scipys_step_down_by_hand():
    p = [0.01, 0.04, 0.03, 0.005]
    assert holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])


# -- preconditions -------------------------------------------------------------------------------------------------------


def reasons(table, claim="LTH-C3", task="mnist1d-mlp"):
    return " ".join(judged(table, task)[claim].reasons)


def test_too_few_replicates_or_levels_are_not_judged():
    few = invented(papers, papers_speed, replicates=5)
    assert set(verdicts(few).values()) == {"not judged"}
    assert "5 of the 6 replicates" in reasons(few)
    dense_only = invented(papers, papers_speed)
    dense_only = dense_only[dense_only.level < 1]
    assert set(verdicts(dense_only).values()) == {"not judged"}


def test_an_arm_that_was_not_run_is_named():
    table = invented(papers, papers_speed)
    assert "arm reinit was not run" in reasons(table[table.arm != "reinit"])


def test_equal_values_decide_nothing():
    assert "the same value" in reasons(invented(papers, papers_speed, noise=0))


def test_censored_early_stops_are_not_judged_and_accuracy_is_at_the_end():
    table = invented(papers, papers_speed).assign(es_censored=lambda rows: (rows.arm == "reinit") & (rows.replicate < 3))
    found = judged(table)["LTH-C3"]
    accuracy = [
        part for part in found.effects if "accuracy" in part.name and '"same mask, fresh init"' in part.name
    ]  # quoted: it has a comma
    assert [part.name for part in accuracy if "at the end, as early stops are censored" not in part.name] == []
    assert accuracy
    early = judged(table.assign(es_censored=1))["LTH-C1"]
    assert "100 % of the early stops of winning ticket are censored" in early.effects[0].lacks
    quarter = invented(papers, papers_speed).assign(es_censored=lambda rows: rows.replicate < 2)  # of eight
    assert not judged(quarter)["LTH-C1"].effects[0].lacks


def test_what_chance_is_follows_from_the_largest_class():
    x, y = np.zeros((40, 3), np.float32), np.arange(40) % 4 == 0
    own = named_task("digits-mlp").but(data=from_arrays(x, y, x[:20], y[:20]))
    assert (chance(own), resolution(own)) == (75.0, 5.0)
    assert near_chance(77.0, own)
    assert not near_chance(78.0, own)
    for name in ("breast_cancer", "wine"):  # classes of different sizes
        data = load(Data(name=name))
        labels = np.concatenate([data.targets, data.test_targets])
        assert chance(own.but(data=Data(name=name))) == pytest.approx(100 * np.bincount(labels).max() / len(labels))
    assert not near_chance(0.0, own.but(data=Data(name="arrays-000000000000")))  # not given here: unknown


def test_a_network_near_chance_or_at_the_ceiling_leaves_no_room():
    assert "near chance" in reasons(invented(lambda arm, d: 0.12 + 0 * papers(arm, d), papers_speed))
    high = invented(lambda arm, density: 0.9985 + 0.0002 * (arm == "ticket"), papers_speed, noise=0.0001)
    assert "no room" in reasons(high, "LTH-C2")
    gap = Panel("gap", "training minus test accuracy (pp)", 100)  # a difference has neither chance nor ceiling
    assert not Evidence(study(), high.assign(gap=high.acc_final - 1)).above("ticket", "reinit", gap, [1, 2]).lacks


def test_a_claim_about_accuracy_is_not_judged_where_there_is_none():
    (found,) = {verdict.verdict for verdict in study("diabetes-mlp").judge(invented(papers))}
    assert found == "not judged"


# -- effects ---------------------------------------------------------------------------------------------------------------


def test_draws_are_averaged_within_their_replicate():
    table = pd.concat([invented(papers, papers_speed)] * 3, ignore_index=True)
    assert judged(table)["LTH-C3"].effects[0].n == 8


def test_an_effect_shows_its_levels_adjusted():
    values = pd.DataFrame({1: [1.0] * 7 + [1.5], 2: [1.0, -1.0] * 4})
    found = effect("x", "pp", values, places={1: 0.8, 2: 0.64})
    assert found.mean == pytest.approx(0.53125)
    assert [(density, mean) for density, mean, _ in found.per_level] == [(0.8, 1.0625), (0.64, 0.0)]
    assert found.per_level[0][2] == pytest.approx(2 * 2 / 2**8)


def test_iterations_that_are_never_reached_make_the_effect_smaller_never_larger():
    def table(second):
        rows = [
            {"arm": arm, "replicate": r, "level": 1, "density": 0.5, "iters_to_1p5x": steps} for r in range(6) for arm, steps in second(r)
        ]
        return Evidence(study(), pd.DataFrame(rows))

    reached = table(lambda r: [("ticket", 100.0 + r), ("reinit", 400.0)]).sooner("ticket", "reinit", [1])
    never = table(lambda r: [("ticket", 100.0 + r), ("reinit", np.inf if r else 400.0)]).sooner("ticket", "reinit", [1])
    assert never.mean == pytest.approx(reached.mean)  # the latest that any needed stands for never
    neither = table(lambda r: [("ticket", np.inf), ("reinit", np.inf)]).sooner("ticket", "reinit", [1])
    assert (neither.n, bool(neither.lacks)) == (0, True)


# -- measuring -----------------------------------------------------------------------------------------------------------


def metrics(losses):
    return {"step": np.arange(len(losses)) * 100, "val_loss": np.array(losses), "test_acc": np.array([0.5] * len(losses))}


def test_early_stopping_is_the_first_minimum_and_censored_at_the_end():
    assert es_iteration(metrics([3, 1, 2, 1])) == (100, False)
    assert es_iteration(metrics([3, 2, 1])) == (200, True)
    assert es_iteration(metrics([3, np.nan, np.nan])) == (0, False)
    assert np.isnan(es_iteration(metrics([np.nan, np.nan]))[0])


def test_iterations_to_a_loss():
    assert iterations_to(metrics([3, 2, 1, 2]), 2) == 100
    assert iterations_to(metrics([3, 2]), 1) == float("inf")


def test_measure_is_relative_to_the_dense_run_of_the_replicate():
    study = resolve("frankle2019.sparsity", scale="smoke")
    row = next(row for row in study.rows() if row.arm == "reinit" and row.replicate == 1)
    dense = next(row for row in study.rows() if row.arm == "ticket" and row.level == 0 and row.replicate == 1)
    summary = {"es_test_acc": 0.7, "train_acc": 0.9, "kept": 6, "prunable": 8}
    results = {dense.run: Result(metrics([3, 1]), summary, None), row.run: Result(metrics([4, 1.6, 1.5, 1.05]), summary, None)}
    found = study.measure(row, results)
    assert (found["iters_to_1p5x"], found["iters_to_1p1x"], found["val_loss_min"], found["acc_es"]) == (200, 300, 1.05, 0.7)
    assert (found["es_iteration"], found["es_censored"], found["kept"], found["prunable"]) == (300, 1, 6, 8)


# -- the table of runs -----------------------------------------------------------------------------------------------------


def test_the_runs_of_the_study():
    study = resolve("frankle2019.sparsity", scale="smoke", replicates=3, settings=["levels=4", "reinits=2"])
    rows = list(study.rows())
    count = {arm: sum(row.arm == arm for row in rows) for arm in ARMS}
    assert count == {"ticket": 3 * 5, "reinit": 3 * 4 * 2, "random": 3 * 4}
    assert len({row.run.digest for row in rows}) == len(rows) == len(study_graph(study).runs)
    assert {row.run.seed for row in rows} == {replicate_seed(0, r) for r in range(3)}


def test_every_task_resolves_at_every_scale():
    for name in tasks:
        for scale in ("smoke", "small", "paper"):
            study = resolve("frankle2019.sparsity", scale=scale, task=name)
            assert study.task.name == name


# -- settings --------------------------------------------------------------------------------------------------------------


def config():
    return resolve("frankle2019.sparsity", scale="smoke")


@pytest.mark.parametrize(
    ("setting", "path", "value"),
    [
        ("levels=7", "levels", 7),
        ("steps=77it", "task.recipe.steps", "77it"),
        ("task.recipe.learning_rate=1e-3", "task.recipe.learning_rate", 1e-3),
        ("learning_rate=0.5", "task.recipe.learning_rate", 0.5),
        ("optimizer=sgd", "task.recipe.optimizer", "sgd"),
        ("label_noise=0.4", "task.data.label_noise", 0.4),
        ("widths=[10, 5]", None, None),
        ("test_every=null", "task.recipe.test_every", None),
        ("scope=global", "pruning.scope", "global"),
        ("pruning.criterion=movement", "pruning.criterion", "movement"),
        ("rates.hidden1=0.5", "pruning.rates", {"hidden1": 0.5}),
        ("task.rates.conv=0.5", "task.rates", {"dense": 0.2, "output": 0.1, "conv": 0.5}),
    ],
)
def test_settings_reach_any_field(setting, path, value):
    if path is None:
        changed = apply(config(), [f"task.model.options.{setting}"])
        assert changed.task.model.options["widths"] == [10, 5]
    else:
        assert fields_of(apply(config(), [setting]))[path] == value


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("levels", "KEY=VALUE"),
        ("=3", "KEY=VALUE"),
        ("levles=3", "did you mean 'levels'"),
        ("levels=0", "greater than or equal to 1"),
        ("levels=many", "levels"),
        ("name=x", "several fields"),
        ("label_noise=1.5", "label_noise"),
        ("rewind=soon", "500it"),
        ("task.rates.dense=1.5", "rates"),
    ],
)
def test_bad_settings_are_one_line(setting, words):
    with pytest.raises(TombolaError, match=words) as error:
        apply(config(), [setting])
    assert "\n" not in str(error.value)
