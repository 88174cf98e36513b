"""The studies of Frankle et al. 2020: their runs, what they measure, and claims on tables with a known answer."""

import math
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import pytest
from toys import before_any_result, settable

import tombola as tb
from tombola.api.run import run
from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.engine import execute, measuring
from tombola.engine.configuring import resolve
from tombola.engine.study import findings, study_graph, study_measurements
from tombola.procedures.run import Action
from tombola.report import figures
from tombola.store.store import Store
from tombola.studies.catalogue import studies
from tombola.studies.evidence import Evidence
from tombola.studies.frankle2020 import common, trends
from tombola.studies.frankle2020.onset import Onset
from tombola.studies.results import Result, Results

NAMES = [name.removeprefix("frankle2020.") for name in studies if name.startswith("frankle2020.")]
GRIDS = ("link", "ranges", "sparse")


def small(name, *settings, scale="smoke", **fields):
    return resolve(f"frankle2020.{name}", scale=scale, settings=settings, **fields)


def children(study, arm=None):
    """(row, first and second run) of every pair."""
    return [(row, *(parent.run for parent in row.measurement.of[:2])) for row in study.rows() if row.measurement and arm in (None, row.arm)]


# -- what is trained -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_every_study_resolves(name, scale):
    study = small(name, scale=scale)
    assert {row.run.seed for row in study.rows()} == {replicate_seed(0, r) for r in range(study.replicates)}
    places = [(row.variant, row.arm, row.replicate, row.level, row.draw) for row in study.rows() if row.arm != "tried"]
    assert len(set(places)) == len(places)


def test_there_are_eleven_and_all_claims_have_one():
    assert len(NAMES) == 11
    claimed = [claim.id for name in NAMES for claim in small(name).claims]
    assert sorted(claimed) == sorted([*(f"LMC-C{number}" for number in range(1, 13)), *(f"LMC-O{number}" for number in range(1, 5))])


@pytest.mark.parametrize("name", [name for name in NAMES if name != "permuted"])
def test_all_steps_share_one_trunk_a_replicate(name):
    study = small(name, "replicates=2")
    roots = {one for one in study_graph(study).runs.values() if not list(one.parents())}
    assert roots == {common.dense_run(study, replicate) for replicate in range(study.replicates)}
    assert {one.kept.of[0].run for one in study_graph(study).runs.values() if one.kept and one.kept.name == "rewind"} <= roots


@pytest.mark.parametrize("name", ["instability", "layers", "path", "remaining_time", "sparse", "surface", "onset", "permuted"])
def test_children_are_equal_but_for_the_noise_that_varies(name):
    for vary in (["data_order"], ["augmentation", "dropout"]):
        found = children(small(name, f"vary={vary}".replace("'", '"')))
        assert found
        for _, first, second in found:
            if name != "permuted" or first.kept is None:  # others have a fresh initialisation each
                assert first.but(noise={}) == second.but(noise={})
            assert set(first.noise) == set(second.noise) == set(vary)
            assert len({*first.noise.values()}) == 1
            assert first.noise != second.noise


def test_children_begin_at_w_k():
    study = small("instability", 'k=["4it", "0it", "2it"]')
    dense = common.dense_run(study, 0)
    found = {row.level: first for row, first, _ in children(study, "dense") if row.replicate == 0}
    for level, k in enumerate(("0it", "2it", "4it")):  # sorted
        assert (found[level].begin, found[level].kept) == (k, Action(name="rewind", of=(dense.at(k),)))
        assert found[level].mask is None
    assert list(small("instability", 'k=["2it", "2it", "0it"]').rows()) == list(small("instability", 'k=["0it", "2it"]').rows())


@pytest.mark.parametrize(("copies", "pairs"), [(2, 1), (4, 6)])
def test_the_number_of_runs_and_pairs(copies, pairs):
    settings = (f"children={copies}", "replicates=3", 'k=["0it", "5it", "10it"]')

    def count(name, *more, without=()):
        study = small(name, *(one for one in settings if not one.startswith(without)), *more)
        return len(study_graph(study).runs), sum(row.measurement is not None for row in study.rows())

    # The ticket itself is not trained, only what its mask is made from and its children.
    assert count("instability", "ticket=2") == (3 * (1 + 3 * (copies + 1 + copies)), 3 * 3 * 2 * pairs)
    assert count("instability", "ticket=0") == (3 * (1 + 3 * copies), 3 * 3 * pairs)
    assert count("path", "ticket=3") == (3 * (1 + 3 * (copies + 2 + copies)), 3 * 3 * 2 * pairs)
    assert count("layers") == (3 * (1 + 3 * copies), 3 * 3 * pairs)
    assert count("remaining_time") == (3 * (1 + 3 * copies + 2 * copies), 3 * 3 * 2 * pairs)  # at k = 0 both are one
    assert count("sparse", "compared=[3, 1]") == (3 * (1 + 3 * (copies + 3 + 2 * 3 * copies)), 3 * 3 * 2 * 4 * pairs)
    assert count("levels", "levels=4", without="children") == (3 * (1 + 3 * 4), 3 * 3 * 4)
    assert count("permuted", 'sizes=[{}, {"widths": [8, 4]}]', without="k") == (3 * 2 * 2 * copies, 3 * 2 * 4 * pairs)
    assert count("onset") == (3 * (1 + 2 * copies), 3 * 2 * pairs)
    assert count("onset", "levels=2") == (3 * (1 + 1 + 2 * (1 + copies)), 3 * 2 * pairs)


def test_tickets_are_rewound_to_each_k():
    study = small("sparse", "compared=[1, 3]", 'k=["0it", "5it"]')
    dense = common.dense_run(study, 0)
    for k in ("0it", "5it"):
        last = study.parents(0, k)["ticket", 3]
        chain = [last]
        while chain[-1].mask is not None:
            assert (chain[-1].begin, chain[-1].kept) == (k, Action(name="rewind", of=(dense.at(k),)))
            initial, final, before = chain[-1].mask.of
            assert initial == dense.at("0it")
            assert final == before.run.at("end")
            chain.append(before.run)
        assert chain[-1] == dense
        assert len(chain) == 4
        assert study.parents(0, k)["ticket", 1] == chain[2]


def test_controls_are_the_tickets_in_all_but_one_thing():
    found = small("sparse", "compared=[2]", 'k=["5it"]').parents(0, "5it")
    ticket, random, fresh = (found[arm, 2] for arm in ("ticket", "random", "reinit"))
    assert random.but(mask=ticket.mask) == ticket
    assert (random.mask.name, random.mask.of) == ("shuffle", (ticket.its_mask(),))
    assert (fresh.mask, fresh.kept.name) == (Action(name="parent_mask", of=(ticket.its_mask(),)), "reinit")
    assert fresh.but(mask=ticket.mask, kept=ticket.kept) == ticket


def test_the_studies_of_the_grid_share_their_runs():
    settings = ("compared=[1, 2]", 'k=["0it", "5it"]', "children=3")
    runs = {name: set(study_graph(small(name, *settings)).runs) for name in GRIDS}
    measurements = {name: {measurement.digest for measurement in study_measurements(small(name, *settings))} for name in GRIDS}
    assert runs["ranges"] == runs["sparse"]
    assert measurements["ranges"] == measurements["sparse"]
    dense = {first.digest for _, first, _ in children(small("sparse", *settings), "dense")}
    dense |= {second.digest for _, _, second in children(small("sparse", *settings), "dense")}
    assert runs["sparse"] - runs["link"] == dense
    assert measurements["link"] < measurements["sparse"]
    assert runs["sparse"] & set(study_graph(small("instability", "ticket=2", *settings[1:])).runs) > dense


