"""Heat maps by layer, axes of parameters, and studies whose levels count layers or widths."""

import csv
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import LogNorm, to_rgb
from toys import caption, drawn, legend_of, made_up

from tombola.models.tasks import task
from tombola.report import page, text
from tombola.report.glossary import GLOSSARY
from tombola.report.table import terminal
from tombola.studies.base import Findings
from tombola.studies.figure import Figure, Known, Panel

LAYERS, COLUMNS, REPLICATES = ("hidden2", "hidden1", "output"), ("random", "0", "1 ep", "90 ep"), 3  # no order but that of coming first
VARIANTS, ARMS = {"slow": "learning rate 0.01", "fast": "learning rate 0.1"}, {"dense": "dense network", "imp": "IMP, 21.1 %"}
MARKS = {"hidden2": "robust", "hidden1": "critical", "output": "between"}
CLASSED = ["hidden2 (robust)", "hidden1 (critical)", "output (between)"]
ERROR = Panel("error", "test error (%)", 100, threshold=0.02)
DISTANCE = Panel("distance", "distance (2-norm)", log=True)
ONE = Figure("layers", "Layers", (ERROR,), kind="heatmap", detail="layers", x_label="put back to", caption="Made up.")
TWO = replace(ONE, panels=(ERROR, DISTANCE))
WORK = Figure("work", "Work", (Panel("error", "error (%)", 100),), x="parameters")


def error(variant, arm, row, column):
    place = LAYERS.index(row) * len(COLUMNS) + COLUMNS.index(column)
    return 0.05 + 0.06 * place + 0.01 * (variant == "fast") + 0.02 * (arm == "imp")


def layers(variants=("slow",), arms=("dense",), rows=LAYERS, columns=COLUMNS):
    return pd.DataFrame(
        {
            "variant": variant,
            "arm": arm,
            "level": 0,
            "density": 1.0,
            "replicate": replicate,
            "row": row,
            "column": column,
            "error": error(variant, arm, row, column) + 0.001 * replicate + (0.03 * draw if replicate == 0 else 0),
            "distance": 10.0 ** (COLUMNS.index(column) - 1),
            "mark": MARKS[row],
        }
        for variant in variants
        for arm in arms
        for replicate in range(REPLICATES)
        for row in rows
        for column in columns
        for draw in range(2 if replicate == 0 else 1)
    )


def made(details, levels="rounds", figure=ONE):
    table = pd.DataFrame(
        {
            "study": "made.up",
            "task": "digits-mlp",
            "variant": "slow",
            "arm": arm,
            "replicate": replicate,
            "level": level,
            "density": 1.0,
            "width": 16 * 4**level,
            "parameters": 1500 * 6**level + 7 * replicate,
            "error": 0.5 / (1 + level) + 0.01 * replicate + 0.1 * (arm == "imp"),
        }
        for arm in ARMS
        for level in (2, 1, 0)
        for replicate in range(REPLICATES)
    )
    study = made_up(task("digits-mlp", "smoke"), REPLICATES, arms=ARMS, variants=VARIANTS, counted=levels)
    columns = ("width", "parameters", "error")
    return Findings(
        study,
        columns,
        (figure, WORK),
        table,
        table[["variant", "arm", "replicate", "level", "density"]].assign(step=0),
        [],
        {},
        {"layers": details},
    )


def maps(canvas):
    return [ax for ax in canvas.axes if ax.images]


def bars(canvas):
    return [ax for ax in canvas.axes if not ax.images]


def numbers(ax):
    """(row, column) -> what is written in the cell."""
    return {(round(label.get_position()[1]), round(label.get_position()[0])): label for label in ax.texts}


def labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def grey(colour):
    return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)))


# -- heat maps ------------------------------------------------------------------------------------------------------


def test_rows_and_columns_keep_their_order_with_the_first_on_top_and_values_are_means_over_replicates():
    report = made(layers())
    canvas = drawn(ONE, report)
    (ax,) = maps(canvas)
    assert labels(ax.yaxis) == CLASSED
    assert labels(ax.xaxis) == list(COLUMNS)
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is on top
    assert ax.get_xlabel() == "put back to"
    assert ax.get_title(loc="left") == ""
    mean = (0.015 + 0.001 + 0.002) / 3  # two draws of replicate 0 count as one
    expected = [[100 * (error("slow", "dense", row, column) + mean) for column in COLUMNS] for row in LAYERS]
    np.testing.assert_allclose(ax.images[0].get_array(), expected)
    assert {place: label.get_text() for place, label in numbers(ax).items()} == {
        (row, column): f"{expected[row][column]:.1f}" for row in range(3) for column in range(4)
    }


