"""The studies of word vectors: what is trained, what is read off it, claims on tables with a known answer."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from toys import toy_text

import tombola as tb
from tombola.core.errors import TombolaError
from tombola.data.dataset import load
from tombola.engine.configuring import resolve
from tombola.engine.measuring import rehearse_measurements
from tombola.engine.reading import load_tree
from tombola.engine.study import run_study, study_graph
from tombola.procedures.words import INPUT
from tombola.store.store import Store
from tombola.studies.words.common import read

NAMES = ["tickets", "posthoc", "frequency", "dimensions", "seeds", "cost"]
TINY = (
    "steps=40it",
    "learning_rate=0.02",
    "evaluate_every=40it",
    "task.recipe.batch=2",
    "schedule=constant",
    "schedule_options={}",
    "task.model.options.dimension=16",
)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return toy_text(tmp_path_factory.mktemp("text"), 6000)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """Pairs that people would find alike if they are of one topic."""
    folder = tmp_path_factory.mktemp("data") / "wordsim"
    folder.mkdir()
    random, lines = np.random.default_rng(0), []
    for _ in range(60):
        first, second = random.integers(6, size=2)
        lines.append(f"topic{first}{random.choice(list('abcde'))} topic{second}{random.choice(list('abcde'))} {9 * (first == second) + 1}")
    (folder / "EN-MEN-TR-3k.txt").write_text("\n".join([*lines, "unknown word 3"]))
    return folder.parent


def tiny(name, text, *settings, **fields):
    return resolve(f"words.{name}", scale="smoke", settings=[f"text={text}", *TINY, *settings], **fields)


@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_every_study_resolves_and_shares_the_dense_runs(scale):
    for name in NAMES:
        study = resolve(f"words.{name}", scale=scale)
        assert study.task.data.name == ("wikipedia-4m" if scale == "smoke" else "wikipedia")
        rows = list(study.rows())
        assert len({(row.variant, row.arm, row.replicate, row.level) for row in rows}) == len(rows)
        dense = {run for run in study_graph(study).runs.values() if run.mask is None and run.task == study.task}
        assert dense == {study.dense(replicate) for replicate in range(study.replicates)}
        assert all(row.measurement is not None for row in rows) or name == "seeds"


def test_a_text_of_ones_own_takes_the_place_of_the_tasks(text):
    study = tiny("posthoc", text)
    assert study.task.data == tb.from_text(text)
    assert resolve("words.posthoc", scale="smoke", data=tb.from_text(text)).task.data == tb.from_text(text)
    with pytest.raises(TombolaError, match="cannot read the text"):
        tiny("posthoc", "nowhere.txt")
    with pytest.raises(TombolaError, match="unknown field 'levels'"):
        tiny("posthoc", text, "levels=3")  # it has none
    for name, field in (("posthoc", "retrained"), ("frequency", "again")):
        with pytest.raises(TombolaError, match=rf"{field} has 0\.3, which is none of densities"):
            list(tiny(name, text, f"{field}=[0.3]").rows())


@cache
def _found(name, text, data_dir, store, *settings):
    return run_study(tiny(name, text, *settings), Store(store), data_dir, quiet=True)


@pytest.fixture(scope="module")
def found(text, data_dir, tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    return lambda name, *settings: (_found(name, text, data_dir, store, *settings), store)


@pytest.mark.slow
def test_what_is_read_after_training_is_that_of_the_vectors(found, data_dir, text):
    findings, store = found("posthoc", "components=[1, 4, 16]")
    table, study = findings.table, findings.study
    whole = table[(table.arm == "pruned") & (table.level == 0) & (table.replicate == 1)].iloc[0]
    dense = load_tree(study.dense(1), "end", Store(store), data_dir)
    words, places = load(study.task.data).words, []
    for line in (data_dir / "wordsim" / "EN-MEN-TR-3k.txt").read_text().splitlines()[:-1]:
        a, b, score = line.split()
        places.append((words.index(a), words.index(b), float(score)))
    first, second, scores = (np.array(one) for one in zip(*places, strict=True))
    u = dense[INPUT]
    cosines = (u[first] * u[second]).sum(1) / np.linalg.norm(u[first], axis=1) / np.linalg.norm(u[second], axis=1)
    assert whole.men == pytest.approx(stats.spearmanr(cosines, scores).statistic, abs=1e-4)
    assert whole.loss == pytest.approx(findings.curves[findings.curves.replicate == 1].test_loss.iloc[1], abs=1e-5)
    assert whole.density == 1
    assert whole.overlap == 1
    assert whole.men_share == pytest.approx(60 / 61)
    assert np.isnan(whole.simlex)
    of = table[table.replicate == 0]
    pruned = of[of.arm == "pruned"].set_index("level")
    np.testing.assert_allclose(pruned.density, [1, 0.5, 0.1], atol=0.001)
    assert (np.diff(pruned.overlap) < 0).all()
    at_end = of[of.variant == "components"].pivot(index="arm", columns="level", values=["men", "overlap", "density"])
    np.testing.assert_allclose(at_end["density"], np.tile([1 / 16, 0.25, 1], (4, 1)))
    for column in ("men", "overlap"):  # with all components, axes do not matter
        np.testing.assert_allclose(at_end[column][3], at_end[column][3].iloc[0], atol=1e-6)
        assert np.ptp(at_end[column][1]) > 0
    again = of[of.arm == "retrained"].iloc[0]
    assert again.density == pytest.approx(0.1, abs=0.001)
    assert again.level == 2
    assert again.overlap < 1  # with the dense network's neighbours, not its own


def test_frequency_shares_runs_and_words_keep_as_many_weights_each(found):
    findings, _ = found("frequency")
    table = findings.table
    by_word = table[(table.arm == "word") & (table.level > 0)]
    assert (by_word.products >= 16 * by_word.density**2).all()  # equal were all dimensions kept alike
    assert (by_word.products <= 16 * by_word.density).all()
    assert by_word.frequency_rho.isna().all()  # all words have as many
    assert table[(table.arm == "global") & (table.level > 0)].frequency_rho.notna().all()


def test_dimensions_looks_at_the_same_vectors_on_three_kinds_of_axes(found):
    findings, _ = found("dimensions", "levels=1", "compared=[0, 1]", "replicates=1")
    table = findings.table.set_index(["arm", "level"])
    np.testing.assert_allclose(table.density, [1, 1, 1, 0.7, 0.7, 0.7], atol=0.01)  # of the input table
    assert table[["kurtosis", "dist_ratio", "kurtosis_normalised", "dist_ratio_normalised"]].notna().all(axis=None)
    for level in (0, 1):
        assert table.loc[("ica", level), "kurtosis"] > table.loc[("rotated", level), "kurtosis"]
    words = findings.details["axes"]
    assert len(words) == 6 * 16
    np.testing.assert_allclose(words.groupby("level").density.unique().explode().astype(float), [1, 0.7], atol=0.01)  # as in the table
    # Turned back or not, vectors less their mean are as alike: all axes are those of the same vectors.
    np.testing.assert_allclose(table.loc["own", "men"], table.loc["rotated", "men"], atol=1e-4)
    assert {len(set(line.split(", "))) for line in words.words} == {5}
    assert set(words.words.str.split(", ").explode()) <= set(load(findings.study.task.data).words)


def test_what_is_asked_of_words_is_checked_before_anything_is_computed(text):
    study = tiny("posthoc", text, "ica_rounds=7", "replicates=1")
    asked = {row.arm: row.measurement.options for row in study.rows() if row.variant}
    assert {arm: options.get("rounds") for arm, options in asked.items()} == {"own": None, "rotated": None, "pca": None, "ica": 7}
    assert "rounds" not in next(row for row in resolve("words.posthoc").rows() if row.arm == "ica").measurement.options
    dense = study.dense(0)
    ask = lambda **options: rehearse_measurements([read(dense, **options)], None)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tombola.procedures.words.turned", lambda *given: pytest.fail("axes were turned to see whether they can be"))
        ask(basis="ica")
    for options, said in (
        ({"basis": "pca2"}, "unknown basis 'pca2'"),
        ({"rounds": 0}, "rounds"),
        ({"densities": [0.5, 2]}, "densities has 2"),
        ({"bits": 1}, "bits = 1, but a sign takes one"),
    ):
        with pytest.raises(TombolaError, match=said):
            ask(**options)
    with pytest.raises(TombolaError, match="words have no axes in 400 dimensions"):
        rehearse_measurements([read(tiny("posthoc", text, "task.model.options.dimension=400").dense(0), basis="pca")], None)


@pytest.mark.slow
def test_seeds_compares_masks(found):
    findings, _ = found("seeds", "levels=1", "replicates=3")
    assert len(findings.table) == 3
    np.testing.assert_array_less(abs(findings.table[["overlap", "overlap_words"]]), 1)


def synthetic(name, values, replicates=8, levels=(0, 5, 7, 9), densities=(1, 0.168, 0.082, 0.04), variant="", **study):
    """A table in which each arm's column is as said, a function of the level, with a little noise."""
    study, random, rows = resolve(f"words.{name}", replicates=replicates, **study), np.random.default_rng(0), []
    for arm, columns in values.items():
        for replicate in range(replicates):
            for level, density in zip(levels, densities, strict=True):
                told = {column: of(density) + 1e-4 * random.standard_normal() for column, of in columns.items()}
                rows.append({"variant": variant, "arm": arm, "replicate": replicate, "level": level, "density": density, **told})
    return study, pd.DataFrame(rows)


