"""The studies of attacks: what is trained and attacked, one small run of all, claims on tables with a known answer."""

import numpy as np
import pandas as pd
import pytest

from tombola.core.errors import TombolaError
from tombola.engine.configuring import resolve
from tombola.engine.study import run_study
from tombola.store.store import Store
from tombola.studies.base import COLUMNS

TINY = ("task.recipe.steps=60it", "steps_of_pgd=3", "attacked_examples=40", 'attacks=["fgsm", "pgd"]', "rates.dense=0.6")


def small(name, *settings, task="digits-20-mlp", **fields):
    return resolve(f"attacks.{name}", scale="smoke", settings=settings, task=task, **fields)


@pytest.fixture(scope="module")
def found():
    store = Store()
    return {name: run_study(small(name, *TINY), store, quiet=True) for name in ("tickets", "training", "transfer")}


@pytest.mark.slow
def test_all_networks_of_a_chain_are_attacked_at_all_radii(found):
    table = found["tickets"].table
    assert set(zip(table.arm, table.level, strict=True)) == {("ticket", 0), ("ticket", 1), ("reinit", 1), ("random", 1)}
    assert (table.robust_acc <= table[["fgsm_acc", "pgd_acc"]].min(axis=1)).all()
    assert (table.robust_acc <= table.clean_acc).all()
    assert table.square_acc.isna().all()
    pictures = found["tickets"].details["picture"]
    assert set(pictures.level) == {0, 1}
    assert len(pictures) == 2 * 16 * 16
    one = small("tickets", "eps=[0.02, 0.3]", *TINY)
    assert list(one.variants) == ["0.02", "0.3"]
    assert list(resolve("attacks.tickets", task="lenet-mnist").eps) == [0.1, 0.2, 0.3]


def test_masks_and_trainings_are_crossed():
    study = small("training", *TINY)
    rows = {(row.arm, row.level): row.run for row in study.rows() if row.replicate == 0}
    objectives = {arm: rows[arm, 1].task.objective.name for arm, level in rows if level == 1}
    assert objectives == {
        "standard": "classification", "adversarial": "adversarial", "standard_mask": "adversarial", "adversarial_mask": "classification",
    }  # fmt: skip
    assert rows["standard_mask", 1].mask.of == (rows["standard", 1].its_mask(),)
    assert rows["standard_mask", 1].kept == rows["adversarial", 1].kept
    assert rows["adversarial_mask", 1].mask.of == (rows["adversarial", 1].its_mask(),)
    assert rows["adversarial", 0].task.objective.eps == 0.1
    assert small("training", "train_eps=0.2").attacked_task.objective.eps == 0.2
    assert small("training", "train_steps=4").attacked_task.objective.steps == 4
    assert resolve("attacks.training", task="lenet-mnist").train_eps == 0.3


def test_adversarial_training_is_stored_and_attacked_as_any(found):
    table = found["training"].table
    assert len(table) == 2 * (2 + 2 + 1 + 1)
    assert table.robust_acc.notna().all()


def test_what_carries_over_is_of_other_networks(found):
    table = found["transfer"].table
    assert set(zip(table.arm, table.level, strict=True)) == {("again", 0), ("again", 1), ("density", 0), ("density", 1)}
    assert (table.carried < table.own).all()
    again = [row.run for row in found["transfer"].study.rows() if row.replicate == 0]
    assert [run.noise for run in again] == [{}, {}, {"data_order": "again"}, {"data_order": "again"}]
    matrix = found["transfer"].details["transfer"]
    diagonal = matrix[matrix.row == matrix.column].groupby("replicate").carried.mean()
    assert np.allclose(diagonal, table[table.arm == "again"].groupby("replicate").own.mean())
    with pytest.raises(TombolaError, match="every = 2, but there are only 1 levels: a ticket has no other"):
        list(small("transfer", "every=2").rows())


def rows(arms, level, density, column="robust_acc", **fixed):
    noise = np.random.default_rng(level).normal(0, 0.003, (len(arms), 8))
    made = []
    for (arm, value), moved in zip(arms.items(), noise, strict=True):
        common = {**dict.fromkeys(COLUMNS, ""), "clean_acc": 0.9, "variant": "0.1", "arm": arm, "level": level, "density": density, **fixed}
        made += [{**common, "replicate": index, column: value + one} for index, one in enumerate(moved)]
    return pd.DataFrame(made)


def verdict(study, table, claim):
    return next(one for one in study.judge(table) if one.id == claim).verdict


@pytest.mark.parametrize(
    ("sparse", "fragile", "order"),
    [
        ({"ticket": 0.31, "reinit": 0.2, "random": 0.1}, "replicated", "replicated"),
        ({"ticket": 0.45, "reinit": 0.2, "random": 0.1}, "not replicated", "replicated"),
        ({"ticket": 0.15, "reinit": 0.2, "random": 0.1}, "not replicated", "not replicated"),
    ],
)
def test_fragility_and_order_are_judged(sparse, fragile, order):
    study = small("tickets", replicates=8)
    table = pd.concat([rows({"ticket": 0.3}, 0, 1.0), rows(sparse, 1, 0.2)])
    assert verdict(study, table, "ATT-C1") == fragile
    assert verdict(study, table, "ATT-C3") == order


