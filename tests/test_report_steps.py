"""Reports of studies whose levels are steps k: names, axes, thresholds, scatters, surfaces."""

import json
import math
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from toys import caption, drawn, legend_of, made_up

from tombola.core.errors import TombolaError
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task
from tombola.report import figures, page
from tombola.report.table import claims_as_json, terminal
from tombola.studies.base import Findings
from tombola.studies.figure import Figure, Panel

STEPS, REPLICATES = (0, 10, 100, 1000), 3
ARMS = {"imp": "IMP", "random": "random pruning"}
DENSITIES = {"some": 0.2, "few": 0.05}
BARRIER = Panel("barrier", "error barrier (pp)", 100, threshold=0.02)
ACCURACY = Panel("accuracy", "accuracy (%)", 100, threshold=0.8)
INSTABILITY = Figure("instability", "Instability", (BARRIER,), x="step")
SCATTER = Figure("scatter", "Scatter", (ACCURACY,), kind="scatter", across=BARRIER)
PATH = Figure("path", "Path", (Panel("value", "error (%)", 100),), kind="profile", detail="path", x_label="position")
CURVES = Figure("curves", "Curves", (Panel("test_acc", "accuracy (%)", 100),), kind="curves", arms=("imp",), levels=(0, 3))
SURFACE = Figure("surface", "Surface", (Panel("value", "test error (%)", 100),), kind="surface", detail="plane")


def barrier(variant, arm, level, replicate, draw):
    return (0.01 if arm == "imp" and level > 1 else 0.4) + 0.05 * (variant == "few") + 0.004 * replicate + 0.002 * draw


def table():
    return pd.DataFrame(
        {
            "study": "made.up",
            "task": "digits-mlp",
            "variant": variant,
            "arm": arm,
            "replicate": replicate,
            "level": level,
            "density": density,
            "draw": draw,
            "step": step,
            "barrier": barrier(variant, arm, level, replicate, draw),
            "accuracy": 0.9 - barrier(variant, arm, level, replicate, draw) / 2,
        }
        for variant, density in DENSITIES.items()
        for arm in ARMS
        for level, step in enumerate(STEPS)
        for replicate in range(REPLICATES)
        for draw in range(2)
    )


def plane(network_names=("child 1", "child 2"), levels=(0, 3), arms=("imp",), variants=("some",)):
    def rows():
        for variant in variants:
            for arm in arms:
                for level in levels:
                    of = {"variant": variant, "arm": arm, "level": level, "density": 0.2}
                    for x in np.linspace(-1, 5, 7):
                        for y in np.linspace(-1, 3, 5):
                            yield {**of, "x": x, "y": y, "value": (0.1 + 0.04 * abs(x - 2) + 0.05 * abs(y)) / (1 + level), "network": ""}
                    for name, x in zip(network_names, (0.0, 4.0), strict=True):
                        yield {**of, "x": x, "y": 0.0, "value": 0.1, "network": name}

    return pd.DataFrame(rows())


@pytest.fixture(scope="module")
def report():
    found = table()
    curves = found[["variant", "arm", "replicate", "level", "density"]].merge(pd.DataFrame({"step": [0, 500, 1000]}), how="cross")
    path = found[["variant", "arm", "replicate", "level", "density"]].merge(pd.DataFrame({"x": np.linspace(0, 1, 5)}), how="cross")
    effect = Effect("barrier", "pp", 1.8, 1.2, 2.4, 8, 0.0078, ((0.0, 1.5, 0.02), (1000.0, 2.2, 0.03)), along="step")
    variants = {"some": "20 % of weights", "few": "5 % of weights"}
    study = made_up(task("digits-mlp", "smoke"), REPLICATES, arms=ARMS, variants=variants, counted="steps")
    columns, shown = ("draw", "step", "barrier", "accuracy"), (INSTABILITY, SCATTER, PATH, CURVES, SURFACE)
    details = {"path": path.assign(value=path.level + path.x), "plane": plane()}
    verdicts = [Verdict("X-C1", "It falls.", "Someone 2020", (effect, replace(effect, per_level=((0.2, 1.5, 0.02),), along="density")))]
    return Findings(study, columns, shown, found, curves.assign(test_acc=curves.step / 2000), verdicts, {}, details)