def test_networks_of_other_initialisations_share_the_split_and_nothing_else():
    study = small("permuted", "children=3")
    _, first, second = children(study, "other")[0]
    assert first.seed == second.seed
    assert first.kept.name == second.kept.name == "reinit"
    assert first.kept != second.kept
    assert all(one.kept is None for _, one, _ in children(study, "same"))
    for arm in ("same", "other"):
        plain, matched = ([row.measurement for row, _, _ in children(study, which)] for which in (arm, f"{arm}_matched"))
        assert [one.of for one in plain] == [one.of for one in matched]
        assert not any(one.options.get("matched") for one in plain)
        assert all(one.options["matched"] for one in matched)


def test_a_whole_training_begins_anew_from_w_k():
    study = small("remaining_time", 'k=["5it"]')
    (remaining, _, _), (whole, _, _) = (children(study, arm)[0] for arm in ("remaining", "whole"))
    assert (remaining.run.begin, whole.run.begin) == ("5it", "0it")
    assert whole.run.but(begin="5it") == remaining.run


def test_a_level_is_compared_with_the_one_before():
    study = small("levels", "levels=3", 'k=["5it"]')
    dense = common.dense_run(study, 0)
    found = {row.level: (first, second) for row, first, second in children(study) if row.replicate == 0}
    assert found[1][1] == dense
    assert [found[level][1] == found[level - 1][0] for level in (2, 3)] == [True, True]
    assert all(first.begin == "5it" for first, _ in found.values())


def test_the_plane_is_that_of_the_first_three():
    study = small("surface", "children=4", "grid=9", "margin=1")
    assert [one.name for one in study.measurements()] == ["plane"] * 2
    for level, measurement in enumerate(study.measurements()):
        pairs = {draw.draw: (first, second) for draw, first, second in children(study) if draw.level == level and draw.replicate == 0}
        assert [parent.run for parent in measurement.of] == [*pairs[0], pairs[1][1]]
        assert measurement.options == {"grid": 9, "margin": 1, "train": None}


def test_densities_are_the_papers_where_it_has_the_task():
    for task, rounds in (("resnet20-cifar10", 8), ("vgg16-cifar10", 19), ("lenet-mnist-2020", 15)):
        sparse, instability, path, ranges = (small(name, task=task, scale="paper") for name in ("sparse", "instability", "path", "ranges"))
        assert (sparse.compared, instability.ticket, path.ticket) == ((rounds,), rounds, rounds)
        assert ranges.compared[0] == 1
        assert ranges.compared[-1] > rounds
    for name in ("sparse", "instability", "path"):
        assert small(name, task="resnet50-imagenet", scale="paper").pruning.rates == {"conv": 0.7}  # 30 % at once
    assert small("sparse", task="resnet50-imagenet", scale="paper").compared == (1,)
    assert small("sparse", scale="small").compared == (3, 6, 9, 12)
    assert small("sparse", scale="small").part == "train"  # noisy labels
    assert small("sparse", task="digits-mlp", scale="small").part == "test"
    assert small("onset", task=tb.task("digits-mlp")).part == small("onset", data=tb.Data(name="digits")).part == "test"


def test_steps_where_none_are_named_are_shares_of_training():
    study = small("instability", "k=[]", "steps=1024it", "prune_at=end")
    assert study.steps == ("0it", "4it", "8it", "16it", "32it", "64it", "128it", "256it", "512it")
    assert len({row.level for row in study.rows()}) == 9
    assert small("path", "k=[]", "steps=1024it").steps == small("levels", "k=[]", "steps=1024it").steps == ("0it", "128it")
    assert small("instability", "k=[]", "steps=4it").steps == ("0it", "1it", "2it")


# -- every field says something --------------------------------------------------------------------------------------------

VALUES = {
    "replicates": "3",
    "seed": "1",
    "rates": 'rates={"dense": 0.5}',
    "densities": "densities=[0.7, 0.6, 0.5, 0.4]",
    "scope": "global",
    "criterion": "magnitude_increase",
    "structure": "units",
    "norm": "l1",
    "prune_at": "50it",
    "form": "midpoint",
    "points": "5",
    "batch_norm": "interpolate",
    "train_examples": "50",
    "stable": "0.1",
    "children": "4",
    "vary": '["data_order"]',
    "k": '["0it", "2it"]',
    "ticket": "2",
    "levels": "3",
    "sizes": '[{"widths": [8]}]',
    "compared": "[1, 2]",
    "margin": "0.7",
    "rewind": "1it",
    "grid": "7",
}
CLAIMS_ONLY = {"judged"}
"""What no run and no figure shows; `test_what_is_judged_can_be_set` does."""


FIELDS = [(name, field) for name in NAMES for field in settable(small(name)) if field not in CLAIMS_ONLY]


@cache
def seen(name, *settings):
    return before_any_result(small(name, *settings))


@pytest.mark.parametrize(("name", "field"), FIELDS)
def test_every_field_changes_what_is_seen(name, field):
    base = {"norm": ("structure=units",)}.get(field, ())
    if name == "onset" and field in ("rates", "scope", "criterion", "structure", "norm", "prune_at"):
        base = (*base, "levels=1")
    value = VALUES.get(field) or {"test": "train", "train": "test"}[small(name).part]
    assert seen(name, *base) != seen(name, *base, value if "=" in value else f"{field}={value}")


@pytest.mark.parametrize("name", [name for name in NAMES if name != "surface"])
def test_figures_say_how_paths_were_evaluated(name):
    for settings, words in (
        (("points=7",), "7 points"),
        (("train_examples=50",), "50 training examples"),
        (("batch_norm=interpolate",), "interpolated"),
    ):
        assert any(words in figure.caption for figure in small(name, *settings).figures())


def test_panels_name_the_barrier_and_the_line_below_which_networks_are_stable():
    panel = small("layers", "part=test", "form=linear", "stable=0.05").figures()[0].panels[0]
    assert (panel.threshold, "test" in panel.label, "linear barrier" in panel.label) == (0.05, True, True)
    gap = small("sparse", "margin=3").figures()[0].panels[1]
    assert (gap.threshold, gap.label) == (-0.03, "training accuracy - dense (pp)")
    assert small("sparse", "part=test").figures()[0].panels[1].label == "test accuracy - dense (pp)"


