"""The studies of supermasks of Zhou et al. 2019: heuristic and trained ones, and claims on tables with a known answer."""

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
from tombola.studies.zhou2019 import trained
from tombola.studies.zhou2019.common import VALUES
from tombola.studies.zhou2019.learning import LEARNERS

QUICK = ("steps=40it", "evaluate_every=20it")


def small(name, *settings, scale="smoke", task="digits-mlp", **fields):
    return resolve(f"zhou2019.{name}", scale=scale, task=task, settings=settings, **fields)


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
    assert list(small(name, scale=scale, task=task).rows())


def test_every_claim_of_the_paper_has_a_study():
    claimed = [claim.id for name in studies if name.startswith("zhou2019.") for claim in resolve(name).claims]
    assert sorted(claimed) == [*(f"ZHOU-C{number}" for number in range(1, 9)), "ZHOU-O1", "ZHOU-O2"]


# -- heuristic supermasks ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_mask_has_a_row_for_each_kind_of_values(heuristic):
    table = heuristic.table
    assert len(table) == 3 * 2 * 2 * 4  # criteria, values, replicates, levels
    assert table.acc.between(0, 1).all()
    whole = table[table.level == 0].groupby(["replicate", "variant"]).acc.nunique()
    assert (whole == 1).all()  # all criteria begin with the whole network
    assert table.groupby("level").density.nunique().eq(1).all()
    assert [figure.name for figure in heuristic.figures] == ["supermask", "others", "picture"]


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
        tuple(small("supermask", setting).rows())
    assert "\n" not in str(error.value)


def without_training(change=(), replicates=12):
    """Accuracies by criterion at the level that does best on validation examples; the test set alone would choose another."""
    points = {("large_final_same_sign", "init"): 0.7, ("large_final_same_sign", "constant"): 0.8, ("large_final", "init"): 0.5,
              ("magnitude_increase", "init"): 0.6, ("movement", "init"): 0.3, ("large_init_large_final", "init"): 0.4,
              ("random", "init"): 0.15} | dict(change)  # fmt: skip
    rows = [
        {"arm": arm, "variant": values, "replicate": replicate, "level": level, "density": 0.8**level, "chance_acc": 0.1}
        | {"acc": acc * (0, 0.5, 1, 1.2)[level] + 0.002 * np.sin(replicate + 3 * index), "validation_acc": acc - 0.1 * abs(level - 2)}
        for index, ((arm, values), acc) in enumerate(points.items())
        for replicate in range(replicates)
        for level in range(4)
    ]
    return small("supermask").judge(pd.DataFrame(rows))[0]


def test_c6():
    found = without_training()
    assert found.verdict == "replicated"
    judged = [effect for effect in found.effects if effect.judged]
    assert [effect.mean for effect in judged] == pytest.approx([35, 10, 10], abs=0.3)  # above random, above the best other, constant
    for change in (
        {("large_final", "init"): 0.15},  # as good as random masks chosen alike, above chance
        {("large_final", "init"): 0.8},
        {("magnitude_increase", "init"): 0.7},
        {("large_final_same_sign", "constant"): 0.7},
    ):
        assert without_training(change).verdict != "replicated", change
    assert without_training({("magnitude_increase", "init"): 0.75}).verdict == "not replicated"
    assert without_training(replicates=5).verdict == "not judged"


def test_c6_without_a_criterion_says_so():
    table = pd.DataFrame(
        [{"arm": "large_final", "variant": "init", "replicate": 0, "level": 1, "density": 0.8, "acc": 0.5, "validation_acc": 0.5}]
    )
    found = small("supermask").judge(table)[0]
    assert found.verdict == "not judged"
    assert "arm random was not run" in found.reasons


# -- trained supermasks --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_learners_train_scores_and_leave_weights_alone(learnt, store):
    runs = {row.arm: row.run for row in learnt.study.rows() if row.variant == "constant"}
    assert set(runs) == {"heuristic", *LEARNERS}
    for arm in LEARNERS:
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
        *((arm, values) for arm in ("heuristic", *LEARNERS) for values in VALUES),
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


@pytest.mark.slow
def test_no_details_table_takes_the_place_of_a_file_of_the_report(learnt, store, tmp_path, monkeypatch):
    write([learnt], tmp_path)
    written = pd.read_csv(tmp_path / "zhou2019.trained" / "table.csv")
    assert set(written.arm) == {"heuristic", "trained", *LEARNERS}
    for name in ("table", "curves"):
        monkeypatch.setattr(trained.Trained, "details", lambda study, results, name=name: {name: learnt.details["masks"]})
        with pytest.raises(TombolaError, match=name):
            run_study(learnt.study, store, quiet=True)