def one_variant(report):
    return replace(report, table=report.table[report.table.variant == "some"], details={})


def labelled(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def grey(colour):
    return float(np.dot(colour[:3], (0.299, 0.587, 0.114)))


# -- levels are told by step ----------------------------------------------------------------------------------------


def test_tables_tell_levels_by_step(report):
    lines = terminal(report, 100, False).splitlines()
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines]
    assert sum(line.startswith("step k") for line in lines) == 2
    assert [row[0] for row in rows if len(row) == 3 and "±" in row[1]] == ["0", "10", "100", "1,000"] * 2
    assert ["1,000", "1.50 ± 0.99", "40.50 ± 0.99"] in rows
    assert not any("density" in line or line.startswith(("20.0 %", "round")) for line in lines)
    rounds = replace(report, study=made_up(report.study.task, REPLICATES, arms=ARMS, variants=report.study.variants))
    assert "1,000" not in terminal(rounds, 100, False)


def test_legends_tell_levels_by_step_even_where_a_table_has_another_column_of_that_name_or_none(report):
    assert "step" not in report.details["path"].columns
    assert legend_of(drawn(PATH, report)) == ["0", "10", "100", "1,000", "IMP", "random pruning"]
    canvas = drawn(CURVES, report)
    assert legend_of(canvas) == ["0", "1,000"]
    assert canvas.legends[0].get_title().get_text() == "step k"


@pytest.mark.slow
def test_the_page_tells_levels_by_step(report, tmp_path):
    page.write([replace(report, figures=(INSTABILITY,))], tmp_path)
    html = (tmp_path / "index.html").read_text()
    assert "All numbers, by step and arm" in html
    assert html.count('<th scope="col">step k</th>') == 2 + 1  # numbers of two variants, effects along steps
    assert "<tr><td>1,000</td><td>+2.20</td>" in html
    assert "<tr><td>20.0 %</td><td>+1.50</td>" in html
    assert html.count("<td>1,000</td>") == 3
    for term in ("Step k", "Error barrier", "Instability", "Stable", "Matching"):
        assert html.count(f"<b>{term}</b>") == 1
    assert (tmp_path / "made.up" / "plane.csv").is_file()


def test_effects_along_steps_have_that_key(report):
    along, other = claims_as_json(report.verdicts)[0]["effects"]
    assert along["per_level"][1] == {"step": 1000.0, "mean": 2.2, "p_holm": 0.03}
    assert other["per_level"] == [{"density": 0.2, "mean": 1.5, "p_holm": 0.02}]
    assert "along" not in along
    json.dumps(along, allow_nan=False)


# -- step k on the x axis -------------------------------------------------------------------------------------------


def test_x_is_the_step(report):
    canvas = drawn(INSTABILITY, report)
    assert [ax.get_title(loc="left") for ax in canvas.axes] == ["20 % of weights", "5 % of weights"]
    assert legend_of(canvas) == ["IMP", "random pruning"]  # level 0 is step 0 and no dense network
    for ax in canvas.axes:
        left, right = ax.get_xlim()
        assert left < 0 < 1000 < right
        assert ax.get_xlabel() == "step k (iterations)"
        assert labelled(ax) == ["0", "10", "100", "1,000"]
        imp = next(line for line in ax.lines if line.get_label() == "IMP")
        assert list(imp.get_xdata()) == list(STEPS)
        places = ax.transData.transform([(step, 0) for step in STEPS])[:, 0]
        assert np.diff(places)[1] == pytest.approx(np.diff(places)[2])  # a decade is a decade
        assert np.diff(places)[0] > 0.3 * np.diff(places)[1]  # 0 stands apart
        assert not [line for line in ax.lines if line.get_linestyle() == "--" and list(line.get_xdata()) == [0, 1]]
    np.testing.assert_allclose(imp.get_ydata()[:2], 100 * (0.45 + 0.004 + 0.001))
    assert "linear below" in caption(INSTABILITY, report)