def verdicts(study, table):
    return {one.id: one for one in study.judge(table)}


def test_claims_on_tickets():
    base = {"ticket": 2.5, "late": 2.49, "reinit": 2.52, "shuffled": 2.6, "one_shot": 2.51, "dimensions": 2.55, "dimensions_reinit": 2.551}
    loss = {arm: {"loss": lambda d, v=v: v, "men": lambda d, v=v: 3 - v} for arm, v in {**base, "small": 2.553}.items()}
    found = verdicts(*synthetic("tickets", loss))
    assert found["W2V-C1"].verdict == "replicated"
    assert found["W2V-C6"].verdict == "replicated"
    found = verdicts(*synthetic("tickets", {**loss, "reinit": loss["ticket"], "dimensions": loss["ticket"]}))
    assert found["W2V-C1"].parts[:2] == ("contradicted", "holds")
    assert found["W2V-C6"].verdict == "not replicated"
    assert verdicts(*synthetic("tickets", loss, replicates=3))["W2V-C1"].verdict == "not judged"


def test_claims_on_pruning_after_training():
    levels = {"levels": (0, 2, 5), "densities": (1, 0.5, 0.1)}
    arms = {"pruned": {"men": lambda d: 0.4 - 0.01 * (d < 1) - 0.2 * (d < 0.3)}, "retrained": {"men": lambda d: 0.35}}
    assert verdicts(*synthetic("posthoc", arms, **levels))["W2V-C2"].verdict == "replicated"
    arms["retrained"]["men"] = lambda d: 0.25
    assert verdicts(*synthetic("posthoc", arms, **levels))["W2V-C2"].parts[:2] == ("holds", "contradicted")
    arms["pruned"]["men"] = lambda d: 0.4 - 0.015 * (d < 1)  # nothing was lost that could come back
    assert verdicts(*synthetic("posthoc", arms, **levels))["W2V-C2"].parts[:2] == ("holds", "not judged")
    levels = {"levels": (2, 4, 6, 7), "densities": (2 / 64, 5 / 64, 21 / 64, 0.5), "variant": "components"}
    axes = {
        arm: {"men": lambda d, extra=extra: 0.2 + d + extra * (d < 0.2)}
        for arm, extra in (("ica", 0.1), ("own", 0), ("rotated", 0), ("pca", -0.1))
    }
    assert verdicts(*synthetic("posthoc", axes, **levels))["W2V-C4"].verdict == "replicated"
    axes["pca"] = axes["ica"]
    assert verdicts(*synthetic("posthoc", axes, **levels))["W2V-C4"].verdict == "not replicated"


