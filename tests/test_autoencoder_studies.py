"""The studies of autoencoders: what is trained, what is measured, claims on tables with a known answer."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import tombola as tb
from tombola.engine.configuring import resolve
from tombola.engine.study import run_study, study_graph
from tombola.engine.tables import curves
from tombola.evaluation.paired import interpolated
from tombola.store.store import Store
from tombola.studies.autoencoders.common import gallery, kinds, reconstructions
from tombola.studies.base import Row

RANDOM = np.random.default_rng(0)
X = (1 / (1 + np.exp(-2 * RANDOM.standard_normal((90, 2)) @ RANDOM.standard_normal((2, 9))))).astype(np.float32)  # of two latents
LABELS = (X[:, 0] > 0.5).astype(np.int32)


@pytest.fixture(scope="module")
def store():
    return Store()


def toy(model="autoencoder", objective="reconstruction", **options):
    data = tb.from_arrays(X[:70], LABELS[:70], X[70:], LABELS[70:], validation=20)
    recipe = tb.Recipe(steps="80it", batch=25, learning_rate=0.05, evaluate_every="40it")
    rates = {"dense": 0.2, "output": 0.2}
    return tb.Task(data=data, model=tb.model(model, **options), recipe=recipe, objective=objective, rates=rates)


def study(name, task, **fields):
    return resolve(f"autoencoders.{name}", scale="smoke", task=task, settings=[f"{field}={value}" for field, value in fields.items()])


# -- what is trained -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tickets", "halves", "frontiers", "latents"])
@pytest.mark.parametrize("data", ["digits", "mnist", "fashion-mnist"])
def test_every_study_resolves_on_every_task(name, data):
    found = resolve(f"autoencoders.{name}", scale="small", task=f"{data}-{'vae' if name == 'latents' else 'ae'}")
    rows = list(found.rows())
    assert len({(row.variant, row.arm, row.replicate, row.level) for row in rows}) == len(rows)
    assert all(row.measurement.of == (row.run.at("end"), row.run.its_mask()) for row in rows)
    dense = [row for row in rows if row.run.mask is None and row.level == 0]
    assert len(dense) == found.replicates * max(1, len(found.variants))
    assert {found.dense_of(row) for row in rows} == {row.run for row in dense}


def test_a_half_is_pruned_and_the_other_is_not():
    found = resolve("autoencoders.halves", scale="small", task="digits-ae", settings=["rate=0.3", "levels=4"])
    assert found.rounds_of_both == np.ceil(np.log((1 + 0.7**4) / 2) / np.log(0.85))
    for row in found.rows():
        if row.level:
            expected = {"both": (0.15, 0.15), "encoder": (0.3, 0.0), "decoder": (0.0, 0.3)}[row.arm]
            assert tuple(row.run.mask.options["rates"][half] for half in ("encoder", "decoder")) == expected
    last = {arm: max(row.level for row in found.rows() if row.arm == arm) for arm in found.arms}
    assert last == {"both": found.rounds_of_both, "encoder": 4, "decoder": 4}


def test_every_arm_of_the_frontiers_differs_from_the_dense_network_in_one_thing():
    found = resolve("autoencoders.frontiers", scale="small", task="digits-ae", settings=["replicates=1"])
    rows = {(row.arm, row.level): row.run for row in found.rows()}
    dense = rows["dense", 0]
    assert dense.task.model.options["activation"] == "sigmoid"
    assert rows["kl", 2].task == dense.task.but(objective={"name": "reconstruction", "activity_kl": 0.3})
    assert rows["l1", 1].task == dense.task.but(objective={"name": "reconstruction", "activity_l1": 0.03})
    assert rows["weight_l1", 4].task == dense.task.but(objective={"name": "reconstruction", "weight_l1": 0.01})
    assert rows["top_k", 3].task.model.options == {**dense.task.model.options, "top_k": 8}
    assert (rows["gates", 1].task.model.options["gates"], rows["gates", 1].task.objective.gate_l0) == (True, 0.01)
    assert [rows[arm, 1].mask.options.get("structure", "weights") for arm in ("weights", "units")] == ["weights", "units"]
    assert rows["weights", 3].mask.options["rates"]["dense"] == pytest.approx(1 - 0.8**10)
    assert rows["units", 1].task == rows["weights", 1].task == dense.task
    large = resolve("autoencoders.frontiers", scale="small", task="mnist-ae")
    assert large.activity_strengths == pytest.approx([10 * one for one in found.activity_strengths])


def test_the_variational_autoencoder_of_the_same_data_stands_beside():
    task = tb.task("digits-ae", steps="70it")
    both = kinds(task)
    assert list(both) == ["ae", "vae"]
    assert (both["vae"].data, both["vae"].recipe, both["vae"].objective.name) == (task.data, task.recipe, "elbo")
    assert list(kinds(tb.task("digits-vae"))) == ["vae"]
    assert list(kinds(toy(widths=[4]))) == ["ae"]


# -- carried out ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_tickets_from_end_to_end(store):
    found = run_study(study("tickets", toy(widths=[4]), levels=2, compared="[2]"), store, quiet=True)
    table = found.table
    assert [(row.arm, row.level) for row in table[table.replicate == 0].itertuples()] == [
        *(("ticket", one) for one in range(3)),
        ("reinit", 2),
    ]
    dense = table[table.level == 0]
    assert (dense.lost == 0).all()
    second = table[table.level == 2]
    expected = (second.mse - dense.set_index("replicate").mse.loc[second.replicate].to_numpy()).to_numpy()
    chance = X[70:].var(0).mean()
    np.testing.assert_allclose(
        second.lost, expected / (chance - dense.set_index("replicate").mse.loc[second.replicate].to_numpy()), rtol=1e-4
    )
    assert set(found.details["pictures"].level) == {0, 1, 2}
    assert [verdict.id for verdict in found.verdicts] == ["AE-C1", "AE-C4", "AE-C9"]
    assert table.probe_acc.notna().all()  # of 50 examples
    assert found.verdicts[1].effects[0].lacks == "no variational autoencoder of these data is registered"


@pytest.mark.slow
def test_halves_of_a_bound_from_end_to_end(store):
    halves = run_study(study("halves", toy("vae", "elbo", widths=[6, 6], latents=3), levels=1), store, quiet=True).table
    assert set(halves.variant) == {"vae"}
    kept = halves[halves.level == 1].set_index(["arm", "replicate"]).kept
    encoder, decoder = 9 * 6 + 2 * 6 * 3, 3 * 6 + 6 * 9
    assert kept["encoder", 0] == decoder + sum(size - round(0.2 * size) for size in (54, 18, 18)) < encoder + decoder
    assert kept["decoder", 0] == encoder + sum(size - round(0.2 * size) for size in (18, 54))


@pytest.mark.slow
def test_latents_from_end_to_end_with_a_posterior_that_collapsed(store):
    task = toy("vae", "elbo", widths=[6, 6])
    found = run_study(study("latents", task, levels=1, latents=3, betas="[300.0]"), store, quiet=True)
    dense = found.table[found.table.level == 0]
    assert (dense.latents_active == 0).all()
    assert (dense.collapsed == 1).all()
    assert (dense.inactive == 3).all()
    assert found.table.probe_acc.isna().all()  # probed = 0
    assert found.verdicts[0].effects[0].lacks == "2 of 2 dense networks collapsed"
    assert set(found.details["ways"].level) == {0, 1}


@pytest.mark.slow
def test_frontiers_from_end_to_end(store):
    found = run_study(study("frontiers", toy(widths=[8])), store, quiet=True)
    table = found.table[found.table.replicate == 0].set_index("arm")
    assert set(table.index) == set(found.study.arms)
    assert table.active["top_k"] <= 0.25
    assert table.density["weights"] == pytest.approx(0.8**10, abs=0.03)
    assert len(found.figures) == 5


# -- claims --------------------------------------------------------------------------------------------------------------


def table_of(rows):
    """Eight replicates of (variant, arm, level, density, values), each value a little different in each."""
    found = []
    for variant, arm, level, density, values in rows:
        for replicate in range(8):
            shaken = {name: value * (1 + 0.01 * RANDOM.standard_normal()) for name, value in values.items()}
            where = {"variant": variant, "arm": arm, "replicate": replicate, "level": level, "density": density}
            found.append({**where, "collapsed": 0, **shaken})
    return pd.DataFrame(found)


def verdicts(study, rows, **changes):
    return {one.id: one for one in study.judge(table_of(rows).assign(**changes))}


def of_tickets(ticket=0.01, reinit=0.05, bound=0.1, probe=0.001):
    return [
        *((kind, "ticket", 0, 1.0, {"lost": 0.0, "probe_lost": 0.0}) for kind in ("ae", "vae")),
        ("ae", "ticket", 1, 0.1, {"lost": ticket, "probe_lost": probe}),
        ("ae", "reinit", 1, 0.1, {"lost": reinit, "probe_lost": probe}),
        ("vae", "ticket", 1, 0.1, {"lost": bound, "probe_lost": probe}),
    ]


def test_claims_about_tickets():
    study = resolve("autoencoders.tickets", scale="small")
    found = verdicts(study, of_tickets(ticket=0.015))
    assert {name: one.verdict for name, one in found.items()} == {"AE-C1": "replicated", "AE-C4": "replicated", "AE-C9": "replicated"}
    assert verdicts(study, of_tickets(ticket=0.009))["AE-C9"].verdict == "not judged"  # nothing is lost sooner that is not lost
    found = verdicts(study, of_tickets(ticket=0.03, bound=0.01, probe=0.03))
    assert {name: one.verdict for name, one in found.items()} == {
        "AE-C1": "not replicated",
        "AE-C4": "not replicated",
        "AE-C9": "not replicated",
    }
    assert found["AE-C1"].parts == ("contradicted", "holds")
    assert {one.verdict for one in verdicts(study, of_tickets(), collapsed=1).values()} == {"not judged"}
    assert "16 of 16 dense networks collapsed" in verdicts(study, of_tickets(), collapsed=1)["AE-C4"].reasons


def test_claims_about_halves():
    study = resolve("autoencoders.halves", scale="small")
    rows = [(kind, "both", level, 0.9**level, {"lost": 0.01 * level}) for kind in ("ae", "vae") for level in range(7)]
    rows += [("ae", arm, 8, 0.58, {"lost": 0.1}) for arm in ("encoder", "decoder")]
    rows += [("vae", "encoder", 8, 0.58, {"lost": 0.01}), ("vae", "decoder", 8, 0.58, {"lost": 0.2})]
    found = verdicts(study, rows)
    assert {name: one.verdict for name, one in found.items()} == {"AE-C2": "replicated", "AE-C3": "replicated"}
    gap = 100 * (0.1 - 0.01 * np.log(0.58) / np.log(0.9))  # 0.58 is no level of both: it is interpolated
    assert found["AE-C2"].effects[0].mean == pytest.approx(gap, rel=0.02)
    free = [(*row[:4], {"lost": 0.009}) if row[:2] == ("ae", "encoder") else row for row in rows]
    assert verdicts(study, free)["AE-C2"].parts == ("not judged", "holds")
    assert "encoder alone loses 0.9 pp, no more than the 1 pp" in verdicts(study, free)["AE-C2"].reasons[0]
    costly = [(*row[:4], {"lost": 0.2}) if row[:2] == ("vae", "encoder") else row for row in rows]
    assert verdicts(study, costly)["AE-C3"].parts == ("contradicted", "holds")


def test_claims_about_frontiers():
    study = resolve("autoencoders.frontiers", scale="small", settings=["rounds=[10]", "kl_strengths=[1.0]", "shares=[0.5]"])
    dense = {"lost": 0.001, "active": 1.0, "used": 32.0, "weights_used": 0.95}
    rows = [
        ("", "dense", 0, 1.0, dense),
        ("", "weights", 1, 0.1, {**dense, "active": 0.98, "weights_used": 0.1}),
        ("", "units", 1, 0.5, {**dense, "lost": 0.1, "used": 10.0}),
        ("", "gates", 1, 1.0, {**dense, "lost": 0.1, "used": 10.0}),
        ("", "kl", 1, 1.0, {**dense, "lost": 0.2, "active": 0.6}),
        ("", "top_k", 1, 1.0, {**dense, "lost": 0.1, "active": 0.5}),
        ("", "l1", 1, 1.0, {**dense, "lost": 0.2, "active": 0.7}),
    ]
    found = verdicts(study, rows)
    assert found["AE-C5"].verdict == "replicated"
    assert found["AE-C6"].parts[0] == "holds"
    assert found["AE-C7"].effects[0].lacks == "no room: no setting of KL on mean activity lowers used by 5 %"
    # L1 past its turning point: more units are on than at the weaker setting, and nothing of it is judged
    turned = [*rows, ("", "l1", 2, 1.0, {**dense, "lost": 0.0, "active": 0.8}), ("", "l1", 3, 1.0, {**dense, "lost": 0.6, "active": 0.65})]
    gain = found["AE-C6"].effects[1].mean
    assert verdicts(study, turned[:-1])["AE-C6"].effects[1].mean == pytest.approx(gain, abs=0.5)
    assert verdicts(study, turned)["AE-C6"].effects[1].mean > gain + 10
    useless = [(*row[:4], {**row[4], "active": 0.97}) if row[1] == "l1" else row for row in rows]
    assert verdicts(study, useless)["AE-C6"].parts == ("holds", "not judged")
    fewer = [(*row[:4], {**row[4], "used": 16.0}) if row[1] == "kl" else row for row in rows]
    assert verdicts(study, fewer)["AE-C7"].parts == ("holds", "shown")
    sparse = [(*row[:4], {**row[4], "active": 0.5}) if row[1] == "weights" else row for row in rows]
    assert verdicts(study, sparse)["AE-C5"].parts[0] == "contradicted"


def test_claims_about_latents():
    study = resolve("autoencoders.latents", scale="small", settings=["betas=[1.0]"])
    rows = [("1", "ticket", level, 0.8**level, {"precision": good, "recall": good}) for level, good in enumerate((0, 0.95, 0.3, 0.95))]
    judged = lambda *active, inactive=4: study.judge(  # noqa: E731
        table_of(rows).assign(inactive=inactive, latents_active=np.repeat(active, 8))
    )[0]
    assert judged(9, 9, 8, 9).parts == ("holds", "holds")  # the last before one falls silent, whatever wakes up later
    assert judged(9, 10, 9, 8).verdict == "not replicated"  # one that wakes up is not one that falls silent
    # the dense network itself is not judged
    assert judged(9, 8, 9, 9).reasons == ("of 8 networks with an inactive latent the first round silences others in 8",)
    assert "no latent is inactive" in judged(9, 9, 9, 9, inactive=0).reasons[0]


def test_claims_are_about_autoencoders():
    found = resolve("autoencoders.tickets", scale="small", task="digits-mlp").judge(table_of(of_tickets()))
    assert {one.verdict for one in found} == {"not judged"}
    assert found[0].reasons == ("the claim is about reconstruction and elbo; the task learns classification",)
    units = resolve("autoencoders.tickets", scale="small", settings=["structure=units"])
    assert "here structure = units" in units.judge(table_of(of_tickets()))[0].reasons[0]


def test_curves_of_tasks_that_learn_different_things_stand_in_one_table():
    runs = [row.run for row in resolve("autoencoders.tickets", scale="smoke").rows() if row.level == 0][::2]
    rows = [Row("ticket", 0, 0, run, variant=name) for run, name in zip(runs, ("ae", "vae"), strict=True)]
    metrics = [{"step": np.array([0.0, 5.0]), "val_mse": np.array([1.0, 2.0])}, {"step": np.array([5.0]), "val_nelbo": np.array([3.0])}]
    results = {run: SimpleNamespace(metrics=one, summary={"density": 1.0}) for run, one in zip(runs, metrics, strict=True)}
    found = curves(rows, results)
    assert found.step.tolist() == [0, 5, 5]
    np.testing.assert_array_equal(found.val_mse, [1, 2, np.nan])
    np.testing.assert_array_equal(found.val_nelbo, [np.nan, np.nan, 3])


def test_what_has_no_finite_value_is_not_interpolated():
    table = table_of([("", "one", 0, 1.0, {"lost": np.nan}), ("", "other", 0, 0.5, {"lost": 1.0})])
    assert interpolated(table, "lost", "one", "other").isna().all(axis=None)


# -- pictures ------------------------------------------------------------------------------------------------------------


def test_a_gallery_puts_pictures_side_by_side():
    pictures = np.arange(3 * 4).reshape(3, 4)
    assert gallery(pictures, 2).tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 0, 0], [10, 11, 0, 0]]
    assert gallery(pictures + 1, 3, gap=1).tolist() == [[1, 2, 1, 5, 6, 1, 9, 10, 1], [3, 4, 1, 7, 8, 1, 11, 12, 1], [1] * 9]
    assert gallery(np.ones((2, 3)), 1).shape == (2, 3)
    assert gallery(np.ones((2, 4, 6, 3)), 2).shape == (4, 12)


def test_reconstructions_are_shown_on_the_scale_of_the_examples_and_under_them():
    class Kept:
        def of(self, row):
            return {"originals": np.array([[0.25], [1.0]]), "pictures": np.array([[2.0], [0.5]])}

        def where(self, row, **more):
            return {"arm": "ticket", "level": 1, "density": 0.8} | more

    (shown,) = reconstructions([Row("ticket", "1", 1, 0, None)], Kept())
    drawn = shown.pivot(index="row", columns="column", values="value").to_numpy()
    # An example, and what is made of it; the least example is 0, and nothing is more than the greatest.
    assert drawn[::2, 0].tolist() == [0, 0.75, 0.75, 0.25]
    assert not drawn[1::2].any()
    assert not drawn[:, 1].any()


def test_all_studies_on_the_digits_share_their_dense_networks():
    dense = [
        {digest for digest, run in study_graph(resolve(f"autoencoders.{name}", scale="smoke")).runs.items() if run.mask is None}
        for name in ("tickets", "halves")
    ]
    assert dense[0] == dense[1]
