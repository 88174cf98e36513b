"""What a report writes: tables that read back bitwise, figures, one page that stands alone."""

import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from toys import caption, drawn, legend_of, made_up

from tombola.core.errors import TombolaError
from tombola.engine.configuring import resolve
from tombola.evaluation.statistics import interval, replicates_to_decide
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task
from tombola.report import axes, figures, page, papers, text, ticks
from tombola.report.cite import bibtex
from tombola.report.drawing import handle
from tombola.report.files import safe_names, writable, write_file
from tombola.report.kept import NOTE
from tombola.report.numbers import numbers_of
from tombola.report.result import arms_of, named, panels_of
from tombola.report.style import looks, sequence, style_of
from tombola.report.summary import summarise
from tombola.report.table import as_csv, as_json, claims_as_json, terminal
from tombola.studies.base import COLUMNS, Findings
from tombola.studies.catalogue import studies
from tombola.studies.columns import MEANINGS
from tombola.studies.figure import Figure, Known, Panel

LEVELS, REPLICATES = 6, 3
ARMS = {"ticket": "winning ticket", "reinit": "same mask, fresh <init>", "random": "random mask"}
SPEED = Figure(
    "speed",
    "Speed & accuracy",
    (Panel("es_iteration", "early-stopping iteration", log=True), Panel("acc_es", "test accuracy at early stop (%)", 100)),
    caption="<Made up>.",
)
REACH = Figure("reach", "Reach", (Panel("iters", "iterations to 1.5x", log=True),), arms=("ticket", "random"))
CURVES = Figure("curves", "Curves", (Panel("test_acc", "test accuracy (%)", 100),), kind="curves", arms=("ticket",), levels=(0, 2, 4))


def rows():
    rng = np.random.Generator(np.random.Philox(key=0))
    for replicate in range(REPLICATES):
        for level in range(LEVELS):
            for arm, draws in (("ticket", 1), ("reinit", 2), ("random", 1)):
                if level == 0 and arm != "ticket":
                    continue
                for draw in range(draws):
                    never = arm == "random" and level == 5 and replicate == 1
                    yield {
                        "study": "made.up",
                        "task": "digits-mlp",
                        "variant": "",
                        "arm": arm,
                        "replicate": replicate,
                        "level": level,
                        "density": 0.8**level,
                        "draw": draw,
                        "es_iteration": 1000 + 50 * level + int(rng.integers(100)),
                        "es_censored": int(arm == "random" and level == 4),
                        "acc_es": 0.9 + 0.1 * rng.random() / 3,
                        "iters": math.inf if never else 700 + rng.random(),
                        "missing": math.nan,
                    }


def made_report():
    table = pd.DataFrame(rows())
    steps = pd.DataFrame({"step": range(0, 1001, 100)})
    curves = table[["variant", "arm", "replicate", "level", "density"]].merge(steps, how="cross")
    curves["val_loss"] = 2 / (1 + curves.step)
    curves["test_acc"] = np.where(curves.step % 200 == 0, 0.9 * curves.step / 1000, np.nan)
    effects = (
        Effect("ticket - re-init", "pp", 1.84, 1.21, 2.47, 8, 2 / 2**8, ((0.2107, 1.5, 0.0234), (0.0043, 2.2, 0.0234))),
        Effect("a < b & so on", "pp", math.nan, -math.inf, math.inf, 0, 1.0, note="no level was <run>", judged=False),
    )
    study = made_up(task("digits-mlp", "smoke"), REPLICATES, arms=ARMS)
    verdicts = [
        Verdict("X-C1", "Tickets & re-inits differ.", "Someone 2019, figure 4", effects, "a note"),
        Verdict("X-C2", "They do not.", "Someone 2019", (replace(effects[0], low=-2.0, high=-1.0),)),
        Verdict("X-C3", "Who knows.", "Someone 2019", (replace(effects[0], low=-2.0),)),
    ]
    columns = ("draw", "es_iteration", "es_censored", "acc_es", "iters", "missing")
    return Findings(
        study, columns, (SPEED, REACH, CURVES), table, curves, verdicts, {"command": "tombola run made.up --set 'a=<b>'", "device": "a CPU"}
    )


@pytest.fixture(scope="module")
def report():
    return made_report()


