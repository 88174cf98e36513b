"""The studies of Frankle & Carbin 2019: their runs, what they measure, and claims on tables with a known answer."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

import tombola as tb
from tombola.api.run import run
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.step import Step
from tombola.core.task import Model, Recipe, Task
from tombola.data.arrays import from_arrays
from tombola.engine.configuring import resolve
from tombola.engine.study import run_study
from tombola.evaluation import connectivity as of
from tombola.evaluation.histogram import density_of, valley
from tombola.evaluation.movement import exchanged, largest, movement
from tombola.evaluation.paired import interpolated
from tombola.models.build import build
from tombola.procedures.actions import Context, value_actions
from tombola.procedures.run import Action
from tombola.store.store import Store
from tombola.studies.catalogue import studies
from tombola.studies.frankle2019 import connectivity as connectivity_study
from tombola.studies.frankle2019 import conv, dropout, initial_values, one_shot, optimizers, rates, sizes, strategies, warmup
from tombola.studies.frankle2019 import movement as movement_study

NAMES = [name for name in studies if name.startswith("frankle2019.")]
EVERYWHERE = [name for name in NAMES if name != "frankle2019.conv"]


def small(name, *settings, scale="smoke", **fields):
    return resolve(name, scale=scale, settings=settings, **fields)


def runs(study, arm, variant=None, replicate=0):
    """Level -> run of an arm of the first replicate."""
    cells = (cell for cell in study.cells if cell.arm == arm and cell.replicate == replicate)
    return {cell.level: cell.run for cell in cells if variant in (None, cell.variant)}


# -- evaluation ----------------------------------------------------------------------------------------------------------


def test_movement_by_hand():
    initial, final = np.array([1.0, -1.0, 1.0, -1.0]), np.array([3.0, -1.5, 0.5, 0.0])
    kept = np.array([True, True, False, False])
    assert initial.std() == 1
    assert movement(initial, final, kept) == (1.25, 1.0)
    assert movement(initial, final, ~kept) == (0.75, 0.0)
    assert np.isnan(movement(initial, final, np.zeros(4, bool))).all()


def test_largest_keeps_the_count_with_ties_by_position():
    assert largest(np.array([[1.0, -3.0], [2.0, 0.0]]), 2).tolist() == [[False, True], [True, False]]
    assert largest(np.ones(4), 1).tolist() == [False, False, False, True]
    assert largest(np.ones(4), 0).sum() == 0


def test_exchanged_movement_is_the_same_movement_of_other_weights():
    rng = np.random.default_rng(0)
    initial, final = rng.normal(size=50), rng.normal(size=50)
    found = exchanged(initial, final, rng)
    assert np.allclose(np.sort(found - initial), np.sort(final - initial))
    assert not np.allclose(found, final)


def test_connections_by_hand():
    leaf = np.array([[True, True, False], [True, False, False]])  # 2 inputs, 3 outputs
    assert of.incoming(leaf).tolist() == [2, 1, 0]
    assert of.outgoing(leaf).tolist() == [2, 1]
    assert of.unevenness(of.outgoing(leaf)) == pytest.approx(1 / 3)
    assert of.unconnected(of.incoming(leaf)) == pytest.approx(1 / 3)
    conv_leaf = np.ones((3, 3, 2, 5), bool)
    assert of.incoming(conv_leaf).tolist() == [18] * 5
    assert of.outgoing(conv_leaf).tolist() == [45] * 2
    assert np.isnan(of.unevenness(np.zeros(3)))


def test_histograms_by_hand():
    edges = np.array([0.0, 1.0, 3.0])
    assert density_of(np.array([0.5, 0.5, 2.0, 2.0]), edges).tolist() == [0.5, 0.25]
    assert density_of(np.array([]), edges).tolist() == [0.0, 0.0]
    normal = np.random.default_rng(0).normal(size=200_000)
    assert valley(normal, 1.0) == pytest.approx(-0.71, abs=0.03)
    assert valley(normal[np.abs(normal) > 0.3], 1.0) > 3


def test_interpolation_onto_the_points_of_another_arm():
    def rows(arm, points):
        return [{"arm": arm, "replicate": 0, "level": level, "density": d, "acc": a} for level, (d, a) in enumerate(points)]

    table = pd.DataFrame(rows("slow", [(1.0, 0.9), (0.25, 0.7)]) + rows("fast", [(1.0, 0.9), (0.5, 0.6), (0.1, 0.5)]))
    found = interpolated(table, "acc", "slow", "fast")
    assert found.loc[0].tolist()[:2] == pytest.approx([0.9, 0.8])  # half of the way in log density
    assert np.isnan(found.loc[0][2])  # beyond what `slow` reached


def test_steps_scale():
    assert (Step("3000it").times(0.5), Step("2ep").times(3), Step("1ep10it").times(2)) == ("1500it", "6ep", "2ep20it")
    assert (Step("4it").times(0.01), Step("0it").times(3), Step("end").times(2)) == ("1it", "0it", "end")


# -- parts ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    return build(Model(name="mlp", options={"widths": [30, 20]}), DataInfo.of_classes((16,), 10))


def context(network, seed=3, share=0.5):
    rng = np.random.default_rng(0)
    mask = {path: rng.random(network.shapes[path].shape) < share for path in network.prunable}
    return Context(network, seed, mask)


def test_noise_is_scaled_by_the_layer_and_leaves_the_rest(network):
    initial = network.init(3)
    noisy = value_actions["noise"](context(network), scale=2.0, stream="noise/1")
    for path in network.shapes:
        moved = noisy[path] - initial[path]
        if path in network.prunable:
            assert moved.std() == pytest.approx(2 * network.std(path), rel=0.12)
            assert noisy[path].dtype == initial[path].dtype
        else:
            assert not moved.any()
    again = value_actions["noise"](context(network), scale=4.0, stream="noise/1")
    path = network.prunable[0]
    assert np.allclose(again[path] - initial[path], 2 * (noisy[path] - initial[path]), atol=1e-5)
    other = value_actions["noise"](context(network), scale=2.0, stream="noise/2")
    assert not np.allclose(other[path], noisy[path])


def test_resampled_values_come_from_the_kept_ones(network):
    found, given = value_actions["resample"](context(network), stream="resample/1"), context(network)
    initial = network.init(3)
    for path, mask in given.mask.items():
        assert set(found[path][mask]) <= set(initial[path][mask])
        assert len(set(found[path][mask])) < mask.sum()  # with replacement
        assert (found[path][~mask] == initial[path][~mask]).all()
    with pytest.raises(TombolaError, match="needs a mask"):
        value_actions["resample"](Context(network, 3), stream="x")


def test_gain_scales_kernels_and_their_deviation(network):
    doubled = build(Model(name="mlp", options={"widths": [30, 20]}, gain=2.0), DataInfo.of_classes((16,), 10))
    for path in network.prunable:
        assert (doubled.init(5)[path] == 2 * network.init(5)[path]).all()
        assert doubled.std(path) == 2 * network.std(path)
    assert Model(name="mlp").digest == Model(name="mlp", gain=1.0).digest != Model(name="mlp", gain=2.0).digest
    with pytest.raises(TombolaError, match="gain"):
        Model(name="mlp", gain=0)


def test_dropout_of_an_mlp_adds_no_weight_and_moves_none(network):
    dropped = build(Model(name="mlp", options={"widths": [30, 20], "dropout": 0.5}), DataInfo.of_classes((16,), 10))
    assert dropped.stochastic
    assert not network.stochastic
    assert all((dropped.init(5)[path] == leaf).all() for path, leaf in network.init(5).items())
    with pytest.raises(TombolaError, match="dropout"):
        build(Model(name="mlp", options={"dropout": 1.0}), DataInfo.of_classes((16,), 10))


# -- what is trained -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_every_study_resolves_and_shares_its_dense_runs(name, scale):
    study = small(name, scale=scale)
    assert {cell.run.seed for cell in study.cells} == {replicate_seed(0, r) for r in range(study.config.replicates)}
    rows = {(cell.variant, cell.arm, cell.replicate, cell.level, cell.draw) for cell in study.cells}
    assert len(rows) == len(study.cells)
    assert {claim.split("-")[0] for claim in studies[name].claim_ids} == {"LTH"}


def test_all_claims_of_the_paper_have_a_study():
    claimed = {claim for name in NAMES for claim in studies[name].claim_ids}
    assert claimed == {f"LTH-C{number}" for number in range(1, 24)}


def test_a_one_shot_ticket_takes_all_at_once():
    study = small("frankle2019.one_shot", "rates.dense=0.5", "reinits=2")
    iterative, single = runs(study, "iterative"), runs(study, "one_shot")
    assert single[2].mask.options["rates"] == {**iterative[2].mask.options["rates"], "dense": 0.75, "output": pytest.approx(0.19)} | {
        kind: pytest.approx(1 - (1 - rate) ** 2)
        for kind, rate in iterative[2].mask.options["rates"].items()
        if kind not in ("dense", "output")
    }
    assert [parent.run for parent in single[2].mask.of] == [iterative[0]] * 3
    assert single[2].kept == iterative[2].kept
    assert sum(cell.arm == "reinit" for cell in study.cells) == 2 * 2 * 2
    assert runs(study, "reinit")[2].mask.of[0].run == single[2]


def test_strategies_differ_in_what_they_reset():
    study = small("frankle2019.strategies", "late=20it")
    given, stepped = (partial(runs, study, variant=variant) for variant in ("given", "stepped"))
    dense = given("reset")[0]
    going_on, continued = given("lr_rewinding"), given("continued")
    assert going_on[1].kept == Action(name="rewind", of=(dense.at("end"),))
    assert going_on[2].kept == Action(name="rewind", of=(going_on[1].at("end"),))
    assert going_on[2].noise != going_on[1].noise  # another order of the data each round
    assert continued[2].mask == going_on[2].mask
    assert continued[2].kept == given("reset")[2].kept
    assert given("weight_rewinding")[1].begin == "20it"
    assert given("weight_rewinding")[1].kept.of[0].what == "20it"
    assert given("fine_tuning") == dict(going_on.items())  # a constant rate has nothing to rewind
    tuned, rewound = stepped("fine_tuning")[1].task.recipe, stepped("lr_rewinding")[1].task.recipe
    assert (tuned.schedule, tuned.learning_rate) == ("constant", pytest.approx(rewound.learning_rate / 100))
    assert rewound.milestones == ("100it", "150it")


def test_strategies_can_be_chosen():
    study = small("frankle2019.strategies", 'strategies=["reset","lr_rewinding"]', "stepped=false")
    assert {cell.arm for cell in study.cells} == {"reset", "lr_rewinding"}
    assert {cell.variant for cell in study.cells} == {"given"}
    with pytest.raises(TombolaError, match="leave fine_tuning out"):
        small("frankle2019.strategies", "schedule=cosine")
    assert small("frankle2019.strategies", "schedule=cosine", 'strategies=["reset"]').cells


def test_rates_pass_through_their_own_densities():
    study = small("frankle2019.rates", "fractions=[0.2, 0.5]", "smallest=0.3", "levels=60")
    slow, fast = runs(study, "0.2"), runs(study, "0.5")
    assert len(slow) == 7
    assert len(fast) == 3
    assert sorted(slow) == [0, 1, 2, 3, 5, 6, 7]
    assert sorted(fast) == [0, 4, 8]  # places on the ladder of all: 1 .8 .64 .512 (.5) .41 .33 .26 (.25)
    assert fast[4].mask.options["rates"]["dense"] == 0.5
    assert fast[4].mask.options["rates"]["output"] == pytest.approx(0.25)


def test_sizes_need_rounds_for_each_parent():
    study = small("frankle2019.sizes", 'parents=[{"widths": [8, 4]}, {"widths": [16]}]', "rounds=[1, 3]")
    assert {cell.arm for cell in study.cells} == {"8-4", "16"}
    assert runs(study, "16")[3].task.model.options["widths"] == [16]
    with pytest.raises(TombolaError, match="one number of rounds for each"):
        small("frankle2019.sizes", "rounds=[1]")


def test_settings_of_optimizers_reach_the_recipe():
    study = small("frankle2019.optimizers", "compared=[1]", 'settings=[{"recipe": {"learning_rate": 0.01}}, {"gain": 2}]')
    tasks = {cell.variant: cell.run.task for cell in study.cells}
    assert [(task.recipe.learning_rate, task.model.gain) for task in tasks.values()] == [(0.01, 1), (1.2e-3, 2)]
    assert list(tasks) == ["adam, rate 0.01", "adam, rate 0.0012, init x 2"]
    assert {cell.level for cell in study.cells if cell.arm == "reinit"} == {1}


def test_initial_values_disturb_the_ticket_of_their_level():
    study = small("frankle2019.initial_values", "noise=[0.5, 1]", "compared=[1, 2]", "sgd_rate=0.3")
    ticket = runs(study, "ticket")[2]
    for arm in ("reinit", "resample", "noise0.5", "noise1"):
        assert runs(study, arm)[2].mask.of[0].run == ticket
    assert runs(study, "noise1")[2].kept.options["scale"] == 1
    before = runs(study, "before")[2].mask
    assert before.options["criterion"] == "large_init"
    assert {parent.what for parent in before.of} == {"0it", "mask"}
    assert runs(study, "sgd")[0].task.recipe.learning_rate == 0.3
    assert runs(study, "sgd")[0].task.recipe.optimizer == "sgd"


def test_dropout_trains_longer_with_it():
    study = small("frankle2019.dropout", "longer=2", "dropout=0.25", "rate=0.002")
    plain, dropped = (runs(study, "ticket", variant)[0].task for variant in ("plain", "dropout"))
    assert dropped.model.options["dropout"] == 0.25
    assert "dropout" not in plain.model.options
    assert (plain.recipe.steps, dropped.recipe.steps, dropped.recipe.learning_rate) == ("200it", "400it", 0.002)
    assert small("frankle2019.dropout", task="conv4-cifar10").cells[-1].run.task.recipe.learning_rate == 2e-4
    with pytest.raises(TombolaError, match="has dropout already"):
        small("frankle2019.dropout", "task.model.options.dropout=0.5")


def test_conv_prunes_one_kind_of_layer_and_refuses_an_mlp():
    study = small("frankle2019.conv")
    convs, full = (runs(study, arm)[1].mask.options["rates"] for arm in ("convs", "fully_connected"))
    assert (convs["conv"], convs["dense"], convs["output"]) == (0.1, 0, 0)
    assert (full["conv"], full["dense"], full["output"]) == (0, 0.2, 0.1)
    with pytest.raises(TombolaError, match="conv2-cifar10"):
        small("frankle2019.conv", task="digits-mlp")


def test_warmup_has_three_schedules_and_two_scopes():
    study = small("frankle2019.warmup", "high=0.5", "low=0.05", "warm=0.2", "rise=0.5", task="digits-mlp")
    recipes = {cell.variant: cell.run.task.recipe for cell in study.cells}
    assert {name: (recipe.learning_rate, recipe.warmup, recipe.optimizer) for name, recipe in recipes.items()} == {
        "high": (0.5, "0it", "momentum"),
        "low": (0.05, "0it", "momentum"),
        "warm": (0.2, "50it", "momentum"),
    }
    scopes = {arm: runs(study, arm)[1].mask.options["scope"] for arm in ("ticket", "layer")}
    assert scopes == {"ticket": "global", "layer": "layer"}
    assert resolve("frankle2019.warmup", scale="paper", task="vgg19-cifar10").config.warm == 0.1
    assert resolve("frankle2019.warmup", scale="paper").config.warm == 0.03


def test_prune_at_scores_the_weights_of_that_step():
    study = small("frankle2019.one_shot", "prune_at=50it")
    for mask in (runs(study, "iterative")[2].mask, runs(study, "one_shot")[2].mask):
        assert [parent.what for parent in mask.of] == ["0it", "50it", "mask"]
    levels = tb.imp(tb.task("digits-mlp", steps="20it"), levels=1, prune_at="10it", replicates=1)
    at_ten, at_end = (abs(levels[0].at(step)["hidden1/kernel"]) for step in ("10it", "end"))
    kept = levels[1].mask["hidden1/kernel"]
    assert at_ten[kept].min() >= at_ten[~kept].max()
    assert at_end[kept].min() < at_end[~kept].max()


def test_imp_of_whole_units():
    levels = tb.imp(tb.task("digits-mlp", steps="10it"), levels=1, fraction=0.5, structure="units", replicates=1)
    assert levels[1].mask["hidden1/kernel"][0].any(0).sum() == 50
    for wrong, words in (
        ({"structure": "unit"}, "structure"),
        ({"norm": "l1"}, "whole units"),
        ({"structure": "units", "norm": "l3"}, "'l1' or 'l2'"),
    ):
        with pytest.raises(TombolaError, match=words):
            tb.imp(tb.task("digits-mlp", steps="10it"), levels=1, replicates=1, **wrong)


def test_a_random_mask_of_whole_units_is_made_of_units():
    study = small("frankle2019.sparsity", "structure=units", "norm=l1")
    assert runs(study, "random")[1].mask.name == "shuffle_units"
    assert runs(study, "ticket")[1].mask.options["structure"] == "units"
    assert runs(study, "ticket")[1].mask.options["norm"] == "l1"
    assert runs(small("frankle2019.sparsity"), "random")[1].mask.name == "shuffle"


# -- carried out ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


TINY = ("steps=20it", "evaluate_every=10it", "train=120", "validation=60", "test=60")
OPTIONS = {"frankle2019.sizes": ("rounds=[1, 2]",)}


@pytest.mark.parametrize("name", EVERYWHERE)
def test_every_study_runs(name, store):
    settings = (*TINY, "milestones=[]", "warmup=0it") if name == "frankle2019.warmup" else TINY
    found = run(name, "smoke", task="digits-mlp", settings=settings, store=store, quiet=True)
    assert [verdict.id for verdict in found.verdicts] == list(studies[name].claim_ids)
    assert {verdict.verdict for verdict in found.verdicts} == {"undecided"}  # two replicates judge nothing
    assert set(found.study.metrics) <= set(found.table.columns)
    assert set(found.table.arm) <= set(found.study.arms)
    for figure in found.study.figures:
        wanted = {panel.metric for panel in figure.panels}
        shown = found.details[figure.detail] if figure.detail else found.curves if figure.kind == "curves" else found.table
        assert wanted <= set(shown.columns)
        assert len(shown)
        assert set(figure.arms) <= set(found.study.arms)
    again = run(name, "smoke", task="digits-mlp", settings=settings, store=store, quiet=True)
    pd.testing.assert_frame_equal(found.table, again.table)


def test_everything_runs_on_whole_units(store):
    settings = (*TINY, "structure=units", "rates.dense=0.5")
    found = run("frankle2019.sparsity", "smoke", task="digits-mlp", settings=settings, store=store, quiet=True)
    kept = found.table[(found.table.level == 1) & (found.table.replicate == 0)].set_index("arm").kept
    # 64-100-50-10 with half of the units of both hidden layers: 64*50 + 50*25 + 25*10
    assert kept.to_dict() == {"ticket": 4700, "reinit": 4700, "random": 4700}


def test_the_convolutional_study_runs(store):
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(90, 8, 8, 1)).astype("float32"), rng.integers(0, 3, 90).astype("int32")
    data = from_arrays(images[:60], labels[:60], images[60:], labels[60:], validation=20)
    task = Task(data=data, model=Model(name="conv2", options={"width": 2}), recipe=Recipe(steps="4it", batch=10, learning_rate=1e-3))
    config = small("frankle2019.conv").config.but(task=task, levels=1)
    found = run_study(studies["frankle2019.conv"].build(config), Store(store), quiet=True)
    kept = found.table[(found.table.replicate == 0) & (found.table.level == 1)].set_index("arm").kept
    whole = found.table.prunable.max()
    assert kept["ticket"] == kept["reinit"] < min(kept["convs"], kept["fully_connected"]) < whole
    assert whole - kept["ticket"] == (whole - kept["convs"]) + (whole - kept["fully_connected"])


def test_movement_rows_are_layers_and_groups(store):
    found = run("frankle2019.movement", "smoke", task="digits-mlp", settings=TINY, store=store, quiet=True)
    assert set(found.table.variant) == {"hidden1", "hidden2", "output"}
    assert set(found.table.arm) == set(movement_study.ARMS)
    assert set(found.table.level) == {1, 2}
    table = found.table.set_index(["variant", "arm", "level"]).sort_index()
    density = table.layer_density.groupby(level=["variant", "level"]).nunique()
    assert (density == 1).all()  # every grouping keeps as many


def test_layers_come_in_forward_order(store):
    deep = "task.model.options.widths=[4, 4, 4, 4, 4, 4, 4, 4, 4, 4]"  # by name, hidden10 would come before hidden2
    found = run("frankle2019.movement", "smoke", task="digits-mlp", settings=(*TINY, deep), store=store, quiet=True)
    assert list(found.table.variant.unique()) == [*(f"hidden{number}" for number in range(1, 11)), "output"]


def test_connectivity_images_hold_every_input(store):
    found = run("frankle2019.connectivity", "smoke", task="digits-mlp", settings=TINY, store=store, quiet=True)
    images = found.details["inputs"]
    assert images.groupby("level").size().tolist() == [64] * images.level.nunique()
    assert images[images.level == 0].value.tolist() == [1.0] * 64
    for _, image in images.groupby("level"):
        assert image.value.mean() == pytest.approx(1)
    assert images[images.level == images.level.max()].value.std() > 0
    assert (images.row.max(), images.column.max()) == (7, 7)


# -- claims on tables with a known answer --------------------------------------------------------------------------------


def invented(arms, accuracy, *, levels=14, replicates=8, variants=("",), density=lambda arm, level: 0.8**level, **columns):
    """A table in which `accuracy(variant, arm, density)` is the truth, with noise by replicate."""
    random = np.random.default_rng(0)
    rows = []
    for variant in variants:
        for arm in arms:
            for replicate in range(replicates):
                for level in range(levels):
                    where = {"variant": variant, "arm": arm, "replicate": replicate, "level": level, "density": density(arm, level)}
                    found = accuracy(variant, arm, where["density"]) + 0.002 * random.normal()
                    values = {name: make(variant, arm, where["density"]) for name, make in columns.items()}
                    common = {"acc_es": found, "acc_final": found, "es_censored": 0, "es_iteration": 1000, "iters_to_1p1x": 500}
                    rows.append({**where, **common, **values})
    return pd.DataFrame(rows)


def verdicts(found):
    return {verdict.id: verdict.verdict for verdict in found}


def falls(speed):
    return lambda density: 0.95 - speed * np.log(1 / density)


def flipped(world, exchange):
    return lambda variant, arm, density: world(variant, exchange.get(arm, arm), density)


def test_c5():
    def world(variant, arm, density):
        hill = 0.02 * np.log(1 / density) if density > 0.2 else 0.1 - 0.04 * np.log(1 / density)
        return 0.9 + hill + {"iterative": 0.02, "one_shot": 0.0, "reinit": -0.1}[arm] * np.log(1 / density)

    def speed(variant, arm, density):
        return 400 + 600 * density

    table = invented(("iterative", "one_shot", "reinit"), world, es_iteration=speed)
    assert verdicts(one_shot.claims(table)) == {"LTH-C5": "replicated"}
    other = invented(
        ("iterative", "one_shot", "reinit"), flipped(world, {"iterative": "one_shot", "one_shot": "iterative"}), es_iteration=speed
    )
    assert verdicts(one_shot.claims(other)) == {"LTH-C5": "not replicated"}


def test_early_stops_censored_on_both_sides_say_nothing():
    def table(censored):
        arms = ("iterative", "one_shot", "reinit")
        return invented(arms, lambda variant, arm, density: 0.9 + 0.1 * density, es_censored=lambda variant, arm, density: censored)

    for censored, n in ((0, 8), (1, 0)):
        (verdict,) = one_shot.claims(table(censored))
        assert verdict.effects[0].n == n


def test_c6():
    arms = ("reset", "continued")

    def world(variant, arm, density):
        return falls(0.02 if arm == "reset" else 0.05)(density)

    assert verdicts(strategies.claims(invented(arms, world, variants=("given",)))) == {"LTH-C6": "replicated"}
    other = flipped(world, {"reset": "continued", "continued": "reset"})
    assert verdicts(strategies.claims(invented(arms, other, variants=("given",)))) == {"LTH-C6": "not replicated"}


def test_c15():
    ladders = {"0.1": 0.9, "0.2": 0.8, "0.4": 0.6, "0.8": 0.2}

    def table(worst):
        def world(variant, arm, density):
            return falls(0.06 if arm in worst else 0.02)(density)

        found = invented(tuple(ladders), world, levels=30, density=lambda arm, level: ladders[arm] ** level)
        return found[found.density > 0.03]

    assert verdicts(rates.claims(table(("0.4", "0.8")))) == {"LTH-C15": "replicated"}
    assert verdicts(rates.claims(table(("0.1", "0.2")))) == {"LTH-C15": "not replicated"}


def test_c16():
    parents = {"50-17": 3_000, "100-33": 8_000, "300-100": 40_000}

    def table(sign):
        def accuracy(variant, arm, density):
            kept = parents[arm] * density
            return 0.5 + 0.04 * np.log(kept) + sign * 0.01 * np.log(parents[arm])

        return invented(tuple(parents), accuracy, levels=20, kept=lambda variant, arm, density: parents[arm] * density)

    assert verdicts(sizes.claims(table(1))) == {"LTH-C16": "replicated"}
    assert verdicts(sizes.claims(table(-1))) == {"LTH-C16": "not replicated"}


def test_c14_is_judged_on_adam_only():
    variants = ("adam, rate 0.001", "adam, rate 0.01", "sgd, rate 0.1", "adam, rate 0.001, init x 2")

    def table(losing):
        def world(variant, arm, density):
            good = "reinit" if variant in losing else "ticket"
            return falls(0.02 if arm == good else 0.05)(density)

        return invented(("ticket", "reinit"), world, variants=variants)

    assert verdicts(optimizers.claims(table(variants[2:]))) == {"LTH-C14": "replicated"}
    assert verdicts(optimizers.claims(table(variants[1:2]))) == {"LTH-C14": "not replicated"}


NOISY = ("noise0.5", "noise1", "noise3")


def initial_world(variant, arm, density):
    speed = {"ticket": 0.01, "noise0.5": 0.0105, "noise1": 0.02, "noise3": 0.03, "reinit": 0.06, "resample": 0.06, "before": 0.09}
    return falls(speed.get(arm, 0.01))(density)


def initial_claims(world, adam=True, hollow=("valley_middle", "valley_output")):
    arms = ("ticket", "reinit", "resample", "before", *NOISY, "sgd")

    def made(name):
        return lambda variant, arm, density: 1.0 if arm == "sgd" or name in hollow else -0.7

    columns = {name: made(name) for name in ("valley_first", "valley_middle", "valley_output")}
    table = invented(arms, world, **columns)
    return verdicts(initial_values.claims(1.0, (0.5, 1, 3), "adam" if adam else "sgd", table))


def test_c8_c9_c10_c13():
    assert set(initial_claims(initial_world).values()) == {"replicated"}
    exchange = {"ticket": "before", "before": "ticket", "noise0.5": "reinit", "noise3": "noise0.5", "resample": "ticket"}
    assert set(initial_claims(flipped(initial_world, exchange), hollow=()).values()) == {"not replicated"}


def test_c8_expects_a_hollow_first_layer_of_sgd():
    everywhere = ("valley_first", "valley_middle", "valley_output")
    assert initial_claims(initial_world, adam=False, hollow=everywhere)["LTH-C8"] == "replicated"
    assert initial_claims(initial_world, adam=True, hollow=everywhere)["LTH-C8"] == "not replicated"


def test_c11():
    def table(sign):
        noise = np.random.default_rng(0)

        def far(variant, arm, density):
            return 1 + (sign * 0.5 if arm.startswith("kept") else 0) + 0.01 * noise.normal()

        columns = {"distance": far, "away": far}
        return invented(tuple(movement_study.ARMS), lambda *_: 0.9, variants=("hidden1", "output"), **columns)

    assert verdicts(movement_study.claims(table(1))) == {"LTH-C11": "replicated"}
    assert verdicts(movement_study.claims(table(-1))) == {"LTH-C11": "not replicated"}


def test_c12():
    def table(large, little):
        noise = np.random.default_rng(0)

        def uneven(variant, arm, density):
            return {"incoming": little, "outgoing": large}.get(arm, 0.2) + 0.01 * noise.normal()

        return invented(tuple(connectivity_study.ARMS), lambda *_: 0.9, variants=("hidden1", "output"), unevenness=uneven)

    assert verdicts(connectivity_study.claims(table(0.9, 0.2))) == {"LTH-C12": "replicated"}
    assert verdicts(connectivity_study.claims(table(0.9, 0.6))) == {"LTH-C12": "not replicated"}  # incoming far from even
    assert verdicts(connectivity_study.claims(table(0.1, 0.9))) == {"LTH-C12": "not replicated"}


def test_c19():
    def table(gain, hill):
        def world(variant, arm, density):
            base = 0.7 + (gain if variant == "dropout" else 0)
            return base + (hill if arm == "ticket" else -0.02) * np.log(1 / density)

        return invented(("ticket", "reinit"), world, variants=("plain", "dropout"))

    assert verdicts(dropout.claims(table(0.02, 0.01))) == {"LTH-C19": "replicated"}
    assert verdicts(dropout.claims(table(-0.02, 0.01))) == {"LTH-C19": "not replicated"}


def test_c17_c18_c20():
    def table(sign):
        def world(variant, arm, density):
            change = {"ticket": 0.02, "reinit": 0.001, "convs": 0.01, "fully_connected": -0.02}[arm]
            return 0.6 + sign * change * np.log(1 / density) - (0.05 if sign < 0 and density < 1 else 0) * (arm == "reinit")

        return invented(
            ("ticket", "reinit", "convs", "fully_connected"),
            world,
            es_iteration=lambda variant, arm, density: 1000 * density**sign,
        )

    assert set(verdicts(conv.claims(1.0, "conv2", table(1))).values()) == {"replicated"}
    assert set(verdicts(conv.claims(1.0, "conv2", table(-1))).values()) == {"not replicated"}
    assert verdicts(conv.claims(1.0, "conv6", table(1)))["LTH-C18"] == "undecided"  # the claim is about Conv-2 and Conv-4


def test_c21_c22_are_each_judged_on_their_own_network():
    def table(winning):
        def world(variant, arm, density):
            if arm == "ticket":
                return 0.9
            lost = 0.002 if variant not in winning else 0.05 if arm == "reinit" else 0.03
            return 0.9 - lost * np.log(1 / density)

        return invented(("ticket", "layer", "reinit"), world, variants=("high", "low", "warm"), levels=20)

    good, bad = table(("low", "warm")), table(("high", "low", "warm"))
    assert verdicts(warmup.claims(1.0, "vgg", good)) == {"LTH-C21": "replicated", "LTH-C22": "undecided"}
    assert verdicts(warmup.claims(1.0, "resnet", good)) == {"LTH-C21": "undecided", "LTH-C22": "replicated"}
    assert verdicts(warmup.claims(1.0, "vgg", bad))["LTH-C21"] == "not replicated"
    assert verdicts(warmup.claims(1.0, "resnet", bad))["LTH-C22"] == "not replicated"
    assert set(verdicts(warmup.claims(1.0, "mlp", good)).values()) == {"undecided"}


@pytest.mark.parametrize("name", ["optimizers", "dropout", "conv", "warmup", "initial_values"])
def test_compared_levels_are_levels(name):
    with pytest.raises(TombolaError, match="only 2 levels"):
        small(f"frankle2019.{name}", "compared=[3, 9]")
    study = small(f"frankle2019.{name}", "compared=[1, 9]")
    assert {cell.level for cell in study.cells if cell.arm == "reinit"} == {1}


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        ("sparsity", "norm=l1", "whole units"),
        ("sizes", 'parents=[{"widths": [8]}, {"widths": [8]}]', "given twice"),
        ("sizes", "levels=3", "field"),
        ("rates", "fractions=[0.2, 0.2]", "given twice"),
        ("rates", "fractions=[]", "fractions"),
        ("optimizers", "settings=[]", "settings"),
        ("optimizers", 'settings=[{"gain": 2}, {"gain": 2}]', "given twice"),
        ("strategies", "strategies=[]", "strategies"),
        ("strategies", 'strategies=["reset", "reset"]', "given twice"),
        ("strategies", "steps=5ep", "whole number of epochs"),
        ("initial_values", "noise=[]", "noise"),
        ("initial_values", "noise=[0.5, 0.5]", "given twice"),
        ("initial_values", "rewind=10it", "initial values"),
        ("dropout", "longer=Infinity", "longer"),
        ("warmup", "scope=global", "both scopes"),
        ("movement", "criterion=movement", "leave structure"),
        ("movement", "structure=units", "leave structure"),
        ("connectivity", "structure=units", "structure=weights"),
        ("conv", "rates.conv=0", "fully connected"),
    ],
)
def test_settings_without_meaning_are_one_line(name, setting, words):
    with pytest.raises(TombolaError, match=words) as error:
        small(f"frankle2019.{name}", setting)
    assert "\n" not in str(error.value)


def test_settings_that_differ_have_labels_that_do():
    settings = 'settings=[{"recipe": {"batch": 30}}, {"recipe": {"batch": 60}}]'
    assert len({cell.variant for cell in small("frankle2019.optimizers", settings, "compared=[1]").cells}) == 2


def test_a_criterion_that_can_be_negative_is_refused_for_units_before_training(store):
    for criterion in ("magnitude_increase", "small_final"):
        settings = (*TINY, "structure=units", f"criterion={criterion}")
        with pytest.raises(TombolaError, match="negative"):
            run("frankle2019.sparsity", "smoke", task="digits-mlp", settings=settings, store=store / criterion, quiet=True)
        assert not list((store / criterion).glob("*/spec.json"))
