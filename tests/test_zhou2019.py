"""The studies of tickets of Zhou et al. 2019: what is trained, what is measured of it, claims on tables with a known answer."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from toys import before_any_result, settable

from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.engine import execute
from tombola.engine.configuring import resolve
from tombola.engine.reading import load_tree
from tombola.engine.starts import materialise
from tombola.engine.study import findings, run_study, study_graph
from tombola.procedures.run import Action
from tombola.store.store import Store
from tombola.studies.base import COLUMNS
from tombola.studies.tickets import reinitialised, tickets
from tombola.studies.zhou2019 import common, criteria, mask0, mask1

NAMES = ["criteria", "mask1", "mask0", "signs"]
TASKS = ["digits-mlp", "mnist1d-mlp", "lenet-mnist", "conv2-cifar10"]


def small(name, *settings, scale="smoke", task="digits-mlp", **fields):
    return resolve(f"zhou2019.{name}", scale=scale, task=task, settings=settings, **fields)


def chain(study, arm, replicate=0, variant=None):
    """Level -> run of an arm."""
    variant = variant or next(iter(study.variants), "")
    return {row.level: row.run for row in study.rows() if (row.arm, row.replicate, row.variant) == (arm, replicate, variant)}


# -- what is trained -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("scale", "task"), [*(("smoke", task) for task in TASKS), ("small", TASKS[1]), ("paper", TASKS[1])])
def test_every_study_resolves_from_one_dense_run_a_replicate(name, scale, task):
    study = small(name, scale=scale, task=task)
    rows = list(study.rows())
    assert {row.run.seed for row in rows} == {replicate_seed(0, r) for r in range(study.replicates)}
    assert len({(row.variant, row.arm, row.replicate, row.level) for row in rows}) == len(rows)
    dense = [run for run in study_graph(study).runs.values() if run.mask is None]
    assert len(dense) == study.replicates * max(1, len(study.variants))
    assert {row.run.mask is None for row in rows if row.level == 0} == {True}
    assert study.levels == {"smoke": 2, "small": 16, "paper": 24}[scale]


@pytest.mark.parametrize("settings", [(), ("rewind=3it", "rates.dense=0.5", "scope=global", "prune_at=20it")])
def test_all_studies_share_the_rewound_tickets(settings):
    arms = {"criteria": "large_final", "mask1": "rewind", "mask0": "zero", "signs": "both"}
    found = {name: chain(small(name, *settings), arm, 1) for name, arm in arms.items()}
    assert found["mask1"] == dict(enumerate(tickets(small("mask1", *settings), 1)))
    assert all(of == found["mask1"] for of in found.values())


def test_each_criterion_is_a_chain_of_its_own():
    study = small("criteria", "levels=3")
    dense = chain(study, "random")[0]
    for name in study.criteria:
        own = chain(study, name)
        for level in (1, 2, 3):
            assert own[level].mask.options["criterion"] == name
            assert own[level].mask.of == (dense.at("0it"), own[level - 1].at("end"), own[level - 1].its_mask())


def test_starts_differ_from_the_ticket_in_their_kept_values_alone():
    for rewind, of in (("0it", 0), ("3it", 1)):
        study = small("mask1", f"rewind={rewind}")
        ticket = chain(study, "rewind")
        kept = set()
        for arm in mask1.STARTS[1:]:
            run = chain(study, arm)[2]
            assert run.mask == Action(name="same", of=(ticket[2].its_mask(),))
            assert run.but(mask=ticket[2].mask, kept=ticket[2].kept) == ticket[2]
            assert [parent.what for parent in run.kept.of] == [rewind] * of
            kept.add(run.kept)
        assert len(kept) == len(mask1.STARTS) - 1
    assert chain(small("mask1"), "reinit")[2] == reinitialised(chain(small("mask1"), "rewind")[2], 2)


def test_own_masks_come_from_the_weights_that_a_start_ended_with():
    for rewind in ("0it", "3it"):
        study = small("mask1", "masks=own", f"rewind={rewind}")
        ticket = chain(study, "rewind")
        assert ticket == chain(small("mask1", f"rewind={rewind}"), "rewind")
        own = chain(study, "constant_sign")
        assert own[0] == ticket[0]
        assert own[1].mask.of == (own[0].at("0it"), own[0].at("end"), own[0].its_mask())
        assert own[2].mask.of == (own[1].at(rewind), own[1].at("end"), own[1].its_mask())
        assert own[2].kept == chain(small("mask1", f"rewind={rewind}"), "constant_sign")[2].kept


def test_treatments_look_at_their_own_last_run_and_controls_at_that_of_v1():
    study = small("mask0", "levels=3", "rewind=3it", "prune_at=20it")
    of = {arm: chain(study, arm) for arm in mask0.TREATMENTS}
    weights = of["zero"][0].at("3it")
    back = Action(name="rewind", of=(weights,))

    def zeroed(last, **options):
        return Action(name="zeroed", of=(weights, last.at("20it")), options=options)

    for level in (1, 2, 3):
        for arm in ("zero", "freeze", "v1", "v2"):
            run, last = of[arm][level], of[arm][level - 1]
            assert run.mask.of[1:] == (last.at("20it"), last.its_mask())
            assert run.begin == "3it"
            assert run.pruned == {"zero": None, "freeze": back}.get(arm, zeroed(last))
            assert run.kept == (zeroed(last) if arm == "v2" else back)
        v1, last = of["v1"][level], of["v1"][level - 1]
        assert of["away"][level] == v1.but(pruned=zeroed(last, moved="away"))
        assert of["random"][level] == v1.but(pruned=zeroed(last, moved="random", stream=f"zeroed/{level}"))


def test_signs_are_looked_at_by_optimiser_and_depth():
    study = small("signs", 'settings=[{"recipe": {"batch": 30}}, {"gain": 2}]', "depths=[1, 4]")
    tasks = {row.variant: row.run.task for row in study.rows()}
    assert [task.model.options["widths"] for task in tasks.values()] == [[100, 50], [100, 50], [100], [100, 50, 50, 50]]
    assert [(task.recipe.batch, task.model.gain) for task in tasks.values()] == [(30, 1), (60, 2), (60, 1), (60, 1)]
    assert list(study.variants) == list(tasks)
    ticket = chain(study, "both", variant="4 hidden layers: 100-50-50-50")[2]
    for arm, name in (("signs", "reinit"), ("magnitudes", "random_signs"), ("neither", "reinit")):
        run = chain(study, arm, variant="4 hidden layers: 100-50-50-50")[2]
        assert run.mask.of == (ticket.its_mask(),)
        assert run.kept.name == name
        assert run.kept.options.get("keep_sign", False) == (arm == "signs")


def test_settings_and_depths_fit_the_task():
    found = {task: small("signs", task=task) for task in (*TASKS, "resnet20-cifar10", "resnet20-cifar10-warmup")}
    assert {task: study.depths for task, study in found.items()} == {task: (1, 3) if task in TASKS[:3] else () for task in found}
    for study in found.values():
        assert len({setting.of(study.task).recipe.optimizer for setting in study.settings}) == 2


# -- every field says something ------------------------------------------------------------------------------------------

SETTINGS = {
    "replicates": "replicates=3",
    "seed": "seed=1",
    "levels": "levels=3",
    "rates": "rates.dense=0.5",
    "densities": "densities=[0.7, 0.6, 0.5, 0.4]",
    "scope": "scope=global",
    "rewind": "rewind=1it",
    "prune_at": "prune_at=20it",
    "criterion": "criterion=magnitude_increase",
    "structure": "structure=units",
    "norm": "norm=l1",
    "criteria": 'criteria=["movement", "random"]',
    "starts": 'starts=["rewind", "constant"]',
    "masks": "masks=own",
    "treatments": 'treatments=["zero", "freeze"]',
    "settings": 'settings=[{"gain": 2}]',
    "depths": "depths=[3]",
}


NOT_SEEN = {*((name, "margin") for name in NAMES), ("mask0", "densities")}  # mask0 has rates to prune by
FIELDS = [(name, field) for name in NAMES for field in settable(small(name)) if (name, field) not in NOT_SEEN]


@cache
def seen(name, *settings):
    return before_any_result(small(name, *settings))


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_field_changes_what_is_seen(name, field):
    base = ("structure=units",) if field == "norm" else ()
    assert seen(name, *base) != seen(name, *base, SETTINGS[field])


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("criteria", ('criteria=["random", "random"]',), "criteria: 'random' is given twice"),
        ("criteria", ("criteria=[]",), "criteria"),
        ("criteria", ('criteria=["largest"]',), "largest"),
        ("criteria", ("criterion=random",), "criterion"),
        *((name, ("levels=0",), "levels") for name in NAMES),
        *((name, ("margin=-1",), "margin") for name in ("mask1", "mask0", "signs")),
        ("mask1", ('starts=["reinit", "reinit"]',), "starts: 'reinit' is given twice"),
        ("mask1", ("starts=[]",), "starts"),
        ("mask1", ('starts=["resign"]',), "starts"),
        ("mask1", ("masks=random",), "masks"),
        ("mask0", ('treatments=["v1", "v1"]',), "treatments: 'v1' is given twice"),
        ("mask0", ("treatments=[]",), "treatments"),
        ("mask0", ('treatments=["v3"]',), "treatments"),
        ("signs", ("settings=[]",), "settings"),
        ("signs", ('settings=[{"gain": 2}, {"gain": 2}]',), "given twice"),
        ("signs", ("depths=[1, 1]",), "depths: 1 is given twice"),
        ("signs", ("depths=[0]",), "depths"),
    ],
)
def test_settings_without_meaning_are_one_line(name, settings, words):
    with pytest.raises(TombolaError, match=words.replace("[", r"\[")) as error:
        tuple(small(name, *settings).rows())
    assert "\n" not in str(error.value)


def test_only_fully_connected_networks_have_depths():
    with pytest.raises(TombolaError, match="only of the model 'mlp', not 'conv2'") as error:
        tuple(small("signs", "depths=[2]", task="conv2-cifar10").rows())
    assert "\n" not in str(error.value)


# -- what is measured ----------------------------------------------------------------------------------------------------

TINY = ("steps=40it", "evaluate_every=20it", "widths=[12, 8]")


def tiny(name, *settings):
    study_settings = [f"task.model.options.{one}" if one.startswith("widths") else one for one in TINY]
    return small(name, *study_settings, *settings)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def carried(store):
    """Name of a study -> its findings at smoke, each carried out once."""
    return cache(lambda name, *settings: run_study(tiny(name, *settings), store, quiet=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_study_runs_and_is_read_again(name, carried, store, monkeypatch):
    found = carried(name)
    assert [verdict.id for verdict in found.verdicts] == [claim.id for claim in found.study.claims]
    assert {verdict.verdict for verdict in found.verdicts} == {"not judged"}  # of two replicates
    assert list(found.table.columns) == [*COLUMNS, *found.columns]
    assert len(found.table) == len(list(found.study.rows()))
    assert set(found.table.arm) <= set(found.study.arms)
    for figure in found.figures:
        assert {panel.metric for panel in figure.panels} <= set(found.table.columns)
        assert set(figure.arms) <= set(found.table.arm)
    assert found.table.groupby(["variant", "level"]).kept.nunique().max() == 1

    def never(*args, **options):
        raise AssertionError("the store has it")

    monkeypatch.setattr(execute, "train_cohort", never)
    pd.testing.assert_frame_equal(found.table, findings(tiny(name), store).table)


@pytest.mark.slow
def test_own_masks_become_other_masks(carried, store):
    masks = {which: chain(carried("mask1", f"masks={which}").study, "permute") for which in ("ticket", "own")}
    ticket = chain(carried("mask1").study, "rewind")

    def unchanged(of, level):
        masks = (load_tree(run[level], "mask", store, None) for run in (of, ticket))
        return all((own == its).all() for own, its in zip(*(mask.values() for mask in masks), strict=True))

    same, other = ([unchanged(of, level) for level in (1, 2)] for of in masks.values())
    assert same == [True, True]
    assert other == [True, False]  # the first round looks at the dense run


def test_what_pruned_weights_are_held_at(carried, store):
    study = carried("mask0").study
    runs = {arm: chain(study, arm) for arm in mask0.TREATMENTS}
    first = load_tree(runs["zero"][0], "0it", store, None)
    starts = {(arm, level): materialise(run, store, None) for arm, of in runs.items() for level, run in of.items()}
    last = load_tree(runs["v1"][1], "end", store, None)
    for path, mask in starts["v1", 2][0].items():
        gone, w = ~mask, first[path]
        held = {arm: starts[arm, 2][1][path][gone] for arm in ("v1", "random", "away")}
        towards = (abs(last[path]) < abs(w))[gone]
        assert (held["v1"] == np.where(towards, 0, w[gone])).all()
        assert (held["away"] == np.where(towards, w[gone], 0)).all()
        assert (held["random"] == 0).sum() == towards.sum()
        assert (held["random"] != held["v1"]).any()
        assert (last[path][gone & ~starts["v1", 1][0][path]] == starts["v1", 1][1][path][gone & ~starts["v1", 1][0][path]]).all()
        zero, frozen = starts["zero", 2], starts["freeze", 2]
        assert (zero[1][path] == np.where(zero[0][path], w, 0)).all()
        assert (frozen[1][path] == w).all()
        kept = starts["v2", 2][1][path][starts["v2", 2][0][path]]
        assert 0 < (kept == 0).sum() < kept.size
        before = starts["v1", 1]  # what was held at 0, or frozen, still is
        assert (starts["v1", 2][1][path][~before[0][path]] == before[1][path][~before[0][path]]).all()


def test_shares_that_moved_are_those_of_the_run_before(carried, store):
    found = carried("mask0")
    table = found.table.set_index(["arm", "replicate", "level"])
    assert table.xs(0, level="level")[["moved_kept", "moved_pruned"]].isna().all().all()
    for arm in ("zero", "v2"):
        runs = chain(found.study, arm)
        first, last = load_tree(runs[0], "0it", store, None), load_tree(runs[1], "end", store, None)
        before, now = load_tree(runs[1], "mask", store, None), load_tree(runs[2], "mask", store, None)
        start, end, trained, kept = (np.concatenate([tree[path].ravel() for path in before]) for tree in (first, last, before, now))
        towards = abs(end) < abs(start)
        row = table.loc[arm, 0, 2]
        assert row.moved_kept == pytest.approx(towards[kept].mean())
        assert row.moved_pruned == pytest.approx(towards[trained & ~kept].mean())
    moved = table[["moved_kept", "moved_pruned"]]
    for arm in mask0.CONTROLS:
        pd.testing.assert_frame_equal(moved.loc[arm], moved.loc["v1"])


# -- claims on tables with a known answer --------------------------------------------------------------------------------


def invented(arms, accuracy, *, levels=17, replicates=12, variants=("",), noise=0.002, **columns):
    """A table in which `accuracy(variant, arm, density)` is the truth, with noise by replicate."""
    random = np.random.default_rng(0)
    rows = []
    for variant in variants:
        for arm in arms:
            for replicate in range(replicates):
                for level in range(levels):
                    at = {"variant": variant, "arm": arm, "replicate": replicate, "level": level, "density": 0.8**level}
                    made = {name: make(arm, 0.8**level) + noise * random.normal() for name, make in columns.items()}
                    rows.append({**at, "acc_es": accuracy(variant, arm, 0.8**level) + noise * random.normal(), **made})
    return pd.DataFrame(rows)


def judged(name, table, task="digits-mlp", **fields):
    """Claim -> its verdict on a table."""
    return {verdict.id: verdict for verdict in small(name, task=task, **fields).judge(table)}


GOOD = {
    "large_final": 3, "magnitude_increase": 3, "large_final_same_sign": 4, "movement": 2, "large_init_large_final": 2, "large_init": 1,
    "random": 0, "small_init": -1, "small_init_small_final": -2, "small_final": -3, "large_final_diff_sign": -4,
}  # fmt: skip


def by_criterion(change=(), arms=tuple(criteria.CRITERIA), **options):
    points = {**GOOD, **dict(change)}
    world = invented(arms, lambda variant, arm, density: 0.7 + 0.02 * points[arm] * (density < 0.11), **options)
    return judged("criteria", world)["ZHOU-C1"]


@pytest.mark.slow
def test_c1():
    found = by_criterion()
    assert found.verdict == "replicated in part"
    assert [part for part in found.parts if part != "shown"] == ["holds"] * 4 + ["not judged"]
    assert "drawn among ties" in found.reasons[0]  # large final of a different sign
    best = found.effects[0]
    assert best.mean == pytest.approx(2, abs=0.3)
    assert [density for density, _, _ in best.per_level] == pytest.approx([0.8**level for level in (11, 12, 13, 14)])
    for change in ({"large_final_diff_sign": 0.5}, {"large_final_same_sign": 9}, {"large_final": 9}):
        assert by_criterion(change).parts.count("holds") == 4
    for change in (
        {"movement": 3.5},  # another is best
        {"small_final": 0.5},  # on the same side as its opposite
        {"large_init": -0.5},
        {"large_final": 9, "magnitude_increase": -0.5},
        dict.fromkeys(GOOD, 0),
    ):
        assert by_criterion(change).verdict == "not replicated", change
    assert by_criterion(replicates=5).verdict == "not judged"
    assert by_criterion(levels=8).reasons[0] == "no level that the claim is about was run"


@pytest.mark.parametrize("left", [("large_final", "random"), ("movement",), ("large_final", "magnitude_increase")])
def test_c1_says_which_criterion_is_lacking(left):
    found = by_criterion(arms=left)
    lacking = [name for name in criteria.CRITERIA if name not in left and name != "large_final_diff_sign"]
    assert found.verdict != "replicated"
    assert {reason.split()[1] for reason in found.reasons if "was not run" in reason} <= set(lacking)
    assert any("was not run" in reason for reason in found.reasons)


def by_start(plain, signed, odd=(), arms=mask1.STARTS, **fields):
    lost = {arm: signed if arm.endswith("_sign") else plain for arm in mask1.STARTS} | {"rewind": 0} | dict(odd)
    return judged("mask1", invented(arms, lambda variant, arm, density: 0.9 - lost[arm] * (density < 0.07)), **fields)["ZHOU-C2"]


@pytest.mark.slow
def test_c2():
    assert by_start(0.05, 0.002).verdict == "replicated"
    assert by_start(0.05, 0.03).verdict == "not replicated"
    assert by_start(0.10, 0.03, margin=5.0).verdict == "replicated"
    assert by_start(0.03, 0.03, margin=5.0).verdict == "not replicated"  # starts that match, by the same margin
    for arm in mask1.STARTS[1:]:
        odd = 0.03 if arm.endswith("_sign") else -0.01
        assert by_start(0.05, 0.002, {arm: odd}).verdict == "not replicated", arm
    assert by_start(0.0, 0.0).verdict == "not replicated"
    few = by_start(0.05, 0.0, arms=("rewind", "reinit"))
    assert few.verdict == "replicated in part"
    assert set(few.reasons) == {f"arm {arm} was not run" for arm in mask1.STARTS[2:]}


@pytest.mark.parametrize(
    ("density", "levels"),
    [([0.5, 0.059, 0.031, 0.02], [1, 2]), ([0.3, 0.07, 0.02, 0.001], [1]), ([0.3, 0.09, 0.019], []), ([0.8, 0.64], [])],
)
def test_levels_at_four_per_cent_or_the_nearest(density, levels):
    table = pd.DataFrame({"level": range(len(density)), "density": density})
    table.loc[0, "density"] = 1.0
    assert common.sparse_levels(table) == levels


def by_treatment(gain, moved=lambda density: (0.9, 0.3), task="digits-mlp", arms=mask0.TREATMENTS, columns=(), **fields):
    def world(variant, arm, density):
        return 0.8 + gain.get(arm, 0) * (density < 0.25)

    shares = {name: lambda arm, density, at=at: moved(density)[at] for at, name in enumerate(("moved_pruned", "moved_kept"))}
    return judged("mask0", invented(arms, world, **shares, **dict(columns)), task, **fields)


def test_c3_is_about_convolutional_networks():
    assert by_treatment({"freeze": -0.05}, task="conv2-cifar10")["ZHOU-C3"].verdict == "replicated"
    for freeze in (0.05, 0.0):
        assert by_treatment({"freeze": freeze}, task="conv2-cifar10")["ZHOU-C3"].verdict != "replicated"
    for freeze in (-0.05, 0.05):
        found = by_treatment({"freeze": freeze})["ZHOU-C3"]
        assert (found.verdict, found.parts) == ("not judged", ("not judged",))
        assert "convolutional" in found.reasons[0]


def test_where_early_stops_are_censored_accuracy_at_the_end_is_judged():
    at_end = {"acc_final": lambda arm, density: 0.9 + 0.05 * (arm == "freeze"), "es_censored": lambda arm, density: 0.9}
    found = by_treatment({"freeze": -0.05}, task="conv2-cifar10", columns=at_end)["ZHOU-C3"]
    assert found.verdict == "not replicated"
    assert "at the end" in found.effects[0].name


def test_c4_is_two_parts():
    def verdict(gain, **fields):
        return by_treatment(gain, **fields)["ZHOU-C4"].verdict

    assert verdict({"v1": 0.02, "v2": 0.04}) == "replicated"
    assert verdict({"v1": -0.005, "v2": 0.04}) == "replicated"  # within the margin of one point
    assert verdict({"v1": -0.005, "v2": 0.04}, margin=0.2) == "not replicated"
    assert verdict({"v1": 0.05, "v2": 0.02}) == "not replicated"
    assert verdict({"v1": 0.02, "v2": 0.02}) == "not replicated"  # V2 above zero, but not above V1
    assert verdict({}) == "not replicated"
    assert verdict({"v1": 0.02, "v2": 0.04, "random": 0.3, "away": 0.3}) == "replicated"  # controls are shown
    assert verdict({"v1": 0.02, "v2": 0.04}, arms=("zero", "v1")) == "replicated in part"


def test_c5_is_about_the_first_round():
    def verdict(pruned, kept, later=(0.1, 0.1), **fields):
        return by_treatment({}, lambda density: (pruned, kept) if density > 0.7 else later, **fields)["ZHOU-C5"].verdict

    assert verdict(0.9, 0.3) == "replicated"
    assert verdict(0.06, 0.01) == "replicated"  # what counts is how many times as often
    assert verdict(0.5, 0.3, later=(0.9, 0.1)) == "not replicated"  # more often, not far more
    assert verdict(0.3, 0.9) == "not replicated"
    assert verdict(0.3, 0.3) == "not replicated"
    assert verdict(0.9, 0.3, arms=("freeze", "v1")) == "replicated"  # all treatments share the first round


def by_sign(truth, variants=("adam", "momentum")):
    arms = ("both", "signs", "magnitudes", "neither")
    found = judged("signs", invented(arms, lambda variant, arm, density: 0.9 - truth(variant).get(arm, 0), variants=variants))
    assert {verdict.source for verdict in found.values()} == {"open question"}
    return [verdict.verdict for verdict in found.values()]


def test_o1_o2_hold_in_all_settings_or_not():
    good, bad = {"signs": 0.002, "magnitudes": 0.05}, {"signs": 0.05, "magnitudes": 0.002}
    assert by_sign(lambda variant: good) == ["replicated", "replicated"]
    assert by_sign(lambda variant: bad) == ["not replicated", "not replicated"]
    assert by_sign(lambda variant: bad if variant == "momentum" else good) == ["not replicated", "not replicated"]
    assert by_sign(lambda variant: {}) == ["not replicated", "replicated"]
