"""Studies of the phases of training: perturbations, settings, calibration, and what each study says of a small run."""

import numpy as np
import pandas as pd
import pytest
from toys import drawn

import tombola as tb
from tombola.core.errors import TombolaError
from tombola.core.keys import generator
from tombola.engine.configuring import resolve
from tombola.engine.study import run_study
from tombola.evaluation.statistics import rank_correlation
from tombola.models.build import build
from tombola.procedures.actions import Context, perturb
from tombola.store.store import Store
from tombola.studies.phases.calibration import Rule, calibrated, fired, partial_rank_correlation
from tombola.studies.phases.common import log2_of, no_onset
from tombola.studies.phases.settings import BASE, settings_of

DIGITS = tb.task("digits-noise-mlp")


# -- perturbations -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    return build(DIGITS.model.but(options={"widths": [5]}), tb.core.data_info.DataInfo((64,), (10,), np.dtype("float32"), 10, None))


def test_one_weight_or_all_that_are_kept_are_moved(network):
    mask = {path: np.arange(np.prod(network.shapes[path].shape)).reshape(network.shapes[path].shape) % 3 > 0 for path in network.prunable}
    weights = network.init(1)
    context = Context(
        network, 1, mask, slopes=lambda what, seed, weights, **_: {path: np.maximum(leaf, 0) for path, leaf in weights.items()}
    )
    moves = set()
    for stream in "abcdefgh":
        one = perturb(context, weights, size=2.0, which="one", stream=stream)
        moved = {path: one[path] - weights[path] for path in weights}
        (path,) = [path for path, leaf in moved.items() if leaf.any()]
        (place,) = np.argwhere(moved[path])
        assert mask[path][tuple(place)]
        assert weights[path][tuple(place)] > 0  # where it is not, this loss does not depend on it
        assert abs(moved[path]).max() == pytest.approx(2 * network.std(path), rel=1e-4)
        moves.add((path, *place, float(np.sign(moved[path].sum()))))
    assert len({move[1:-1] for move in moves}) > 4
    assert {move[-1] for move in moves} == {-1.0, 1.0}
    noisy = perturb(context, weights, size=0.5, stream="a")
    for path, leaf in weights.items():
        moved = noisy[path] - leaf
        if path not in mask:
            assert not moved.any()
        else:
            assert ((moved != 0) == mask[path]).all()
            assert np.std(moved[mask[path]]) == pytest.approx(0.5 * network.std(path), rel=0.25)
    random = generator(1, "a")
    first = random.standard_normal(int(mask[network.prunable[0]].sum()))
    path = network.prunable[0]
    np.testing.assert_allclose((noisy[path] - weights[path])[mask[path]], 0.5 * network.std(path) * first, atol=1e-6)


def test_no_perturbation_changes_no_bit(network):
    weights = network.init(1)
    context = Context(network, 1, slopes=lambda what, seed, weights, **_: weights)
    for which in ("all", "one"):
        assert tb.core.trees.equal(perturb(context, weights, size=0, which=which, stream="x"), weights)


def test_a_loss_that_depends_on_no_weight_has_none_to_move(network):
    flat = Context(network, 1, slopes=lambda what, seed, weights, **_: {path: 0 * leaf for path, leaf in weights.items()})
    with pytest.raises(TombolaError, match="depends on no weight that is kept"):
        perturb(flat, network.init(1), size=1, which="one", stream="x")


@pytest.mark.parametrize(("options", "message"), [({"size": -1}, "at least 0"), ({"size": 1, "which": "some"}, "one of all, one")])
def test_what_is_no_perturbation_is_one_line(network, options, message):
    with pytest.raises(TombolaError, match=message):
        perturb(Context(network, 1), network.init(1), stream="x", **options)


# -- settings ----------------------------------------------------------------------------------------------------------


def test_settings_are_one_change_each():
    found = settings_of(DIGITS)
    assert next(iter(found)) == BASE
    assert len({task.digest for task in found.values()}) == len(found) >= 20
    assert "Adam" not in found  # it is so already
    assert "40 % label noise" not in found
    assert found["warm-up of 1/10"].recipe.warmup == "150it"
    assert found["SGD"].recipe.learning_rate == pytest.approx(0.15)
    assert found["a layer more"].model.options["widths"] == [100, 50, 25]
    assert found["more decay"].recipe.optimizer == "adamw"
    resnet = settings_of(tb.task("resnet20-cifar10"))
    assert resnet["Adam"].recipe.learning_rate == pytest.approx(0.01)
    assert resnet["half as long"].recipe.milestones == ("1600it", "2400it")
    assert "a layer less" not in resnet


def test_a_setting_that_is_none_is_one_line():
    with pytest.raises(TombolaError, match="unknown setting of this task 'rate / 3': did you mean 'rate"):
        list(resolve("phases.interventions", scale="smoke", settings=[("settings", ["rate / 3"])]).rows())


# -- calibration -------------------------------------------------------------------------------------------------------


def slow_calibration(signals, steps, onsets):
    tried = [Rule(level, falls) for falls in (True, False) for level in np.unique(np.concatenate(signals)) if np.isfinite(level)]
    errors = [
        np.mean([abs(own[fired(signal, rule)] - onset) for signal, own, onset in zip(signals, steps, onsets, strict=True)])
        for rule in tried
    ]
    return min(errors), dict(zip(tried, errors, strict=True))


