"""Transplants of masks: variance split, overlap against chance, masks of given degrees; what the studies train; claims on known tables."""

from functools import cache
from itertools import permutations, product

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

from tombola.core.errors import TombolaError
from tombola.engine.configuring import resolve
from tombola.engine.starts import materialise
from tombola.engine.study import run_study
from tombola.evaluation import similarity
from tombola.evaluation.statistics import jackknife
from tombola.evaluation.variance import split
from tombola.procedures.imp import imp_chain, imp_runs
from tombola.pruning.controls import same_degrees
from tombola.store.store import Store
from tombola.studies.testbeds import near_chance
from tombola.studies.transplant.common import initialised

# -- arithmetic ----------------------------------------------------------------------------------------------------------


def test_mean_squares_by_hand():
    # cells 1 3 / 5 11, repeats at +-1: noise 2; less 1 each, rows (4 - 16)^2 / 4, columns (6 - 14)^2 / 4, fit (12 - 8)^2 / 4
    cells = np.array([[1.0, 3], [5, 11]])
    assert split(np.stack([cells - 1, cells + 1], axis=2)) == pytest.approx((35, 15, 3, 2))


def test_mean_squares_have_their_expectations():
    random = np.random.default_rng(0)

    def one():
        rows, columns, other = 3 * random.normal(size=(4, 1, 1)), 2 * random.normal(size=(1, 4, 1)), random.normal(size=(4, 4, 1))
        return split(rows + columns + other + 5 * np.eye(4)[..., None] + 0.5 * random.normal(size=(4, 4, 2)))

    assert np.mean([one() for _ in range(3000)], axis=0) == pytest.approx([2 * 9 + 1, 2 * 4 + 1, 25 + 1, 0.25], rel=0.06)


@pytest.mark.parametrize("values", [np.ones((1, 1, 2)), np.ones((3, 3, 1)), np.full((2, 2, 2), np.nan)])
def test_tables_too_small_have_no_mean_squares(values):
    assert np.isnan(split(values)).all()


def test_jackknife_of_a_mean_is_its_units_and_takes_bias_away():
    values = [3.0, 5.0, 10.0]
    assert jackknife(lambda some: np.mean([values[i] for i in some]), range(3)) == pytest.approx(values)
    variance = jackknife(lambda some: np.var([values[i] for i in some]), range(3))  # biased by (n - 1) / n
    assert np.mean(variance) == pytest.approx(np.var(values, ddof=1))


MASKS = [np.array([1, 1, 1, 0, 0, 0, 0], bool), np.array([0, 1, 1, 1, 1, 0, 0], bool)]


def test_overlap_against_scipy():
    a, b = {"x": MASKS[0], "y": MASKS[0]}, {"x": MASKS[1], "y": MASKS[0]}
    laws = hypergeom(7, 3, 4), hypergeom(7, 3, 3)
    mean, deviation = similarity.expected_overlap(a, b)
    assert mean == pytest.approx(sum(law.mean() for law in laws))
    assert deviation == pytest.approx(np.sqrt(sum(law.var() for law in laws)))
    assert similarity.overlap(a, b) == pytest.approx((2 + 3 - mean) / (3 + 3 - mean))
    assert similarity.overlap(a, a) == pytest.approx(1)
    assert similarity.overlap(a, b, expected=5.0) == 0
    assert np.isnan(similarity.overlap({"x": np.ones(3, bool)}, {"x": np.ones(3, bool)}))


def test_masks_of_the_same_degrees_are_drawn_evenly():
    leaf = np.array([[1, 1, 0], [0, 1, 1]], bool)  # rows of 2, columns of 1 2 1: two such masks
    wanted = [
        m
        for m in product([0, 1], repeat=6)
        if (np.reshape(m, (2, 3)).sum(1) == 2).all() and (np.reshape(m, (2, 3)).sum(0) == [1, 2, 1]).all()
    ]
    found = [tuple(same_degrees({"a": leaf}, seed, "s")["a"].astype(int).ravel()) for seed in range(200)]
    assert set(found) == set(wanted)
    assert 70 < found.count(wanted[0]) < 130