def test_colours_go_from_light_to_dark_in_grey_too_and_numbers_can_be_read_on_them():
    (ax,) = maps(drawn(ONE, made(layers())))
    image = ax.images[0]
    values = np.ma.getdata(image.get_array()).ravel()
    shades = [grey(image.to_rgba(value)[:3]) for value in np.sort(values)]
    assert all(a > b for a, b in pairwise(shades))
    for (row, column), label in numbers(ax).items():
        assert abs(grey(label.get_color()) - grey(image.to_rgba(image.get_array()[row, column])[:3])) > 0.4


def test_a_column_for_each_panel_with_the_labels_of_the_first():
    report = made(layers())
    canvas = drawn(TWO, report)
    left, right = maps(canvas)
    assert (labels(left.yaxis), labels(right.yaxis)) == (CLASSED, [""] * 3)
    assert left.get_window_extent().x1 < right.get_window_extent().x0
    assert left.get_window_extent().y0 == pytest.approx(right.get_window_extent().y0)
    assert [ax.get_xlabel() for ax in bars(canvas)] == ["test error (%)", "distance (2-norm)"]
    assert [ax.get_xlabel() for ax in (left, right)] == ["put back to"] * 2
    assert not isinstance(left.images[0].norm, LogNorm)
    assert isinstance(right.images[0].norm, LogNorm)
    assert [numbers(right)[0, column].get_text() for column in range(4)] == ["0.1", "1", "10", "100"]


@pytest.mark.slow
def test_the_threshold_is_a_line_on_the_colour_bar_and_in_the_caption():
    report = made(layers())
    canvas = drawn(TWO, report)
    with_line, without = bars(canvas)
    assert [line.get_xdata()[0] for line in with_line.lines] == [pytest.approx(2)] * 2  # a line and its rim
    assert len(without.lines) == 0
    assert caption(TWO, report) == (
        "Made up. Cells show means over 3 replicates; darker is more. The thin vertical line on a colour bar is the threshold, 2."
    )
    bare = made(layers().drop(columns="mark"))
    assert labels(maps(drawn(ONE, bare))[0].yaxis) == list(LAYERS)
    plain = replace(ONE, panels=(replace(ERROR, threshold=None),), caption="")
    one = made(layers().query("replicate == 1").assign(mark=""))
    assert caption(plain, one) == "Cells show one replicate; darker is more."


def test_a_map_of_few_columns_is_a_dot_plot_with_intervals():
    details = layers(columns=COLUMNS[:2])
    canvas = drawn(ONE, made(details))
    (ax,) = canvas.axes
    assert labels(ax.yaxis) == CLASSED
    assert legend_of(canvas) == ["random", "0"]
    own = details[(details["row"] == "hidden2") & (details["column"] == "0")].groupby("replicate").error.mean()
    half = 4.302652729696142 * own.std() / math.sqrt(3)
    bars = [line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2 and line.get_linewidth() > 1]
    assert any(np.allclose(bar, [100 * (own.mean() - half), 100 * (own.mean() + half)]) for bar in bars)
    assert len(bars) == 3 * 2
    assert "vertical line is the threshold, 2" in caption(ONE, made(details))


def test_what_the_paper_found_is_a_star_in_its_row():
    known = replace(ERROR, paper=(Known(0.5, cell=("hidden1", "0")), Known(0.5, cell=("absent", "0"))))
    canvas = drawn(replace(ONE, panels=(known,)), made(layers(columns=COLUMNS[:2])))
    (star,) = [line for line in canvas.axes[0].lines if line.get_marker() == "*"]
    assert star.get_xdata()[0] == 50
    assert star.get_ydata()[0] == pytest.approx(1 + 0.15)  # the second row, the second of two columns
    assert legend_of(canvas) == ["random", "0", "the paper"]


def test_colours_do_not_tell_noise_apart():
    noisy = layers().assign(error=lambda rows: 0.2 + 0.01 * rows.replicate + 0.0001 * rows["row"].map(LAYERS.index))
    (ax,) = maps(drawn(replace(ONE, panels=(replace(ERROR, threshold=None),)), made(noisy)))
    low, high = ax.images[0].get_clim()
    assert high - low >= 2 * 100 * 0.02 - 1e-6  # twice the range of the replicates


