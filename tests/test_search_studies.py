"""The studies of searched masks: what is asked for, one small run of all, claims on tables with a known answer."""

import numpy as np
import pandas as pd
import pytest

import tombola as tb
from tombola.core import masks
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.engine.configuring import resolve
from tombola.engine.study import run_study
from tombola.models.build import build
from tombola.procedures.actions import Context, mask_actions
from tombola.store.store import Store
from tombola.studies.base import COLUMNS
from tombola.studies.search.overlap import phi

pytest.importorskip("evosax")
TASK = tb.task("digits-20-mlp")
TINY = ("budget=12000", "batch=50", "task.recipe.steps=20it")


def small(name, *settings, **fields):
    return resolve(f"search.{name}", scale="smoke", settings=settings, **fields)


@pytest.fixture(scope="module")
def store():
    return Store()


@pytest.fixture(scope="module")
def found(store):
    more = {
        "masks": ('searchers=["dense", "heuristic", "genetic", "seeded", "sparser", "pbil", "bernoulli"]', "price=1.0"),
        "overlap": (), "width": (), "evolved": (), "on_the_fly": ("evaluate_every=1it",),
    }  # fmt: skip
    return {
        name: run_study(small(name, *(TINY if name != "on_the_fly" else TINY[2:]), *settings), store, quiet=True)
        for name, settings in more.items()
    }


@pytest.mark.slow
def test_all_arms_of_a_study_have_the_same_budget(found):
    table = found["masks"].table.set_index("arm")
    spent = table.passes.groupby("arm").mean()
    assert spent["dense"] == spent["heuristic"] == 3 * 60 * 20
    generation = {"genetic": 150 * 50, "seeded": 150 * 50, "sparser": 150 * 50, "pbil": 100 * 50}
    for arm, passes in generation.items():
        assert 12000 <= spent[arm] < 12000 + passes + (3600 if arm == "seeded" else 0), arm
    assert 12000 - 3 * 64 < spent["bernoulli"] <= 12000
    way = found["masks"].details["way"]
    assert set(way.arm) == {"genetic", "seeded", "sparser", "pbil", "bernoulli"}
    assert (way.groupby(["arm", "replicate"]).size() == 2).all()
    last = way.sort_values("x").groupby(["arm", "replicate"]).tail(1).set_index(["arm", "replicate"]).sort_index()
    own = table.loc[last.index.get_level_values(0).unique()].set_index("replicate", append=True).sort_index()
    assert np.array_equal(last.value, own.acc)


def test_a_seed_is_begun_from_and_a_price_lowers_the_density(found):
    table = found["masks"].table.pivot_table(index="replicate", columns="arm", values=["density", "acc"])
    assert (abs(table.density["heuristic"] - 0.5) < 0.01).all()
    assert (table.density["sparser"] < table.density["genetic"]).all()
    assert (table.acc["seeded"] > table.acc["genetic"]).all()


def test_a_seed_costs_what_its_dense_run_costs():
    (row,) = (row for row in small("masks", *TINY, 'searchers=["seeded"]', replicates=1).rows())
    assert row.measurement.options["budget"] == 12000 - 3600
    assert [parent.what for parent in row.measurement.of] == ["0it", "mask"]
    with pytest.raises(TombolaError, match="write them in iterations, so that its passes are counted"):
        list(small("masks", 'searchers=["seeded"]', "task.recipe.steps=2ep").rows())
    with pytest.raises(TombolaError, match="the dense run that the heuristic mask is made from costs 18000; raise it"):
        list(small("masks", 'searchers=["seeded"]', "budget=18000", "task.recipe.steps=100it").rows())


def test_pairs_of_masks_are_compared(found):
    table = found["overlap"].table
    assert set(table.arm) == {"genetic-pbil", "genetic-bernoulli", "pbil-bernoulli"}
    assert (abs(table.phi) < 0.25).all()
    random = np.random.default_rng(0)
    one, other = random.random((2, 30, 40)) < 0.4
    assert phi(one, other) == pytest.approx(np.corrcoef(one.reshape(-1), other.reshape(-1))[0, 1])
    assert phi(one, one) == pytest.approx(1)
    assert np.isnan(phi(one, np.ones_like(one)))


def test_widths_are_networks_of_their_own(found, store):
    table = found["width"].table
    assert set(table[table.arm == "pbil"].width) == {10, 20}
    study = found["width"].study
    sizes = {row.level: row.run.task.model.options["widths"] for row in study.rows()}
    assert sizes == {0: [10], 1: [20]}
    assert np.isinf(table[table.arm == "pbil"].needed).any()
    assert table[table.arm == "bernoulli"].needed.isna().all()
    reached = run_study(study.but(target=0.02), store, quiet=True).table
    assert (reached[reached.arm == "pbil"].needed == 2).all()  # generations of 100 x 50 passes until the first look