@pytest.mark.parametrize("shape", [(30, 8), (8, 30), (3, 3, 4, 6), (5, 1)])
def test_masks_of_the_same_degrees_have_them(shape):
    leaf = np.random.default_rng(1).random(shape) < 0.3
    found = same_degrees({"a": leaf, "b": leaf}, 0, "s")
    for axis in (tuple(range(len(shape) - 1)), -1):
        assert (found["a"].sum(axis) == leaf.sum(axis)).all()
    assert shape[-1] == 1 or (found["a"] != leaf).any()
    assert shape[-1] == 1 or (found["a"] != found["b"]).any()  # streams of their own
    assert (same_degrees({"a": leaf}, 0, "s")["a"] == found["a"]).all()


def test_chance_depends_on_the_data():
    tasks = {name: resolve("transplant.table", task=name).task for name in ("digits-mlp", "diabetes-mlp")}
    assert [near_chance(18.9, tasks["digits-mlp"]), near_chance(19.1, tasks["digits-mlp"]), near_chance(0.0, tasks["diabetes-mlp"])] == [
        True,
        False,
        False,
    ]


# -- what is trained -----------------------------------------------------------------------------------------------------


def small(name, *settings, scale="smoke", task="digits-mlp", **fields):
    return resolve(f"transplant.{name}", scale=scale, task=task, settings=settings, **fields)


def test_a_chain_from_a_dense_run_is_that_of_its_task():
    study = small("table")
    dense = imp_runs(study.task, 5, 0)[0]
    assert imp_chain(dense, 2, study.pruning) == imp_runs(study.task, 5, 2, study.pruning)


def test_initialisations_share_their_split_and_nothing_else():
    study = small("table")
    places = list(product(range(3), ("0", "again")))
    runs = [initialised(study, *place) for place in places]
    assert len({run.seed for run in runs}) == 1
    starts = [materialise(run, Store(), None)[1] for run in runs]
    for ((one, _), run, a), ((other, _), its, b) in permutations(zip(places, runs, starts, strict=True), 2):
        assert (a["hidden1/kernel"] == b["hidden1/kernel"]).all() == (one == other)
        assert run.noise != its.noise


