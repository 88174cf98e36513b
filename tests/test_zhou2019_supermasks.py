"""The studies of supermasks of Zhou et al. 2019: heuristic and trained ones, and claims on tables with a known answer."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tombola.core.errors import TombolaError
from tombola.engine.configuring import resolve
from tombola.engine.study import run_study
from tombola.models.tasks import task as named_task
from tombola.report.page import write
from tombola.store.store import Store
from tombola.studies.catalogue import studies
from tombola.studies.zhou2019 import supermask, trained

QUICK = ("steps=40it", "evaluate_every=20it")


def small(name, *settings, scale="smoke", task="digits-mlp", **fields):
    return resolve(f"zhou2019.{name}", scale=scale, task=task, settings=settings, **fields)


def configured(name, **fields):
    return studies[f"zhou2019.{name}"].configure("smoke", "digits-mlp").but(**fields)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def heuristic(store):
    return run_study(small("supermask", *QUICK), store, quiet=True)


@pytest.fixture(scope="module")
def learnt(store):
    return run_study(small("trained", *QUICK, "mask_steps=40it", "looks=3"), store, quiet=True)


@pytest.mark.parametrize("name", ["supermask", "trained", "compression"])
@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
@pytest.mark.parametrize("task", ["mnist1d-mlp", "lenet-mnist", "conv6-cifar10"])
def test_every_study_resolves_at_every_scale(name, scale, task):
    assert small(name, scale=scale, task=task).cells


def test_every_claim_of_the_paper_has_a_study():
    claimed = {claim for name in studies if name.startswith("zhou2019.") for claim in studies[name].claim_ids}
    assert claimed == {*(f"ZHOU-C{number}" for number in range(1, 9)), "ZHOU-O1", "ZHOU-O2"}


# -- heuristic supermasks ------------------------------------------------------------------------------------------------


def test_every_mask_has_a_row_for_each_kind_of_values(heuristic):
    table = heuristic.table
    assert len(table) == 3 * 2 * 2 * 4  # criteria, values, replicates, levels
    assert table.acc.between(0, 1).all()
    whole = table[table.level == 0].groupby(["replicate", "variant"]).acc.nunique()
    assert (whole == 1).all()  # all criteria begin with the whole network
    assert table.groupby("level").density.nunique().eq(1).all()
    assert [figure.name for figure in heuristic.study.figures] == ["supermask", "others", "picture"]


def test_a_picture_shows_shares(heuristic):
    found = heuristic.details["picture"]
    assert found.value.between(0, 1).all()
    assert set(found.arm) == {"large_final_same_sign", "large_final", "random"}
    crossed = found[(found.arm == "large_final_same_sign") & (found.row < 8) & (found.column < 8)]  # final > 0 > initial
    assert (crossed.value == 0).all()


@pytest.mark.parametrize(
    ("setting", "said"),
    [("pictured=[9]", "pictured"), ('criteria=["nope"]', "nope"), ('criteria=["random","random"]', "random"), ("criteria=[]", "criteria")],
)
def test_wrong_settings_of_heuristic_masks_are_one_line(setting, said):
    with pytest.raises(TombolaError, match=said) as error:
        small("supermask", setting)
    assert "\n" not in str(error.value)


def without_training(same, large, constant, replicates=8):
    rows = []
    for replicate in range(replicates):
        noise = 0.002 * np.sin(replicate)
        for arm, acc in (("large_final", large), ("large_final_same_sign", same)):
            for values, plus in (("init", 0.0), ("constant", constant)):
                for level in range(4):
                    # The test set alone would choose level 3.
                    point = acc + plus + noise + (0.3 if level == 3 else 0.0 if level == 2 else -0.02)
                    validation = acc - 0.1 * abs(level - 2)
                    at = {"arm": arm, "variant": values, "replicate": replicate, "level": level, "density": 0.8**level}
                    rows.append({**at, "acc": point, "validation_acc": validation, "chance_acc": 0.1})
    return pd.DataFrame(rows)


def test_c6():
    def verdict(*points, **options):
        return supermask.claims(configured("supermask"), without_training(*points, **options))[0]

    found = verdict(0.7, 0.5, 0.1)
    assert found.verdict == "replicated"
    assert [effect.mean for effect in found.effects] == pytest.approx([40, 20, 10], abs=0.2)  # at the level of validation examples
    assert [effect.decides for effect in found.effects] == [True, True, False]
    assert verdict(0.5, 0.7, 0.1).verdict == "not replicated"
    assert verdict(0.3, 0.1, 0.1).verdict != "replicated"  # at chance
    assert verdict(0.7, 0.5, -0.2).verdict == "replicated"
    assert verdict(0.7, 0.5, 0.1, replicates=4).verdict == "undecided"


def test_c6_without_a_criterion_is_undecided():
    config = configured("supermask", criteria=("large_final",))
    assert supermask.claims(config, without_training(0.7, 0.5, 0.1))[0].verdict == "undecided"


# -- trained supermasks --------------------------------------------------------------------------------------------------


def test_learners_train_scores_and_leave_weights_alone(learnt, store):
    runs = {cell.arm: cell.run for cell in learnt.study.cells if cell.variant == "constant"}
    assert set(runs) == {"heuristic", *trained.LEARNERS}
    for arm in trained.LEARNERS:
        record = store.find(runs[arm].digest)
        first, last = record.weights(0), record.weights(40)
        scores = [path for path in first if path.endswith(".score")]
        assert scores
        assert all((first[path] == last[path]).all() for path in first if path not in scores)
        assert any((first[path] != last[path]).any() for path in scores)
        for path in scores:  # a signed constant
            assert len(np.unique(abs(first[path.removesuffix(".score")]))) == 1


def test_the_table_has_all_columns(learnt):
    table = learnt.table
    assert set(zip(table.arm, table.variant, strict=True)) == {
        ("trained", "init"),
        *((arm, values) for arm in ("heuristic", *trained.LEARNERS) for values in trained.VALUES),
    }
    assert table.acc.between(0, 1).all()
    at = table.set_index("arm")
    assert (at.sampled_spread[["learned", "rescaled"]] > 1e-6).all()
    assert (at.sampled_spread[["edge_popup", "signed"]] < 1e-12).all()
    drawn = at.loc[["learned", "rescaled"]]
    assert (drawn.acc != drawn.threshold_acc).any()
    assert (drawn.acc != drawn.expected_acc).any()
    assert np.allclose(at.acc["edge_popup"], at.threshold_acc["edge_popup"])
    assert at.paper.isna().all()  # digits are not in the paper
    assert np.allclose(at.density["edge_popup"], 0.5, atol=0.01)
    assert at.acc["trained"].mean() > at.chance_acc["learned"].mean()


def test_no_details_table_takes_the_place_of_a_file_of_the_report(learnt, store, tmp_path):
    write([learnt], tmp_path)
    written = pd.read_csv(tmp_path / "zhou2019.trained" / "table.csv")
    assert set(written.arm) == {"heuristic", "trained", *trained.LEARNERS}
    for name in ("table", "curves"):
        wrong = replace(learnt.study, details=lambda results, name=name: {name: learnt.details["masks"]})
        with pytest.raises(TombolaError, match=name):
            run_study(wrong, store, quiet=True)


def test_the_papers_table_stands_beside_its_own_tasks_alone():
    lenet, conv = named_task("lenet-mnist", "smoke"), named_task("conv4-cifar10", "smoke")
    assert trained.paper(lenet, "heuristic", "init") == pytest.approx(0.793)
    assert trained.paper(lenet, "learned", "constant") == pytest.approx(0.964)
    assert trained.paper(lenet, "trained", "init") == pytest.approx(0.977)
    assert trained.paper(conv, "rescaled", "init") == pytest.approx(0.717)
    assert np.isnan(trained.paper(lenet, "edge_popup", "init"))
    assert np.isnan(trained.paper(named_task("digits-mlp", "smoke"), "learned", "init"))
    wide = lenet.but(model=lenet.model.but(options={"widths": [100]}))
    assert np.isnan(trained.paper(wide, "learned", "init"))
    narrow = conv.but(model=conv.model.but(options={"width": 8}))
    assert np.isnan(trained.paper(narrow, "learned", "init"))


def test_masks_are_looked_at_from_the_first_step_to_the_last():
    config = configured("trained", looks=5, mask_steps="40it")
    assert [str(step) for step in trained.steps(config)] == ["0it", "10it", "20it", "30it", "end"]
    assert len(small("trained", "looks=4", "mask_steps=40it").cells) > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("mask_steps=2000ep", "looks=10"), "looks = 10"),
        (('densities={"learned":0.5}',), "densities: 'rescaled'"),
        (('mask_rates={"learned":1}',), "mask_rates: 'rescaled'"),
        (('learners=["nope"]',), "learners"),
        (("samples=0",), "samples"),
        (("looks=1",), "looks"),
    ],
)
def test_wrong_settings_of_learners_are_one_line(settings, said):
    with pytest.raises(TombolaError, match=said) as error:
        small("trained", *settings)
    assert "\n" not in str(error.value)


def test_settings_reach_the_recipe():
    study = small("trained", 'learners=["edge_popup","learned"]', 'densities={"learned":0.2,"edge_popup":0.3}', "mask_batch=32")
    recipes = {cell.arm: cell.run.task.recipe for cell in study.cells}
    assert recipes["learned"].supermask.density == 0.2
    assert recipes["edge_popup"].supermask.density == 0.3
    assert (recipes["learned"].learning_rate, recipes["edge_popup"].learning_rate) == (100.0, 0.1)
    assert (recipes["learned"].schedule, recipes["edge_popup"].schedule) == ("constant", "cosine")
    assert {recipe.batch for arm, recipe in recipes.items() if arm in trained.LEARNERS} == {32}


POINTS = {("heuristic", "init"): 70, ("heuristic", "constant"): 80, ("learned", "init"): 90, ("learned", "constant"): 91,
          ("rescaled", "init"): 96, ("rescaled", "constant"): 97, ("edge_popup", "constant"): 92, ("signed", "constant"): 95,
          ("trained", "init"): 98}  # fmt: skip


def by_learner(change=(), replicates=8):
    points = {**POINTS, **dict(change)}
    rows = [
        {"arm": arm, "variant": values, "replicate": replicate, "acc": acc / 100 + 0.001 * np.cos(replicate + 3 * index)}
        for index, ((arm, values), acc) in enumerate(points.items())
        for replicate in range(replicates)
    ]
    return trained.claims(configured("trained"), pd.DataFrame(rows))[0]


def test_c7():
    assert by_learner().verdict == "replicated"
    assert by_learner(replicates=3).verdict == "undecided"
    for worse in (
        {("learned", "init"): 60},
        {("learned", "constant"): 75},
        {("rescaled", "init"): 85},
        {("rescaled", "constant"): 85},
        {("learned", "constant"): 85},
        {("trained", "init"): 101},
    ):
        assert by_learner(worse).verdict == "not replicated", worse
    assert by_learner({("learned", "constant"): 89.5}).verdict == "replicated"  # within the margin of 1 pp
    assert by_learner({("edge_popup", "constant"): 10, ("signed", "constant"): 10}).verdict == "replicated"  # nothing is claimed of them