# -- mistakes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "setting", "words"),
    [
        *((name, "part=validation", "part") for name in NAMES),
        *((name, "form=mean", "form") for name in NAMES),
        *((name, "points=1", "points") for name in NAMES),
        ("instability", "batch_norm=keep", "batch_norm"),
        ("instability", "train_examples=0", "train_examples"),
        ("instability", "stable=0", "stable"),
        ("instability", "children=1", "children"),
        ("instability", "children=11", "children"),
        ("instability", "vary=[]", "vary"),
        ("instability", 'vary=["order"]', "vary"),
        ("instability", "ticket=-1", "ticket"),
        ("instability", 'k=["500it", "1ep"]', "all steps in iterations, or all in epochs"),
        ("instability", "norm=l1", "whole units"),
        ("surface", "children=2", "children"),
        ("surface", "grid=1", "grid"),
        ("surface", "margin=-1", "margin"),
        ("sparse", "margin=-1", "margin"),
        *((name, "compared=[]", "compared") for name in GRIDS),
        *((name, "compared=[0]", "compared") for name in GRIDS),
        *((name, "compared=[2, 2]", "given twice") for name in GRIDS),
        ("sparse", "judged=2", r"judged = 2, but compared = \[1\]; choose one of these"),
        ("ranges", "rewind=7it", "rewind = '7it', but k = 0it, 1it; choose one of these"),
        ("sparse", "criterion=none", "criterion 'none'"),
        ("levels", "levels=0", "levels"),
        ("permuted", "sizes=[]", "sizes"),
        ("onset", 'k=["5it"]', "two steps or more"),
    ],
)
def test_settings_without_meaning_are_one_line(name, setting, words):
    with pytest.raises(TombolaError, match=words) as error:
        list(small(name, setting).rows())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        *((name, ('k=["0it", "101it"]',), "after the end of training at 100") for name in NAMES if name != "permuted"),
        *((name, ('k=["0it", "100it"]',), "trains nothing: training ends at iteration 100") for name in NAMES if name != "permuted"),
        ("levels", ('k=["end"]',), "trains nothing"),
        ("permuted", ('sizes=[{"depth": 3}]',), "depth"),
        ("instability", ('vary=["dropout"]',), "equal"),
        ("layers", ('vary=["augmentation"]',), "equal"),
        ("surface", ('vary=["dropout", "augmentation"]',), "equal"),
    ],
)
def test_what_cannot_be_trained_is_one_line_before_training(name, settings, words, tmp_path):
    with pytest.raises(TombolaError, match=words) as error:
        run(f"frankle2020.{name}", "smoke", settings=settings, store=tmp_path, quiet=True)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("*/spec.json"))


# -- the numbers of a pair -------------------------------------------------------------------------------------------------


def pair(*settings, **changes):
    """(study, row, results) of a pair of invented networks."""
    study = small("instability", 'k=["25it"]', *settings)
    row, first, second = children(study, "dense")[0]
    found = {
        "a": np.array([0, 0.25, 0.5, 1]),
        "test_error": np.array([0.2, 0.5, 0.3, 0.1]),
        "train_error": np.array([0.1, 0.2, 0.35, 0.3]),
        "test_own": np.array([0.1, 0.2]),
        "train_own": np.array([0.25, 0.1]),
        "test_examples": np.array(1000),
        "train_examples": np.array(1000),
        "test_chance": np.array(0.9),
        "train_chance": np.array(0.9),
        "test_disagreement": np.array(0.15),
        "train_disagreement": np.array(0.4),
        "distance": np.array(3.0),
        "cosine": np.array(0.5),
        "since_start": np.array([4.0, 6.0]),
        "since_initial": np.array([10.0, 20.0]),
    } | {name: np.array(value) for name, value in changes.items()}
    results = {
        run: Result({"test_acc": [0.1, 1 - test]}, {"kept": 7, "prunable": 9, "train_acc": 1 - train}, dict, 25, 100)
        for run, test, train in ((first, 0.1, 0.25), (second, 0.2, 0.1))
    }
    return study, row, Results(results, lambda measurement: {row.measurement: found}[measurement])


def of_pair(study, row, results):
    return study.measure(row, results)


def test_the_columns_of_a_pair():
    row = of_pair(*pair("part=train", "form=midpoint"))
    expected = {
        **{"draw": 0, "step": 25, "share": 0.25, "instability": 0.15},
        **{"test_maximum": 0.35, "test_midpoint": 0.15, "test_linear": 0.325},
        **{"train_maximum": 0.15, "train_midpoint": 0.15, "train_linear": 0.15},
        **{"distance": 3, "cosine": 0.5, "since_start": 5, "since_initial": 15, "of_start": 0.6, "of_initial": 0.2},
        **{"disagreement": 0.4, "test_disagreement": 0.15, "train_disagreement": 0.4},
        **{"acc_final": 0.85, "train_acc_final": 0.825, "statistics_shift": 0.025},
    }
    assert row == pytest.approx(expected)
    assert {"kept", "prunable", *row} == set(common.METRICS)  # the table has those two of the run itself
    for part in ("test", "train"):
        for form in ("maximum", "midpoint", "linear"):
            row = of_pair(*pair(f"part={part}", f"form={form}"))
            assert row["instability"] == row[f"{part}_{form}"]
            assert row["disagreement"] == row[f"{part}_disagreement"]


def test_a_barrier_from_chance_is_none():
    assert np.isnan(of_pair(*pair("part=test", test_chance=0.16))["instability"])
    assert of_pair(*pair("part=test", test_chance=0.18))["instability"] == pytest.approx(0.35)
    assert np.isnan(of_pair(*pair("part=train", train_chance=0.21))["instability"])


def test_ends_that_are_not_what_was_trained_are_an_error():
    for changes in ({"test_own": [0.1, 0.21]}, {"test_own": [0.2, 0.1]}, {"test_own": [np.nan, 0.2]}, {"train_own": [0.25, 0.09]}):
        with pytest.raises(TombolaError, match=r"an end of a path has .*error"):
            of_pair(*pair(**changes))
    assert of_pair(*pair("train_examples=50", train_own=[0.3, 0.2]))  # on a part of them there is nothing to compare with


def layer_rows(*settings, **changes):
    _, _, results = pair()
    study = small("layers", 'k=["25it"]', *settings)
    (row, *_), *_ = children(study)
    found = {
        "a": np.array([0, 0.5, 1]),
        **{"test_ends": np.array([0.1, 0.2]), "train_ends": np.array([0.25, 0.1])},
        **{"test_own": np.array([0.1, 0.2]), "train_own": np.array([0.25, 0.1])},
        **{f"{part}_{what}": np.array(value) for part in ("test", "train") for what, value in (("examples", 1000), ("chance", 0.9))},
        **{"test_error/000/b": np.array([0.5, 0.3, 0.1]), "train_error/000/b": np.array([0.2, 0.2, 0.25])},
        **{"test_error/001/a": np.array([0.2, 0.15, 0.1]), "train_error/001/a": np.array([0.3, 0.4, 0.25])},
        **{"distance/000/b": np.array(2.0), "distance/001/a": np.array(1.0)},
    } | {name: np.array(value) for name, value in changes.items()}
    runs = [parent.run for parent in row.measurement.of]
    known = dict(zip(runs, results.values(), strict=True))
    return study.measure(row, Results(known, lambda measurement: found))


def test_a_layers_barrier_is_above_the_whole_networks():
    rows = layer_rows("part=test")
    assert [row["arm"] for row in rows] == ["b", "a"]  # in forward order
    assert [row["instability"] for row in rows] == pytest.approx([0.35, 0.05])  # the end with one foreign layer counts
    assert [row["distance"] for row in rows] == [2, 1]
    assert {(row["step"], row["share"]) for row in rows} == {(25, 0.25)}
    assert [row["instability"] for row in layer_rows("part=train")] == pytest.approx([0.075, 0.225])
    assert [row["instability"] for row in layer_rows("part=test", "form=midpoint")] == pytest.approx([0.15, 0])
    with pytest.raises(TombolaError, match=r"an end of a path has .*error"):
        layer_rows(test_own=[0.3, 0.2])


# -- the search for the onset ----------------------------------------------------------------------------------------------