@pytest.mark.slow
def test_what_was_not_measured_is_hatched_and_has_no_number():
    details = layers()
    holed = made(details.assign(error=details.error.where((details["row"] != "hidden1") | (details["column"] != "0"))))
    (ax,) = maps(drawn(ONE, holed))
    assert ax.patch.get_hatch()
    assert set(numbers(ax)) == {(row, column) for row in range(3) for column in range(4)} - {(1, 1)}
    assert ax.images[0].get_array().mask.sum() == 1
    assert "Hatched cells were not measured." in caption(ONE, holed)
    missing = made(details[(details["row"] != "hidden1") | (details["column"] != "0")])
    assert set(numbers(maps(drawn(ONE, missing))[0])) == set(numbers(ax))
    (whole,) = maps(drawn(ONE, made(details)))
    assert not whole.patch.get_hatch()
    assert "Hatched" not in caption(ONE, made(details))
    never = made(details.assign(error=math.nan))
    assert numbers(maps(drawn(ONE, never))[0]) == {}


def test_infinite_values_are_dark_and_say_so():
    details = layers()
    infinite = made(details.assign(error=details.error.where(details["row"] != "hidden2", math.inf)))
    (ax,) = maps(drawn(ONE, infinite))
    assert numbers(ax)[0, 0].get_text() == "inf"
    assert ax.images[0].get_array()[0, 0] == ax.images[0].norm.vmax < 100


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variants", "arms", "titles"),
    [
        (("slow", "fast"), ("dense",), ["learning rate 0.01", "learning rate 0.1"]),
        (("slow",), ("imp", "dense"), ["dense network", "IMP, 21.1 %"]),
        (("fast", "slow"), ("dense", "imp"), [f"{variant}, {arm}" for variant in VARIANTS.values() for arm in ARMS.values()]),
    ],
)
def test_maps_of_variants_and_arms_are_titled_in_the_studys_order_and_share_a_scale(variants, arms, titles):
    report = made(layers(variants, arms))
    canvas = drawn(ONE, report)
    shown = maps(canvas)
    assert [ax.get_title(loc="left").replace("\n", " ") for ax in shown] == titles
    assert len({ax.images[0].get_clim() for ax in shown}) == len(bars(canvas)) == 1
    assert "All maps have the same scale." in caption(ONE, report)
    assert [ax.get_subplotspec().colspan.start for ax in shown] == [index % 2 for index in range(len(titles))]  # a variant a row
    assert [bool(labels(ax.yaxis)[0]) for ax in shown] == [index % 2 == 0 for index in range(len(titles))]
    assert [bool(ax.get_xlabel()) for ax in shown] == [index >= len(titles) - 2 for index in range(len(titles))]
    stacked = maps(drawn(TWO, report))
    assert [ax.get_subplotspec().colspan.start for ax in stacked] == [0, 1] * len(titles)
    assert [ax.get_title(loc="left") for ax in stacked] == [name for title in titles for name in (title, "")]
    assert "All maps of a panel have the same scale." in caption(TWO, report)


def test_variants_have_rows_of_their_own():
    deep = pd.concat([layers(("slow",), rows=("hidden1", "output")), layers(("fast",), rows=("hidden1", "hidden2", "output"))])
    slow, fast = maps(drawn(ONE, made(deep)))
    assert (labels(slow.yaxis), labels(fast.yaxis)) == (CLASSED[1:], [CLASSED[1], CLASSED[0], CLASSED[2]])


def test_a_figure_shows_the_variants_and_arms_that_it_names():
    report = made(layers(tuple(VARIANTS), tuple(ARMS)))
    (ax,) = maps(drawn(replace(ONE, variants=("fast",), arms=("imp",)), report))
    assert ax.images[0].get_array()[0, 0] == pytest.approx(100 * (0.05 + 0.03 + 0.006))


NETWORK = [f"stage{stage}/block{block}/conv{conv}" for stage in (1, 2, 3) for block in (1, 2, 3) for conv in (1, 2)]


def sized(rows, columns, variants=1, arms=1):
    grid = [(f"v{v}", f"a{a}", row, column) for v in range(variants) for a in range(arms) for row in rows for column in columns]
    details = pd.DataFrame(grid, columns=["variant", "arm", "row", "column"])
    value = np.linspace(0.011, 0.9, len(details))
    return details.assign(level=0, density=1.0, replicate=0, error=value, distance=value, mark="critical")


EPOCHS = ["0", "1 ep", "2 ep", "3 ep", "8 ep", "40 ep", "90 ep", "random"]