@pytest.fixture(scope="module")
def written(report, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    return folder, page.write([report, report], folder)


# -- tables ---------------------------------------------------------------------------------------------------------


def read(path):
    """Rows of a CSV file as dicts of strings: Python's own reader and `float` round nothing."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_reads_back_bitwise(tmp_path):
    values = [0.1, 1 / 3, 1e-300, 5e-324, -0.0, 1e22, math.nan, math.inf, -math.inf, np.nextafter(1.0, 2.0)]
    table = pd.DataFrame({"name": ['a,"b"'] * len(values), "whole": range(len(values)), "value": values})
    path = write_file(tmp_path / "new" / "table.csv", as_csv(table))
    back = read(path)
    assert np.array([float(row["value"]) for row in back]).tobytes() == np.array(values).tobytes()
    assert [int(row["whole"]) for row in back] == list(range(len(values)))
    assert {row["name"] for row in back} == {'a,"b"'}
    assert [one.name for one in path.parent.iterdir()] == ["table.csv"]


def test_summary_by_hand():
    table = pd.DataFrame(
        {
            "variant": ["v"] * 5,
            "arm": ["a"] * 5,
            "level": [1] * 5,
            "density": [0.5] * 5,
            "replicate": [0, 0, 1, 2, 2],
            "draw": [0, 1, 0, 0, 1],
            "x": [0.0, 2.0, 2.0, 3.0, 3.0],  # draws first: 1, 2, 3 by replicate
            "y": [1.0, 1.0, math.nan, 4.0, math.inf],
        }
    )
    x, y = summarise(table, ["x", "y"]).to_dict("records")
    assert (x["variant"], x["arm"], x["level"], x["density"], x["metric"]) == ("v", "a", 1, 0.5, "x")
    assert (x["mean"], x["least"], x["most"], x["n"], x["infinite"]) == (2.0, 1.0, 3.0, 3, 0)
    assert x["high"] - 2 == pytest.approx(2 - x["low"]) == pytest.approx(4.302652729696142 / math.sqrt(3))
    assert (y["mean"], y["low"], y["high"], y["most"], y["n"], y["infinite"]) == (math.inf, -math.inf, math.inf, 1.0, 2, 1)


def test_decimals_show_two_digits_of_the_uncertainty():
    assert [text.decimals([half]) for half in (123.0, 12.3, 1.23, 0.123, 0.0123, 1e-8)] == [0, 0, 1, 2, 3, 4]
    assert text.decimals([math.inf, math.nan, 0.0, 1e-16], otherwise=1) == 1
    assert text.spread(97.512, math.inf, 2) == "97.51"


def test_json_is_valid_with_infinite_and_missing_values(report):
    found = json.loads(json.dumps(as_json(report), allow_nan=False))
    assert {row["metric"] for row in found["summary"]} == {"es_iteration", "es_censored", "acc_es", "iters", "missing"}
    assert [row["iters"] for row in found["table"]].count("inf") == 1
    assert all(row["missing"] is None for row in found["table"])
    assert found["provenance"]["device"] == "a CPU"
    assert found["arms"]["reinit"] == "same mask, fresh <init>"
    claim = found["claims"][0]
    assert (claim["id"], claim["verdict"]) == ("X-C1", "replicated")
    assert claim["effects"][0]["per_level"][0] == {"density": 0.2107, "mean": 1.5, "p_holm": 0.0234}
    assert (claim["effects"][1]["mean"], claim["effects"][1]["low"]) == (None, "-inf")
    assert found["claims"] == json.loads(json.dumps(claims_as_json(report.verdicts)))


def test_arms_and_panels(report):
    extra = report.table.assign(arm="other")
    assert list(arms_of(replace(report, table=extra))) == ["ticket", "reinit", "random", "other"]
    assert [panel.metric for panel in panels_of(report, "")] == ["es_iteration", "acc_es", "iters"]
    assert [panel.metric for panel in panels_of(report, "", main=True)] == ["es_iteration", "acc_es"]


# -- terminal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("colour", [False, True])
def test_no_line_of_the_terminal_output_is_too_long(report, width, colour):
    counted = replace(report, table=report.table.assign(kept=21000, prunable=266200))
    printed = re.sub(r"\x1b\[[0-9;]*m", "", shown := terminal(counted, width, colour))
    assert max(map(len, printed.splitlines())) <= width
    assert ("\x1b[" in shown) == colour


def test_terminal_shows_densities_values_and_claims(report):
    mean = 100 * report.table[(report.table.arm == "ticket") & (report.table.level == 2)].acc_es.mean()
    lines = terminal(report, 100, False).splitlines()
    row = next(line for line in lines[lines.index("test accuracy at early stop (%)") :] if line.startswith(" 64.0 %"))
    values = re.findall(r"([\d.]+) ± ([\d.]+)", row)
    assert len(values) == 3
    assert float(values[0][0]) == pytest.approx(mean, abs=0.05)
    assert "X-C1  [+] replicated" in lines
    assert "X-C2  [-] not replicated: 1 of 1 parts contradicted" in lines
    assert any(line.startswith("X-C3  [?] undecided: its interval reaches over 0") for line in lines)
    assert "    ticket - re-init (holds)" in lines
    assert "      +1.84 [+1.21, +2.47] pp, n = 8, p = 0.0078, least 0 pp" in lines
    assert lines[lines.index("    a < b & so on (shown, not judged)") + 1] == "      no level was <run>"  # and no numbers


def test_a_claim_that_is_not_judged_says_why(report):
    nothing = Effect("a - b", "pp", math.nan, -math.inf, math.inf, 0, 1.0, lacks="no level was run")
    half = replace(report.verdicts[0].effects[0], name="a - c")
    claims = [Verdict("X-C4", "So.", "S", (nothing,)), Verdict("X-C5", "So.", "S", (half, nothing)), Verdict("X-C6", "So.", "S", ())]
    lines = terminal(replace(report, verdicts=claims), 100, False).splitlines()
    assert "X-C4  [ ] not judged: no level was run" in lines
    assert "X-C5  [+/] replicated in part: 1 of 2 parts hold" in lines
    assert "    a - b (not judged: no level was run)" in lines
    assert "X-C6  [ ] not judged: nothing was measured" in lines


def test_terminal_shows_counts_once_and_only_where_there_are_any(report):
    counted = replace(report, table=report.table.assign(kept=21000, prunable=266200))
    assert "21,000/266,200" not in terminal(report, 120, False)
    assert terminal(counted, 80, False).count("21,000/266,200") == LEVELS


def test_terminal_on_an_output_without_the_plus_minus_sign(report, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    terminal(report, 80).encode("ascii")


def test_infinite_values_are_counted_in_the_table(report):
    summary = summarise(report.table, ["iters"])
    assert text.cells(summary, REACH.panels[0])["random", 5] == "inf (1/3)"
    assert "k of n" in text.how_summarised([summary])


# -- figures --------------------------------------------------------------------------------------------------------


def arm_lines(ax):
    return [line for line in ax.lines if line.get_label() in {"winning ticket", "same mask, fresh <init>", "random mask"}]


def test_density_figure(report):
    canvas = drawn(SPEED, report)
    iteration, accuracy = canvas.axes
    assert legend_of(canvas) == ["winning ticket", "same mask, fresh <init>", "random mask", "dense network"]
    for ax in (iteration, accuracy):
        left, right = ax.get_xlim()
        assert left > 1 > 0.8**5 > right
        assert ax.get_xscale() == "log"
        looks = {(line.get_color(), line.get_marker(), str(line.get_linestyle()), line._dash_pattern[1] is None) for line in arm_lines(ax)}
        assert len(looks) == len({color for color, *_ in looks}) == len({marker for _, marker, *_ in looks}) == 3
    assert (iteration.get_yscale(), accuracy.get_yscale()) == ("log", "linear")
    assert accuracy.get_ylabel() == "test accuracy at early stop (%)"
    ticket = report.table[report.table.arm == "ticket"].groupby("density").acc_es.mean().sort_index(ascending=False)
    np.testing.assert_allclose(arm_lines(accuracy)[0].get_ydata(), 100 * ticket)
    np.testing.assert_allclose(arm_lines(accuracy)[0].get_xdata(), ticket.index)
    dense = [line for line in accuracy.lines if line.get_linestyle() == "--" and list(line.get_xdata()) == [0, 1]]
    assert [line.get_ydata()[0] for line in dense] == pytest.approx([100 * ticket.iloc[0]])


def test_differences_from_an_arm(report):
    panel = replace(SPEED.panels[1], label="above the ticket (pp)", threshold=0.0)
    apart = replace(SPEED, panels=(panel,), minus="ticket")
    (ax,) = drawn(apart, report).axes
    assert [line.get_label() for line in arm_lines(ax)] == ["same mask, fresh <init>", "random mask"]
    means = report.table.groupby(["arm", "level"]).acc_es.mean()
    np.testing.assert_allclose(arm_lines(ax)[1].get_ydata(), 100 * (means["random"] - means["ticket"].loc[1:]))
    assert [panel.label for panel in panels_of(replace(report, figures=(apart, SPEED)), "")] == [panel.label for panel in SPEED.panels]


def test_colours_differ_in_grey():
    from matplotlib.colors import to_rgb

    def grey(colour):
        return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)))

    arms = sorted(grey(look.colour) for look in looks(map(str, range(4))).values())
    assert min(np.diff(arms)) > 0.1
    levels = [grey(colour) for colour in sequence(7)]
    assert levels == sorted(levels)


@pytest.mark.slow
def test_infinite_and_censored_values_are_marked_and_explained(report):
    ax = drawn(REACH, report).axes[0]
    heads = [line for line in ax.lines if line.get_marker() == "^" and line.get_transform() != ax.transData and len(line.get_xdata()) == 1]
    assert [line.get_xdata()[0] for line in heads] == pytest.approx([0.8**5] * len(heads))  # the one level that a replicate never reaches
    assert [len(line.get_xdata()) for line in arm_lines(ax)] == [LEVELS, LEVELS - 1]
    assert np.isnan(arm_lines(ax)[1].get_ydata()[-1])
    assert "never gets there" in caption(REACH, report)
    assert "never" not in caption(CURVES, report)
    assert "Hollow" not in caption(REACH, report)
    hollow = [line for line in drawn(SPEED, report).axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow] == [[pytest.approx(0.8**4)]]
    assert "Hollow" in caption(SPEED, report)


def test_what_the_paper_found_is_a_star(report):
    sooner, better = Known(0.5, "twice as soon", 0.4, beside_dense=True), Known(0.01, "1 pp above", 0.1, beside_dense=True)
    flat = Known(0.99, x=0.2)
    known = replace(SPEED, panels=(replace(SPEED.panels[0], paper=(sooner,)), replace(SPEED.panels[1], paper=(better, flat))))
    dense = report.table[report.table.level == 0]
    drawing = figures.draw(known, report)
    stars = [line for ax in drawing.canvas.axes for line in ax.lines if line.get_marker() == "*"]
    found = [(line.get_xdata()[0], line.get_ydata()[0]) for line in stars]
    acc = 100 * dense.acc_es.mean()
    np.testing.assert_allclose(found, [(0.4, dense.es_iteration.mean() / 2), (0.1, acc + 1), (0.2, 99)])
    for line in stars:
        (low, high), (right, left) = line.axes.get_ylim(), sorted(line.axes.get_xlim(), reverse=True)
        assert low < line.get_ydata()[0] < high
        assert left < line.get_xdata()[0] < right
    assert legend_of(drawing.canvas)[-1] == "the paper"
    assert "Stars are what the paper reports" in drawing.caption
    assert {"the paper: twice as soon", "the paper: 1 pp above"} <= {point["label"] for point in drawing.numbers()}
    assert "the paper" not in legend_of(drawn(SPEED, report))


def test_places_in_a_list_are_told_by_what_stands_there(report):
    placed = replace(report, table=report.table.assign(place=report.table.level % 3))
    figure = Figure("onset", "Onset", (Panel("place", "stable from step k on", ticks=("0", "10", "never")),))
    ax = drawn(figure, placed).axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0", "10", "never"]
    assert ax.get_ylim() == (-0.5, 2.5)


def test_minima_and_maxima_are_left_out_where_they_would_be_a_comb(report):
    many = replace(report, table=pd.concat([report.table.assign(level=report.table.level + LEVELS * index) for index in range(4)]))
    assert "thin bars" in caption(ACCURACY, report)
    assert "thin bars" not in caption(ACCURACY, many)


@pytest.mark.parametrize(("count", "shape"), [(1, (1, 1)), (3, (3, 1)), (4, (2, 2)), (5, (3, 2)), (6, (3, 2)), (8, (4, 2)), (9, (3, 3))])
def test_panels_leave_few_places_empty(count, shape):
    canvas, found = axes.facets([Panel("y", "y")], {str(index): "a title" for index in range(count)})
    grid = found[0].ax.get_subplotspec().get_gridspec()
    assert (grid.ncols, grid.nrows, len(canvas.axes)) == (*shape, count)


def test_a_panel_without_values_says_so(report):
    nothing = Figure("none", "None", (Panel("missing", "nothing (nats)", log=True),))
    assert [label.get_text() for label in drawn(nothing, report).axes[0].texts] == ["no finite values"]


def test_one_replicate_has_no_band_and_one_density_is_enough(report):
    one = replace(report, table=report.table[(report.table.replicate == 0) & (report.table.level == 0)])
    canvas = drawn(SPEED, one)
    assert [label.get_text() for label in canvas.axes[0].get_yticklabels()] == ["winning ticket"]
    assert not canvas.legends
    assert [len(line.get_xdata()) for line in canvas.axes[0].lines] == [1, 1]  # the replicate and the mean, and no interval
    assert "interval" not in caption(SPEED, one)


def test_curves_figure(report):
    canvas = drawn(CURVES, report)
    (ax,) = canvas.axes
    assert legend_of(canvas) == ["100.0 %", "64.0 %", "41.0 %"]
    assert len(ax.lines) == 3
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [0, 200, 400, 600, 800, 1000])  # where test accuracy was measured
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [0, 18, 36, 54, 72, 90])
    both = drawn(replace(CURVES, arms=("ticket", "reinit")), report)
    assert legend_of(both)[3:] == ["winning ticket", "same mask, fresh <init>"]
    assert len(both.axes[0].lines) == 3 + 2  # re-initialisations have no dense level


@pytest.mark.slow
def test_figures_are_the_same_bytes_again_and_carry_their_fonts(report):
    import matplotlib

    before = dict(matplotlib.rcParams)
    files = figures.files(figures.draw(REACH, report), "reach")
    assert list(files) == ["reach.svg", "reach.pdf", "reach.png", "reach.txt", "reach.json"]
    with matplotlib.rc_context({"font.size": 20, "xtick.direction": "in", "svg.fonttype": "path"}):  # a user's own settings
        again = figures.files(figures.draw(REACH, made_report()), "reach")
    assert files == again
    svg, pdf, png, said, numbers = files.values()
    assert said.decode() == f"Reach. {caption(REACH, report)}\n"
    assert {"place", "label", "mean", "low", "high", "n"} <= set(json.loads(numbers)[0])
    assert b">random mask<" in svg  # text is text
    assert b"dc:date" not in svg
    assert b"/FontFile2" in pdf
    assert b"CreationDate" not in pdf
    assert png.startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


# -- variants, other x axes, arms that differ -----------------------------------------------------------------------

VARIANTS = {"slow": "learning rate 1e-4", "fast": "learning rate 1e-2", "wild": "learning rate 1", "calm": "learning rate 1e-3"}
ACCURACY = Figure("accuracy", "Accuracy", (Panel("acc_es", "test accuracy (%)", 100),))


def several(report, variants=VARIANTS, shift=0.001):
    """The report once for each variant, each with accuracies of its own."""
    tables = [report.table.assign(variant=name, acc_es=report.table.acc_es + shift * i) for i, name in enumerate(variants)]
    curves = [report.curves.assign(variant=name, test_acc=report.curves.test_acc + shift * i) for i, name in enumerate(variants)]
    study = made_up(report.study.task, REPLICATES, arms=ARMS, variants=VARIANTS)
    return replace(report, study=study, figures=(SPEED,), table=pd.concat(tables), curves=pd.concat(curves))


def by_rate(report, rates):
    """The report with arms that prune at rates of their own, and what is left of 10,000 weights."""
    density = report.table.arm.map(rates) ** report.table.level
    return replace(report, table=report.table.assign(density=density, kept=10_000 * density, prunable=10_000))


def places(axes):
    """(row, column) of each of some axes."""
    return [(ax.get_subplotspec().rowspan.start, ax.get_subplotspec().colspan.start) for ax in axes]


def test_variants_are_summarised_apart(report):
    many = several(report, shift=0.01)
    found = {(row["variant"], row["arm"], row["level"]): row["mean"] for row in as_json(many)["summary"] if row["metric"] == "acc_es"}
    assert len(found) == 4 * (LEVELS + 2 * (LEVELS - 1))
    assert found["wild", "ticket", 2] - found["slow", "ticket", 2] == pytest.approx(0.02)
    assert as_json(many)["variants"] == {name: VARIANTS[name] for name in ("slow", "fast", "wild", "calm")}


def test_one_panel_has_a_place_for_each_variant(report):
    many = several(report)
    canvas = drawn(ACCURACY, many)
    assert [ax.get_title(loc="left") for ax in canvas.axes] == list(VARIANTS.values())
    assert places(canvas.axes) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [bool(ax.get_ylabel()) for ax in canvas.axes] == [True, False, True, False]
    assert [bool(ax.get_xlabel()) for ax in canvas.axes] == [False, False, True, True]
    assert len(canvas.legends) == 1
    for index, ax in enumerate(canvas.axes):
        ticket = report.table[report.table.arm == "ticket"].groupby("level").acc_es.mean()
        np.testing.assert_allclose(arm_lines(ax)[0].get_ydata(), 100 * (ticket + 0.001 * index))
    chosen = drawn(replace(ACCURACY, variants=("calm", "fast")), many)
    assert [ax.get_title(loc="left") for ax in chosen.axes] == [VARIANTS["fast"], VARIANTS["calm"]]  # in the study's order


def test_several_panels_have_a_row_for_each_variant(report):
    canvas = drawn(SPEED, several(report))
    assert places(canvas.axes) == [(row, column) for row in range(4) for column in range(2)]
    assert [ax.get_title(loc="left") for ax in canvas.axes] == [title for label in VARIANTS.values() for title in (label, "")]
    assert [ax.get_ylabel() for ax in canvas.axes[2:4]] == ["early-stopping iteration", "test accuracy at early stop (%)"]
    assert [bool(ax.get_xlabel()) for ax in canvas.axes] == [False] * 6 + [True] * 2


def test_a_report_of_one_variant_has_no_titles_even_if_its_name_is_known(report):
    one = replace(several(report), table=report.table.assign(variant="slow"))
    assert [ax.get_title(loc="left") for ax in drawn(SPEED, one).axes] == ["", ""]
    assert VARIANTS["slow"] not in terminal(one, 100, False)


@pytest.mark.slow
def test_variants_share_y_limits_unless_that_flattens_them(report):
    near = drawn(ACCURACY, several(report, shift=0.001))
    assert len({ax.get_ylim() for ax in near.axes}) == 1
    far = drawn(ACCURACY, several(report, shift=0.2))
    assert len({ax.get_ylim() for ax in far.axes}) == 4
    assert all(ax.get_ylabel() for ax in far.axes)  # each says what it is


def test_the_dense_line_is_each_variants_own_and_absent_where_arms_have_their_own(report):
    def dense(canvas):
        return [line.get_ydata()[0] for ax in canvas.axes for line in ax.lines if list(line.get_xdata()) == [0, 1]]

    many = drawn(ACCURACY, several(report))
    means = 100 * report.table[report.table.level == 0].acc_es.mean() + 0.1 * np.arange(4)
    assert dense(many) == pytest.approx(list(means))
    own = report.table[report.table.level == 0].assign(arm="random")
    same = replace(report, table=pd.concat([report.table, own]))
    assert len(dense(drawn(ACCURACY, same))) == 1
    other = replace(report, table=pd.concat([report.table, own.assign(acc_es=0.5)]))
    assert dense(drawn(ACCURACY, other)) == []
    assert "dense network" not in legend_of(drawn(ACCURACY, other))


def test_x_is_the_number_of_remaining_weights(report):
    rates = {"ticket": 0.8, "reinit": 0.5, "random": 0.2}
    ax = drawn(replace(ACCURACY, x="kept"), by_rate(report, rates)).axes[0]
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "remaining weights")
    left, right = ax.get_xlim()
    assert left > 10_000 > 10_000 * 0.2**5 > right
    for line, first, rate in zip(arm_lines(ax), (0, 1, 1), rates.values(), strict=True):
        np.testing.assert_allclose(line.get_xdata(), [10_000 * rate**level for level in range(first, LEVELS)])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["10k", "1,000", "100", "10"]


def test_x_is_the_round_of_pruning(report):
    ax = drawn(replace(ACCURACY, x="level"), by_rate(report, {"ticket": 0.8, "reinit": 0.5, "random": 0.2})).axes[0]
    assert (ax.get_xscale(), ax.get_xlabel()) == ("linear", "rounds of pruning")
    assert [list(line.get_xdata()) for line in arm_lines(ax)] == [[0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]
    assert all(tick == int(tick) for tick in ax.get_xticks())


def test_densities_of_their_own_get_round_ticks(report):
    ax = drawn(ACCURACY, by_rate(report, {"ticket": 0.8, "reinit": 0.5, "random": 0.2})).axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["100", "10", "1", "0.1"]
    assert arm_lines(ax)[2].get_xdata()[-1] == pytest.approx(0.2**5)


def test_what_was_not_measured_leaves_no_gap(report):
    holed = report.table.assign(acc_es=report.table.acc_es.where((report.table.level != 2) | (report.table.arm != "ticket")))
    lacking = holed[(holed.arm != "random") | (holed.level < 3)]
    ticket, _, random = arm_lines(drawn(replace(ACCURACY, x="level"), replace(report, table=lacking)).axes[0])
    assert list(ticket.get_xdata()) == [0, 1, 3, 4, 5]
    assert list(random.get_xdata()) == [1, 2]
    row = next(line for line in terminal(replace(report, table=lacking), 200, False).splitlines() if " 64.0 %" in line)
    assert row.count("±") == 5  # of three and two arms


def test_tables_tell_rounds_where_arms_differ_in_density(report):
    alike = by_rate(report, {"ticket": 0.8, "reinit": 0.8, "random": 0.799})
    assert "round" not in terminal(alike, 100, False)
    assert terminal(alike, 100, False).count("/10,000") == LEVELS
    lines = terminal(by_rate(report, {"ticket": 0.8, "reinit": 0.5, "random": 0.2}), 100, False).splitlines()
    assert not any("/10,000" in line for line in lines)
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines if line.startswith("round 2")]
    assert rows[0] == ["round 2", "64.0 %", "25.0 %", "4.0 %"]
    assert len(rows) == 3


def test_counts_are_left_out_where_arms_differ_in_them(report):
    sizes = report.table.arm.map({"ticket": 1000, "reinit": 2000, "random": 3000})
    other = replace(report, table=report.table.assign(kept=sizes * report.table.density, prunable=sizes))
    assert "kept" not in terminal(other, 100, False)
    assert " 64.0 %" in terminal(other, 100, False)


def test_terminal_has_tables_for_each_variant(report):
    lines = terminal(several(report, shift=0.01), 100, False).splitlines()
    heads = [index for index, line in enumerate(lines) if line.endswith("-----")]
    assert [lines[index].rstrip("- ") for index in heads] == list(VARIANTS.values())
    first, second = ([line for line in lines[index:] if line.startswith(" 64.0 %")] for index in heads[:2])
    mean = 100 * report.table[(report.table.arm == "ticket") & (report.table.level == 2)].acc_es.mean()
    accuracies = [float(re.findall(r"([\d.]+) ±", rows[1])[0]) for rows in (first, second)]
    assert accuracies == pytest.approx([mean, mean + 1], abs=0.05)


def test_wide_tables_are_split_between_arms(report):
    arms = {f"arm{index}": f"arm number {index}" for index in range(9)}
    tables = [report.table[report.table.arm == "ticket"].assign(arm=arm, kept=21000, prunable=266200) for arm in arms]
    nine = replace(report, study=made_up(report.study.task, REPLICATES, arms=arms), table=pd.concat(tables))
    printed = terminal(nine, 80, False)
    assert max(map(len, printed.splitlines())) <= 80
    assert not any(line.rstrip().endswith("±") or "±  " in line for line in printed.splitlines())
    assert all(label in printed for label in arms.values())
    assert printed.count("21,000/266,200") == LEVELS


def test_curves_have_a_panel_for_each_variant(report):
    canvas = drawn(CURVES, several(report, shift=0.01))
    assert places(canvas.axes) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [ax.lines[0].get_ydata()[-1] for ax in canvas.axes] == pytest.approx([90, 91, 92, 93])
    assert legend_of(canvas) == ["100.0 %", "64.0 %", "41.0 %"]
    many = several(report)
    density = many.curves.density.where(many.curves.variant != "slow", many.curves.density / 2)
    other = drawn(CURVES, replace(many, curves=many.curves.assign(density=density)))
    assert legend_of(other) == ["round 0", "round 2", "round 4"]


def test_few_evaluations_are_all_in_view(report):
    few = report.curves[report.curves.step.isin([0, 500, 1000])].assign(test_acc=lambda rows: rows.step / 1000)
    low, high = drawn(CURVES, replace(report, curves=few)).axes[0].get_ylim()
    assert low < 0 < 100 < high
    assert "outside" not in caption(CURVES, replace(report, curves=few))
    low, _ = drawn(CURVES, report).axes[0].get_ylim()
    assert low > 0
    assert "outside" in caption(CURVES, report)


def test_a_figure_of_levels_that_were_not_run_says_so(report):
    for figure in (replace(CURVES, levels=(40,)), replace(ACCURACY, arms=("nobody",))):
        assert [label.get_text() for label in drawn(figure, report).texts] == ["nothing of this was run"]
        assert caption(figure, report) == figure.caption


@pytest.mark.slow
def test_early_stops_at_iteration_0_have_a_place_on_the_log_axis(report):
    late = report.table.level > 3
    some = replace(report, table=report.table.assign(es_iteration=report.table.es_iteration.where(~late, 0)))
    every = replace(report, table=report.table.assign(es_iteration=0))
    for shown in (some, every):
        ax = drawn(replace(SPEED, panels=SPEED.panels[:1]), shown).axes[0]
        assert not ax.texts
        assert ax.get_ylim()[0] < 0 < ax.get_ylim()[1]
        assert ax.get_yticklabels()[0].get_text() == "0"
        assert arm_lines(ax)[0].get_ydata()[-1] == 0
    assert drawn(SPEED, some).axes[0].get_yscale() == "symlog"
    assert "linear below" in caption(SPEED, some)
    assert "linear below" not in caption(SPEED, report)


def test_twelve_arms_are_told_apart_by_each_of_colour_marker_and_line():
    many = looks(map(str, range(12))).values()
    for feature in ("colour", "marker", "line"):
        assert len({getattr(one, feature) for one in many}) == 12
    assert len({(one.colour, one.marker) for one in looks(map(str, range(60))).values()}) == 60


def test_a_role_looks_the_same_in_every_study():
    one, other = looks(["ticket", "reinit", "random", "mine"]), looks(["yours", "random", "dense", "ticket"])
    assert (one["ticket"], one["random"]) == (other["ticket"], other["random"])
    assert looks(["imp", "dense"])["imp"] == one["ticket"]
    for found in (one, other, looks(["ticket", "imp", "rewind"])):  # two of one role are told apart
        assert len({look.colour for look in found.values()}) == len(found)


def test_an_arm_far_from_the_others_does_not_set_the_axis(report):
    rows = report.table
    far = replace(report, table=rows.assign(acc_es=rows.acc_es.where(rows.arm != "random", 0.1 + 0.001 * rows.replicate)))
    ax = drawn(ACCURACY, far).axes[0]
    assert ax.get_ylim()[0] > 50
    edge = [line for line in ax.lines if line.get_marker() == "v" and len(line.get_xdata()) == 1]
    assert len(edge) == LEVELS - 1
    beyond = rows[(rows.arm == "random") & (rows.level > 0)].groupby("level").replicate.mean()
    assert [text.get_text() for text in ax.texts] == [f"{100 * (0.1 + 0.001 * mean):.3g}" for mean in beyond]
    assert "a mean beyond the axis, and a number" in caption(ACCURACY, far)
    assert "beyond" not in caption(ACCURACY, report)


def test_arms_that_meet_at_one_place_are_a_dot_plot(report):
    met = replace(report, table=report.table[(report.table.arm == "ticket") | (report.table.level == 3)])
    ax = drawn(ACCURACY, met).axes[0]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["winning ticket", "same mask, fresh <init>", "random mask"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first on top
    at_three = met.table[met.table.level == 3].groupby(["arm", "replicate"]).acc_es.mean().groupby("arm").mean()
    means = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    assert sorted(means) == pytest.approx(sorted(100 * at_three))
    dense = [line.get_xdata()[0] for line in ax.lines if list(line.get_ydata()) == [0, 1]]
    assert dense == pytest.approx([100 * met.table[met.table.level == 0].acc_es.mean()])
    assert "All at 51.2 %." in caption(ACCURACY, met)
    assert "The dashed line is the dense network." in caption(ACCURACY, met)


def test_arms_that_meet_at_one_place_in_each_variant_are_a_dot_plot_of_those_that_are_there(report):
    """Also where each variant has a chain of its own, and arms that others have not."""
    rows = report.table
    one, other = (rows[(rows.arm == chain) | (rows.level == 3)].assign(variant=chain) for chain in ("ticket", "reinit"))
    met = replace(report, table=pd.concat([one, other[other.arm != "random"]]))
    labels = [[label.get_text() for label in ax.get_yticklabels()] for ax in drawn(ACCURACY, met).axes]
    assert labels == [["winning ticket", "same mask, fresh <init>", "random mask"], ["winning ticket", "same mask, fresh <init>"]]


def test_a_figure_draws_what_tells_and_gives_it_room(report):
    flat = replace(ACCURACY, panels=(*ACCURACY.panels, Panel("flat", "collapsed (%)", 100)))
    zeros = replace(report, table=report.table.assign(flat=0.0))
    assert len(drawn(flat, zeros).axes) == 1
    assert "as its value is 0 throughout: collapsed (%)." in caption(flat, zeros)
    assert len(drawn(flat, replace(report, table=report.table.assign(flat=report.table.level))).axes) == 2
    two = report.table[report.table.arm != "random"]
    settings = replace(report, table=pd.concat([two.assign(variant=name) for name in "abc"]))
    canvas = drawn(replace(ACCURACY, levels=(3,)), settings)
    assert [label.get_text() for label in canvas.axes[0].get_yticklabels()] == ["a", "b", "c"]
    assert legend_of(canvas) == ["winning ticket", "same mask, fresh <init>"]
    of_levels = Figure("both", "Both", ACCURACY.panels, "scatter", across=Panel("es_iteration", "stop"), compared="levels")
    assert legend_of(drawn(of_levels, report))[:2] == ["density 100.0 %", "density 80.0 %"]
    canvas = axes.empty((3.9, 2.4))
    canvas.subplots()
    axes.legend(canvas, {f"an arm with a long name, {arm}": handle(look) for arm, look in looks(map(str, range(8))).items()})
    assert canvas.get_size_inches()[0] > 5
    assert canvas.get_size_inches()[1] == 2.4  # the legend stands beside the axes
    canvas = axes.empty((2.1, 2))
    ax = canvas.subplots()
    axes.scale_axis(ax.xaxis, [0, 4, 500], log=True)
    canvas.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert len(boxes) >= 3
    assert all(one.x1 < other.x0 for one, other in pairwise(boxes))


@pytest.mark.parametrize("ends", [(900, 120_000), (0.064, 0.078), (97, 98.4), (3000, 3001), (1, 1.00001), (1e-5, 3)])
def test_round_numbers_lie_within_and_are_few(ends):
    found = ticks.round_numbers(*ends)
    assert 3 <= len(found) <= 8
    assert found == sorted(set(found))
    assert ends[0] * (1 - 1e-12) <= found[0] < found[-1] <= ends[1] * (1 + 1e-12)
    assert len({f"{tick:,.6g}" for tick in found}) == len(found) or ends == (1, 1.00001)


# -- details --------------------------------------------------------------------------------------------------------

PROFILE = Figure("profile", "Profile", (Panel("value", "density", 10),), kind="profile", detail="histogram", x_label="initial value (sd)")
IMAGE = Figure("image", "Image", (Panel("value", "kept (%)", 100),), kind="image", detail="inputs")


def detailed(report):
    histogram = [
        {"variant": layer, "arm": arm, "level": level, "density": 0.5**level, "replicate": r, "x": x, "value": 1 + level + r + abs(x)}
        for layer in ("hidden1", "output")
        for arm in ("ticket", "random")
        for level in (0, 2)
        for r in range(3)
        for x in np.linspace(-2, 2, 41)
    ]
    inputs = [
        {"arm": arm, "level": level, "density": 0.5**level, "row": row, "column": column, "value": (row + column + level) / 10}
        for arm in ("random", "ticket")
        for level in range(5)
        for row in range(3)
        for column in range(4)
    ]
    study, shown = made_up(report.study.task, REPLICATES, arms=ARMS, variants={"hidden1": "layer 1"}), (SPEED, PROFILE, IMAGE)
    return replace(report, study=study, figures=shown, details={"histogram": pd.DataFrame(histogram), "inputs": pd.DataFrame(inputs)})


def test_profile_figure(report):
    canvas = drawn(PROFILE, detailed(report))
    assert [ax.get_title(loc="left") for ax in canvas.axes] == ["layer 1", "output"]
    assert [ax.get_xlabel() for ax in canvas.axes] == ["initial value (sd)"] * 2
    assert canvas.axes[0].get_ylabel() == "density"
    assert [ax.get_ylim()[0] for ax in canvas.axes] == [0, 0]
    assert legend_of(canvas) == ["100.0 %", "25.0 %", "winning ticket", "random mask"]
    ax = canvas.axes[0]
    np.testing.assert_allclose(ax.lines[0].get_xdata(), np.linspace(-2, 2, 41))
    np.testing.assert_allclose(ax.lines[0].get_ydata(), 10 * (2 + np.abs(np.linspace(-2, 2, 41))))  # mean of 1, 2, 3, scaled
    assert [line.get_color() for line in ax.lines[:2]] == [ax.lines[0].get_color()] * 2  # a level's colour
    assert len({line.get_color() for line in ax.lines}) == len({line.get_marker() for line in ax.lines}) == 2
    assert ax.lines[0]._unscaled_dash_pattern != ax.lines[1]._unscaled_dash_pattern  # an arm's line
    assert ax.lines[0].get_markevery()[1] == 41 // 7  # no markers in each other's way
    top = max(path.vertices[:, 1].max() for path in ax.collections[0].get_paths())
    assert top == pytest.approx(10 * (4 + 4.302652729696142 / math.sqrt(3)))  # t with 2 degrees of freedom, s = 1
    single = drawn(replace(PROFILE, levels=(2,), variants=("output",)), detailed(report))
    assert legend_of(single) == ["winning ticket", "random mask"]
    assert len({line.get_color() for line in single.axes[0].lines}) == 2
    assert "3 replicates" in caption(PROFILE, detailed(report))


def test_image_figure(report):
    canvas = drawn(replace(IMAGE, arms=("ticket",)), detailed(report))
    *axes, bar = [ax for ax in canvas.axes if ax.images or ax.get_label() == "<colorbar>"]
    assert [ax.get_title(loc="left") for ax in axes] == ["100.0 %", "50.0 %", "25.0 %", "12.5 %", "6.2 %"]
    assert places(axes) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert bar.get_ylabel() == "kept (%)"
    for level, ax in enumerate(axes):
        (image,) = ax.images
        np.testing.assert_allclose(image.get_array(), 10 * (np.arange(3)[:, None] + np.arange(4) + level))
        assert image.get_clim() == (0, pytest.approx(90))
        assert image.cmap(0.0)[:3] == (1, 1, 1)
        assert sum(image.cmap(1.0)[:3]) < 0.3
    both = drawn(replace(IMAGE, levels=(0, 2)), detailed(report))
    shown = [ax for ax in both.axes if ax.images]
    assert [ax.get_title(loc="left") for ax in shown] == [
        *("winning ticket, 100.0 %", "winning ticket, 25.0 %", "random mask, 100.0 %", "random mask, 25.0 %")
    ]
    assert [ax.get_ylabel() for ax in shown] == ["input row", ""] * 2
    assert shown[-1].get_xlabel() == "input column"


def test_an_image_may_say_what_its_axes_are(report):
    own = replace(IMAGE, arms=("ticket",), levels=(0, 2), x_label="initial value", y_label="final value", span=(-3, 3))
    first, last = [ax for ax in drawn(own, detailed(report)).axes if ax.images]
    assert (first.get_ylabel(), last.get_xlabel(), last.get_ylabel()) == ("final value", "initial value", "")
    assert (first.get_xlim(), first.get_ylim()) == ((-3, 3), (-3, 3))


def test_inputs_in_a_row_are_strips_one_below_the_other(report):
    strips = detailed(report)
    rows = strips.details["inputs"]
    strips = replace(strips, details={"inputs": rows.assign(column=4 * rows.row + rows.column, row=0)})
    shown = [ax for ax in drawn(replace(IMAGE, levels=(0, 2)), strips).axes if ax.images]
    assert [ax.get_title(loc="left") for ax in shown] == [
        *("winning ticket, 100.0 %", "winning ticket, 25.0 %", "random mask, 100.0 %", "random mask, 25.0 %")
    ]
    boxes = [ax.get_window_extent() for ax in shown]
    assert all(above.y0 > below.y1 and above.width > 5 * above.height for above, below in pairwise(boxes))


@pytest.mark.slow
def test_details_are_files_beside_the_page_and_linked(report, tmp_path):
    shown = detailed(report)
    paths = page.write([shown], tmp_path)
    assert {tmp_path / "made.up" / "histogram.csv", tmp_path / "made.up" / "inputs.csv"} <= set(paths)
    back = read(tmp_path / "made.up" / "histogram.csv")
    assert [float(row["x"]) for row in back] == shown.details["histogram"].x.tolist()
    html = (tmp_path / "index.html").read_text()
    assert 'href="made.up/histogram.csv"' in html
    assert 'href="made.up/inputs.csv"' in html
    assert Elements(html).found


def test_variants_of_a_details_table_are_none_of_the_table(report):
    shown = detailed(report)
    assert [ax.get_title(loc="left") for ax in drawn(SPEED, shown).axes] == ["", ""]
    assert terminal(shown, 100, False) == terminal(report, 100, False)


# -- page -----------------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """All tags with their attributes, and whether tags are nested as they should be."""

    void = frozenset({"meta", "br", "img", "link", "hr", "input"})

    def __init__(self, html):
        super().__init__()
        self.found, self.open, self.text = [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def elements(written):
    return Elements((written[0] / "index.html").read_text())


DATA = {
    *("table.csv", "curves.csv", "columns.csv", "claims.json", "study.toml", "tables.tex", "tables.md", "figures.tex"),
    *("references.bib", "code.py"),
}


@pytest.mark.slow
def test_the_page_comes_with_all_its_files(written):
    folder, paths = written
    assert paths[0] == folder / "index.html"
    assert set(paths) == {path for path in folder.rglob("*") if path.is_file() and path.name != NOTE}
    names = {str(path.relative_to(folder)) for path in paths}
    forms = {f"{stem}.{form}" for stem in ("speed", "reach", "curves") for form in figures.FORMS}
    own = forms | DATA
    assert names == {"index.html"} | {f"{study}/{name}" for study in ("made.up", "made.up--2") for name in own}


def test_the_page_loads_nothing_and_its_links_lead_somewhere(written, elements):
    folder = written[0]
    ids = {attributes["id"] for _, attributes in elements.found if "id" in attributes}
    links = [attributes["href"] for tag, attributes in elements.found if tag == "a"]
    assert len(links) == 2 + 2 * 3 + 2 * (len(DATA) + 3 * 4)  # to the studies, from the ledger, to files
    for link in links:
        assert unquote(link[1:]) in ids if link.startswith("#") else (folder / unquote(link)).is_file()
    html = (folder / "index.html").read_text()
    assert not re.search(r"""(href|src)=["']http|url\(["']?http|fetch|@import""", html)
    assert {tag for tag, _ in elements.found} & {"link", "iframe", "object", "img"} == set()
    assert not any("src" in attributes for _, attributes in elements.found)


def test_references_stay_in_their_figure(written, elements):
    html = (written[0] / "index.html").read_text()
    shadows = re.findall(r'<template shadowrootmode="open">(.*?)</template>', html, re.DOTALL)  # each has ids of its own
    assert len(shadows) == 2 * 3
    for drawing in shadows:
        used = re.findall(r'(?:url\(|href=")#([^)"]+)', drawing)
        ids = re.findall(r' id="([^"]+)"', drawing)
        assert len(used) > 10
        assert set(used) <= set(ids)
        assert len(ids) == len(set(ids))
    outside = re.findall(r' id="([^"]+)"', re.sub(r"<template.*?</template>", "", html, flags=re.DOTALL))
    assert len(outside) == len(set(outside))


def test_what_comes_from_outside_is_escaped(written, elements):
    html = (written[0] / "index.html").read_text()
    for name in ("<Made", "<run>", "<init>", "=<b>", "a < b & so"):
        assert name not in html
    shown = "".join(elements.text)
    for name in (
        "<Made up>.",
        "no level was <run>",
        "same mask, fresh <init>",
        "--set 'a=<b>'",
        "a < b & so on",
        "Speed & accuracy",
    ):
        assert name in shown


def test_the_page_shows_verdicts_in_words_with_their_evidence(elements):
    shown = " ".join(" ".join(elements.text).split())
    for words in (
        "\u2714 replicated",
        "\u2718 not replicated",
        "? undecided",
        "+1.84 [+1.21, +2.47] pp",
        "0.0078",
        "21.1 %",
        "0.43 %",
        "a CPU",
    ):
        assert words in shown
    assert "1 replicated, 1 not replicated, 1 undecided" in shown


def test_the_page_explains_its_words_once_and_lists_all_fields(written, report):
    html = (written[0] / "index.html").read_text()
    assert html.count("What the words mean") == 1
    for term in ("Density", "Early stop", "Replicate", "Level", "95 % interval", "Replicated", "Not replicated", "Undecided", "Holm"):
        assert f"<b>{term}</b>" in html
    recipe = report.study.task.recipe
    for path, value in (
        ("replicates", REPLICATES),
        ("task.recipe.learning_rate", recipe.learning_rate),
        ("task.recipe.evaluate_every", recipe.evaluate_every),
        ("task.recipe.test_every", "null"),
    ):
        assert html.count(f"<dt>{path}</dt><dd>{value}</dd>") == 2


@pytest.mark.slow
def test_the_pages_numbers_have_a_table_for_each_variant(report, tmp_path):
    page.write([several(report)], tmp_path)
    html = (tmp_path / "index.html").read_text()
    numbers = html[html.index("All numbers") :]
    assert re.findall(r"<caption>(.*?)</caption>", numbers) == list(VARIANTS.values())
    assert numbers.count("<td>64.0 %</td>") == 4
    assert len(re.findall(r'colspan="3"', numbers)) == 4 * 2  # two metrics over three arms


def test_csv_and_json_beside_the_page(written, report):
    own = written[0] / "made.up"
    table = read(own / "table.csv")
    assert list(table[0]) == list(report.table.columns)
    assert [float(row["acc_es"]) for row in table] == report.table.acc_es.tolist()
    assert [row["iters"] for row in table].count("inf") == 1
    assert len(read(own / "curves.csv")) == len(report.curves)
    assert [claim["id"] for claim in json.loads((own / "claims.json").read_text())] == ["X-C1", "X-C2", "X-C3"]


def test_a_folder_that_cannot_be_written_to_is_one_line(report, tmp_path):
    (tmp_path / "taken").write_text("a file")
    for attempt in (lambda: page.write([report], tmp_path / "taken"), lambda: writable(tmp_path / "taken" / "deeper")):
        with pytest.raises(TombolaError, match=r"cannot write .*taken.*choose a folder") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.slow
def test_importing_the_room_loads_nothing_heavy():
    program = (
        "import sys, tombola.report.page, tombola.report.table; "
        "print([name for name in ('pandas', 'matplotlib', 'scipy', 'rich', 'jax') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# -- pages that grow, and what is not complete ---------------------------------------------------------------------------


def sections(folder):
    return re.findall(r'<section id="([^"]+)">\n<script', (folder / "index.html").read_text())


@pytest.mark.slow
def test_a_page_keeps_the_studies_that_it_had_and_replaces_its_own(report, tmp_path):
    few = replace(report, figures=(REACH,))
    other = replace(few, study=made_up(report.study.task, REPLICATES, name="made.other", arms=ARMS))
    elsewhere = replace(few, study=made_up(task("mnist1d-mlp", "smoke"), REPLICATES, arms=ARMS))
    page.write([few], tmp_path)
    page.write([other], tmp_path)
    page.write([elsewhere], tmp_path)
    assert sections(tmp_path) == ["made.up", "made.other", "made.up--mnist1d-mlp"]
    again = replace(few, verdicts=few.verdicts[:1], provenance={"command": "tombola run again"})
    page.write([again], tmp_path)
    assert sections(tmp_path) == ["made.up", "made.other", "made.up--mnist1d-mlp"]
    html = (tmp_path / "index.html").read_text()
    assert html.count("tombola run again") == 1
    ledger = html[html.index('id="ledger"') : html.index("What each claim comes to")]
    assert re.findall(r"<tr><td>(X-C\d)</td>", ledger) == ["X-C1", "X-C1", "X-C2", "X-C3", "X-C1", "X-C2", "X-C3"]
    links = [attributes["href"] for tag, attributes in Elements(html).found if tag == "a" and not attributes["href"].startswith("#")]
    assert all((tmp_path / unquote(link)).is_file() for link in links)
    shutil.rmtree(tmp_path / "made.other")
    page.write([few], tmp_path)
    assert sections(tmp_path) == ["made.up", "made.up--mnist1d-mlp"]


@pytest.mark.parametrize("damage", [lambda page: page.replace('"lines":', '"line":'), lambda page: page[: len(page) // 3], lambda page: ""])
def test_what_is_no_page_of_ours_is_replaced(damage, report, tmp_path):
    path = page.write([replace(report, figures=())], tmp_path)[0]
    path.write_text(damage(path.read_text()))
    assert page.sections_of(tmp_path) == []
    other = replace(report, study=made_up(report.study.task, REPLICATES, name="made.other", arms=ARMS), figures=())
    page.write([other], tmp_path)
    assert sections(tmp_path) == ["made.other"]


def test_what_is_not_complete_is_marked_and_a_page_loads_itself_again_only_while_it_is_watched(report, tmp_path):
    part = replace(report, figures=(), so_far="12 of 54 runs")
    html = page.write([part], tmp_path)[0].read_text()
    assert "Not complete: 12 of 54 runs so far." in html
    assert "refresh" not in html
    assert (tmp_path / "made.up" / "study.toml").read_text().startswith("# Not complete: 12 of 54 runs\n")
    assert page.sections_of(tmp_path)[0].lines[0].reason == "only 12 of 54 runs so far"
    assert 'http-equiv="refresh" content="20"' in page.write([part], tmp_path, every=20)[0].read_text()
    assert "Not complete" not in page.write([replace(report, figures=())], tmp_path)[0].read_text()


# -- for papers ------------------------------------------------------------------------------------------------------------


def inches(path):
    return float(re.search(r'width="([\d.]+)pt"', path.read_text()).group(1)) / 72


@pytest.mark.slow
def test_figures_fit_the_columns_of_a_paper_and_are_drawn_again_in_another_style(report, tmp_path):
    few = replace(report, figures=(SPEED, REACH))
    own = tmp_path / "made.up"
    widths = {}
    for name, style in (("page", style_of()), ("paper", style_of("paper")), ("mine", style_of("paper", 5.5, 10.0))):
        page.write([few], tmp_path, style=style)
        widths[name] = [inches(own / f"{stem}.svg") for stem in ("speed", "reach")]
    assert widths["page"] == pytest.approx([6.4, 3.9])
    assert widths["paper"] == pytest.approx([6.75, 3.25])
    assert widths["mine"] == pytest.approx([4.4, 4.4])  # shown 1.25 times as large
    assert (own / "figures.tex").read_text().count(shown_at("5.50", "")) == 2
    page.write([few], tmp_path, style=style_of("paper"))
    included = (own / "figures.tex").read_text()
    assert f"\\begin{{figure*}}\n\\centering\n{shown_at('6.75', 'speed.pdf}')}" in included
    assert f"\\begin{{figure}}\n\\centering\n{shown_at('3.25', 'reach.pdf}')}" in included


def shown_at(inches, file):
    return f"\\includegraphics[width=\\ifdim{inches}in>\\linewidth\\linewidth\\else{inches}in\\fi]{{{file}"


@pytest.mark.parametrize("given", [("paper", 1.0, None), ("page", None, 80.0), ("page", 3.0, 20.0), ("talk", float("nan"), None)])
def test_widths_and_sizes_that_nobody_can_read_are_one_line(given):
    with pytest.raises(TombolaError, match="give at least"):
        style_of(*given)


def test_tables_for_papers_have_the_pages_numbers(report):
    tables = papers.tables_of(report, *numbers_of(report))
    assert [len(one.rows) for one in tables] == [LEVELS, LEVELS, LEVELS, 4]
    md, tex = papers.markdown(tables), papers.latex(tables)
    shown = text.cells(summarise(report.table, ["acc_es"]), SPEED.panels[1])["random", 3]
    assert shown in md
    assert shown.replace("\N{PLUS-MINUS SIGN}", "$\\pm$") in tex
    assert "same mask, fresh <init>" in md
    assert r"same mask, fresh \textless{}init\textgreater{}" in tex
    assert tex.count(r"\toprule") == 4
    for line in md.splitlines():
        assert line.count(" | ") in (0, 3, 5)
    assert papers.escaped(r"a\b_c W_0 & 5 %") == r"a\textbackslash{}b\_c $W_{0}$ \& 5 \%"
    assert (
        papers.escaped("[a] \N{GREEK SMALL LETTER LAMDA}\N{SUBSCRIPT TWO} \N{LESS-THAN OR EQUAL TO} e\u0301")
        == "{[}a{]} $\\lambda$2 $\\leq$ é"
    )
    own = papers.latex([papers.Table("\N{BALLOT BOX}", ["arm"], [["5 %"]])]).splitlines()
    assert own[:2] == [r"% \usepackage{booktabs,graphicx}", "% XeLaTeX or LuaLaTeX, and a font that has: \N{BALLOT BOX}"]


def test_captions_say_how_a_study_prunes_where_that_is_its_own(report):
    def said(**pruning):
        study = resolve("frankle2019.sparsity", scale="smoke", task="digits-mlp", settings=list(pruning.items()))
        return caption(SPEED, replace(report, study=study))

    assert "Pruning" not in said()
    assert "<Made up>. Pruning: criterion movement, rewind 10it. Lines" in said(criterion="movement", rewind="10it")
    assert "Pruning: densities 0.5 and 0.1." in said(densities=[0.5, 0.1])
    assert named("mine@0123456789abcdef, levels") == "mine, levels"


def test_references_are_of_the_papers_that_are_judged_and_of_tombola():
    entries = bibtex(studies["frankle2019.sparsity"], studies["frankle2019.rates"], studies["zhou2019.mask1"])
    assert re.findall(r"@\w+\{(\w+),", entries) == ["frankle2019lottery", "zhou2019deconstructing", "tombola"]
    assert entries.count("{") == entries.count("}")


def test_every_column_of_every_table_is_explained(report, written):
    table = read(written[0] / "made.up" / "columns.csv")
    by_file = {file: {row["column"] for row in table if row["file"] == file} for file in ("table.csv", "curves.csv")}
    assert by_file == {"table.csv": set(report.table.columns), "curves.csv": set(report.curves.columns)}
    known = {(row["file"], row["column"]): (row["unit"], row["meaning"]) for row in table}
    assert known["table.csv", "acc_es"] == ("share, of 1", "test accuracy at early stop")
    assert set(COLUMNS) <= set(MEANINGS)
    assert known["table.csv", "iters"] == ("", "iterations to 1.5x")  # of the axis
    assert known["table.csv", "missing"] == ("", "of this study's own making")
    assert known["curves.csv", "test_acc"] == ("share, of 1", "accuracy on the test set; nan where it was not tested")


@pytest.mark.parametrize(
    ("effect", "words"),
    [
        ((1.0, -0.5, 2.5, 6, 0.2), r"its interval reaches over 0; .* 11 replicates in all would decide it"),
        ((0.001, -0.999, 1.001, 6, 0.9), r"not even 1,000 replicates"),
        ((1.0, 0.5, 1.5, 6, 0.0625), r"lies above 0, but p = 0.062 is above 0.05"),
        ((-1.0, -1.5, -0.5, 6, 0.04), r"lies below 0, but with as many tests"),
    ],
)
def test_what_is_undecided_says_why(effect, words):
    mean, low, high, n, p = effect
    one = Effect("a", "pp", mean, low, high, n, p)
    verdict = Verdict(
        "X", "A.", "S", (one,) if p != 0.04 else (one, replace(one, name="b"), replace(one, name="c", mean=0, low=-1, high=1))
    )
    assert verdict.verdict == "undecided"
    assert re.search(words, text.why_undecided(one))
    if len(verdict.effects) == 1:
        assert text.said(verdict) == f"undecided: {text.why_undecided(one)}"
        assert text.state_of("undecided", verdict, one) == "undecided"  # the verdict has said it
    else:
        assert re.search(words, text.state_of("undecided", verdict, one))


def test_the_replicates_that_decide_are_the_fewest_that_do():
    stats = pytest.importorskip("scipy.stats")
    values = np.array([0.3, -0.4, 1.1, 0.2, 0.9, -0.2])
    needed = replicates_to_decide(interval(values), 0.0)
    for n, decided in ((needed - 1, False), (needed, True)):
        low, _ = stats.t.interval(0.95, n - 1, values.mean(), values.std(ddof=1) / np.sqrt(n))
        assert (low > 0) == decided


# -- names from users -----------------------------------------------------------------------------------------------

WICKED = "=HYPERLINK(1)</script><b>\x1b[31m$x^$ & _\u00e9"


def wicked():
    report = made_report()
    arms = {"ticket": WICKED, "_hidden": "_hidden", "random": "random mask"}
    table = report.table.assign(arm=report.table.arm.replace("reinit", "_hidden"))
    study, shown = made_up(report.study.task, REPLICATES, name="../../up", arms=arms), (replace(SPEED, name="../../fig", title=WICKED),)
    return replace(report, study=study, figures=shown, table=table, details={"../x": table[["arm", "level"]].assign(arm="@SUM(A1)")})


@pytest.mark.slow
def test_names_cannot_leave_the_folder_nor_become_markup_or_formulas(tmp_path):
    from xml.etree import ElementTree

    folder = tmp_path / "a" / "b" / "c"
    paths = page.write([wicked()], folder)
    assert all(path.resolve().is_relative_to(folder.resolve()) for path in paths)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    html = (folder / "index.html").read_text()
    assert "</script><b>" not in html
    assert "\x1b" not in html
    Elements(html)
    svg = ElementTree.fromstring((folder / "up" / "fig.svg").read_bytes())
    texts = ["".join(one.itertext()) for one in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert any("</script><b>?[31m$x^$ & _" in one for one in texts)
    assert any("_hidden" in one for one in texts)
    assert {row["arm"] for row in read(folder / "up" / "x.csv")} == {"'@SUM(A1)"}


@pytest.mark.parametrize(
    ("name", "written"),
    [("=1+1", "'=1+1"), ("+x", "'+x"), ("-x", "'-x"), ("@x", "'@x"), ("\tx", "'\tx"), ("-0.5", "-0.5"), ("0.1", "0.1"), ("a=b", "a=b")],
)
def test_names_are_no_formulas_in_a_spreadsheet(name, written, tmp_path):
    path = write_file(tmp_path / "table.csv", as_csv(pd.DataFrame({"arm": [name], "value": [-1.5]})))
    assert read(path) == [{"arm": written, "value": "-1.5"}]


def test_a_terminal_gets_no_control_characters():
    assert "\x1b" not in terminal(wicked(), 200, False)


def test_files_have_names_of_their_own():
    assert safe_names(["a", "A", "a", "", "..", "a/b", "a b"]) == ["a", "A--2", "a--3", "unnamed", "unnamed--2", "a-b", "a-b--2"]


# -- in a browser ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_the_page_answers_to_a_reader(report, tmp_path):
    page.write([report], tmp_path)
    path = tmp_path / "index.html"
    drive = """
    const plot = document.querySelector(".plot"), svg = plot.shadowRoot.querySelector("svg"), frame = svg.getBoundingClientRect();
    const point = JSON.parse(plot.querySelector(".numbers").textContent)[0], scale = frame.width / svg.viewBox.baseVal.width;
    const at = { clientX: frame.left + scale * point.place[0], clientY: frame.top + scale * point.place[1] };
    svg.dispatchEvent(new PointerEvent("pointermove", at));
    const said = tip.textContent;
    svg.querySelector("#legend0").dispatchEvent(new MouseEvent("click", { bubbles: true }));
    const hidden = svg.querySelectorAll("[id^=series0-].hidden").length, others = svg.querySelectorAll(".hidden").length - hidden;
    const table = [...document.querySelectorAll("table.sortable")].at(-1), head = [...table.tHead.rows].at(-1).cells[1];
    head.click(); head.click();
    const column = [...table.tBodies[0].rows].map((row) => parseFloat(row.cells[1].textContent.replace(",", "")));
    document.title = JSON.stringify({ said, hidden, others, column });
    """
    path.write_text(path.read_text().replace("</body>", f"<script>{{{drive}}}</script></body>"))
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    dom = subprocess.run([*command, path.as_uri()], capture_output=True, text=True, timeout=60).stdout
    found = json.loads(unescape(re.search("<title>(.*?)</title>", dom, re.DOTALL).group(1)))
    assert found["said"].startswith("winning ticket\n100.0 %\n1,0")
    assert re.search(r" \[[\d.,]+, [\d.,]+\], n = 3$", found["said"])
    assert found["hidden"] > 3
    assert found["others"] == 0
    assert found["column"] == sorted(found["column"], reverse=True)


@pytest.mark.parametrize(
    ("label", "shown"), [("W_0 / sqrt(size)", "$W_{0}$ / √size"), ("a$x^$ W_0", "a$x^$ W_0"), ("error (%)", "error (%)")]
)
def test_symbols_are_typeset_but_a_users_dollars_are_none(label, shown):
    from matplotlib.figure import Figure as Canvas

    from tombola.report.style import styled, typeset

    with styled():
        text = Canvas().text(0, 0, label)
        typeset(text)
        text.get_figure().draw_without_rendering()
    assert text.get_text() == shown
