"""The studies of Zhang et al. 2019: which layers are robust, what is trained and measured for it, claims on tables with a known answer."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from flax import nnx
from toys import before_any_result, settable

import tombola as tb
from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.engine import execute, measuring, reading
from tombola.engine.configuring import resolve
from tombola.engine.reading import load_tree
from tombola.engine.study import findings, run_study, study_graph
from tombola.models.tasks import task as named_task
from tombola.store.store import Store
from tombola.studies.base import COLUMNS
from tombola.studies.catalogue import studies
from tombola.studies.dense import dense_run
from tombola.studies.zhang2019 import capacity, common, criticality, removed

NAMES = [name.removeprefix("zhang2019.") for name in studies if name.startswith("zhang2019.")]


def small(name, *settings, scale="smoke", **fields):
    return resolve(f"zhang2019.{name}", scale=scale, settings=settings, **fields)


def configured(name, task=None, scale="smoke", **fields):
    kind = studies[f"zhang2019.{name}"]
    found = named_task(task or kind.default_task, scale)
    return kind(task=found, **{**kind.at(scale, found), **fields})


# -- what is trained and evaluated ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_every_study_resolves(name, scale):
    study = small(name, scale=scale)
    assert {row.run.seed for row in study.rows()} == {replicate_seed(0, r) for r in range(study.replicates)}
    rows = list(study.rows())
    assert len({(row.variant, row.arm, row.replicate, row.level, row.draw) for row in rows}) == len(rows)
    assert all(row.measurement.name in ("reset", "valley") for row in rows)


def test_there_are_eight_and_all_claims_have_one():
    assert len(NAMES) == 8
    claimed = {claim.id for name in NAMES for claim in configured(name).claims}
    assert claimed == {*(f"LAY-C{number}" for number in (*range(1, 8), "8a", "8b", 9, 10)), "LAY-O1", "LAY-O2"}


def test_dense_runs_are_shared():
    runs = {name: set(study_graph(small(name, task="fcn-digits")).runs) for name in NAMES if name != "capacity"}
    dense = runs["robustness"]
    assert len(dense) == 2
    assert all(runs[name] == dense for name in ("blocks", "joint", "frozen", "removed", "criticality"))
    assert runs["tickets"] > dense
    grid = small("capacity", "widths=[128, 256]", "depths=[3]")
    assert dense < set(study_graph(grid).runs)


def test_checkpoints_are_the_papers_shares_of_training():
    task = named_task("fcn-digits", "paper")

    def of(steps, *given):
        return common.checkpoints(task.but(recipe=task.recipe.but(steps=steps, milestones=())), given)

    assert of("100ep") == ("0it", "1ep", "2ep", "3ep", "8ep", "40ep", "90ep")
    assert of("20ep") == ("0it", "1ep", "2ep", "8ep", "18ep")
    assert of("1000it") == ("0it", "10it", "20it", "30it", "80it", "400it", "900it")
    assert of("100ep", "0it", "7it", "0it", "end") == ("0it", "7it", "end")


def test_each_size_of_the_grid_is_trained():
    study = small("capacity", "widths=[16, 8]", "depths=[2, 1]")
    found = {(row.arm, row.level): row.run.task.model.options["widths"] for row in study.rows()}
    assert found == {("1", 0): [8], ("1", 1): [16], ("2", 0): [8, 8], ("2", 1): [16, 16]}


def test_tickets_are_rewound_and_their_controls_differ_in_one_thing():
    study = small("tickets", "levels=[2, 1]", "rewind=3it")
    runs = {(row.arm, row.level): row.run for row in study.rows() if row.replicate == 0}
    assert {level for _, level in runs} == {0, 1, 2}
    assert len({run for (_, level), run in runs.items() if level == 0}) == 1
    ticket, random, fresh = (runs[arm, 2] for arm in ("ticket", "random", "reinit"))
    assert ticket.begin == "3it"
    assert random.but(mask=ticket.mask) == ticket
    assert fresh.but(mask=ticket.mask, kept=ticket.kept) == ticket
    assert all(row.measurement.of[2].what == row.run.begin for row in study.rows())
    assert {row.arm for row in small("tickets", 'kinds=["ticket"]').rows()} == {"ticket"}


# -- every field says something ------------------------------------------------------------------------------------------

VALUES = {
    "replicates": "3",
    "seed": "1",
    "batch_norm": "recompute",
    "part": "train",
    "train_examples": "50",
    "robust": "0.03",
    "deviations": "1",
    "critical": "0.7",
    "reset_to": {"joint": "1it", "robustness": '["0it", "3it"]'},
    "draws": "3",
    "unit": "stage",
    "units": '["block"]',
    "widths": "[8, 32]",
    "depths": "[1, 3]",
    "levels": "[2]",
    "kinds": '["ticket"]',
    "rewind": "1it",
    "places": "4",
    "noises": "[0.5]",
    "epsilon": "0.1",
    "rates": 'rates={"dense": 0.5}',
    "densities": "densities=[0.7, 0.6, 0.5, 0.4]",
    "scope": "global",
    "criterion": "magnitude_increase",
    "structure": "units",
    "norm": "l1",
    "prune_at": "20it",
}
ELSEWHERE = {"margin", "subsets"}
"""What is first seen in a claim, or once the names of the layers are known; other tests do."""


FIELDS = [(name, field) for name in NAMES for field in settable(configured(name)) if field not in ELSEWHERE]


@cache
def seen(name, *settings):
    return before_any_result(small(name, *settings))


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_field_changes_what_is_seen(name, field):
    base = {"norm": ("structure=units",), "train_examples": ("part=train",)}.get(field, ())
    value = VALUES[field] if not isinstance(VALUES[field], dict) else VALUES[field][name]
    value = "layer" if (name, field) == ("removed", "unit") else value
    assert seen(name, *base) != seen(name, *base, value if "=" in value else f"{field}={value}")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "removed"])
def test_noisy_labels_are_judged_in_training(name):
    assert configured(name, "digits-noise-mlp").part == "train"
    assert configured(name, "fcn-digits").part == "test"
    labels = [panel.label for figure in small(name, "part=train").figures() for panel in (*figure.panels, figure.across) if panel]
    assert not any("test error" in label for label in labels)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("capacity", {"task": "conv2-cifar10"}, "of the model 'mlp', not 'conv2'"),
        ("capacity", ("widths=[8, 8]",), "widths: 8 is given twice"),
        ("capacity", ("depths=[2, 2]",), "depths: 2 is given twice"),
        ("capacity", ("widths=[8]",), "widths"),
        ("capacity", ("depths=[]",), "depths"),
        ("tickets", ("levels=[1, 1]",), "levels: 1 is given twice"),
        ("tickets", ("levels=[0]",), "levels"),
        ("tickets", ('kinds=["ticket", "ticket"]',), "kinds: 'ticket' is given twice"),
        ("tickets", ("norm=l1",), "whole units"),
        ("blocks", ('units=["block", "block"]',), "units: 'block' is given twice"),
        ("blocks", ("units=[]",), "units"),
        ("removed", ("unit=stage",), "a stage does not give back what it takes; choose layer or block"),
        *((name, ("draws=0",), "draws") for name in ("robustness", "blocks", "tickets", "criticality")),
        *((name, ("batch_norm=interpolate",), "batch_norm") for name in NAMES),
        *((name, ("part=validation",), "part") for name in NAMES),
        *((name, ("unit=unit",), "unit") for name in ("robustness", "joint", "frozen", "removed", "criticality")),
        ("joint", ("subsets=-1",), "subsets"),
        ("robustness", ("train_examples=0",), "train_examples"),
        *((name, ("train_examples=9",), "none are evaluated; give part='train'") for name in NAMES if name != "criticality"),
        ("robustness", ("robust=-0.1",), "robust"),
        ("robustness", ("deviations=-1",), "deviations"),
        ("robustness", ("critical=0",), "critical"),
        ("frozen", ("margin=-1",), "margin"),
        ("removed", ("margin=-1",), "margin"),
        ("criticality", ("places=1",), "places"),
        ("criticality", ("noises=[]",), "noises"),
        ("criticality", ("noises=[0]",), "noises"),
        ("criticality", ("epsilon=0",), "epsilon"),
    ],
)
def test_settings_without_meaning_are_one_line(name, settings, words):
    with pytest.raises(TombolaError, match=words) as error:
        small(name, **settings) if isinstance(settings, dict) else small(name, *settings)
    assert "\n" not in str(error.value)


# -- classes of layers ---------------------------------------------------------------------------------------------------


def classed(own=(0.1, 0.1), chance=0.9, fields=None, **rises):
    """Classes of layers by their rises in two replicates."""
    rows = [
        {"arm": arm, "replicate": replicate, "own_error": error, "rise": rise, "way": rise / (chance - error) if chance > error else np.nan}
        for arm, values in rises.items()
        for replicate, (rise, error) in enumerate(zip(values, own, strict=True))
    ]
    return configured("robustness", **(fields or {})).classes(pd.DataFrame(rows))


def test_a_layer_is_robust_up_to_one_point_and_critical_from_half_way_to_chance_on():
    rises = {"d": (0.011, 0.011), "b": (0.01, 0.01), "a": (0.4, 0.4), "c": (0.39, 0.39), "e": (-0.2, -0.2)}
    expected = {"d": "between", "b": "robust", "a": "critical", "c": "between", "e": "robust"}
    assert classed(**rises) == expected
    assert list(classed(**rises)) == list(rises)  # in forward order
    assert classed(fields={"robust": 0.012}, **rises) == {**expected, "d": "robust"}
    assert classed(fields={"robust": 0.0}, **rises) == {**expected, "b": "between"}
    assert classed(fields={"critical": 0.45}, **rises) == {**expected, "c": "critical"}
    assert classed(fields={"critical": 0.6}, **rises) == {**expected, "a": "between"}


def test_classes_are_those_of_the_mean_over_replicates():
    assert classed(a=(0.0, 0.018), b=(0.0, 0.03), c=(0.3, 0.6)) == {"a": "robust", "b": "between", "c": "critical"}
    assert classed((0.9, 0.95), 0.9, a=(0.2, 0.2)) == {"a": "between"}  # at chance


def test_what_the_trained_networks_differ_by_is_no_rise():
    own = (0.08, 0.12)  # SD 0.028
    assert classed(own, a=(0.05, 0.05), b=(0.06, 0.06)) == {"a": "robust", "b": "between"}
    assert classed(own, fields={"deviations": 3.0}, a=(0.05, 0.05), b=(0.06, 0.06)) == {"a": "robust", "b": "robust"}
    assert classed(own, fields={"deviations": 0.0}, a=(0.05, 0.05), b=(0.01, 0.01)) == {"a": "between", "b": "robust"}


def test_how_much_an_error_may_rise():
    study = configured("robustness")
    assert study.limit([0.1]) == study.limit([0.1, 0.1, 0.1]) == 0.01
    assert study.limit([0.1, 0.2, 0.3]) == pytest.approx(0.2)
    assert study.but(deviations=0.5, robust=0.06).limit([0.1, 0.2, 0.3]) == 0.06
    assert study.but(deviations=0.7, robust=0.06).limit([0.1, 0.2, 0.3]) == pytest.approx(0.07)
    assert configured("robustness", "fcn-mnist", "small").limit([0.1]) == 0.002  # 10,000 test examples
    assert "0.2 pp or" in configured("robustness", "fcn-mnist", "small").caption


# -- carried out ---------------------------------------------------------------------------------------------------------

LAYERS = ["hidden1", "hidden2", "hidden3", "output"]
SIZES = [64 * 8 + 8, 72, 72, 90]
TINY = ("steps=60it", "evaluate_every=30it", "milestones=[]", "train=120", "validation=60", "test=60")
MLP = ('task.model.options={"widths": [8, 8, 8]}',)
MORE = {"robustness": ('reset_to=["0it", "5it", "60it"]',), "capacity": ("widths=[8, 4]", "depths=[3]")}
FIRST = 'reset_to=["0it"]'


class Block(nnx.Module):
    """Two layers with batch norm, and what goes in added."""

    def __init__(self, rngs):
        self.first = nnx.Linear(8, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.second = nnx.Linear(8, 8, rngs=rngs)

    def __call__(self, inputs):
        return inputs + self.second(nnx.relu(self.norm(self.first(inputs))))


class Stage(nnx.Module):
    def __init__(self, rngs):
        self.block1 = Block(rngs)
        self.last = nnx.Linear(8, 8, rngs=rngs)

    def __call__(self, inputs):
        return self.last(self.block1(inputs))


class Residual(nnx.Module):
    """A block and a layer in a stage."""

    blocks = ("stage1/block1",)

    def __init__(self, shape, classes, *, rngs):
        self.stem = nnx.Linear(shape[0], 8, rngs=rngs)
        self.stage1 = Stage(rngs)
        self.output = nnx.Linear(8, classes, rngs=rngs)

    def __call__(self, inputs):
        return self.output(nnx.relu(self.stage1(nnx.relu(self.stem(inputs)))))


UNITS = {
    "layer": ["stem", "stage1/block1/first", "stage1/block1/second", "stage1/last", "output"],
    "block": ["stem", "stage1/block1", "stage1/last", "output"],
    "stage": ["stem", "stage1", "output"],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("store"))


def tiny(name, *settings, residual=False):
    if residual or name == "blocks":
        return small(name, *TINY, *settings, task="fcn-digits", model=tb.model(Residual))
    return small(name, *TINY, *MLP, *MORE.get(name, ()), *settings, task="fcn-digits")


@pytest.fixture(scope="module")
def carried(store):
    """Name of a study -> its findings at smoke, each carried out once."""

    @cache
    def carry(name, *settings, residual=False):
        return run_study(tiny(name, *settings, residual=residual), store, quiet=True)

    return carry


@pytest.fixture(scope="module")
def split(carried):
    """Settings under which the two layers that matter least, by the mean over replicates, are robust, and no other."""
    table = carried("joint").table
    rise = table[table.arm == "single"].groupby("layers").rise.mean().sort_values()
    body = rise.drop("output").clip(lower=0)
    threshold = (body.iloc[0] + body.iloc[1]) / 2 if body.iloc[0] < body.iloc[1] else (body.iloc[1] + body.iloc[2]) / 2
    return (f"robust={min(1, threshold)}", "deviations=0")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_study_runs_and_is_read_again(name, carried, store, monkeypatch):
    found = carried(name)
    assert [verdict.id for verdict in found.verdicts] == [claim.id for claim in found.study.claims]
    assert {verdict.verdict for verdict in found.verdicts} == {"not judged"}  # two replicates judge nothing
    assert list(found.table.columns) == [*COLUMNS, *found.study.columns]
    assert len(found.table)
    for figure in found.study.figures():
        shown = found.details[figure.detail] if figure.detail else found.table
        wanted = {panel.metric for panel in (*figure.panels, figure.across) if panel}
        assert wanted | ({"row", "column"} if figure.kind == "heatmap" else set()) <= set(shown.columns)
        assert len(shown)

    def never(*args, **options):
        raise AssertionError("the store has it")

    monkeypatch.setattr(execute, "train_cohort", never)
    monkeypatch.setattr(measuring, "evaluate", never)
    for other in (run_study(tiny(name), store, quiet=True), findings(tiny(name), store)):
        pd.testing.assert_frame_equal(found.table, other.table)
        assert set(found.details) == set(other.details)
        for detail, frame in found.details.items():
            pd.testing.assert_frame_equal(frame, other.details[detail])


def test_layers_by_what_they_are_put_back_to(carried, store):
    found = carried("robustness")
    table = found.table
    reinit, drawn = table[table.variant == "reinit"], table[table.variant == "random"]
    assert reinit.groupby("replicate").arm.apply(list).tolist() == [list(np.repeat(LAYERS, 3))] * 2
    assert reinit.groupby("arm").step.apply(list).tolist() == [[0, 5, 60] * 2] * 4
    assert drawn.groupby("arm").draw.apply(list).tolist() == [[0, 1] * 2] * 4
    assert (drawn.level == 0).all()
    assert (table.rise == table.error - table.own_error).all()
    assert table.way.tolist() == pytest.approx((table.rise / (table.chance - table.own_error)).tolist())
    last, first = reinit[reinit.step == 60], reinit[reinit.step == 0]
    for column in ("rise", "rms", "max", "loss_rise", "validation_rise"):  # its own values are what it has
        assert last[column].abs().max() < 1e-6
    assert (first.rms > 0).all()
    assert (reinit[reinit.step == 5].rms.to_numpy() != first.rms.to_numpy()).all()
    assert drawn.cosine.abs().max() < first.cosine.min()
    for row in found.study.rows():
        accuracy = store.get(row.run.digest).metrics()["test_acc"][-1]
        assert table[table.replicate == row.replicate].own_error.tolist() == pytest.approx([1 - accuracy] * 20)
        end, start = (load_tree(row.run, step, store, None) for step in ("end", "0it"))
        moved = np.concatenate([(end[path] - start[path]).ravel() for path in end if path.startswith("hidden2/")])
        line = first[(first.arm == "hidden2") & (first.replicate == row.replicate)].iloc[0]
        assert line.rms == pytest.approx(np.sqrt(np.mean(moved**2)), rel=1e-4)
        assert line["max"] == pytest.approx(np.abs(moved).max(), rel=1e-5)


def test_the_maps_of_layers_and_of_classes(carried):
    found = carried("robustness")
    marks = found.study.classes(found.table[(found.table.variant == "reinit") & (found.table.level == 0)])
    maps, classes = found.details["layers"], found.details["classes"]
    assert dict(zip(maps.row, maps.mark, strict=True)) == marks
    assert list(dict.fromkeys(maps.column)) == ["0it", "5it", "60it", "random"]
    assert maps.error.tolist() == found.table.error.tolist()
    assert list(dict.fromkeys(classes.column)) == [str(index) for index in range(10)]
    first = found.table[(found.table.variant == "reinit") & (found.table.level == 0)].set_index(["replicate", "arm"]).error
    assert first.between(*(classes.groupby(["replicate", "row"]).error.agg(how).loc[first.index] for how in ("min", "max"))).all()


def test_classes_go_by_the_names_that_the_data_gives_them(carried, store, monkeypatch):
    carried("robustness")
    network_info, names = reading.network_info, [f"the {index}" for index in range(10)]
    named = lambda *given: replace(network_info(*given), inputs={"classes": names})  # noqa: E731
    monkeypatch.setattr(reading, "network_info", named)
    assert list(dict.fromkeys(findings(tiny("robustness"), store).details["classes"].column)) == names


def test_options_of_robustness_change_what_they_should(carried, store):
    base = carried("robustness").table
    more = carried("robustness", "draws=3").table
    assert more.groupby("variant").size().tolist() == [24, 24]
    assert more[more.draw < 2].error.tolist() == base.error.tolist()
    trained = carried("robustness", "part=train")
    for row in trained.study.rows():
        own = trained.table[trained.table.replicate == row.replicate].own_error
        assert own.tolist() == pytest.approx([1 - store.get(row.run.digest).json("summary")["train_acc"]] * 20)
    assert trained.table.validation_rise.tolist() == base.validation_rise.tolist()
    marks = [carried("robustness", *one).details["layers"].mark for one in (("robust=1",), ("robust=0", "deviations=1000"))]
    assert [set(one) for one in marks] == [{"robust"}] * 2
    strict = carried("robustness", "robust=0", "deviations=0", "critical=0.000001")
    rise = strict.table[(strict.table.variant == "reinit") & (strict.table.level == 0)].groupby("arm").rise.mean()
    for row in strict.details["layers"].itertuples():
        assert row.mark == ("critical" if rise[row.row] > 0 else "robust")


def test_units_are_reset_together(carried):
    for unit, names in UNITS.items():
        assert carried("robustness", f"unit={unit}", FIRST, residual=True).table.arm.unique().tolist() == names


def test_what_becomes_of_normalisation(carried):
    tables = {how: carried("robustness", f"batch_norm={how}", FIRST, residual=True).table for how in ("reset", "keep", "recompute")}

    def of(how, metric, layer):
        table = tables[how]
        return table[(table.arm == layer) & (table.variant == "reinit")][metric].to_numpy()

    normed, bare = "stage1/block1/first", "stage1/block1/second"
    for metric in ("error", "loss", "rms"):
        assert (of("reset", metric, bare) == of("keep", metric, bare)).all()
    assert (of("keep", "rms", normed) != of("reset", "rms", normed)).all()
    assert (of("recompute", "rms", normed) == of("reset", "rms", normed)).all()
    assert (of("recompute", "loss", normed) != of("reset", "loss", normed)).all()
    assert (of("keep", "loss", normed) != of("reset", "loss", normed)).all()


def test_blocks_have_rows_for_units_of_each_size(carried, store):
    found = carried("blocks")
    table = found.table
    for unit, names in UNITS.items():
        own = table[table.variant == unit]
        assert own.groupby("replicate").arm.apply(list).tolist() == [names] * 2
        several = {"stage1": "stage", "stage1/block1": "block", "output": "output"}
        assert own.kind.tolist() == [several.get(name, "dense") for name in own.arm]
    assert set(table.stage) == {"stem", "stage1", "output"}
    alone = table[table.arm.isin(["stem", "output"])]
    assert (alone.groupby(["arm", "replicate"]).error.agg(["size", "nunique"]) == [3, 1]).all(axis=None)
    layers = carried("robustness", FIRST, residual=True).table
    assert table[table.variant == "layer"].error.tolist() == layers[layers.variant == "reinit"].error.tolist()
    means = layers[layers.variant == "random"].groupby(["replicate", "arm"], sort=False).error.mean()
    assert table[table.variant == "layer"].random_error.tolist() == pytest.approx(means.tolist())
    assert set(carried("blocks", 'units=["stage"]').table.variant) == {"stage"}
    maps = found.details["units"]
    assert maps.groupby("column").error.apply(sorted).tolist() == [sorted(table.error), sorted(table.random_error)]
    assert set(maps[(maps.variant == "block")].mark) == set(found.study.classes(table[table.variant == "block"]).values())


def test_sets_of_layers(carried):
    table = carried("joint").table
    for replicate in (0, 1):
        sets = table[table.replicate == replicate].groupby("arm").layers.apply(list)
        assert sets["single"] == LAYERS
        assert sets["first"] == [" ".join(LAYERS[:size]) for size in (1, 2, 3, 4)]
        assert sets["last"] == [" ".join(LAYERS[-size:]) for size in (1, 2, 3, 4)]
        assert sets["pair"] == [f"{a} {b}" for place, a in enumerate(LAYERS) for b in LAYERS[place + 1 :]]
        assert [len(one.split()) for one in sets["random"]] == [2, 2, 3, 3]
    assert (table.level == table.layers.str.split().str.len()).all()
    rise = table[table.arm == "single"].set_index(["replicate", "layers"]).rise
    for row in table.itertuples():
        alone = [rise[row.replicate, name] for name in row.layers.split()]
        assert (row.sum_of_rises, row.most_of_rises) == (pytest.approx(sum(alone)), max(alone))
        assert row.rise == pytest.approx(row.error - row.own_error)
        if len(alone) == 1:
            assert row.rise == alone[0]
    by_set = table.groupby(["replicate", table.layers.str.split().apply(frozenset)])
    assert (by_set.error.nunique() == 1).all()  # whatever named it
    pairs = carried("joint").details["pairs"].set_index(["replicate", "row", "column"])
    assert len(pairs) == 2 * 16
    for (replicate, row, column), found in pairs.iterrows():
        assert found.error == pairs.loc[(replicate, column, row)].error
        assert np.isnan(found.beyond) == (row == column)


def test_greedy_sets_are_nested_and_chosen_on_the_validation_set(carried, store):
    found = carried("joint")
    greedy = found.table[found.table.arm == "greedy"]
    for replicate in (0, 1):
        chosen, rows = [], greedy[greedy.replicate == replicate].sort_values("level")
        assert rows.level.tolist() == [1, 2, 3, 4]
        for row in rows.itertuples():
            candidates = [[*chosen, name] for name in LAYERS if name not in chosen]
            query = store.measurements.get(
                found.study.reset(dense_run(found.study, replicate), unit="layer", sets=candidates).digest
            ).found()
            best = min(range(len(candidates)), key=lambda index: query["validation_error"][index, 0])
            chosen = candidates[best]
            assert row.layers.split() == chosen
            assert row.error == query["error"][best, 0]
            assert row.validation_rise == pytest.approx(query["validation_error"].min() - query["own_validation_error"])


@pytest.mark.slow
def test_greedy_sets_may_be_those_of_another_arm(tmp_path):
    study = small("joint", *TINY, 'task.model.options={"widths": [8]}', "robust=1", "replicates=4", "steps=5it", "evaluate_every=5it")
    table = run_study(study, Store(tmp_path), quiet=True).table
    greedy = table[table.arm == "greedy"]
    assert sorted(zip(greedy.replicate, greedy.level, strict=True)) == [(r, size) for r in range(4) for size in (1, 2)]


def test_the_robust_set_is_of_robust_layers(carried, split):
    for settings in (split, (), ("robust=1",)):
        found = carried("joint", *settings)
        study, table = found.study, found.table
        single = table[table.arm == "single"]
        mean = single.groupby("layers", sort=False).rise.mean()
        robust = [name for name in LAYERS if mean[name] <= study.limit_in(single)]
        rows = table[table.arm == "robust"]
        assert rows.layers.tolist() == ([" ".join(robust)] * 2 if len(robust) > 1 else [])


@pytest.mark.slow
def test_options_of_joint_change_what_they_should(carried):
    table = carried("joint").table
    assert set(carried("joint", "subsets=0").table.arm) == set(table.arm) - {"random"}
    assert (carried("joint", "subsets=3").table.arm == "random").sum() == 12
    ends = carried("joint", "reset_to=60it").table
    assert ends.rise.abs().max() < 1e-6
    stages = carried("joint", "unit=stage", residual=True).table
    assert stages[stages.arm == "single"].layers.tolist() == UNITS["stage"] * 2


def test_frozen_layers_do_not_move(carried, store, split):
    found = carried("frozen", *split)
    for row in found.table.itertuples():
        held, task = row.frozen.split(), found.study.task
        run = dense_run(found.study, row.replicate, task.but(recipe=task.recipe.but(frozen=tuple(held))))
        end, start = (load_tree(run, step, store, None) for step in ("end", "0it"))
        for path in end:
            assert np.array_equal(end[path], start[path]) == (path.split("/")[0] in held)
        assert row.acc == store.get(run.digest).metrics()["test_acc"][-1]
        assert row.train_acc == store.get(run.digest).json("summary")["train_acc"]
        trained = sum(size for name, size in zip(LAYERS, SIZES, strict=True) if name not in held)
        assert (row.trained_parameters, row.share_trained) == (trained, pytest.approx(trained / sum(SIZES)))
        reset = store.measurements.get(found.study.reset(run, unit="layer").digest).found()
        assert [name for name, moved in zip(LAYERS, reset["rms"][:, 0], strict=True) if not moved] == held
        assert row.second_rise == pytest.approx(reset["error"][1, 0] - reset["own_error"])


def test_what_is_frozen_is_what_is_robust(carried, split):
    found = carried("frozen", *split)
    sets = {arm: {tuple(one.split()) for one in rows.frozen} for arm, rows in found.table.groupby("arm")}
    single = carried("joint").table[lambda table: table.arm == "single"]
    mean = single.groupby("layers").rise.mean()
    robust = tuple(name for name in LAYERS[:-1] if mean[name] <= found.study.robust)
    others = tuple(name for name in LAYERS[:-1] if name not in robust)
    assert robust
    expected = {"none": {()}, "alone": {(name,) for name in LAYERS[:-1]}, "hidden": {tuple(LAYERS[:-1])}, "robust": {robust}}
    assert sets == expected | ({"critical": {others}} if others else {})
    rows = found.details["frozen"]
    assert list(dict.fromkeys(rows.row)) == [
        "nothing",
        *LAYERS[:-1],
        "all robust layers",
        *(["all others but the last"] if others else []),
        "all but the last",
    ]
    assert sorted(rows.acc) == sorted(found.table.acc)
    everything = {arm: set(rows.frozen) for arm, rows in carried("frozen", "robust=1").table.groupby("arm")}
    assert everything["robust"] == everything["hidden"] == {" ".join(LAYERS[:-1])}
    assert "critical" not in everything


@pytest.mark.slow
def test_parts_are_taken_out(carried, store):
    table = carried("removed", "robust=1").table
    rows = table.set_index(["arm", "variant", "replicate"])
    assert set(table[table.arm == "removed"].variant) == {"hidden2", "hidden3", removed.TOGETHER}  # the others change shapes
    sizes = dict(zip(LAYERS, SIZES, strict=True))
    for label, names in {"hidden2": ["hidden2"], "hidden3": ["hidden3"], removed.TOGETHER: ["hidden2", "hidden3"]}.items():
        less = sum(sizes[name] for name in names)
        for replicate in (0, 1):
            whole, still, out = (
                rows.loc[key] for key in (("trained", "", replicate), ("frozen", label, replicate), ("removed", label, replicate))
            )
            assert (whole.parameters, still.parameters, out.parameters) == (sum(SIZES), sum(SIZES), sum(SIZES) - less)
            assert (still.trained_parameters, out.trained_parameters) == (sum(SIZES) - less,) * 2
            assert whole.operations > still.operations > out.operations
            assert (whole.loss, still.loss, out.loss) == pytest.approx((0, whole.acc - still.acc, whole.acc - out.acc))
    kernels = dict(zip(LAYERS, (64 * 8, 64, 64, 80), strict=True))
    assert rows.prunable["removed", removed.TOGETHER, 0] == kernels["hidden1"] + kernels["output"]
    maps = carried("removed", "robust=1").details["removed"]
    assert list(dict.fromkeys(maps.column)) == ["trained", "frozen", "removed"]
    assert len(maps) == 2 * 3 * 3
    assert removed.TOGETHER not in set(carried("removed", "robust=0", "deviations=0").table.variant) or (
        (carried("joint").table[lambda one: one.arm == "single"].groupby("layers").rise.mean() <= 0).sum() > 1
    )


def test_layers_of_tickets(carried, store):
    found = carried("tickets")
    rows = found.table.set_index(["arm", "level", "replicate", "variant"]).sort_index()
    assert len(rows) == 3 * 2 * 2 * 4
    for row in found.study.rows():
        mask, end, start = (load_tree(row.run, what, store, None) for what in ("mask", "end", str(row.run.begin)))
        measurement = store.measurements.get(row.measurement.digest).found()
        for place, layer in enumerate(LAYERS):
            line, kernel = rows.loc[(row.arm, row.level, row.replicate, layer)], f"{layer}/kernel"
            assert line.layer_density == mask[kernel].mean()
            assert (line.layer_density < 1) == (row.level > 0)
            assert not end[kernel][~mask[kernel]].any()
            left = np.concatenate([(end[path] - start[path])[mask.get(path, ...)].ravel() for path in (kernel, f"{layer}/bias")])
            size = end[kernel].size + end[f"{layer}/bias"].size  # the pruned weights do not move
            assert line.rms == pytest.approx(np.sqrt((left**2).sum() / size), rel=1e-4)
            assert line.error == measurement["error"][place, 0]
            assert line.random_error == pytest.approx(measurement["error"][place, 1:].mean())
            assert line.random_rise == pytest.approx(line.random_error - line.own_error)
        assert line.kept == sum(leaf.sum() for leaf in mask.values())
    densities = rows.layer_density.unstack("arm")
    assert (densities.nunique(axis=1) == 1).all()
    assert not rows.xs(1, level="level").error.unstack("arm").nunique(axis=1).eq(1).all()
    dense = carried("robustness").table[lambda table: (table.variant == "reinit") & (table.level == 0)].error.tolist()
    assert rows.loc[("ticket", 0)].error.tolist() == dense
    maps = found.details["layers"]
    assert (list(dict.fromkeys(maps.row)), len(set(maps.column))) == (LAYERS, 2)


def test_layers_are_counted_over_sizes(carried):
    found = carried("capacity")
    study, table = found.study, found.table
    whole, layers = table[table.variant == capacity.WHOLE], table[table.variant != capacity.WHOLE]
    assert layers.groupby(["level", "replicate"]).variant.apply(list).tolist() == [LAYERS] * 4
    assert (whole.robust + whole.between + whole.critical == 4).all()
    assert (whole.share_critical == whole.critical / 4).all()
    for row in whole.itertuples():
        own = layers[(layers.level == row.level) & (layers.replicate == row.replicate)]
        allowed = study.limit(whole[whole.level == row.level].own_error.tolist())
        assert row.robust == (own.rise <= allowed).sum()
        assert row.critical == ((own.rise > allowed) & (own.way >= 0.5)).sum()
        assert (row.width, row.depth) == ((4, 8)[row.level], 3)
        assert row.parameters == 65 * row.width + 2 * (row.width + 1) * row.width + 10 * (row.width + 1)
    shared = carried("robustness").table[lambda one: (one.variant == "reinit") & (one.level == 0)]
    assert layers[layers.width == 8].rise.tolist() == shared.rise.tolist()
    loose = carried("capacity", "robust=1").table
    assert (loose[loose.variant == capacity.WHOLE].robust == 4).all()
    strict = carried("capacity", "robust=0", "deviations=0", "critical=0.000001").table[lambda one: one.variant == capacity.WHOLE]
    assert (strict.between == 0).all()
    assert strict.critical.sum() == (layers.rise > 0).sum()


def test_the_least_over_the_valley_is_that_of_a_loop():
    random = np.random.default_rng(0)
    for allowed in (0.0, 0.1, 0.5, 1.0):
        error, a, sigma = random.random((5, 4)), np.linspace(0, 1, 5), np.array([0.01, 0.3, 0.1, 1.0])
        best = (np.inf, np.nan, np.nan)
        for place in range(5):
            for noise in range(4):
                value = (a[place] * 2.5 / sigma[noise]) ** 2
                if error[place, noise] <= allowed and value < best[0]:
                    best = (value, a[place], sigma[noise])
        assert criticality.least(error, a, sigma, 2.5, allowed) == pytest.approx(best, nan_ok=True)


def test_a_networks_criticality_is_the_sum_over_its_layers(carried, store):
    for settings in ((), ("epsilon=0.001",)):
        found = carried("criticality", *settings)
        for row in found.study.rows():
            rows = found.table[found.table.replicate == row.replicate].set_index("arm")
            assert list(rows.index) == [*LAYERS, criticality.NETWORK]
            valley = store.measurements.get(row.measurement.digest).found()
            for place, layer in enumerate(LAYERS):
                within = valley["error"][place] <= valley["own_error"] + found.study.epsilon
                values = (valley["a"][:, None] * valley["distance"][place] / valley["sigma"]) ** 2
                assert rows.criticality[layer] == pytest.approx(values[within].min() if within.any() else np.inf)
                assert rows.log_criticality[layer] == pytest.approx(np.log10(1 + rows.criticality[layer]))
            assert rows.criticality[criticality.NETWORK] == pytest.approx(rows.criticality[LAYERS].sum())
            assert rows.own_train_error.tolist() == [valley["own_error"]] * 5
    narrow, wide = (carried("criticality", *one).table.criticality for one in (("epsilon=0.001",), ()))
    assert (narrow >= wide).all()
    assert narrow.sum() > wide.sum()
    singles = carried("joint").table[lambda table: table.arm == "single"].rise.tolist()
    assert found.table[found.table.arm != criticality.NETWORK].rise.tolist() == singles
    maps = carried("criticality").details["valley"]
    assert (list(dict.fromkeys(maps.arm)), list(dict.fromkeys(maps.row)), list(dict.fromkeys(maps.column))) == (
        LAYERS,
        ["a = 0", "a = 0.5", "a = 1"],
        ["0.01", "0.1"],
    )


# -- claims on tables with a known answer --------------------------------------------------------------------------------

NOISY = ("rise", "way", "acc", "random_rise", "sum_of_rises", "second_rise", "own_error", "critical", "gap")


def judged(study, facts, replicates=8, own=0.05, noise=1e-4):
    """Claim -> verdict, on the facts as rows of each replicate, with noise."""
    random = np.random.default_rng(0)
    shared = {"variant": "", "arm": "", "level": 0, "draw": 0, "density": 1.0, "own_error": own, "chance": 0.9}
    rows = [{"replicate": replicate, **shared, **fact} for replicate in range(replicates) for fact in facts]
    rows = [{name: one + noise * random.normal() if name in NOISY else one for name, one in row.items()} for row in rows]
    return {one.id: one for one in study.judge(pd.DataFrame(rows))}


def verdicts(*args, **options):
    return {name: one.verdict for name, one in judged(*args, **options).items()}


RISES = {
    "hidden1": (0.5, 0.4, 0.3, 0.2, 0.01, 0.0, 0.0),
    "hidden2": (0.005, 0.004, 0.0, 0.0, 0.0, 0.0, 0.0),
    "hidden3": (0.003, 0.002, 0.0, 0.0, 0.0, 0.0, 0.0),
    "output": (0.003, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
}
MOVED = {"hidden1": 1.0, "hidden2": 4.0, "hidden3": 2.0, "output": 3.0}


def by_layers(rises=None, drawn=0.95, moved=MOVED, task="fcn-digits", how=verdicts, fields=None, **options):
    """Verdicts of robustness where some of its columns are others."""
    facts = []
    for arm, values in (RISES | (rises or {})).items():
        of = {"arm": arm, "rms": moved[arm], "max": moved[arm]}
        for level, rise in enumerate(values):
            facts.append({**of, "variant": "reinit", "level": level, "step": level, "rise": rise, "way": rise / 0.85})
        way = drawn if arm == "output" else 0.97
        facts += [{**of, "variant": "random", "step": 0, "draw": draw, "rise": 0.8, "way": way} for draw in (0, 1)]
    return how(configured("robustness", task, **(fields or {})), facts, **options)


def test_c1_to_c4_where_all_is_as_the_paper_says():
    assert set(by_layers().values()) == {"replicated"}
    assert set(by_layers(replicates=5).values()) == {"not judged"}
    assert set(by_layers(own=0.85).values()) == {"not judged"}  # near chance
    deep = by_layers(task="vgg16-cifar10")
    assert [deep[f"LAY-C{number}"] for number in (1, 2, 3, 4)] == ["not judged"] * 3 + ["replicated"]


def test_c1_is_about_fresh_draws_of_every_layer():
    assert by_layers(drawn=0.8)["LAY-C1"] == "not replicated"
    assert by_layers({"hidden2": (0.0,) * 7})["LAY-C1"] == "replicated"


def test_c2_critical_and_robust_mean_their_thresholds():
    def parts(**options):
        return by_layers(how=judged, **options)["LAY-C2"].parts

    assert parts() == ("holds",) * 3
    assert parts(rises={"hidden1": (0.34,) * 7}) == ("contradicted", "holds", "holds")  # 40 % of the way
    assert parts(rises={"hidden1": (0.34,) * 7}, fields={"critical": 0.3}) == ("holds",) * 3
    assert parts(rises={"output": (0.02, 0.0)}) == ("holds", "holds", "contradicted")
    assert parts(rises={"output": (0.02, 0.0)}, fields={"robust": 0.03}) == ("holds",) * 3
    assert parts(rises={"hidden3": (0.6,) * 7}) == ("holds", "contradicted", "contradicted")
    assert parts(own=0.009) == ("holds", "holds", "not judged")  # a robust layer may more than double such an error
    assert by_layers({"hidden1": (0.34,) * 7})["LAY-C2"] == "not replicated"


def test_c3_is_about_later_steps():
    assert by_layers({"hidden1": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.7)})["LAY-C3"] == "not replicated"
    assert by_layers({"hidden2": (0.1,) * 7})["LAY-C3"] == "not replicated"  # no checkpoint makes it robust
    assert by_layers({"hidden1": (0.005,) * 7})["LAY-C3"] == "not judged"
    assert by_layers({"hidden1": (0.005,) * 7, "output": RISES["hidden1"]})["LAY-C3"] == "replicated in part"
    assert by_layers({arm: values[:2] for arm, values in RISES.items()})["LAY-C3"] == "not judged"
    repair, later = (effect.mean for effect in by_layers(how=judged)["LAY-C3"].effects)
    assert repair > 0.85
    assert 4 < later < 5


def test_c4_is_about_the_distance():
    along = {"hidden1": 4.0, "hidden2": 3.0, "hidden3": 2.0, "output": 1.0}
    assert by_layers(moved=along)["LAY-C4"] == "not replicated"
    assert by_layers(moved=dict.fromkeys(along, 1.0))["LAY-C4"] == "not judged"


def sizes(narrow=0.3, wide=0.005, first=0.2, critical=(4, 3, 1, 1), gaps=(4, 3, 2, 1), **options):
    facts = []
    for level, (rise, number, gap) in enumerate(zip((narrow, 0.1, 0.1, wide), critical, gaps, strict=True)):
        at = {"level": level, "width": 4**level, "depth": 2, "arm": "2", "parameters": 10**level}
        facts.append({**at, "variant": capacity.WHOLE, "rise": np.nan, "critical": number, "gap": gap})
        facts += [{**at, "variant": layer, "rise": one} for layer, one in (("hidden1", first), ("hidden2", rise), ("output", rise))]
    return verdicts(configured("capacity"), facts, **options)


def test_c5_and_c9_are_about_the_size_of_networks():
    assert sizes() == {"LAY-C5": "replicated", "LAY-C9": "replicated"}
    assert sizes(0.1, 0.1)["LAY-C5"] == sizes(0.1, 0.2)["LAY-C5"] == "not replicated"
    assert sizes(first=0.005)["LAY-C5"] == "not replicated"  # a layer of the narrow networks does not matter
    assert sizes(own=0.85) == {"LAY-C5": "not judged", "LAY-C9": "not judged"}
    assert sizes(critical=(1, 1, 3, 4), gaps=(1, 2, 3, 4))["LAY-C9"] == "not replicated"
    assert sizes(gaps=(1, 2, 3, 4))["LAY-C9"] == sizes(gaps=(2, 4, 1, 3))["LAY-C9"] == "not replicated"
    assert sizes(critical=(2, 2, 2, 2), noise=0)["LAY-C9"] == "not judged"


def units(task="resnet20-cifar10", rises=(0.5, 0.5), block=0.001, drawn=0.002, **options):
    """C6 where the first layer matters, a layer of each of two stages rises so much, and one block so, and so when drawn anew."""
    low, high = rises
    facts = [{"variant": "layer", "arm": "conv", "stage": "conv", "rise": 0.5}]
    facts += [{"variant": "layer", "arm": f"stage1/block{n}/conv1", "stage": "stage1", "rise": low} for n in (1, 2)]
    facts += [{"variant": "layer", "arm": f"stage2/block{n}/conv1", "stage": "stage2", "rise": high} for n in (1, 2)]
    facts += [{"variant": unit, "arm": "output", "stage": "output", "rise": 0.001} for unit in ("layer", "block")]
    facts += [{"variant": "block", "arm": "stage1/block1", "stage": "stage1", "rise": 0.3}]
    facts += [{"variant": "block", "arm": "stage1/block2", "stage": "stage1", "rise": block, "random_rise": drawn}]
    facts = [{"random_rise": 0.8, "way": fact["rise"] / 0.85, **fact} for fact in facts]
    found = judged(configured("blocks", task), facts, **options)["LAY-C6"]
    return found.verdict, tuple(part for part in found.parts if part != "shown")


def test_c6_is_judged_by_halves():
    no = "not judged"
    assert units() == ("replicated in part", (no, no, "holds", "holds"))
    assert units("resnet50-imagenet")[1] == (no, no, "holds", "holds")
    assert units(rises=(0.5, 0.3)) == ("not replicated", (no, no, "contradicted", "holds"))  # 35 % of the way is not critical
    assert units(drawn=0.3) == ("not replicated", (no, no, "holds", "contradicted"))
    assert units(block=0.3) == ("replicated in part", (no, no, "holds", no))
    assert units("vgg16-cifar10", (0.3, 0.001)) == ("replicated in part", ("holds", "holds", no, no))
    assert units("vgg16-cifar10") == ("not replicated", ("holds", "contradicted", no, no))
    assert units("fcn-digits", (0.3, 0.001))[0] == units(own=0.85)[0] == no


def test_c7_is_about_robust_layers_together():
    def claim(rise, arm="robust", layers="a b", **fields):
        alone = {"a": 0.001, "b": 0.002, "c": 0.3}
        facts = [{"arm": "single", "layers": name, "rise": one, "sum_of_rises": one} for name, one in alone.items()]
        facts += [{"arm": arm, "layers": layers, "rise": rise, "sum_of_rises": 0.003}]
        return judged(configured("joint", **fields), facts)["LAY-C7"]

    assert claim(0.3).verdict == "replicated"
    assert [round(effect.mean, 1) for effect in claim(0.3).effects] == [29, 29.7]
    assert claim(0.005).verdict == claim(0.3, robust=0.4).verdict == "not replicated"
    assert claim(0.3, "greedy").reasons == ("fewer than two layers are robust by themselves",)
    assert claim(0.3, layers="a c").reasons == ("not robust by themselves, though put back: c",)


def test_c8_is_about_robust_layers_that_are_never_trained():
    def claim(robust=0.945, second=0.6, arm="robust", task="fcn-digits", whole=0.95, before=0.1, **fields):
        facts = [
            {"arm": "none", "acc": whole, "second_rise": before},
            {"arm": "alone", "variant": "hidden1", "acc": 0.9, "second_rise": second},
            {"arm": "alone", "variant": "hidden2", "acc": 0.9, "second_rise": 0.9},
            {"arm": arm, "variant": arm, "acc": robust, "second_rise": 0.1},
            {"arm": "critical", "variant": "critical", "acc": 0.7, "second_rise": 0.1},
        ]
        facts = [{**fact, "train_acc": 1.0, "chance_acc": 0.1} for fact in facts]
        found = judged(configured("frozen", task, "paper", **fields), facts)["LAY-C8b"]
        return found.verdict, *found.parts[:2]

    assert claim() == ("replicated", "holds", "holds")
    assert claim(0.93) == ("not replicated", "contradicted", "holds")
    assert claim(0.93, margin=3) == claim()
    assert claim(task="fcn-mnist") == claim(0.93)  # 0.2 pp
    assert claim(second=0.3) == ("not replicated", "holds", "contradicted")  # 37 % of the way is not critical
    assert claim(0.994, whole=0.995) == claim(arm="hidden") == ("replicated in part", "not judged", "holds")  # no room; none is robust
    assert claim(before=0.6) == claim(0.9495, task="vgg16-cifar10") == ("replicated in part", "holds", "not judged")


def test_c8_and_o1_are_about_parts_that_are_taken_out():
    def claims(still, out, together=0.9, labels=("block1", "block2", removed.TOGETHER), task="vgg16-cifar10-zhang", **data):
        study = configured("removed", task, "paper")
        study = study.but(task=study.task.but(data=study.task.data.but(**data)))
        facts = [{"arm": "trained", "acc": 0.9}]
        for label in labels:
            whole = label == removed.TOGETHER  # which is not about single parts
            facts += [{"arm": "frozen", "variant": label, "acc": 0.5 if whole else still}]
            facts += [{"arm": "removed", "variant": label, "acc": together if whole else out}]
        return tuple(verdicts(study, facts).values())

    assert claims(0.9, 0.9) == ("replicated in part", "replicated")  # the other half is said of ImageNet
    assert claims(0.9, 0.88)[0] == claims(0.88, 0.9)[0] == "not replicated"
    for hard in ({"task": "resnet50-imagenet"}, {"train": 2000}):
        assert claims(0.9, 0.88, **hard)[0] == "replicated in part"
        assert claims(0.9, 0.9, **hard)[0] == "not replicated"
    assert claims(0.9, 0.9, task="fcn-digits") == ("not judged", "replicated")
    assert claims(0.9, 0.9, 0.88)[1] == "not replicated"
    assert claims(0.9, 0.9, 0.95)[1] == "replicated"
    assert claims(0.9, 0.9, labels=("block1",)) == ("replicated in part", "not judged")
    assert claims(0.9, 0.9, labels=()) == ("not judged", "not judged")


def test_c10_is_about_the_first_layer_at_the_lowest_density():
    def claim(dense=0.5, ticket=0.1, random=0.3, kinds=("ticket", "random", "reinit"), wrong=0.9, **options):
        facts = [
            {"arm": arm, "level": level, "variant": layer, "rise": one, "layer_density": one}
            for arm, last in {"ticket": ticket, "random": random, "reinit": 0.2}.items()
            for level, rise in ((0, dense), (3, wrong), (7, last))
            for layer, one in (("hidden1", rise), ("output", 0.0))
            if arm in kinds
        ]
        return judged(configured("tickets", levels=(7, 3), kinds=kinds), facts, **options)["LAY-C10"]

    assert claim().verdict == claim(wrong=0.0).verdict == "replicated"
    assert [round(effect.mean) for effect in claim().effects] == [40, 20, 1]
    assert claim(dense=0.05).verdict == claim(random=0.1).verdict == "not replicated"
    assert claim(kinds=("ticket", "reinit")).verdict == "replicated in part"
    assert claim(own=0.85).verdict == "not judged"


def test_o2_is_a_rank_correlation_over_layers():
    def claim(order, layers=4):
        rows = [{"arm": name, "rise": min(0.1 * place, 0.2)} for place, name in enumerate(LAYERS[:layers])]
        facts = [{**row, "log_criticality": order[place]} for place, row in enumerate(rows)]
        network = {"arm": criticality.NETWORK, "log_criticality": 9.0, "rise": np.nan}
        return judged(configured("criticality"), [*facts, network])["LAY-O2"]

    assert claim((1.0, 2.0, 3.0, np.inf)).verdict == "replicated"
    assert claim((4.0, 3.0, 2.0, 1.0)).verdict == "not replicated"
    assert claim((1.0, 1.0, 1.0, 1.0)).verdict == "not judged"
    assert claim((1.0, 2.0, 3.0), layers=3).reasons == ("a rank correlation over 3 layers says nothing",)


def test_a_claim_about_some_networks_names_that_which_is_none_of_them():
    class Net(nnx.Module):
        def __init__(self, shape, classes, *, rngs):
            self.output = nnx.Linear(*shape, classes, rngs=rngs)

        def __call__(self, x):
            return self.output(x)

    def said(**fields):
        return {claim.id: claim.about(study) for study in [small("robustness", **fields)] for claim in study.claims}

    assert said(task="digits-mlp")["LAY-C1"] == ""
    own = said(task=named_task("digits-mlp", "smoke").but(model=tb.model(Net)))
    assert own["LAY-C1"] == "the claim is about fully connected networks (mlp), and the network here is Net"