def searched(monkeypatch, truth, *settings):
    """(rows by replicate, places that were tried) of a search on results where a replicate is stable from iteration `truth(seed)` on."""
    study = small("onset", *settings, scale="small", replicates=2)
    monkeypatch.setattr(Onset, "of_pair", lambda study, row, results: {"instability": truth(row.run.seed, results[row.run].begin)})
    rows = list(study.rows())

    def result(one):
        return Result({}, {"kept": 1, "prunable": 2, "density": 0.5}, dict, one.begin.iterations(19), 1500)

    known = {row.run: result(row.run) for row in rows}
    known |= {parent.run: result(parent.run) for row in rows if row.measurement for parent in row.measurement.of}
    while further := list(study.more(rows, Results(known, None))):
        known |= {parent.run: result(parent.run) for row in further for parent in row.measurement.of}
        assert len(known) < 1000
    results = Results(known, None)
    values = [found for row in rows if (found := study.measure(row, results))]
    tried = pd.DataFrame(study.details(results)["tried"]).groupby("replicate").x.apply(sorted).tolist()
    return [step.iterations(19) for step in study.steps], values, tried


@pytest.mark.parametrize("place", range(20))
def test_bisection_finds_the_onset_of_every_monotone_sequence(place, monkeypatch):
    seeds = [replicate_seed(0, 0), replicate_seed(0, 1)]
    candidates = [step.iterations(19) for step in small("onset", scale="small").steps]
    assert len(candidates) == 19
    places = {seeds[0]: place, seeds[1]: (7 * place + 3) % 20}  # each replicate has its own
    begins = [*candidates, math.inf]
    steps, rows, tried = searched(monkeypatch, lambda seed, begin: 0.3 if begin < begins[places[seed]] else 0.001)
    assert steps == candidates
    for row, at, seen in zip(rows, places.values(), tried, strict=True):
        assert row["onset"] == begins[at]
        assert row["share"] == begins[at] / 1500
        assert np.isnan(row["after"]) if at == 0 else row["after"] == begins[at - 1]
        assert row["tries"] == len(seen) <= (2 if at in (0, 19) else 2 + math.ceil(math.log2(18)))
        assert {candidates[0], candidates[-1]} <= set(seen)


def test_the_search_goes_by_the_line_that_is_set_and_the_steps_that_are_named(monkeypatch):
    def falling(seed, begin):
        return 0.2 - begin / 1000

    steps, rows, _ = searched(monkeypatch, falling, 'k=["0it", "50it", "100it", "150it", "190it"]')
    assert steps == [0, 50, 100, 150, 190]
    assert [row["onset"] for row in rows] == [190, 190]
    assert [row["onset"] for row in searched(monkeypatch, falling, 'k=["0it", "50it", "100it", "150it"]', "stable=0.12")[1]] == [100, 100]
    assert [row["onset"] for row in searched(monkeypatch, falling, 'k=["0it", "50it"]')[1]] == [math.inf] * 2


def test_what_is_not_a_number_is_not_stable(monkeypatch):
    _, rows, _ = searched(monkeypatch, lambda seed, begin: math.nan if begin < 100 else 0.001, 'k=["0it", "50it", "100it", "150it"]')
    assert [row["onset"] for row in rows] == [100, 100]


def test_all_steps_that_may_be_tried_are_kept():
    study = small("onset", 'k=["0it", "3it", "7it"]')
    for replicate in range(2):
        assert study_graph(study).keep[common.dense_run(study, replicate).digest] >= {"0it", "3it", "7it"}


# -- carried out ---------------------------------------------------------------------------------------------------------

TINY = ("steps=30it", "evaluate_every=10it", "train=120", "validation=60", "test=60", "learning_rate=0.02")
MORE = {"permuted": ('sizes=[{}, {"widths": [8, 4]}]',), "onset": ('k=["0it", "3it", "7it", "15it", "20it"]',)}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def carried(store):
    """Name of a study -> its findings at smoke, each carried out once."""

    @cache
    def carry(name, *settings):
        settings = (*TINY, *MORE.get(name, ()), *settings)
        return run(f"frankle2020.{name}", "smoke", task="digits-noise-mlp", settings=settings, store=store, quiet=True)

    return carry


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_study_runs_and_is_drawn(name, carried, store, monkeypatch):
    found = carried(name)
    assert [verdict.id for verdict in found.verdicts] == [claim.id for claim in found.study.claims]
    if "sparse" in name:  # a table that was read from a file
        assert str(found.study.judge(found.table.astype({"variant": int}))) == str(found.verdicts)
    without = [found.table[found.table.arm != arm] for arm in found.table.arm.unique()]
    for table in (found.table, found.table[:0], *without):  # two replicates judge nothing, whatever else is missing
        assert {verdict.verdict for verdict in found.study.judge(table)} <= {"not judged"}
    assert set(found.columns) <= set(found.table.columns)
    assert len(found.table)
    for figure in found.figures:
        shown = found.details[figure.detail] if figure.detail else found.table
        assert {panel.metric for panel in figure.panels} <= set(shown.columns)
        assert len(shown)
        assert figures.draw(figure, found).caption

    def never(*args, **options):
        raise AssertionError("the store has it")

    monkeypatch.setattr(execute, "train_cohort", never)
    monkeypatch.setattr(measuring, "evaluate", never)
    settings = (*TINY, *MORE.get(name, ()))
    again = run(f"frankle2020.{name}", "smoke", task="digits-noise-mlp", settings=settings, store=store, quiet=True)
    read = findings(small(name, *settings, task="digits-noise-mlp"), Store(store))
    for other in (again, read):
        pd.testing.assert_frame_equal(found.table, other.table)
        for detail, frame in found.details.items():
            pd.testing.assert_frame_equal(frame, other.details[detail])


def test_a_study_measures_what_tombola_instability_does(carried):
    found = carried("instability")
    config, table = found.study, found.table
    dense = table[table.arm == "dense"].set_index(["level", "replicate"])
    for level, k in enumerate(config.k):
        alone = tb.instability(config.task, k, children=2, replicates=2, seed=config.seed, part="train", points=config.points)
        for r in range(2):
            row = dense.loc[level, r]
            assert 100 * row.train_maximum == pytest.approx(alone.barrier[r], abs=1e-9)
            assert row.distance == alone.paths.distance[r, 0]
            assert row.disagreement == alone.paths.disagreement["train"][r, 0]
            assert row.acc_final == pytest.approx(np.mean([child.metrics["test_acc"][r, -1] for child in alone.children]))
            since = [math.sqrt(sum(((a[r] - b[r]) ** 2).sum() for a, b in both)) for both in _moved(alone)]
            assert row.since_start == pytest.approx(np.mean(since), rel=1e-4)
            assert row.step == (0, 1)[level]
            assert row.instability in (row.train_maximum, pytest.approx(np.nan, nan_ok=True))


def _moved(alone):
    return [[(child.final[path].astype(float), child.initial[path]) for path in child.final] for child in alone.children]


def test_controls_have_the_tickets_counts_in_each_layer(carried, store):
    study = carried("sparse").study
    counts, masks = {}, {}
    for row in study.rows():
        record = Store(store).get(row.run.digest)
        key = (row.replicate, row.level)
        counts.setdefault(key, {})[row.arm] = record.json("summary")["kept_by_layer"]
        shapes = {
            name: (64, 100) if name.startswith("hidden1") else (100, 50) if name.startswith("hidden2") else (50, 10)
            for name in record.json("summary")["kept_by_layer"]
        }
        masks.setdefault(key, {})[row.arm] = record.mask(shapes)
    for key, by_arm in counts.items():
        assert by_arm["ticket"] == by_arm["random"] == by_arm["reinit"]
        assert list(by_arm["ticket"].values()) == [5120, 4000, 450]
        assert sum(by_arm["dense"].values()) == 6400 + 5000 + 500
        for path, leaf in masks[key]["ticket"].items():
            assert (masks[key]["reinit"][path] == leaf).all()
            assert (masks[key]["random"][path] != leaf).any()