def test_the_papers_table_stands_beside_its_own_tasks_alone():
    lenet, conv = named_task("lenet-mnist", "smoke"), named_task("conv4-cifar10", "smoke")
    assert trained.in_paper(lenet, "heuristic", "init") == pytest.approx(0.793)
    assert trained.in_paper(lenet, "learned", "constant") == pytest.approx(0.964)
    assert trained.in_paper(lenet, "trained", "init") == pytest.approx(0.977)
    assert trained.in_paper(conv, "rescaled", "init") == pytest.approx(0.717)
    assert np.isnan(trained.in_paper(lenet, "edge_popup", "init"))
    assert np.isnan(trained.in_paper(named_task("digits-mlp", "smoke"), "learned", "init"))
    wide = lenet.but(model=lenet.model.but(options={"widths": [100]}))
    assert np.isnan(trained.in_paper(wide, "learned", "init"))
    narrow = conv.but(model=conv.model.but(options={"width": 8}))
    assert np.isnan(trained.in_paper(narrow, "learned", "init"))


def test_masks_are_looked_at_from_the_first_step_to_the_last():
    study = small("trained", looks=5, mask_steps="40it")
    assert [str(step) for step in study.steps()] == ["0it", "10it", "20it", "30it", "end"]
    assert list(small("trained", "looks=4", "mask_steps=40it").rows())


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
        tuple(small("trained", *settings).rows())
    assert "\n" not in str(error.value)


def test_settings_reach_the_recipe():
    study = small("trained", 'learners=["edge_popup","learned"]', 'densities={"learned":0.2,"edge_popup":0.3}', "mask_batch=32")
    recipes = {row.arm: row.run.task.recipe for row in study.rows()}
    assert recipes["learned"].supermask.density == 0.2
    assert recipes["edge_popup"].supermask.density == 0.3
    assert (recipes["learned"].learning_rate, recipes["edge_popup"].learning_rate) == (100.0, 0.1)
    assert (recipes["learned"].schedule, recipes["edge_popup"].schedule) == ("constant", "cosine")
    assert {recipe.batch for arm, recipe in recipes.items() if arm in LEARNERS} == {32}


POINTS = {("heuristic", "init"): 70, ("heuristic", "constant"): 80, ("learned", "init"): 90, ("learned", "constant"): 91,
          ("rescaled", "init"): 94, ("rescaled", "constant"): 95, ("edge_popup", "constant"): 92, ("signed", "constant"): 95,
          ("trained", "init"): 96}  # fmt: skip


def by_learner(change=(), replicates=12, mask_steps="5000it"):
    points = {**POINTS, **dict(change)}
    rows = [
        {"arm": arm, "variant": values, "replicate": replicate, "level": 0, "density": 0.5}
        | {"acc": acc / 100 + 0.001 * np.cos(replicate + 3 * index)}
        for index, ((arm, values), acc) in enumerate(points.items())
        for replicate in range(replicates)
    ]
    return small("trained", mask_steps=mask_steps).judge(pd.DataFrame(rows))[0]


def test_c7():
    found = by_learner()
    assert found.verdict == "replicated"
    assert found.parts.count("holds") == 4
    assert not any("density" in effect.name or effect.per_level for effect in found.effects)  # of dense networks
    for worse in (
        {("learned", "init"): 60},
        {("learned", "constant"): 75},
        {("rescaled", "init"): 85},
        {("rescaled", "constant"): 85},
        {("learned", "constant"): 85},
        {("trained", "init"): 94, ("rescaled", "constant"): 90, ("learned", "constant"): 89, ("rescaled", "init"): 90},
    ):
        assert by_learner(worse).verdict == "not replicated", worse
    assert by_learner({("learned", "constant"): 89.5}).verdict == "replicated"  # within the margin of 1 pp
    assert by_learner({("edge_popup", "constant"): 10, ("signed", "constant"): 10}).verdict == "replicated"  # nothing is claimed of them


def test_c7_needs_room_and_masks_that_settled():
    near = by_learner({("trained", "init"): 98})
    assert near.verdict == "replicated in part"
    assert near.reasons == ("no room: an error of 2 % is no more than the 3.2 pp that would count",)
    assert by_learner(replicates=5).verdict == "not judged"
    short = by_learner(mask_steps="500it")
    assert short.verdict == "not judged"
    assert "far from settled" in short.reasons[0]
    for enough in ("2000ep", "20000it"):
        assert by_learner(mask_steps=enough).verdict == "replicated"