def test_pruning_by_what_a_strategy_knows(found):
    table = found["evolved"].table
    assert set(table.variant) == {"evolved", "gradient"}
    whole = table[(table.variant == "gradient") & (table.level == 0)].groupby("replicate").acc.first()
    dense = list(found["masks"].table.query("arm == 'dense'").sort_values("replicate").acc)
    assert np.allclose(whole, dense)  # `held`: it is the trained network that is pruned
    sparse = table[(table.variant == "gradient") & (table.level == 1)].pivot_table(index="replicate", columns="arm", values="acc")
    assert sparse["mean"].mean() > sparse["random"].mean()
    assert (table.spread > 0).all()
    assert table[table.level > 0].groupby("level").density.first().round(2).tolist() == [0.5, 0.2]


def rows(study, arms, **fixed):
    """A table of 8 replicates, each arm around its accuracy."""
    noise = np.random.default_rng(0).normal(0, 0.004, (len(arms), 8))
    made = []
    for (arm, own), moved in zip(arms.items(), noise, strict=True):
        common = {**dict.fromkeys(COLUMNS, ""), "arm": arm, "level": 0, "density": 0.5, **fixed}
        made += [{**common, "replicate": index, "acc": own["acc"] + one} for index, one in enumerate(moved)]
    return pd.DataFrame(made)


def verdict(study, table, claim):
    return next(one for one in study.judge(table) if one.id == claim)


ORDER = {"dense": 0.95, "random": 0.3, "genetic": 0.4, "pbil": 0.5, "snes": 0.5, "edge_popup": 0.7, "bernoulli": 0.8, "relaxed": 0.8}


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({}, "replicated"),
        ({"genetic": 0.25}, "not replicated"),
        ({"edge_popup": 0.4}, "not replicated"),
        ({"snes": 0.39}, "not replicated"),
    ],
)
def test_the_order_is_judged_where_it_is_hardest(changes, result):
    study = small("masks", replicates=8)
    table = rows(study, {arm: {"acc": acc} for arm, acc in (ORDER | changes).items()})
    assert verdict(study, table, "SEARCH-C1").verdict == result


def test_the_order_is_not_judged_on_two_classes():
    study = resolve("search.masks", task="moons-mlp", scale="smoke", replicates=8)
    found = verdict(study, rows(study, {arm: {"acc": acc} for arm, acc in ORDER.items()}), "SEARCH-C1")
    assert found.verdict == "not judged"


def test_densities_and_seeding_are_judged():
    study = small("masks", replicates=8)
    densities = {"genetic": 0.51, "pbil": 0.49, "snes": 0.5, "sparser": 0.3}
    table = rows(study, {arm: {"acc": 0.5} for arm in densities})
    table["density"] = table.arm.map(densities) + np.random.default_rng(1).normal(0, 0.002, len(table))
    assert verdict(study, table, "SEARCH-C3").verdict == "replicated"
    table.loc[table.arm == "pbil", "density"] += 0.2
    assert verdict(study, table, "SEARCH-C3").verdict == "not replicated"
    seeded = {"dense": 0.95, "heuristic": 0.5, "genetic": 0.4, "seeded": 0.6}
    for better, result in ((0.6, "replicated"), (0.45, "not replicated")):
        table = rows(study, {arm: {"acc": acc} for arm, acc in (seeded | {"seeded": better}).items()})
        assert verdict(study, table, "SEARCH-C4").verdict == result
    level = rows(study, {arm: {"acc": acc} for arm, acc in (seeded | {"seeded": 0.405, "heuristic": 0.3}).items()})
    assert "no room" in str(verdict(study, level, "SEARCH-C4").reasons)  # no mask is better than what the search finds alone


def test_gaps_and_generations_by_width_are_judged():
    study = small("width", replicates=8)
    at = {("genetic", 0): 0.6, ("genetic", 1): 0.4, ("pbil", 0): 0.7, ("pbil", 1): 0.66, ("bernoulli", 0): 0.8, ("bernoulli", 1): 0.8}
    table = pd.concat([rows(study, {arm: {"acc": acc}}, level=level) for (arm, level), acc in at.items()])
    noise = np.random.default_rng(3).normal(0, 0.01, len(table))
    table["acc"] += noise
    table["needed"] = np.where(table.level == 0, 40.0, 10.0) + np.abs(noise) * 100
    assert verdict(study, table, "SEARCH-C2").verdict == "replicated"
    assert verdict(study, table, "SEARCH-C5").verdict == "replicated"
    table["needed"] = np.where(table.level == 1, 40.0, 10.0) + np.abs(noise) * 100
    assert verdict(study, table, "SEARCH-C5").verdict == "not replicated"
    table["needed"] = np.inf
    assert verdict(study, table, "SEARCH-C5").verdict == "not judged"