def test_axes_of_steps_without_0_or_of_0_alone(report):
    for levels, shown in (((2, 3), ["100", "1,000"]), ((0, 3), ["0", "1,000"])):
        chosen = replace(report, table=report.table[report.table.level.isin(levels)])
        ax = drawn(INSTABILITY, chosen).axes[0]
        assert labelled(ax) == shown
        left, right = ax.get_xlim()
        assert left < min(STEPS[level] for level in levels) <= max(STEPS[level] for level in levels) < right
    assert "linear below" not in caption(replace(INSTABILITY, levels=(2, 3)), report)


# -- thresholds -----------------------------------------------------------------------------------------------------


def across_lines(ax):
    """(y of horizontal lines, x of vertical ones) that run from edge to edge."""
    horizontal = [line.get_ydata()[0] for line in ax.lines if line.get_transform() == ax.get_yaxis_transform("grid")]
    vertical = [line.get_xdata()[0] for line in ax.lines if line.get_transform() == ax.get_xaxis_transform("grid")]
    return horizontal, vertical


@pytest.mark.slow
def test_a_threshold_is_a_line_within_the_axis(report):
    far = replace(INSTABILITY, panels=(replace(BARRIER, threshold=-0.3), ACCURACY))
    for index, ax in enumerate(drawn(far, report).axes):
        ((y,), vertical) = across_lines(ax)
        assert y == pytest.approx((-30, 80)[index % 2])
        assert vertical == []
        assert ax.get_ylim()[0] < y < ax.get_ylim()[1]
    without = replace(INSTABILITY, panels=(replace(BARRIER, threshold=None),))
    assert across_lines(drawn(without, report).axes[0]) == ([], [])
    assert "The thin horizontal line is the threshold, 2." in caption(INSTABILITY, report)
    assert "The thin horizontal lines are the thresholds, -30 and 80." in caption(far, report)
    assert "thin horizontal" not in caption(without, report)


def test_a_panel_without_values_has_no_threshold(report):
    nothing = replace(one_variant(report), table=one_variant(report).table.assign(barrier=math.nan))
    ax = drawn(INSTABILITY, nothing).axes[0]
    assert [label.get_text() for label in ax.texts] == ["no finite values"]
    assert across_lines(ax) == ([], [])


# -- scatter --------------------------------------------------------------------------------------------------------


def means(ax):
    """Label -> its means, and the ends of their bars: along x, along y."""
    return {bars.get_label(): (bars[0], *([line[:, i] for line in bars[2][i].get_segments()] for i in (0, 1))) for bars in ax.containers}