def test_where_all_break_or_none_does_nothing_is_told():
    study = small("tickets", "eps=[0.1, 0.2]", replicates=8)
    at = lambda dense, ticket, reinit, eps: pd.concat(  # noqa: E731
        [rows({"ticket": dense}, 0, 1.0, variant=eps), rows({"ticket": ticket, "reinit": reinit, "random": 0.0}, 1, 0.2, variant=eps)]
    )
    judged = lambda *tables: {one.id: one for one in study.judge(pd.concat(tables))}  # noqa: E731
    none, all_of_them = at(0.0, 0.02, 0.0, "0.2"), at(0.88, 0.87, 0.87, "0.2")
    for end in (none, all_of_them):
        fair = judged(at(0.3, 0.31, 0.2, "0.1"), end)["ATT-C1"]
        assert (fair.verdict, fair.parts) == ("replicated", ("holds", "shown"))
        assert judged(end.assign(variant="0.1"), end)["ATT-C1"].verdict == "not judged"
    assert judged(at(0.3, 0.1, 0.2, "0.1"), none)["ATT-C1"].verdict == "not replicated"
    nothing = judged(at(0.0, 0.0, 0.0, "0.1"), at(0.0, 0.0, 0.0, "0.2"))
    assert {nothing[one].verdict for one in ("ATT-C1", "ATT-C3")} == {"not judged"}
    assert nothing["ATT-C3"].reasons[0].startswith("no room: accuracy under attack is ")
    carried = small("transfer", replicates=8)
    table = pd.concat([rows({"again": 0.998, "density": 0.995}, level, 1 - level / 2, "carried") for level in (0, 1)]).assign(variant="")
    assert verdict(carried, table, "ATT-C4") == "not judged"


def test_what_sparsity_does_to_adversarial_training_is_judged_on_the_network_of_the_paper():
    made = [rows({"adversarial": pgd, "standard_mask": pgd - 0.05}, level, density, "pgd_acc") for level, (density, pgd) in enumerate(
        [(1.0, 0.45), (0.5, 0.6), (0.2, 0.59), (0.04, 0.49)])]  # fmt: skip
    table = pd.concat(made).assign(robust_acc=lambda frame: frame.pgd_acc)
    lenet = resolve("attacks.training", task="lenet-mnist", scale="smoke", replicates=8, settings=("eps=[0.1]",))
    assert verdict(lenet, table, "ATT-C2") == "replicated"
    flat = table.assign(pgd_acc=np.where(table.level == 3, 0.6, table.pgd_acc))
    assert verdict(lenet, flat, "ATT-C2") in ("not replicated", "replicated in part")
    own = small("training", replicates=8)
    assert verdict(own, table, "ATT-C2") == "not judged"
    assert verdict(own, table, "ATT-C5") == "replicated"
    swapped = table.assign(arm=table.arm.map({"adversarial": "standard_mask", "standard_mask": "adversarial"}))
    assert verdict(own, swapped, "ATT-C5") == "not replicated"
    stuck = {one.id: one for one in lenet.judge(table.assign(clean_acc=np.where(table.level == 0, 0.18, table.clean_acc)))}
    assert {stuck[one].verdict for one in ("ATT-C2", "ATT-C5")} == {"not judged"}
    assert "near chance: unattacked its accuracy is 18.0 %" in stuck["ATT-C2"].reasons[0]


def test_protection_by_density_is_judged():
    study = small("transfer", replicates=8)
    table = pd.concat([rows({"again": 0.6, "density": 0.5}, level, density, "carried") for level, density in ((0, 1.0), (1, 0.5))])
    assert verdict(study, table.assign(variant=""), "ATT-C4") == "replicated"
    swapped = table.assign(variant="", arm=table.arm.map({"again": "density", "density": "again"}))
    assert verdict(study, swapped, "ATT-C4") == "not replicated"


@pytest.mark.slow
def test_tables_are_attacked_freely_and_under_constraints():
    study = small("tables", *TINY, "immutable=[3]", "integers=[12]", task="wine-mlp")
    table = run_study(study, Store(), quiet=True).table
    assert set(zip(table.variant, table.arm, table.level, strict=True)) == {
        (kind, arm, level)
        for kind in ("free", "constrained")
        for arm, level in (("ticket", 0), ("ticket", 1), ("reinit", 1), ("random", 1))
    }  # fmt: skip
    pivot = table[table.arm == "ticket"].pivot_table(index=["replicate", "level"], columns="variant", values="left_acc")
    assert (pivot.constrained >= pivot.free).all()
    assert (table.live_inputs <= 13).all()
    asked = {row.variant: row.measurement.options for row in study.rows()}
    assert (asked["constrained"]["fixed"], asked["constrained"]["integers"], asked["constrained"]["bounded"]) == ([3], [12], True)
    assert "fixed" not in asked["free"]
    assert small("tables", "unit=range", task="wine-mlp").rows().__next__().measurement.options["unit"] == "range"
    assert len(small("tables", task="cancer-mlp").relations) == 10


def test_plausibility_and_columns_are_judged():
    study = small("tables", task="cancer-mlp", replicates=8)
    parts = []
    for level, (live, free) in enumerate([(30, 0.4), (25, 0.5), (10, 0.7), (4, 0.8)]):
        for kind, left in (("free", free), ("constrained", free + 0.4)):
            one = rows({"ticket": left}, level, 0.8**level, "left_acc", variant=kind)
            noise = np.random.default_rng(9 + level).normal(0, 0.01, len(one))
            parts.append(one.assign(clean_acc=0.95, implausible=0.8 + noise, live_inputs=live + (noise > 0.012)))
    table = pd.concat(parts)
    assert verdict(study, table, "ATT-C6") == "replicated"
    assert verdict(study, table.assign(implausible=table.implausible - 0.6), "ATT-C6") == "not replicated"
    moved = np.where(table.replicate % 4 == 0, 1 - table.left_acc, table.left_acc)
    assert verdict(study, table.assign(left_acc=moved), "ATT-C8") in ("undecided", "not replicated")
    mixed = table.assign(live_inputs=table.live_inputs + np.where((table.replicate == 1) & (table.level == 3), 8, 0))
    assert verdict(study, mixed, "ATT-C8") == "replicated"