@pytest.mark.slow
@pytest.mark.parametrize("panels", [1, 2, 3])
@pytest.mark.parametrize(
    "details", [sized(list(MARKS), EPOCHS), sized(NETWORK, EPOCHS), sized(list(MARKS), EPOCHS, 1, 3)], ids=["small", "deep", "many"]
)
def test_nothing_overlaps_and_all_lies_within_the_figure(details, panels):
    figure = replace(
        ONE, panels=(ERROR, DISTANCE, replace(ERROR, label="the same once more, under a label that is a long one (%)"))[:panels]
    )
    canvas = drawn(figure, made(details))
    assert canvas.get_size_inches()[0] <= 8.6 + 1e-9
    frame = canvas.bbox
    for ax in maps(canvas):
        for label in [*numbers(ax).values(), *ax.get_xticklabels(), *ax.get_yticklabels(), ax.xaxis.label]:
            box = label.get_window_extent()
            assert frame.x0 <= box.x0 <= box.x1 <= frame.x1
            assert frame.y0 <= box.y0 <= box.y1 <= frame.y1
        columns, rows = ax.get_xlim()[1] + 0.5, ax.get_ylim()[0] + 0.5
        cell = ax.get_window_extent().width / columns, ax.get_window_extent().height / rows
        assert len(numbers(ax)) in (0, columns * rows)
        assert numbers(ax) or panels > 1 or len(details["row"].unique()) > 3
        for label in numbers(ax).values():
            assert label.get_window_extent().width < cell[0]
            assert label.get_fontsize() < 72 / canvas.dpi * cell[1]
        if ax.get_xticklabels()[0].get_rotation() == 0:
            assert all(a.get_window_extent().x1 < b.get_window_extent().x0 for a, b in pairwise(ax.get_xticklabels()))
        assert all(a.get_window_extent().y0 > b.get_window_extent().y1 for a, b in pairwise(ax.get_yticklabels()) if a.get_text())
    for ax in bars(canvas):
        assert all(a.get_window_extent().x1 < b.get_window_extent().x0 for a, b in pairwise(ax.get_xticklabels()))


@pytest.mark.slow
def test_numbers_of_many_maps_are_not_shown():
    few, many = (maps(drawn(ONE, made(sized(list(MARKS), EPOCHS, 2, arms)))) for arms in (3, 4))
    assert all(numbers(ax) for ax in few)
    assert not any(numbers(ax) for ax in many)


def test_long_names_of_columns_stand_aslant():
    aslant = maps(drawn(ONE, made(sized(list(MARKS), NETWORK))))[0]
    level = maps(drawn(ONE, made(sized(list(MARKS), EPOCHS))))[0]
    assert (aslant.get_xticklabels()[0].get_rotation(), level.get_xticklabels()[0].get_rotation()) == (45, 0)


@pytest.mark.slow
def test_the_page_has_the_map_and_its_table_with_all_words(tmp_path):
    report = made(layers())
    page.write([report], tmp_path)
    with (tmp_path / "made.up" / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["row"], row["column"], row["mark"]) for row in rows] == list(
        report.details["layers"][["row", "column", "mark"]].itertuples(index=False, name=None)
    )
    assert [float(row["error"]) for row in rows] == report.details["layers"].error.tolist()
    html = (tmp_path / "index.html").read_text()
    assert "made.up/layers.csv" in html
    assert "(critical)" in html
    for term in ("Re-initialised", "Re-randomised", "Robust", "Critical", "Module criticality"):
        assert term in GLOSSARY
        assert html.count(f"<b>{term}</b>") == 1


# -- other x axes and other levels ----------------------------------------------------------------------------------


def dense_lines(ax):
    return [line for line in ax.lines if list(line.get_xdata()) == [0, 1]]


def one_arm(report):
    """The report as one in which a network of level 0 is all arms' own, so that it may be drawn as a line."""
    return replace(report, table=report.table[report.table.arm == "dense"])


def arm_line(ax):
    return next(line for line in ax.lines if line.get_label() == "dense network" and len(line.get_xdata()) > 2)


def test_x_is_the_size_of_the_network_from_small_to_large():
    report = made(layers())
    (ax,) = drawn(WORK, one_arm(report)).axes
    assert ax.get_xlabel() == "parameters of the whole network"
    assert ax.get_xscale() == "log"
    assert list(arm_line(ax).get_xdata()) == [1507, 9007, 54007]
    np.testing.assert_allclose(arm_line(ax).get_ydata(), [51, 26, 100 * 0.5 / 3 + 1])
    assert ax.get_xlim()[0] < 1507 < 54007 < ax.get_xlim()[1]
    assert labels(ax.xaxis) == ["2,000", "5,000", "10k", "20k", "50k"]
    assert dense_lines(ax) == []
    assert legend_of(drawn(WORK, report)) == list(ARMS.values())
    falling = replace(report, table=report.table.assign(parameters=100_000 - report.table.parameters))
    assert (np.diff(arm_line(drawn(WORK, falling).axes[0]).get_xdata()) > 0).all()


