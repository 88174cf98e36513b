"""The studies of moving masks and of finding tickets: what is trained, what is measured of it, claims on tables with a known answer."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from toys import before_any_result

from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.engine.configuring import fields_of, resolve
from tombola.engine.study import run_study
from tombola.report.figures import draw
from tombola.store.store import Store
from tombola.studies.base import COLUMNS
from tombola.training import slopes

MOVING, FINDING = ("schedules", "journeys", "comebacks", "decisions"), ("cost", "sanity", "data", "scores", "early_bird")
NAMES = [*(f"moving.{name}" for name in MOVING), *(f"finding.{name}" for name in FINDING)]
AT_DENSITIES = [name for name in NAMES if name != "moving.decisions"]


def small(name, *settings, scale="smoke", task="digits-mlp", **fields):
    return resolve(name, scale=scale, task=task, settings=settings, **fields)


def runs_of(study, arm, variant=None, replicate=0):
    """Level -> run of an arm."""
    return {row.level: row.run for row in study.rows() if (row.arm, row.replicate) == (arm, replicate) and variant in (None, row.variant)}


# -- what is trained -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("task", ["digits-mlp", "mnist1d-mlp", "resnet20-cifar10"])
def test_every_study_resolves_from_one_dense_run_a_replicate(name, task):
    study = small(name, scale="small", task=task, replicates=2)
    rows = list(study.rows())
    assert {row.run.seed for row in rows} == {replicate_seed(0, replicate) for replicate in range(2)}
    assert len({(row.variant, row.arm, row.replicate, row.level, row.measurement) for row in rows}) == len(rows)
    assert {row.arm.partition("/")[0].partition(":")[0] for row in rows if row.arm != "tried"} <= set(study.arms)


def test_rounds_end_at_the_densities_and_take_no_more_than_they_may():
    study = small("moving.schedules", "densities=[0.5, 0.05, 0.02]", "per_round=0.36")
    left, ends = 1.0, {}
    for level, rate in study.rounds():
        assert 0 < rate <= 0.36 + 1e-12
        left *= 1 - rate
        ends[level] = left
    assert ends == pytest.approx({1: 0.5, 2: 0.05, 3: 0.02})
    chain = study.imp(0)
    assert study.by_level(chain)[3] == chain[-1]
    assert len(chain) == 1 + len(study.rounds()) == 1 + 2 + 6 + 3
    with pytest.raises(TombolaError, match=r"densities = .*: write them from the largest to the smallest"):
        small("moving.schedules", "densities=[0.1, 0.2]")


def test_methods_differ_in_mask_schedule_and_start_alone():
    study = small("moving.schedules", "shots=[0.1, 1]", "densities=[0.1]")
    dense = runs_of(study, "imp")[0]
    of = {arm: runs_of(study, arm)[1] for arm in study.arms}
    schedule = {arm: run.task.recipe.mask_schedule for arm, run in of.items()}
    assert {arm: one.name for arm, one in schedule.items() if one} == {
        "cubic": "gradual", "linear": "gradual", "once_10": "gradual", "once_100": "gradual", "rigl": "rigl", "set": "set",
    }  # fmt: skip
    assert schedule["once_10"].options == {"final": 0.1, "end": "10it", "every": "10it", "scope": "global"}
    assert schedule["once_100"].options["end"] == "100it"
    assert {arm: schedule[arm].options["shape"] for arm in ("cubic", "linear")} == {"cubic": "cubic", "linear": "linear"}
    assert schedule["rigl"].options == schedule["set"].options
    assert of["rigl"].mask == of["set"].mask == of["random"].mask
    assert of["gates"].task.recipe.supermask.density == 0.1
    for run in of.values():
        assert run.task.but(recipe=dense.task.recipe) == dense.task
        assert run.task.recipe.but(mask_schedule=None, supermask=None) == dense.task.recipe
    chain, cycled = study.imp(0, continued=True), [of["cycled"]]
    while cycled[-1].kept is not None:
        cycled.append(cycled[-1].kept.of[0].run)
    assert len(cycled) == len(chain)  # as many cycles, under one mask, with the same orders of data
    assert [run.noise for run in reversed(cycled)] == [run.noise for run in chain]
    assert cycled[-1] == of["random"]
    assert {run.mask.name for run in cycled[:-1]} == {"parent_mask"}


def test_controls_share_all_but_the_mask_or_the_start():
    study = small("finding.sanity", 'methods=["snip", "grasp", "synflow", "one_shot", "imp"]')
    for method in study.methods:
        of = {arm: runs_of(study, arm, method) for arm in study.arms}
        ticket = of["ticket"][1]
        assert of["shuffled"][1].but(mask=ticket.mask) == ticket
        assert of["shuffled"][1].mask.of == (ticket.its_mask(),)
        assert of["reinit"][1].but(mask=ticket.mask, kept=ticket.kept) == ticket
        assert bool(of["inverted"]) is (method != "imp")
        if method != "imp":
            mask = of["inverted"][1].mask
            assert mask.but(options={key: value for key, value in mask.options.items() if key != "inverted"}) == ticket.mask


def test_few_data_are_a_part_of_all_and_the_ticket_sees_all():
    study = small("finding.data")
    run = runs_of(study, "few")[1]
    (mask,) = run.mask.of
    assert run.task == study.task
    assert mask.run.task.data.train == study.examples == 120
    assert runs_of(study, "short")[1].mask.of[0].run.task.recipe.steps == "10it"
    data, seed = load(study.task.data), run.seed
    few, every = (split(data, task.data, seed) for task in (mask.run.task, study.task))
    assert len(few.train) == 120
    assert set(few.train) < set(every.train)
    assert small("finding.data", scale="small", task="mnist1d-mlp").examples == 400
    assert small("finding.data", "examples=60").examples == 60


def test_early_bird_looks_at_the_dense_run_and_damage_is_seen_before_training():
    study = small("finding.cost", 'methods=["early_bird"]')
    run = runs_of(study, "early_bird")[1]
    assert len(run.mask.of) == 41
    assert {parent.run for parent in run.mask.of} == {runs_of(study, "dense")[0]}
    bare = small("finding.scores", 'scores=["compensated"]')
    runs = {row.arm: row.run for row in bare.rows() if row.level == 1 and row.replicate == 0}
    assert runs["compensated:bare"].until == "1it"
    assert runs["compensated:bare"].kept.name == "brain_surgery"
    assert runs["compensated"].mask == runs["compensated:bare"].mask
    assert runs["compensated"].mask.options["criterion"] == "optimal_brain_surgeon"


SETTINGS = {
    "replicates": "replicates=3", "seed": "seed=1", "densities": "densities=[0.3]", "scope": "scope=layer", "per_round": "per_round=0.2",
    "rewind": "rewind=5it", "methods": 'methods=["snip"]', "shots": "shots=[0.2, 0.3]", "updates": "updates=12", "until": "until=0.5",
    "drop": "drop=0.5", "looks": "looks=9", "examples": "examples=60", "share": "share=0.2", "scores": 'scores=["snip"]',
    "units": 'units=["units_fisher"]', "unit_shares": "unit_shares=[0.3]", "threshold": "threshold=0.2", "look_back": "look_back=2",
}  # fmt: skip
NOT_OF = {
    "threshold": tuple(NAMES), "look_back": tuple(NAMES), "margin": tuple(NAMES),
    "scope": ("finding.early_bird",), "densities": ("finding.early_bird",),
}  # fmt: skip
FIELDS = [
    (name, field)
    for name in AT_DENSITIES
    for field in fields_of(small(name))
    if not field.startswith("task.") and name not in NOT_OF.get(field, ())
]


@cache
def seen(name, *settings):
    return before_any_result(small(name, *settings))


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_field_changes_what_is_seen(name, field):
    setting = 'methods=["random"]' if (name, field) == ("moving.schedules", "methods") else SETTINGS[field]
    base = ('methods=["imp"]',) if field in ("per_round", "rewind") and name == "finding.cost" else ()
    assert seen(name, *base) != seen(name, *base, setting)


# -- what is measured ----------------------------------------------------------------------------------------------------

TINY = ("steps=40it", "evaluate_every=20it", "task.model.options.widths=[12, 8]")
OWN = {
    "moving.schedules": ('methods=["imp", "cubic", "rigl", "gates"]',),
    "moving.journeys": ("looks=4",),
    "finding.cost": ('methods=["early_bird", "imp"]', "densities=[0.3, 0.1]"),
    "finding.scores": ('scores=["large_final", "compensated"]', 'units=["units_activity"]'),
    "finding.early_bird": ("threshold=5", "look_back=1"),
}

SLOW = ("moving.decisions", "moving.comebacks", "finding.data", "finding.sanity")
"""What `make test-all` carries out."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def carried(store):
    """Name of a study -> its findings, each carried out once; the surgeon sees few examples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slopes, "EXAMPLE_GRADIENTS", 120)
        yield cache(lambda name: run_study(small(name, *TINY, *OWN.get(name, ())), store, quiet=True))


@pytest.mark.filterwarnings("ignore::tombola.TombolaWarning")  # an inverted score empties layers
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in NAMES])
def test_every_study_runs_and_is_drawn(name, carried):
    found = carried(name)
    assert [verdict.id for verdict in found.verdicts] == [claim.id for claim in found.study.claims]
    assert {verdict.verdict for verdict in found.verdicts} == {"not judged"}  # of two replicates
    assert list(found.table.columns) == [*COLUMNS, *found.columns]
    assert len(found.table)
    for figure in found.figures:
        assert draw(figure, found).caption
        if figure.detail:
            assert len(found.details[figure.detail])


def test_costs_and_controls_stand_in_the_table(carried):
    table = carried("finding.cost").table.set_index(["arm", "level", "replicate"]).sort_index()
    assert set(table.index.get_level_values("arm")) == {"dense", "early_bird", "imp"}
    assert table.loc["dense", "spent"].tolist() == [1.0] * 2
    imp = table.loc["imp"]
    assert imp.loc[1, "finding"].tolist() == pytest.approx([1.0, 1.0])  # the first round is that of the dense network
    assert (imp.loc[2, "finding"] > imp.loc[1, "finding"]).all()
    assert (table.loc["early_bird", "finding"] <= 1).all()
    assert table.loc["imp", ["acc_shuffled", "acc_reinit"]].notna().all(axis=None)
    moved = carried("moving.schedules").table.set_index(["arm", "level"]).sort_index()
    assert moved.loc[("cubic", 1), "finding"].eq(0).all()
    assert moved.loc[("gates", 1), "density"].between(0.08, 0.12).all()
    rigl = moved.loc[("rigl", 1)]
    assert (rigl.spent - rigl.density - 5 / 40 * (1 - rigl.density)).abs().max() < 1e-9  # the gradients at its updates, of every 5 of 30


def test_what_pruning_costs_without_retraining_is_measured_before_the_first_step(carried):
    table = carried("finding.scores").table
    whole = table[table.level == 0]
    assert (whole.acc_pruned == whole.acc_final).all()
    assert table[table.level > 0].groupby("arm").speedup.apply(lambda of: (of > 0).all()).to_dict() == {
        arm: arm == "large_final" for arm in set(table[table.level > 0].arm)
    }
    bare = table[(table.level == 1) & (table.arm == "large_final")]
    assert (bare.acc_pruned != bare.acc_final).any()
    assert table[table.arm == "units_activity/reinit"].acc_pruned.isna().all()
    assert set(table[table.variant == "units"].arm) == {"units_activity", "units_activity/reinit"}


def test_journeys_are_measured_by_layer(carried):
    table = carried("moving.journeys").table
    dense = table[table.arm == "dense"]
    assert set(dense.variant) == {"all", "hidden1", "hidden2", "output"}
    assert dense.auc_start.between(0, 1).all()
    assert table[table.arm == "lrr"].flipped.notna().all()
    assert table[table.arm.isin(["rigl", "set"])].survival.between(0, 1).all()
    details = carried("moving.journeys").details
    assert details["auc"].groupby(["variant", "replicate", "level"]).value.last().eq(1).all()  # the final mask is told by the final weights


# -- claims on tables with a known answer --------------------------------------------------------------------------------


def invented(arms, accuracy, densities, *, variants=("",), replicates=10, noise=0.002, metric="acc_final"):
    random, rows = np.random.default_rng(0), []
    for variant in variants:
        for arm in arms:
            for replicate in range(replicates):
                for level, density in enumerate((1.0, *densities)):
                    value = accuracy(variant, arm, density) + noise * random.normal()
                    at = {"variant": variant, "arm": arm, "replicate": replicate, "level": level, "density": density}
                    rows.append({**at, "acc_final": 0.9, "acc_es": 0.9, metric: value})
    return pd.DataFrame(rows)


def verdicts(name, table, *settings):
    return {one.id: one.verdict for one in small(name, *settings, scale="small").judge(table)}


def moved(lost):
    study = small("moving.schedules", scale="small")
    world = lambda variant, arm, density: 0.95 - lost.get(arm, 0) * (density <= 0.1)  # noqa: E731
    return verdicts("moving.schedules", invented(study.arms, world, study.densities))


def test_claims_of_schedules():
    good = {"imp": 0, "cubic": 0.03, "rigl": 0.02, "set": 0.05, "random": 0.09, "linear": 0.03, "once_100": 0.5}
    once = {f"once_{share:g}": 0.03 for share in (2, 5, 10, 25, 50)}
    assert moved({**good, **once}) == dict.fromkeys(("MOV-C1", "MOV-C2", "MOV-C8"), "replicated")
    assert moved({**good, "cubic": 0})["MOV-C1"] == "not replicated"
    assert moved({**good, "set": 0.01})["MOV-C2"] == "not replicated"
    assert moved({**good, **once, "linear": 0.2, "once_25": 0})["MOV-C8"] == "not replicated"


def test_claims_of_finding():
    study = small("finding.sanity", scale="small")

    def checked(init, imp):
        def world(variant, arm, density):
            return 0.9 - {"ticket": 0}.get(arm, imp if variant == "imp" else init)

        return verdicts("finding.sanity", invented(study.arms, world, study.densities, variants=study.variants))["FIND-C1"]

    assert (checked(0.0, 0.05), checked(0.05, 0.05), checked(0.0, 0.0)) == ("replicated", "not replicated", "not replicated")
    data = small("finding.data", scale="small")
    few = lambda lost: invented(data.arms, lambda v, arm, d: 0.9 - lost * (arm in ("few", "short")), data.densities)  # noqa: E731
    assert verdicts("finding.data", few(0.002))["FIND-C3"] == "replicated"
    assert verdicts("finding.data", few(0.05))["FIND-C3"] == "not replicated"
    points = {"random": 0, "gradual": 2, "one_shot_lrr": 4, "lrr": 6}

    def front(variant, arm, density):
        return 0.8 + 0.02 * points.get(arm, 1 if density == 0.1 else 0)

    cost = small("finding.cost", scale="small")
    table = invented(cost.arms, front, cost.densities)
    assert verdicts("finding.cost", table)["FIND-C2"] == "replicated"
    points["snip"] = 3
    assert verdicts("finding.cost", invented(cost.arms, front, cost.densities))["FIND-C2"] == "not replicated"


def test_claims_of_scores_and_comebacks():
    study = small("finding.scores", scale="small")
    bare = {"compensated": 0.6, "optimal_brain_damage": 0.5, "large_final": 0.4}
    table = invented(study.arms, lambda v, arm, d: bare.get(arm, 0.3), study.densities, variants=("weights", "units"), metric="acc_pruned")
    noise = np.random.default_rng(1).normal(size=len(table))
    table["acc_final"] += 0.001 * noise
    table["speedup"] = np.where(table.variant == "units", 1.5, 1.0) + 0.01 * noise
    assert verdicts("finding.scores", table) == dict.fromkeys(("SCORE-C1", "SCORE-C2", "SCORE-C3", "SCORE-C4"), "replicated")
    assert verdicts("finding.scores", table.assign(speedup=1.5 + 0.01 * noise))["SCORE-C4"] == "not replicated"
    assert verdicts("finding.scores", table.assign(speedup=np.nan))["SCORE-C4"] == "not judged"
    bare["large_final"] = 0.55
    table["acc_pruned"] = [bare.get(arm, 0.3) + 0.001 * (replicate % 3) for arm, replicate in zip(table.arm, table.replicate, strict=True)]
    assert verdicts("finding.scores", table)["SCORE-C1"] == "not replicated"
    back = small("moving.comebacks", scale="small")
    shares = dict(zip(back.arms, back.shots, strict=True))
    random = np.random.default_rng(2)
    table = invented(back.arms, lambda v, arm, d: 0.9, back.densities)
    table["share"] = [shares[arm] for arm in table.arm]
    table["comebacks"] = 0.5 * (1 - table["share"])
    table["lost"] = table.comebacks**2 + 0.03 * random.normal(size=len(table))
    assert verdicts("moving.comebacks", table)["MOV-C5"] == "replicated"
    noise, sparsest = 0.03 * random.normal(size=len(table)), table.level == table.level.max()
    table["lost"] = table.comebacks * np.where(sparsest, -1, 1) + noise  # opposite effects are not averaged
    assert verdicts("moving.comebacks", table)["MOV-C5"] == "not replicated"
    table["lost"] = random.normal(size=len(table))
    assert verdicts("moving.comebacks", table)["MOV-C5"] in ("not replicated", "undecided")
    table["lost"] = -table.comebacks + 0.03 * random.normal(size=len(table))
    assert verdicts("moving.comebacks", table)["MOV-C5"] == "not replicated"