def test_every_mask_is_put_on_every_initialisation():
    study = small("table", "levels=3", "compared=[1, 3]", "orders=3")
    rows = [row for row in study.rows() if row.level == 3]
    cells = {(row.draw // 3, row.replicate, row.draw % 3): row for row in rows if row.arm in ("own", "transplant")}
    assert cells.keys() == set(product(range(3), repeat=3))
    for (mask, init, _), row in cells.items():
        assert (row.arm == "own") == (mask == init)
        assert row.run.mask.of == (study.chain(mask)[3].its_mask(),)
        assert row.run.kept.of == (initialised(study, init).at("0it"),)
    assert len({row.run.noise["data_order"] for row in rows if row.arm in ("own", "transplant", "degrees", "random")}) == 27 + 18


def test_levels_beyond_the_last_do_not_count():
    assert {row.level for row in small("table", "levels=5", "compared=[5, 6]").rows()} == {0, 5}
    with pytest.raises(TombolaError, match="only 2 levels"):
        list(small("table", "compared=[6]").rows())


# -- carried out ---------------------------------------------------------------------------------------------------------

TINY = ("steps=20it", "evaluate_every=20it", "task.model.options.widths=[12, 8]")


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    return cache(lambda name, *settings: run_study(small(name, *TINY[bool("steps" in "".join(settings)) :], *settings), store, quiet=True))


@pytest.mark.slow
def test_the_table_as_it_is_carried_out(carried):
    found = carried("table")
    table, study = found.table, found.study
    cells = table[table.arm.isin(["own", "transplant"]) & (table.level == 2)]
    assert len(cells) == 18
    assert set(zip(cells["mask"], cells.replicate, strict=True)) == set(product(range(3), repeat=2))
    assert ((cells["mask"] == cells.replicate) == (cells.arm == "own")).all()
    assert table[table.arm.isin(["own", "degrees", "random", "transplant"]) & (table.level == 2)].kept.nunique() == 1
    pairs = table[table.arm == "other_init"].set_index(["replicate", "mask"])
    assert pairs.overlap[0, 1] == pairs.overlap[1, 0] < table[table.arm == "same_init"].overlap.min()
    assert set(found.details["parts"].row) == {"mask", "initialisation", "that they belong together", "SGD noise"}

    def noise(but=None):
        some = cells[(cells["mask"] != but) & (cells.replicate != but)]
        return (100 * some.acc_final).groupby([some["mask"], some.replicate]).var().mean()

    pseudo = found.details["parts"].query("row == 'SGD noise'").set_index("replicate").value
    assert [*pseudo] == pytest.approx([3 * noise() - 2 * noise(init) for init in range(3)])
    assert {verdict.verdict for verdict in found.verdicts} == {"not judged"}
    assert len(found.details["cells"]) == 18
    assert {panel.metric for figure in found.figures if not figure.detail for panel in figure.panels} <= {*table.columns}
    assert set(table.arm) == set(study.arms)


# -- claims --------------------------------------------------------------------------------------------------------------


def table_of(rows=0.0, columns=0.0, fit=0.0, own=0.0, overlap=0.0, rho=0.9, random=0.05, degrees=0.0, same=0.3, n=8, seed=0):
    draws, found = np.random.default_rng(seed), []
    of_mask, of_init, of_pair = draws.normal(size=n), draws.normal(size=n), draws.normal(size=(n, n))
    for level, density in ((0, 1.0), (1, 0.09), (2, 0.04)):
        at = {"variant": "", "level": level, "density": density, "es_censored": 0}
        for i, j, order in product(range(n), range(n), range(2)):
            value = 0.85 + rows * of_mask[i] + columns * of_init[j] + fit * of_pair[i, j] + own * (i == j) + 0.002 * draws.normal()
            if level or (i == j and not order):
                found.append(
                    {**at, "arm": "own" if i == j else "transplant", "replicate": j, "mask": i, "draw": 2 * i + order, "acc_final": value}
                )
            if level and i == (j + 1) % n:
                for arm, less in (("random", random), ("degrees", degrees)):
                    value = 0.85 + columns * of_init[j] - less + 0.002 * draws.normal()
                    found.append({**at, "arm": arm, "replicate": j, "mask": i, "draw": 2 * i + order, "acc_final": value})
            if level and not order and i != j:
                like = {"overlap": overlap + 0.01 * draws.normal(), "inputs_rho": rho + 0.01 * draws.normal(), "overlap_degrees": 0.0}
                found.append({**at, "arm": "other_init", "replicate": i, "mask": j, "draw": j, **like})
        if level:
            found += [
                {**at, "arm": "same_init", "replicate": i, "mask": i, "overlap": same + 0.01 * draws.normal(), "overlap_degrees": 0.1}
                for i in range(n)
            ]
    return pd.DataFrame(found)


def judged(claim, task="digits-mlp", **world):
    return {verdict.id: verdict for verdict in small("table", task=task).judge(table_of(**world))}[claim]


@pytest.mark.slow
def test_c1_fit_matters_most():
    assert judged("TRANS-C1", own=0.1).verdict == "replicated"
    assert judged("TRANS-C1", own=0.1, rows=0.02, columns=0.02, fit=0.01).verdict == "replicated"
    assert judged("TRANS-C1", own=0.02, rows=0.1, n=20).parts[:2] == ("contradicted", "holds")
    assert judged("TRANS-C1", own=0.02, columns=0.1, n=20).parts[:2] == ("holds", "contradicted")
    assert judged("TRANS-C1", fit=0.03).verdict != "replicated"  # it does not come from belonging together
    assert judged("TRANS-C1").verdict != "replicated"  # of all that is 0 none is more
    assert judged("TRANS-C1", own=0.1, n=5).verdict == "not judged"
    assert judged("TRANS-C1", own=0.1).effects[0].mean == pytest.approx(100, rel=0.05)


def test_c2_what_transfers():
    assert judged("TRANS-C2").verdict == "replicated"
    for world in ({"overlap": 0.1}, {"rho": 0.5}, {"random": 0.0}, {"degrees": 0.05}):
        found = judged("TRANS-C2", **world)
        assert found.parts.count("holds") == 3
        assert found.verdict != "replicated"


def test_c3_one_initialisation_one_mask():
    assert judged("TRANS-C3").verdict == "replicated"
    assert judged("TRANS-C3", same=0.0).verdict == "not replicated"
    assert judged("TRANS-C3", task="conv2-cifar10").verdict == "not judged"


# -- signs and magnitudes of two networks; units matched -----------------------------------------------------------------


def test_factors_are_of_either_network():
    study = small("factors", "levels=2", "rewind=3it")
    rows = {(row.arm, row.replicate): row.run for row in study.rows() if row.level}
    w = [initialised(study, index).at("3it") for index in range(2)]
    for index in range(2):
        own, other = w[index], w[1 - index]
        expected = {"both": (own, own), "signs": (own, other), "magnitudes": (other, own), "neither": (other, other)}
        for arm, of in expected.items():
            assert (rows[arm, index].kept.name, rows[arm, index].kept.of) == ("signs_of", of)
            assert rows[arm, index].mask.of == (study.chain(index)[2].its_mask(),)
            assert rows[arm, index].begin == "3it"


def test_masks_are_matched_with_the_network_that_they_go_to():
    study = small("matched", "shares=[0, 0.05]", 'sizes=[{}, {"widths": [20, 10]}]')
    rows = [row for row in study.rows() if row.variant == "1/1"]
    assert study.variants["1/1"] == "20-10, k = 5it"
    assert study.variants["0/0"] == "k = 0it"
    assert len({row.run.digest for row in rows if row.level}) == 8
    for row in rows:
        task = row.run.task
        assert task.model.options["widths"] == [20, 10]
        own, other = (initialised(study, index, task=task).at("end") for index in (row.replicate, 1 - row.replicate))
        if row.level and row.arm in ("weights", "activations"):
            assert row.run.mask.of == (study.chain(1 - row.replicate, task=task, rewind="5it")[1].its_mask(), other, own)
            assert row.run.mask.options == {"by": row.arm}
            assert row.run.begin == "5it"
        elif not row.level:
            assert row.measurement.of == (own, other)
            assert row.measurement.options["matched"] == (False if row.arm == "naive" else row.arm)


@pytest.mark.slow
def test_matched_as_it_is_carried_out(carried):
    table = carried("matched", "shares=[0, 0.5]", "steps=150it").table
    sparse = table[table.level == 1].set_index(["variant", "arm", "replicate"])
    assert (sparse.overlap.xs("own", level="arm") == 1).all()
    assert (sparse.overlap.xs("naive", level="arm") < 0.9).all()
    assert sparse.barrier.isna().all()
    dense = table[table.level == 0].set_index(["variant", "arm", "replicate"])
    assert dense.barrier.notna().all()
    assert (dense.barrier.xs("naive", level="arm") != dense.barrier.xs("activations", level="arm")).any()
    assert (sparse.acc_final.xs("activations", level="arm") != sparse.acc_final.xs("naive", level="arm")).any()


def by_arm(name, arms, variants=("",), n=8, seed=0, settings=(), task="digits-mlp"):
    """Verdicts on a table whose accuracies are 0.9 less what `arms` (arm -> number, or function of the variant) says."""
    draws, rows = np.random.default_rng(seed), []
    for variant, (arm, less), replicate, (level, density) in product(variants, arms.items(), range(n), enumerate((1.0, 0.09, 0.05))):
        lost = less(variant) if callable(less) else less
        value = 0.9 - lost * (level > 0) + 0.001 * draws.normal()
        at = {"variant": variant, "arm": arm, "replicate": replicate, "level": level, "density": density, "es_censored": 0, "draw": 0}
        rows.append({**at, "acc_final": value, "collapsed": 0})
    return {one.id: one for one in small(name, *settings, task=task).judge(pd.DataFrame(rows))}


def test_c5_signs_belong_to_masks():
    good = {"both": 0, "signs": 0.003, "magnitudes": 0.05, "neither": 0.05}
    assert by_arm("factors", good)["TRANS-C5"].verdict == "replicated"
    assert by_arm("factors", {**good, "signs": 0.05})["TRANS-C5"].verdict == "not replicated"
    assert by_arm("factors", {**good, "magnitudes": 0.003})["TRANS-C5"].verdict == "not replicated"
    assert by_arm("factors", {**good, "neither": 0})["TRANS-C5"].verdict == "replicated"  # shown alone


def test_c4_matching_helps_late_and_wide():
    def verdict(early=0.05, late=0.02, wide=0.0, sizes='sizes=[{}, {"widths": [20, 10]}]'):
        lost = {"0/0": early, "0/1": late, "1/0": early, "1/1": wide}
        arms = {"own": 0.0, "naive": 0.05, "weights": 0.05, "activations": lambda variant: lost[variant]}
        return by_arm("matched", arms, tuple(lost), settings=("shares=[0, 0.5]", sizes))["TRANS-C4"]

    assert verdict().verdict == "replicated"
    assert verdict(early=0.0).parts[:3] == ("holds", "contradicted", "holds")
    assert verdict(late=0.06, wide=0.05).parts[:3] == ("contradicted", "holds", "holds")
    assert verdict(wide=0.03).parts[:3] == ("holds", "holds", "contradicted")
    assert verdict(sizes="sizes=[{}]").parts[2] == "not judged"