def test_a_scatter_has_a_mean_with_intervals_for_each_arm_at_each_level(report):
    canvas = drawn(SCATTER, report)
    (ax,) = canvas.axes  # both variants
    assert legend_of(canvas) == ["IMP", "random pruning"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("error barrier (pp)", "accuracy (%)")
    assert across_lines(ax) == ([pytest.approx(80)], [pytest.approx(2)])
    (imp, across, along), (random, *_) = means(ax)["IMP"], means(ax)["random pruning"]
    rows = report.table[report.table.arm == "imp"].groupby(["variant", "level", "replicate"])[["barrier", "accuracy"]].mean()
    expected = 100 * rows.groupby(["variant", "level"]).mean()
    assert len(expected) == 2 * len(STEPS)
    np.testing.assert_allclose(sorted(imp.get_xydata().tolist()), sorted(expected.to_numpy().tolist()))
    half = 4.302652729696142 * 100 * rows.groupby(["variant", "level"]).std() / math.sqrt(REPLICATES)
    np.testing.assert_allclose([np.ptp(one) for one in across], 2 * half.barrier)
    np.testing.assert_allclose([np.ptp(one) for one in along], 2 * half.accuracy)
    assert imp.get_marker() != random.get_marker()
    assert imp.get_color() != random.get_color()
    assert "Markers show means over 3 replicates of an arm at one step k of one variant, bars their 95 % t-intervals" in caption(
        SCATTER, report
    )
    assert caption(SCATTER, report).endswith("The thin horizontal line is the threshold, 80. The thin vertical line is the threshold, 2.")


def test_few_means_are_shown_with_their_replicates(report):
    def clouds(found):
        return [line for line in drawn(SCATTER, found).axes[0].lines if line.get_alpha()]

    few = replace(report, table=report.table[report.table.level < 2])
    assert [len(line.get_xdata()) for line in clouds(few)] == [2 * 2 * REPLICATES] * 2
    assert clouds(report) == []
    assert "pale points the replicates" in caption(SCATTER, few)
    assert "pale" not in caption(SCATTER, report)


def test_a_scatter_of_named_variants_has_a_panel_for_each(report):
    canvas = drawn(replace(SCATTER, variants=("few", "some")), report)
    assert [ax.get_title(loc="left") for ax in canvas.axes] == ["20 % of weights", "5 % of weights"]
    assert len({ax.get_xlim() for ax in canvas.axes}) == 1
    some, few = (means(ax)["random pruning"][0].get_xydata()[:, 0] for ax in canvas.axes)
    np.testing.assert_allclose(few - some, 5)
    (single,) = drawn(replace(SCATTER, variants=("few",)), report).axes
    np.testing.assert_allclose(means(single)["random pruning"][0].get_xydata()[:, 0], few)


def test_a_scatters_axes_are_logarithmic_where_a_panel_says_so(report):
    rows = report.table
    logs = replace(SCATTER, panels=(replace(ACCURACY, log=True),), across=replace(BARRIER, log=True))
    ax = drawn(logs, report).axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert "linear below" not in caption(logs, report)
    zero = replace(report, table=rows.assign(barrier=rows.barrier.where(rows.level < 3, 0.0)))
    ax = drawn(logs, zero).axes[0]
    assert (ax.get_xscale(), ax.get_yscale()) == ("symlog", "log")
    assert labelled(ax)[0] == "0"
    assert ax.get_xlim()[0] < 0
    assert "linear below" in caption(logs, zero)
    assert (drawn(SCATTER, zero).axes[0].get_xscale(), drawn(SCATTER, zero).axes[0].get_yscale()) == ("linear", "linear")


def test_what_is_not_finite_is_no_point(report):
    rows = report.table
    holed = replace(report, table=rows.assign(barrier=rows.barrier.where(rows.level > 0), accuracy=rows.accuracy.where(rows.level != 1)))
    assert len(means(drawn(SCATTER, holed).axes[0])["IMP"][0].get_xdata()) == 2 * 2
    nothing = replace(report, table=rows.assign(barrier=math.nan))
    (ax,) = drawn(SCATTER, nothing).axes
    assert [label.get_text() for label in ax.texts] == ["no finite values"]
    assert across_lines(ax) == ([], [])


def test_a_scatter_needs_to_know_its_x_axis(report):
    with pytest.raises(TombolaError, match="has no `across`; give it the panel"):
        drawn(replace(SCATTER, across=None), report)


# -- surfaces -------------------------------------------------------------------------------------------------------


def surfaces(canvas):
    return [ax for ax in canvas.axes if ax.get_label() != "<colorbar>"]


def bar_of(canvas):
    return next(ax for ax in canvas.axes if ax.get_label() == "<colorbar>")


def test_surface_figure(report):
    canvas = drawn(SURFACE, report)
    axes = surfaces(canvas)
    assert [ax.get_title(loc="left").replace("\N{NO-BREAK SPACE}", " ") for ax in axes] == ["k = 0", "k = 1,000"]
    assert [ax.get_xlabel() for ax in axes] == ["distance (2-norm)"] * 2
    assert [ax.get_ylabel() for ax in axes] == ["distance (2-norm)", ""]
    assert bar_of(canvas).get_ylabel() == "test error (%)"
    (filled, lines), (other, _) = (ax.collections for ax in axes)
    np.testing.assert_allclose(filled.levels, other.levels)
    np.testing.assert_allclose(filled.levels, lines.levels)
    assert filled.levels[0] <= 100 * 0.1 / 4 < 100 * 0.37 <= filled.levels[-1]
    assert 8 <= len(filled.levels) <= 14
    shades = [grey(colour) for colour in filled.get_facecolor()]
    assert all(a > b for a, b in pairwise(shades))
    assert shades[0] > 0.9
    for ax in axes:
        assert ax.get_aspect() == 1
        assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 5), (-1, 3))
        (points,) = ax.lines
        assert (list(points.get_xdata()), list(points.get_ydata())) == ([0, 4], [0, 0])
        assert [label.get_text() for label in ax.texts] == ["child 1", "child 2"]
    assert filled.zmax == pytest.approx(100 * (0.1 + 0.04 * 3 + 0.05 * 3))
    assert "same scale" in caption(SURFACE, report)
    assert "same scale" not in caption(replace(SURFACE, levels=(0,)), report)