def test_the_grid_is_measured_against_the_dense_run(carried, store):
    for settings, column in (((), "train_acc_final"), (("part=test",), "acc_final")):
        found = carried("sparse", *settings)
        for _, row in found.table.iterrows():
            record = Store(store).get(common.dense_run(found.study, row.replicate).digest)
            dense = record.json("summary")["train_acc"] if not settings else float(record.metrics()["test_acc"][-1])
            assert row.gap == pytest.approx(row[column] - dense)
            assert row.matching == (row.gap >= -0.01)
            assert row.stable == (row.instability < 0.02)
    loose = carried("sparse", "margin=100", "stable=0.99").table
    assert (loose.matching == 1).all()
    assert (loose.stable == (loose.instability < 0.99)).all()


@pytest.mark.slow
def test_onsets_against_density_are_those_of_the_grid(carried):
    settings = ('k=["0it", "1it", "10it", "25it"]', "stable=0.1", "margin=5")
    table = carried("ranges", *settings).table
    mean = carried("sparse", *settings).table.groupby(["arm", "replicate", "level"])[["instability", "gap"]].mean()
    assert sorted(table.level.unique()) == [0, 1]
    assert (table.step == 1).all()  # the last but two
    for _, row in table.iterrows():
        arm = row.arm if row.level else "dense"
        stable, matching = mean.loc[arm, row.replicate].instability < 0.1, mean.loc[arm, row.replicate].gap >= -0.05
        for name, holds in (("stable", stable), ("matching", matching)):
            place = next(place for place in range(5) if all(holds.iloc[place:]))
            assert (row[f"{name}_place"], row[f"{name}_onset"]) == (place, [0, 1, 10, 25, math.inf][place])
    assert table.stable_place.nunique() > 1


def test_both_lengths_of_training_stand_at_their_k(carried):
    table = carried("remaining_time", 'k=["0it", "6it"]').table
    for arm in ("remaining", "whole"):
        assert table[table.arm == arm].groupby("level").step.unique().map(list).tolist() == [[0], [6]]
        assert table[table.arm == arm].groupby("level").share.unique().map(list).tolist() == [[0], [0.2]]
    first, second = (table[table.level == level].set_index(["arm", "replicate"]).distance for level in (0, 1))
    assert (first["whole"] == first["remaining"]).all()
    assert (second["whole"] != second["remaining"]).all()


def test_matched_units_are_nearer(carried):
    table = carried("permuted").table.set_index(["arm", "level", "replicate"]).sort_index()
    assert (table.loc["other_matched"].distance < table.loc["other"].distance).all()
    assert (table.loc["same"].distance < table.loc["other"].distance).all()
    assert table.groupby("level").kept.unique().map(list).tolist() == [[11900], [64 * 8 + 8 * 4 + 40]]


def test_paths_are_averaged_over_pairs(carried, store):
    found = carried("path", "children=3")
    details = found.details["paths"]
    assert details.groupby(["variant", "arm", "level", "replicate"]).size().tolist() == [3] * 16
    for part in ("test", "train"):
        measurements = [row.measurement for row in found.study.rows() if (row.arm, row.level, row.replicate) == ("ticket", 1, 1)]
        errors = np.mean(
            [Store(store).measurements.get(measurement.digest).found()[f"{part}_error"] for measurement in measurements], axis=0
        )
        rows = details[(details.variant == part) & (details.arm == "ticket") & (details.level == 1) & (details.replicate == 1)]
        assert rows.value.tolist() == pytest.approx(errors.tolist())
        assert rows.x.tolist() == [0, 0.5, 1]


def test_a_surface_has_its_grid_and_its_networks(carried):
    found = carried("surface")
    surface = found.details["surface"]
    for level in (0, 1):
        rows = surface[surface.level == level]
        assert (rows.network == "").sum() == 25
        assert rows[rows.network != ""].network.tolist() == ["child 1", "child 2", "child 3"]
        own = rows[rows.network == "child 1"].iloc[0]
        assert (own.x, own.y) == (0, 0)
        trained = found.table[(found.table.level == level) & (found.table.replicate == 0)]
        ends = rows[rows.network != ""].value.mean()  # each is in two of the three pairs
        assert ends == pytest.approx(1 - trained.train_acc_final.mean(), abs=0.01)
    assert carried("surface", "part=test").details["surface"].value.tolist() != surface.value.tolist()


def test_steps_that_were_tried_stand_on_a_logarithmic_axis(carried):
    found = carried("onset")
    (axes,) = figures.draw(found.figures[0], found).canvas.axes
    assert axes.get_xscale() == "symlog"  # 0 is one of them


def test_rows_of_layers_are_named(carried):
    table = carried("layers").table
    assert set(table.arm) == {"hidden1", "hidden2", "output"}
    assert (table.distance > 0).all()


# -- claims on tables with a known answer --------------------------------------------------------------------------------

STEPS = (0, 10, 50, 100, 500)


def invented(columns, arms, *, levels=5, variants=("",), replicates=8, density=lambda level: 1.0):
    """A table in which ``columns[name](variant, arm, level)`` is the truth, with noise by replicate and two pairs each."""
    random = np.random.default_rng(0)
    rows = []
    for variant, arm, replicate in product(variants, arms, range(replicates)):
        for level in range(levels) if isinstance(levels, int) else levels:
            for draw in range(2):
                step = STEPS[level] if isinstance(levels, int) else STEPS[2]
                where = {"variant": variant, "arm": arm, "replicate": replicate, "level": level, "draw": draw}
                facts = {"density": density(level), "step": step, "share": step / 1000}
                made = {name: make(variant, arm, level) + 2e-4 * random.normal() for name, make in columns.items()}
                rows.append({**where, **facts, **made})
    return pd.DataFrame(rows)


def along(**values):
    """Arm -> values at the steps k, as a column."""
    return lambda variant, arm, level: values[arm][level]


def changed(table, where, **columns):
    """The table with other values in some rows."""
    assert where.any()
    table = table.copy()
    for name, value in columns.items():
        table.loc[where, name] = value
    return table


def verdicts(name, table, task=None, **fields):
    """Claim -> verdict."""
    study = small(name, task=task).but(**{"k": tuple(f"{step}it" for step in STEPS)} if name != "permuted" else {}).but(**fields)
    return {one.id: one for one in study.judge(table)}


def states(found):
    return {claim: one.verdict for claim, one in found.items()}


def rests_on(verdict):
    """What a verdict rests on: the parts that the sentence has."""
    judged = [effect for effect in verdict.effects if effect.judged]
    return [(effect.name, effect.n, *(round(value, 9) for value in (effect.mean, effect.low, effect.high))) for effect in judged]