@pytest.mark.parametrize("x", ["density", "kept", "level", "step", "parameters"])
def test_a_label_of_the_x_axis_takes_the_place_of_the_usual_one(x):
    report = made(layers())
    counted = replace(report, table=report.table.assign(kept=100 * (report.table.level + 1), step=report.table.level))
    usual, own = (drawn(replace(WORK, x=x, x_label=label), counted).axes[0].get_xlabel() for label in ("", "so many"))
    assert usual not in ("", own)
    assert own == "so many"


@pytest.mark.parametrize(
    ("levels", "key", "names", "title", "places"),
    [
        ("layers", "layers reset", ["0", "1", "2"], "layers reset: 2", [0, 1, 2]),
        ("widths", "width", ["16", "64", "256"], "width 256", [16, 64, 256]),
        ("rounds", "density", ["100.0 %"] * 3, "100.0 %", [0, 1, 2]),
    ],
)
def test_what_levels_count_is_on_the_axis(levels, key, names, title, places):
    report = one_arm(made(layers(), levels))
    assert text.level_names(report.table, report) == (key, dict(enumerate(names)))
    assert text.level_titles(report.table, report)[2] == title
    (ax,) = drawn(replace(WORK, x="level"), report).axes
    assert ax.get_xlabel() == {"density": "rounds of pruning"}.get(key, key)
    assert list(arm_line(ax).get_xdata()) == places
    assert len(dense_lines(ax)) == (levels == "rounds")  # elsewhere level 0 is no dense network
    assert len(dense_lines(drawn(replace(WORK, x="density"), report).axes[0])) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("levels", "key", "names", "word"),
    [("layers", "layers reset", ["0", "1", "2"], "number of layers reset"), ("widths", "width", ["16", "64", "256"], "width")],
)
def test_tables_and_captions_say_what_levels_count(levels, key, names, word, tmp_path):
    report = made(layers(), levels)
    lines = terminal(report, 100, False).splitlines()
    assert any(line.startswith(key) for line in lines)
    assert [line.split()[0] for line in lines if "±" in line and not line.startswith("Mean")] == names
    page.write([report], tmp_path)
    html = (tmp_path / "index.html").read_text()
    assert f"All numbers, by {word} and arm" in html
    assert f'<th scope="col">{key}</th>' in html
    scatter = Figure("scatter", "Scatter", (ERROR,), kind="scatter", across=Panel("parameters", "parameters"))
    assert f"Markers show means over 3 replicates of an arm at one {word}, bars" in caption(scatter, report)


def alone(figure, details):
    """A study with that figure alone."""
    report = made(details, figure=figure)
    return replace(report, figures=(figure,))


def test_numbers_of_a_study_of_maps_are_those_of_its_map(tmp_path):
    details = layers()
    report = alone(ONE, details)
    lines = terminal(report, 100, False).splitlines()
    head = next(line for line in lines if "random" in line)
    assert [head.index(column) for column in COLUMNS] == sorted(head.index(column) for column in COLUMNS)
    assert "test error (%), put back to" in lines
    shown = [line.split() for line in lines if "±" in line and not line.startswith("Mean")]
    assert [line[0] for line in shown] == list(LAYERS)
    own = details.groupby(["row", "column", "replicate"]).error.mean().groupby(["row", "column"]).mean()
    for line in shown:
        assert [float(value) for value in line[1::3]] == pytest.approx([100 * own[line[0], column] for column in COLUMNS], abs=0.06)
    page.write([report], tmp_path)
    assert "The numbers of the first figure" in (tmp_path / "index.html").read_text()
    several = terminal(alone(ONE, layers(("slow", "fast"))), 100, False)
    assert all(label in several for label in VARIANTS.values())


def test_numbers_of_a_study_of_points_are_both_of_its_axes():
    across = Panel("parameters", "parameters (thousands)", 1e-3)
    report = alone(Figure("scatter", "Scatter", (ERROR,), kind="scatter", across=across), layers())
    shown = terminal(report, 100, False)
    assert "test error (%)" in shown
    assert "parameters (thousands)" in shown


def test_arms_without_a_point_are_not_in_the_legend_of_points():
    figure = Figure("scatter", "Scatter", (ERROR,), kind="scatter", across=Panel("parameters", "parameters"))
    report = alone(figure, layers())
    nothing = report.table.parameters.where(report.table.arm != "imp")
    for table, arms in ((report.table, set(ARMS.values())), (report.table.assign(parameters=nothing), {ARMS["dense"]})):
        (legend,) = drawn(figure, replace(report, table=table)).legends
        assert {label.get_text() for label in legend.get_texts()} == arms