def fall(rare, men, rho=0.0):
    return {"rare": lambda d: 0.3 - rare * (d < 1), "men": lambda d: 0.4 - men * (d < 1), "frequency_rho": lambda d: rho}


def axes_of(kurtosis, ratio):
    columns = {"kurtosis": kurtosis, "dist_ratio": ratio, "kurtosis_normalised": kurtosis, "dist_ratio_normalised": ratio}
    return {name: lambda d, value=value: value for name, value in columns.items()}


def test_claims_on_frequency_dimensions_seeds_and_cost():
    levels = {"levels": (0, 4), "densities": (1, 0.1)}
    arms = {"global": fall(0.1, 0.02, 0.7), "word": fall(0.02, 0.1)}
    assert verdicts(*synthetic("frequency", arms, **levels))["W2V-C3"].verdict == "replicated"
    arms["word"] = fall(0.1, 0.02)
    assert verdicts(*synthetic("frequency", arms, **levels))["W2V-C3"].parts[:3] == ("holds", "holds", "contradicted")
    arms = {"own": axes_of(5, 1.3), "rotated": axes_of(0.5, 1.1), "ica": axes_of(20, 1.6)}
    assert verdicts(*synthetic("dimensions", arms))["W2V-C5"].verdict == "replicated"
    arms["rotated"] = axes_of(6, 1.1)
    assert verdicts(*synthetic("dimensions", arms))["W2V-C5"].parts[:2] == ("contradicted", "holds")
    alike = {"pairs": {"rows_rho": lambda d: 0.8, "overlap": lambda d: 0.1, "overlap_words": lambda d: 0.01}}
    assert verdicts(*synthetic("seeds", alike))["W2V-C7"].verdict == "replicated"
    alike["pairs"]["overlap_words"] = lambda d: 0.2
    assert verdicts(*synthetic("seeds", alike))["W2V-C7"].verdict == "not replicated"
    levels = {"levels": (0, 2), "densities": (1, 0.25)}
    men = {arm: {"men": lambda d, v=v: v} for arm, v in (("dense", 0.4), ("bits", 0.395), ("sparse", 0.35), ("both", 0.34), ("small", 0.3))}
    assert verdicts(*synthetic("cost", men, **levels))["W2V-C8"].verdict == "replicated"
    men["small"] = men["sparse"]
    assert verdicts(*synthetic("cost", men, **levels))["W2V-C8"].verdict == "not replicated"


def test_nothing_is_judged_of_what_is_no_skip_gram():
    for name in NAMES:
        study = resolve(f"words.{name}", scale="smoke", task="digits-mlp")
        assert {one.lacks for one in study.judge(pd.DataFrame())} == {"the claim is about skip_gram; the task learns classification"}


def test_a_measurement_of_words_is_of_words(tmp_path):
    study = resolve("words.frequency", scale="smoke", task="digits-mlp", replicates=1, settings=["steps=2it"])
    with pytest.raises(TombolaError) as raised:
        run_study(study, Store(tmp_path), quiet=True)
    assert "\n" not in str(raised.value)