FALLING = (0.3, 0.1, 0.005, 0.004, 0.001)
STABILITY = {
    "instability": along(dense=FALLING, ticket=FALLING),
    "since_start": along(dense=(10, 9, 8, 6, 2), ticket=(10, 9, 8, 6, 2)),
    "since_initial": along(dense=(10,) * 5, ticket=(10,) * 5),
    "of_initial": along(dense=(0.9, 0.8, 0.45, 0.4, 0.35), ticket=(0.1,) * 5),
    "distance": along(dense=(9, 8, 7, 2, 1), ticket=(9, 8, 7, 2, 1)),
    "disagreement": along(dense=(0.5, 0.45, 0.4, 0.1, 0.1), ticket=(0.5, 0.2, 0.05, 0.04, 0.01)),
}


def stability(task="resnet20-cifar10", where=None, arms=("dense", "ticket"), replicates=8, fields=None, **columns):
    """Verdicts of the study of instability where some of its columns are others; (dense, ticket) for the barriers of both."""
    columns = {name: along(dense=value[0], ticket=value[1]) if isinstance(value, tuple) else value for name, value in columns.items()}
    table = invented(STABILITY | columns, arms, replicates=replicates)
    return verdicts("instability", table if where is None else where(table), task, **(fields or {}))


NEVER = {"instability": ((0.005, 0.004, 0.003, 0.002, 0.001), FALLING)}


def test_stability_where_all_is_as_the_paper_says():
    expected = dict.fromkeys(("LMC-C1", "LMC-C2", "LMC-C3", "LMC-C5", "LMC-C6"), "replicated")
    assert states(stability()) == expected | {"LMC-C1": "replicated in part"}  # one network is not both of the sentence's
    assert set(states(stability(replicates=5)).values()) == {"not judged"}
    never = states(stability(**NEVER))
    assert [never[f"LMC-C{number}"] for number in (2, 3, 5)] == ["not judged"] * 3  # no unstable phase
    late = stability(where=lambda table: changed(table, table.step == 0, step=5))
    assert set(states(late).values()) == {"not judged"}  # k = 0 was not run


@pytest.mark.parametrize(
    ("claim", "options", "state"),
    [
        ("LMC-C1", NEVER, "not replicated"),
        ("LMC-C1", NEVER | {"task": "digits-mlp"}, "replicated in part"),
        ("LMC-C1", {"task": "digits-mlp"}, "not replicated"),
        ("LMC-C1", {"task": "digits-noise-mlp"}, "not judged"),
        ("LMC-C1", {"task": "resnet20-cifar10-low"}, "not judged"),
        ("LMC-C1", {"fields": {"stable": 0.4}}, "not replicated"),
        ("LMC-C2", {"instability": ((0.3, 0.1, 0.05, 0.004, 0.001), FALLING)}, "not replicated"),
        ("LMC-C2", {"task": "vgg16-cifar10"}, "not replicated"),  # 3 % is allowed, so that 5 % is not looked at
        ("LMC-C2", {"task": "digits-noise-mlp"}, "not judged"),
        ("LMC-C2", {"task": "resnet20-cifar10-low"}, "not judged"),
        ("LMC-C3", {"instability": ((0.03, 0.05, 0.1, 0.2, 0.3), FALLING)}, "not replicated"),
        ("LMC-C3", {"instability": ((0.3, 0.1, 0.2, 0.004, 0.001), FALLING)}, "not replicated"),  # it rises on the way
        ("LMC-C3", {"instability": ((0.03, 0.03, 0.03, 0.03, 0.03), FALLING)}, "not replicated"),
        ("LMC-C5", {"since_start": ((10, 9, 3, 2, 1), (10,) * 5)}, "not replicated"),
        ("LMC-C5", {"of_initial": ((0.9, 0.8, 0.1, 0.1, 0.1), (0.9,) * 5)}, "not replicated"),
        ("LMC-C6", {"distance": ((9, 5, 1, 0.5, 0.1), (9, 8, 7, 2, 1))}, "not replicated"),  # it tracks
        ("LMC-C6", {"distance": ((9, 8, 7, 2, 1), (9, 5, 1, 0.5, 0.1))}, "not replicated"),
        ("LMC-C6", {"disagreement": ((0.5, 0.2, 0.02, 0.01, 0.01), (0.5, 0.2, 0.05, 0.04, 0.01))}, "not replicated"),
        ("LMC-C6", {"disagreement": ((0.5, 0.45, 0.4, 0.1, 0.1), (0.5, 0.45, 0.4, 0.04, 0.01))}, "not replicated"),  # it does not
        ("LMC-C6", {"arms": ("dense",)}, "replicated in part"),
        ("LMC-C6", {"instability": (FALLING, NEVER["instability"][0])}, "replicated in part"),
        ("LMC-C6", {"instability": ((0.3,) * 5, (0.3,) * 5)}, "not judged"),  # no stable k
    ],
)
def test_stability_where_a_part_is_otherwise(claim, options, state):
    assert stability(**options)[claim].verdict == state


@pytest.mark.parametrize(
    ("claim", "levels", "columns"),
    [
        ("LMC-C1", [1, 2, 3, 4], {"instability": 0.9}),
        ("LMC-C2", [1, 3, 4], {"instability": 0.9}),
        ("LMC-C5", [0, 1, 3, 4], {"since_start": 1.0}),
        ("LMC-C5", [0, 1], {"of_initial": 0.01}),
        ("LMC-C6", [1, 3, 4], {"distance": 100.0, "disagreement": 0.9}),
    ],
)
def test_stability_is_judged_at_its_levels_of_the_dense_network(claim, levels, columns):
    other = stability(where=lambda table: changed(table, table.level.isin(levels), **columns))
    assert rests_on(other[claim]) == rests_on(stability()[claim])
    if claim != "LMC-C6":
        tickets = stability(where=lambda table: changed(table, table.arm == "ticket", **columns))
        assert rests_on(tickets[claim]) == rests_on(stability()[claim])


def test_c4():
    def judged(whole, remaining=FALLING):
        table = invented({"instability": along(remaining=remaining, whole=whole)}, ("remaining", "whole"))
        return verdicts("remaining_time", table)["LMC-C4"].verdict

    assert judged(FALLING) == "replicated"
    assert judged((0.3, 0.1, 0.1, 0.1, 0.1)) == "not replicated"
    assert judged((0.3, 0.2, 0.005, 0.004, 0.001)) == "not replicated"  # less stable at one k
    assert judged((0.9, 0.1, 0.005, 0.004, 0.001)) == "replicated"  # at k = 0 both are one run
    assert judged(FALLING, (0.3,) * 5) == "replicated in part"  # nowhere stable, and nowhere less stable
    assert judged(FALLING, (0.01,) * 5) == "not judged"


ALL = ("ticket", "random", "reinit", "dense")
FALLS = (0.3, 0.1, 0.1, 0.005, 0.001)
SOON = (0.3, 0.005, 0.004, 0.003, 0.002)
STAYS = (0.3, 0.2, 0.2, 0.2, 0.2)
WORLD = {
    "instability": {
        "3": {**dict.fromkeys(ALL, SOON), "dense": FALLS},
        "9": {**dict.fromkeys(ALL, STAYS), "ticket": SOON, "dense": FALLS},
        "12": {**dict.fromkeys(ALL, STAYS), "dense": FALLS},
    },
    "gap": {
        "3": dict.fromkeys(ALL, (0.0,) * 5),
        "9": {**dict.fromkeys(ALL, (-0.05,) * 5), "ticket": (-0.05, 0.0, 0.0, 0.0, 0.0), "dense": (0.0,) * 5},
        "12": {**dict.fromkeys(ALL, (-0.09,) * 5), "dense": (0.0,) * 5},
    },
}
"""Rounds of pruning -> arm -> values: after 3 rounds all match, after 9 the tickets that are stable, after 12 none."""