def test_a_rule_is_calibrated_as_a_loop_over_all_does():
    random = np.random.default_rng(0)
    signals = [random.normal(size=6).round(1) for _ in range(5)]
    signals[2][:2] = np.nan
    steps, onsets = [np.arange(7.0)] * 5, random.integers(0, 6, 5).astype(float)
    least, errors = slow_calibration(signals, steps, onsets)
    assert errors[calibrated(signals, steps, onsets)] == pytest.approx(least)
    falling = [np.array([9.0, 5, 4 * (onset > 2), 0]) for onset in (2, 3)]
    assert calibrated(falling, [np.arange(5.0)] * 2, [2.0, 3.0]) == Rule(0.0, True)
    rising = [-one for one in falling]
    assert calibrated(rising, [np.arange(5.0)] * 2, [1.0, 1.0]) == Rule(-5.0, False)


def test_partial_correlation_is_that_of_residuals():
    random = np.random.default_rng(1)
    a, b, c = random.normal(size=(3, 40))
    a, b = a + c, b - c
    ranks = [pd.Series(one).rank().to_numpy() for one in (a, b, c)]
    left = [one - np.polyval(np.polyfit(ranks[2], one, 1), ranks[2]) for one in ranks[:2]]
    assert partial_rank_correlation(a, b, c) == pytest.approx(np.corrcoef(left)[0, 1])
    assert partial_rank_correlation(a, b, np.ones(40)) == rank_correlation(a, b)
    assert np.isnan(partial_rank_correlation(a, b, a))


def test_what_is_never_stable_lies_after_the_last_step():
    assert [log2_of(step, 4, 64) for step in (0, 4, 16, np.inf)] == [1.5, 2, 4, 6.5]
    assert no_onset([1, 2, np.inf, 4]) == ""
    assert "50 % of the networks" in no_onset([1, np.inf])
    assert "no unstable phase" in no_onset([0, 0, 2])


# -- the studies -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store():
    return Store()


def found(name, store, **given):
    return run_study(resolve(name, scale="smoke", **given), store, quiet=True)


@pytest.mark.slow
def test_detectors_are_compared_with_the_onset(store):
    study = resolve("phases.detectors", scale="smoke")
    report = run_study(study, store, quiet=True)
    onset = run_study(resolve("frankle2020.onset", scale="smoke", k=study.k), store, quiet=True)
    own = report.table[report.table.variant == BASE]
    for replicate in (0, 1):
        of = own[own.replicate == replicate]
        assert set(of.arm) == set(study.arms)
        assert set(of.onset) == set(onset.table[onset.table.replicate == replicate].onset)
    over_all = report.table[report.table.variant == "all settings"]
    assert len(over_all) == 2 * len(study.arms)
    assert over_all.partial_rho.isna().sum() >= 2
    assert {one.verdict for one in report.verdicts} == {"not judged"}


def test_interventions_say_onset_and_accuracy(store):
    report = found("phases.interventions", store)
    assert set(report.table.variant) == {BASE, "no label noise"}
    assert report.table.acc_final.between(0, 1).all()
    assert [one.verdict for one in report.verdicts] == ["not judged"] * 2


def judged(name, table, **given):
    return {one.id: one for one in resolve(name, scale="small", replicates=6, **given).judge(table)}


def test_what_moves_the_onset_is_judged_as_published():
    later = {BASE: 6.0, "warm-up of 1/3": 4.0, "width x 2": 5.0, "batch x 4": 6.1, "momentum": 5.0}
    later |= {"more decay": 7.0, "60 % label noise": 7.0, "rate x 2": 8.0}
    rows = [
        {
            "variant": name,
            "arm": "onset",
            "replicate": r,
            "level": 0,
            "density": 1.0,
            "onset": 2.0**log2,
            "log2_onset": log2 + 0.01 * r * at,
        }
        for at, (name, log2) in enumerate(later.items())
        for r in range(6)
    ]
    verdict = judged("phases.interventions", pd.DataFrame(rows).assign(acc_final=0.5))["PHASE-C3"]
    states = {effect.name: state for effect, state in zip(verdict.effects, verdict.parts, strict=True)}
    assert states["batch x 4: onset earlier"] == "undecided"  # of 6 replicates, Holm-adjusted over 7 parts
    assert [state for name, state in states.items() if name != "batch x 4: onset earlier"] == ["holds"] * 6


@pytest.mark.slow
def test_the_butterfly_has_barriers_before_and_after_matching(store):
    report = found("phases.butterfly", store)
    counts = report.table.groupby("arm").size()
    assert counts["one"] == counts["0.1_matched"] == 4
    assert counts["other"] == counts["other_matched"] == 2  # at k = 0 alone
    apart = report.table.groupby("arm").distance.mean()
    assert 0 < apart["one"] < apart["other"]


@pytest.mark.slow
def test_tickets_are_rewound_to_the_detected_step(store):
    report = found("phases.rewind", store, settings=[("detector.name", "fixed_step"), ("detector.level", 10.0)])
    detected = report.table[report.table.arm == "detected"]
    assert set(detected.step) == {10, 50} or set(detected.step) == {10}
    tried = report.table[(report.table.arm == "ticket") & (report.table.step == 10)]
    at_10 = detected[detected.step == 10]
    both = at_10.merge(tried, on="replicate", suffixes=("", "_tried"))
    assert len(both) == len(at_10) > 0
    assert (both.acc_final == both.acc_final_tried).all()
    assert (detected.cost < 1).all()
    curves = next(figure for figure in report.figures if figure.kind == "curves")
    lines = [line for ax in drawn(curves, report).axes for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in lines if len(set(line.get_xdata())) == 1] == [detected.step.median()]
