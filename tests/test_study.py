"""Claims are judged by the data: tables with a known answer get the known verdict."""

import numpy as np
import pandas as pd
import pytest

from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.engine.configuring import apply, fields_of, resolve
from tombola.engine.study import study_graph
from tombola.evaluation.early_stopping import es_iteration, iterations_to
from tombola.evaluation.paired import effect_over_levels, sooner
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import tasks
from tombola.studies.base import Result
from tombola.studies.catalogue import studies
from tombola.studies.frankle2019 import sparsity

LEVELS = 14
ARMS = ("ticket", "reinit", "random")


def invented(accuracy, speed=lambda arm, density: 1000.0, replicates=8, noise=0.002, seed=0):
    """A table in which `accuracy(arm, density)` is the truth, with noise by replicate."""
    random = np.random.default_rng(seed)
    rows = []
    for replicate in range(replicates):
        for arm in ARMS:
            for level in range(LEVELS):
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
                step = speed(arm, density)
                loss = {"es_iteration": step, "es_censored": 0, "val_loss_min": 0.1, "iters_to_1p5x": step, "iters_to_1p1x": step}
                rows.append({**row, **loss, "acc_es": found, "acc_final": found, "train_acc_final": 1.0})
    return pd.DataFrame(rows)


def verdicts(table):
    return {verdict.id: verdict.verdict for verdict in sparsity.claims(table)}


def papers(arm, density):
    """The world of the paper: tickets climb to 13.5 % and hold, controls fall, most at small density."""
    gain = 0.005 * (1 - abs(np.log(density / 0.135)) / np.log(1 / 0.135))
    loss = {"ticket": 0.0, "reinit": 0.02, "random": 0.05}[arm] * np.log(1 / density)
    return 0.9 + 2 * gain - loss


def papers_speed(arm, density):
    valley = 400 + 300 * abs(np.log(density / 0.21))
    return valley if arm == "ticket" else 1200 + 500 * np.log(1 / density)


def test_the_papers_world_replicates():
    found = verdicts(invented(papers, papers_speed))
    assert set(found) == set(studies["frankle2019.sparsity"].claim_ids)
    assert set(found.values()) == {"replicated"}, found


def test_the_opposite_world_does_not():
    flipped = {"ticket": "random", "reinit": "reinit", "random": "ticket"}
    found = verdicts(invented(lambda arm, d: papers(flipped[arm], d), lambda arm, d: papers_speed(flipped[arm], d)))
    assert found["LTH-C3"] == found["LTH-C7"] == found["LTH-C23"] == "not replicated"


def test_no_difference_is_undecided_at_most():
    # With eight replicates a null effect passes a 95 % interval in about 1 of 40 studies; two intervals must pass here.
    for seed in range(10):
        found = verdicts(invented(lambda arm, density: 0.9, seed=seed))
        assert found["LTH-C3"] != "replicated"


def test_a_draw_that_never_arrives_is_one_win_whatever_the_others_do():
    def row(arm, draw, steps):
        return {"arm": arm, "replicate": 0, "level": 1, "draw": draw, "iters": steps}

    draws = [row("reinit", draw, steps) for draw, steps in enumerate((300.0, 300.0, np.inf))]
    found = sooner(pd.DataFrame([row("ticket", 0, 900.0), *draws]), "iters", "ticket", "reinit", [1])
    assert found.loc[0, 1] == pytest.approx(-1 / 3)


def test_too_few_replicates_or_levels_are_undecided():
    assert verdicts(invented(papers, papers_speed, replicates=1))["LTH-C3"] == "undecided"
    table = invented(papers, papers_speed)
    dense_only = verdicts(table[table.level < 2])
    assert set(dense_only.values()) == {"undecided"}


def test_one_deciding_effect_that_fails_is_enough():
    good = Effect("a", "pp", 1.0, 0.5, 1.5, 8, 0.01)
    bad = Effect("b", "pp", -1.0, -1.5, -0.5, 8, 0.01)
    wide = Effect("c", "pp", 0.1, -1.0, 1.2, 8, 0.9)
    small = Effect("d", "pp", 0.1, 0.05, 0.2, 8, 0.01, least=0.3)
    aside = Effect("e", "pp", -1.0, -1.5, -0.5, 8, 0.01, decides=False)
    for effects, expected in (
        ((good, aside), "replicated"),
        ((good, bad), "not replicated"),
        ((good, wide), "undecided"),
        ((good, small), "not replicated"),
        ((aside,), "undecided"),
        ((Effect("few", "pp", 1.0, 0.5, 1.5, 4, 0.1),), "undecided"),
    ):
        assert Verdict("X", "s", "p", effects).verdict == expected


def test_draws_are_averaged_within_their_replicate():
    table = pd.concat([invented(papers, papers_speed, noise=0)] * 3, ignore_index=True)
    (c3,) = [verdict for verdict in sparsity.claims(table) if verdict.id == "LTH-C3"]
    assert c3.effects[0].n == 8


def test_an_effect_shows_its_levels_adjusted():
    table = invented(papers, papers_speed)
    values = pd.DataFrame({1: [1.0] * 8, 2: [1.0, -1.0] * 4})
    found = effect_over_levels("x", "pp", values, table)
    assert found.mean == 0.5
    assert [(round(density, 2), mean) for density, mean, _ in found.per_level] == [(0.8, 1.0), (0.64, 0.0)]
    assert found.per_level[0][2] == pytest.approx(2 * 2 / 2**8)


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
    cell = next(cell for cell in study.cells if cell.arm == "reinit" and cell.replicate == 1)
    dense = next(cell for cell in study.cells if cell.arm == "ticket" and cell.level == 0 and cell.replicate == 1)
    summary = {"es_test_acc": 0.7, "train_acc": 0.9, "kept": 6, "prunable": 8}
    results = {dense.run: Result(metrics([3, 1]), summary, None), cell.run: Result(metrics([4, 1.6, 1.5, 1.05]), summary, None)}
    found = study.measure(cell, results)
    assert (found["iters_to_1p5x"], found["iters_to_1p1x"], found["val_loss_min"], found["acc_es"]) == (200, 300, 1.05, 0.7)
    assert (found["es_iteration"], found["es_censored"], found["kept"], found["prunable"]) == (300, 1, 6, 8)


# -- the table of runs -----------------------------------------------------------------------------------------------------


def test_the_runs_of_the_study():
    study = resolve("frankle2019.sparsity", scale="smoke", replicates=3, settings=["levels=4", "reinits=2"])
    count = {arm: sum(cell.arm == arm for cell in study.cells) for arm in ARMS}
    assert count == {"ticket": 3 * 5, "reinit": 3 * 4 * 2, "random": 3 * 4}
    assert len({cell.run.digest for cell in study.cells}) == len(study.cells) == len(study_graph(study).runs)
    assert {cell.run.seed for cell in study.cells} == {replicate_seed(0, r) for r in range(3)}


def test_every_task_resolves_at_every_scale():
    for name in tasks:
        for scale in ("smoke", "small", "paper"):
            study = resolve("frankle2019.sparsity", scale=scale, task=name)
            assert study.config.task.name == name


# -- settings --------------------------------------------------------------------------------------------------------------


def config():
    return resolve("frankle2019.sparsity", scale="smoke").config


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