def world(*changes, where=None, name="sparse", task=None, arms=ALL, replicates=8, **fields):
    """Verdicts where some of its columns are others: changes are (column, variant, arm, values)."""
    truth = {column: {variant: dict(by_arm) for variant, by_arm in of.items()} for column, of in WORLD.items()}
    for column, variant, arm, values in changes:
        truth[column][variant][arm] = values
    columns = {column: (lambda variant, arm, level, of=of: of[variant][arm][level]) for column, of in truth.items()}
    table = invented(columns, arms, variants=("3", "9", "12"), replicates=replicates)
    return verdicts(name, table if where is None else where(table), task, **{"compared": (3, 9, 12), **fields})


NO_MATCH = [("gap", variant, "ticket", (-0.05,) * 5) for variant in ("3", "9", "12")]
AS_DENSE = ("instability", "9", "ticket", FALLS)
ALWAYS_3, ALWAYS_12 = (("instability", variant, "ticket", (0.005,) * 5) for variant in ("3", "12"))
STABLE_AT_0 = ("instability", "9", "ticket", (0.005,) * 5)


def test_sparse_networks_where_all_is_as_the_paper_says():
    expected = {"LMC-C7": "replicated in part", "LMC-C8": "replicated", "LMC-C9": "replicated", "LMC-C10": "replicated"}
    assert states(world()) == expected  # of C7 a network shows one half
    assert set(states(world(*NO_MATCH)).values()) == {"not judged"}
    assert set(states(world(replicates=5)).values()) == {"not judged"}


@pytest.mark.parametrize(
    ("claim", "changes", "fields", "state"),
    [
        ("LMC-C7", [("gap", "9", "ticket", (-0.015, 0.0, 0.0, 0.0, 0.0))], {}, "not replicated"),  # unstable, better than the controls
        ("LMC-C7", [("gap", "9", "ticket", (-0.015, 0.0, 0.0, 0.0, 0.0))], {"margin": 4}, "replicated in part"),
        ("LMC-C7", [("gap", "9", "random", (-0.09,) * 5)], {}, "not replicated"),  # better than one of them
        ("LMC-C7", [STABLE_AT_0], {}, "not replicated"),
        ("LMC-C7", [STABLE_AT_0, ("gap", "9", "ticket", (0.0,) * 5)], {}, "replicated in part"),
        ("LMC-C8", [STABLE_AT_0], {}, "not judged"),  # nothing becomes stable that was
        ("LMC-C8", [("instability", variant, "dense", (0.001,) * 5) for variant in WORLD["gap"]], {}, "not judged"),
        ("LMC-C8", [AS_DENSE, ("gap", "9", "ticket", (-0.05,) * 3 + (0.0,) * 2)], {}, "replicated in part"),  # as late
        ("LMC-C8", [AS_DENSE, ("instability", "9", "dense", SOON)], {}, "not replicated"),  # later than the dense network
        ("LMC-C8", [("gap", "9", "ticket", (-0.05,) * 4 + (0.0,))], {}, "not replicated"),  # it matches later
        ("LMC-C8", [("instability", "9", "ticket", STAYS)], {}, "not replicated"),
        ("LMC-C9", [("instability", "9", "random", (0.3, 0.2, 0.005, 0.2, 0.2))], {}, "not replicated"),
        ("LMC-C9", [("instability", "9", "reinit", (0.3, 0.2, 0.005, 0.2, 0.2))], {}, "not replicated"),
        ("LMC-C9", [("instability", "9", "reinit", (0.3, 0.2, 0.005, 0.2, 0.2))], {"stable": 0.001}, "replicated"),
        ("LMC-C9", [("instability", "9", "random", (0.3, 0.2, 0.2, 0.2, 0.001))], {}, "replicated"),  # when little training is left
        ("LMC-C9", [], {"task": "digits-mlp"}, "not judged"),  # LeNet is excepted
        ("LMC-C9", [("gap", "9", "random", (-0.15,) * 5)], {}, "replicated in part"),  # without capacity there is nothing to see
        ("LMC-C10", [("gap", "9", "ticket", (0.0,) * 5)], {}, "not replicated"),  # the unstable ones match
        ("LMC-C10", [ALWAYS_3, ALWAYS_12, ("gap", "3", "random", (-0.05,) * 5)], {}, "not judged"),  # one of 15 tickets is unstable
        ("LMC-C10", [("gap", "9", "ticket", (-0.05,) * 5), ("gap", "3", "random", (0.0,) * 5)], {}, "not judged"),  # nothing matches
    ],
)
def test_sparse_networks_where_a_part_is_otherwise(claim, changes, fields, state):
    assert world(*changes, **fields)[claim].verdict == state


@pytest.mark.parametrize("claim", ["LMC-C7", "LMC-C8", "LMC-C9"])
def test_sparse_networks_are_judged_at_the_lowest_density_at_which_tickets_match(claim):
    for variant, instability in (("3", 0.5), ("12", 0.001)):
        other = world(where=lambda table, v=variant, i=instability: changed(table, table.variant == v, instability=i))
        assert rests_on(other[claim]) == rests_on(world()[claim])
    lower = world(("gap", "12", "ticket", (-0.05, 0.0, 0.0, 0.0, 0.0)))  # 12 is lower than 9, though not as a text
    assert rests_on(lower[claim]) != rests_on(world()[claim])


def test_what_is_judged_can_be_set():
    stable = [("instability", "12", arm, (0.001,) * 5) for arm in ("random", "reinit")]
    assert [world(*stable, **fields)["LMC-C9"].verdict for fields in ({}, {"judged": 9})] == ["replicated"] * 2
    assert world(*stable, judged=12)["LMC-C9"].verdict == "not replicated"


def test_what_else_differs_does_not_touch_a_claim():
    for claim, columns, rows in (
        ("LMC-C7", {"gap": -0.3, "instability": 0.4}, lambda table: (table.level > 0) & (table.arm != "ticket")),
        ("LMC-C8", {"instability": 0.4}, lambda table: table.arm.isin(["random", "reinit"])),
        ("LMC-C10", {"instability": 0.9}, lambda table: (table.variant == "3") & (table.arm == "ticket")),
        ("LMC-C10", {"instability": 0.001}, lambda table: table.arm.isin(["random", "dense"])),
    ):
        other = world(where=lambda table, rows=rows, columns=columns: changed(table, rows(table), **columns))
        assert rests_on(other[claim]) == rests_on(world()[claim])
    learnt_nothing = lambda table: changed(table, (table.level == 1) & (table.arm == "ticket"), instability=np.nan)  # noqa: E731
    assert world(("gap", "9", "ticket", (-0.05, 0.0, -0.05, -0.05, -0.05)), where=learnt_nothing)["LMC-C10"].verdict == "not judged"


def test_an_onset_lies_between_steps():
    table = invented({"instability": along(ticket=(0.3, 0.1, 0.01, 0.03, 0.0)), "gap": along(ticket=(-0.1, 0, 0, 0, 0))}, ("ticket",))
    study = small("sparse")
    found = study.onsets(Evidence(study, table), "ticket")
    assert found.stable.tolist() == pytest.approx([3 + 1 / 3] * 8, abs=0.02)
    assert found.matching.tolist() == pytest.approx([0.9] * 8, abs=0.02)
    for values, place in (((0.01, 0.01), 0), ((0.01, 0.3), np.nan), ((np.nan, 0.01), 1)):
        assert trends.crossing(pd.Series(values), 0.02) == pytest.approx(place, nan_ok=True)