def test_overlaps_and_criteria_are_judged():
    study = small("overlap", replicates=8)
    noise = np.random.default_rng(0).normal(0, 0.005, 8)
    table = rows(study, {"genetic-bernoulli": {"acc": 0.0}}).assign(phi=noise, inputs=0.3 + noise)
    assert verdict(study, table, "SEARCH-C8").verdict == "replicated"
    assert verdict(study, table.assign(phi=0.2 + noise), "SEARCH-C8").verdict == "not replicated"
    study = small("evolved", replicates=8)
    parts = []
    for variant, better in (("evolved", 0.05), ("gradient", -0.05)):
        for level, density in ((0, 1.0), (1, 0.5)):
            accs = {"snr": 0.7 + better * level, "mean": 0.7}
            parts.append(rows(study, {arm: {"acc": acc} for arm, acc in accs.items()}, variant=variant, level=level, density=density))
    assert verdict(study, pd.concat(parts), "SEARCH-C6").verdict == "replicated"
    swapped = pd.concat(parts).assign(variant=lambda frame: frame.variant.map({"evolved": "gradient", "gradient": "evolved"}))
    assert verdict(study, swapped, "SEARCH-C6").verdict == "not replicated"


def test_masks_of_a_measurement_are_packed_bits(found, store):
    row = next(row for row in small("overlap", *TINY).rows() if row.arm == "pbil")
    bits = store.measurements.get(row.measurement.digest).found()
    density = masks.density(masks.unpack({"hidden1/kernel": bits["mask/hidden1/kernel"]}, {"hidden1/kernel": (64, 20)}))
    assert 0.4 < density < 0.6


def test_ways_on_the_fly_cost_the_same_but_for_those_of_equal_steps(found):
    table = found["on_the_fly"].table
    sparse = table[table.level == 1].groupby("arm")[["spent", "density", "iterations"]].mean()
    assert sparse.spent["gates"] == pytest.approx(1)
    assert sparse.spent["gradual"] == pytest.approx(1, abs=0.15)
    assert sparse.spent["before"] == pytest.approx(0.5 + 0.5 * 0.2, abs=0.01)
    assert sparse.spent["gradual_steps"] < 0.6
    assert sparse.iterations["gradual_steps"] == sparse.iterations["gates"] == sparse.iterations["before"] == 20
    assert sparse.density.round(2).tolist() == [0.2] * 4
    study = found["on_the_fly"].study
    runs = {row.arm: row.run for row in study.rows() if row.level == 1}
    assert runs["gates"].task.recipe.supermask.method == "gates"
    assert runs["before"].mask.of[0].run.task.recipe.supermask.method == "edge_popup"
    assert study.but(gate_rate=0.5)._run("gates", runs["before"], 0.2).task.recipe.learning_rate == 0.5


def test_a_learnt_mask_is_what_its_scores_come_to():
    context = Context(build(TASK.model, DataInfo.of_classes((64,), 10)), 0)
    scored = {
        f"{path}.score": np.random.default_rng(0).normal(size=context.network.shapes[path].shape) for path in context.network.prunable
    }
    made = mask_actions.call("learnt_mask", context, scored, supermask={"method": "edge_popup", "density": 0.1})
    for path, leaf in made.items():
        size = abs(scored[f"{path}.score"])
        assert leaf.dtype == bool
        assert leaf.sum() == round(0.1 * leaf.size)
        assert size[leaf].min() > size[~leaf].max()


def test_gates_are_judged_at_moderate_and_extreme_densities():
    study = small("on_the_fly", replicates=8)
    better = {0.3: 0.0, 0.03: 0.03}
    parts = [rows(study, {"gates": {"acc": 0.9}}, density=1.0)]
    for level, (density, gain) in enumerate(better.items(), 1):
        parts.append(rows(study, {"gates": {"acc": 0.8 + gain}, "gradual": {"acc": 0.8}}, level=level, density=density))
    table = pd.concat(parts).assign(acc_final=lambda frame: frame.acc)
    assert verdict(study, table, "SEARCH-C7").verdict == "replicated"
    worse = np.where((table.arm == "gates") & (table.level == 2), 0.75 + table.acc / 100, table.acc)
    assert verdict(study, table.assign(acc_final=worse), "SEARCH-C7").verdict == "not replicated"