def test_a_surface_is_drawn_the_right_way_round(report):
    tilted = plane().assign(value=lambda rows: rows.x / 10)
    canvas = drawn(SURFACE, replace(report, details={"plane": tilted.sample(frac=1, random_state=0)}))
    for path in surfaces(canvas)[0].collections[1].get_paths():
        if len(path.vertices):
            assert np.ptp(path.vertices[:, 0]) == pytest.approx(0, abs=1e-6)
            assert np.ptp(path.vertices[:, 1]) > 3


@pytest.mark.parametrize(
    ("which", "across", "titles"),
    [
        ({"levels": (0,)}, 1, [""]),
        ({"levels": (0,), "variants": ("few", "some")}, 2, ["20 % of weights", "5 % of weights"]),
        ({"levels": (0,), "arms": ("random", "imp")}, 2, ["IMP", "random pruning"]),
        ({"levels": (0, 1, 2), "arms": ("imp", "random")}, 3, [f"{arm}, k = {k}" for arm in ARMS.values() for k in ("0", "10", "100")]),
    ],
)
def test_a_surfaces_panel_says_what_tells_it_from_the_others(report, which, across, titles):
    axes = surfaces(drawn(SURFACE, replace(report, details={"plane": plane(**which)})))
    assert [re.sub(r"\s", " ", ax.get_title(loc="left")) for ax in axes] == titles
    assert [ax.get_subplotspec().colspan.start for ax in axes] == [index % across for index in range(len(axes))]
    assert [bool(ax.get_ylabel()) for ax in axes] == [index % across == 0 for index in range(len(axes))]


def test_a_surface_with_infinite_values_shows_them_as_high_and_one_without_finite_ones_says_so(report):
    rows = plane(levels=(0,))
    some = rows.assign(value=rows.value.where((rows.x < 5) | (rows.network != ""), math.inf))
    (ax,) = surfaces(drawn(SURFACE, replace(report, details={"plane": some})))
    assert ax.collections[0].levels[-1] < 100
    assert ax.collections[0].zmax == pytest.approx(ax.collections[0].levels[-1])
    none = replace(report, details={"plane": rows.assign(value=math.nan)})
    assert [label.get_text() for label in drawn(SURFACE, none).texts] == ["no finite values"]


@pytest.mark.parametrize("figure", [INSTABILITY, SCATTER, SURFACE], ids=lambda figure: figure.name)
def test_figures_are_the_same_bytes_again_with_text_as_text(report, figure):
    svg = figures.rendered(drawn(figure, report), "svg")
    assert svg == figures.rendered(drawn(figure, report), "svg")
    assert (b">child 1<" if figure is SURFACE else b">random pruning<") in svg