DENSITIES = {0: 1.0, 1: 0.8, 4: 0.41, 7: 0.21, 10: 0.107, 13: 0.055}
PLACES = {0: 4, 1: 3, 4: 2, 7: 1, 10: 1, 13: 3}
GAPS = {
    "random": {0: 0.0, 1: 0.0, 4: -0.05, 7: -0.05, 10: -0.09, 13: -0.2},
    "ticket": {0: 0.0, 1: 0.0, 4: 0.0, 7: 0.0, 10: -0.05, 13: -0.1},
}
GAPS["reinit"] = GAPS["random"]


def in_ranges(*gaps, task="resnet20-cifar10", places=(), levels=DENSITIES, where=None, **fields):
    found = {arm: of | {level: gap for which, level, gap in gaps if which == arm} for arm, of in GAPS.items()}
    columns = {
        "gap": lambda variant, arm, level: found[arm][level],
        "stable_place": lambda variant, arm, level: (PLACES | dict(places))[level] if arm == "ticket" else 2,
    }
    table = invented(columns, ("ticket", "random", "reinit"), levels=list(levels), density=DENSITIES.__getitem__)
    return verdicts("ranges", table if where is None else where(table), task, **fields)


def test_c11_has_a_part_on_each_range():
    assert in_ranges()["LMC-C11"].verdict == "replicated"
    for gap in (("random", 1, -0.05), ("ticket", 7, -0.2), ("random", 4, 0.2), ("reinit", 4, 0.2), ("ticket", 10, 0.2)):
        assert in_ranges(gap)["LMC-C11"].verdict == "not replicated"
    for task in ("digits-noise-mlp", "resnet20-cifar10-low"):
        assert in_ranges(task=task)["LMC-C11"].verdict == "not judged"
    assert in_ranges(margin=30)["LMC-C11"].verdict == "not replicated"

    def elsewhere(table):
        below = (table.arm != "ticket") & table.level.isin([10, 13])  # below the range of tickets
        return changed(table, below | ((table.arm == "ticket") & table.level.isin([0, 1])), gap=0.4)

    assert rests_on(in_ranges(where=elsewhere)["LMC-C11"]) == rests_on(in_ranges()["LMC-C11"])


def test_c12_is_a_fall_a_plateau_and_a_rise():
    assert in_ranges()["LMC-C12"].verdict == "replicated"
    for places in ([(0, 0.5)], [(13, 0)], [(7, 4)]):
        assert in_ranges(places=places)["LMC-C12"].verdict == "not replicated"
    assert in_ranges(levels=[0, 1, 4, 7, 10])["LMC-C12"].verdict == "not judged"  # no density beyond
    assert in_ranges(levels=[0, 1, 13])["LMC-C12"].verdict == "not judged"  # none between
    same = in_ranges(where=lambda table: table.assign(stable_place=table.stable_place.round()))["LMC-C12"]
    assert (same.verdict, same.parts) == ("not judged", ("not judged",) * 3)  # an interval without width decides nothing
    stable = in_ranges(where=lambda table: changed(table, table.level == 0, stable_place=0.0))["LMC-C12"]
    assert stable.verdict == "not judged"
    other = in_ranges(where=lambda table: changed(table, (table.arm != "ticket") | (table.level == 1), stable_place=9.0))
    assert rests_on(other["LMC-C12"]) == rests_on(in_ranges()["LMC-C12"])


def linked(sign, where=None, ticket=(SOON, (-0.05, -0.05, 0.0, 0.0, 0.0))):
    """Verdicts where accuracy falls (sign -1) or rises with instability; the tickets of the open question apart."""
    changes = []
    for (offset, arm), (place, variant) in product(enumerate(("random", "reinit")), enumerate(("3", "9", "12"))):
        values = tuple(0.05 + 0.1 * offset + 0.02 * place + 0.01 * (4 - level) for level in range(5))
        changes += [("instability", variant, arm, values), ("gap", variant, arm, tuple(sign * value for value in values))]
    changes += [(column, variant, "ticket", ticket[index]) for variant in WORLD["gap"] for index, column in enumerate(WORLD)]
    return world(*changes, where=where, name="link", arms=("ticket", "random", "reinit"))


def test_o1_is_a_rank_correlation_over_early_k():
    assert linked(-1)["LMC-O1"].verdict == "replicated"
    assert linked(1)["LMC-O1"].verdict == "not replicated"
    late = linked(-1, lambda table: changed(table, table.level == 4, gap=0.5, instability=0.9))
    assert rests_on(late["LMC-O1"]) == rests_on(linked(-1)["LMC-O1"])
    assert len({effect.name for effect in linked(-1)["LMC-O1"].effects}) == 5


def test_o2_is_about_tickets_that_become_both():
    assert linked(-1)["LMC-O2"].verdict == "replicated"
    assert linked(-1, ticket=((0.3, 0.2, 0.2, 0.003, 0.002), (-0.05, 0.0, 0.0, 0.0, 0.0)))["LMC-O2"].verdict == "not replicated"
    for ticket in (((0.3,) * 5, (-0.05,) * 5), ((0.001,) * 5, (-0.05, -0.05, 0.0, 0.0, 0.0))):  # neither; stable from the start
        assert linked(-1, ticket=ticket)["LMC-O2"].verdict == "not judged"
    controls = linked(-1, lambda table: changed(table, table.arm != "ticket", instability=0.001, gap=0.0))
    assert rests_on(controls["LMC-O2"]) == rests_on(linked(-1)["LMC-O2"])


def test_o3():
    def judged(early, initial=0.3, **fields):
        columns = {"instability": lambda variant, arm, level: initial if arm == "k0it" else early[level]}
        return verdicts("levels", invented(columns, ("k0it", "k250it"), levels=3), **fields)["LMC-O3"]

    assert judged((0.005,) * 3).verdict == "replicated"
    assert judged((0.1,) * 3).verdict == judged((0.1,) * 3, initial=0.001).verdict == "not replicated"
    assert judged((0.1,) * 3, stable=0.2).verdict == "replicated"
    assert judged((0.03, 0.001, 0.001)).verdict == "not replicated"  # each level, not their mean


def test_o4():
    sizes = ({}, {"widths": [8]}, {"widths": [16]})

    def judged(other, matched, where=None, **fields):
        values = {"same": 0.005, "same_matched": 0.005, "other": other, "other_matched": matched}
        table = invented({"instability": lambda variant, arm, level: values[arm]}, tuple(values), levels=3)
        return verdicts("permuted", table if where is None else where(table), sizes=sizes, **fields)["LMC-O4"]

    assert judged(0.3, 0.005).verdict == "replicated"
    assert judged(0.3, 0.1).verdict == judged(0.1, 0.2).verdict == "not replicated"
    assert judged(0.3, 0.1, stable=0.2).verdict == "replicated"
    assert judged(0.03, 0.2, stable=0.25).verdict == "not judged"  # no barrier before
    smaller = judged(0.3, 0.005, lambda table: changed(table, (table.level < 2) | table.arm.str.startswith("same"), instability=0.5))
    assert rests_on(smaller) == rests_on(judged(0.3, 0.005))
