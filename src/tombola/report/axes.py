"""Axes: their limits, their ticks, where pairs of them stand, and one legend below them."""

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import TYPE_CHECKING

from tombola.report.style import PALE, now, typeset
from tombola.report.ticks import apart, round_numbers, short
from tombola.studies.figure import Panel

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure as Canvas

_FLAT, _FLATTEST = 2.0, 5.0
"""Limits are shared by the variants of a metric unless they are so many times as long as those of the typical variant, or of any."""
_OUTLYING = 2.5
"""A series of `_LONG` values or more that makes an axis so many times as long as all others do reaches beyond it."""
_LONG = 8
_BELOW = 5
"""Lines of a legend below the panels, at most; a longer one stands beside them where it has room."""
_LETTER = 0.06
"""Inches of a letter of a legend."""


@dataclass(frozen=True)
class Facet:
    """A pair of axes: what a panel shows of a variant."""

    ax: "Axes"
    variant: str
    panel: Panel
    leftmost: bool
    """Whether it is the leftmost, or shows another metric than the axes to its left."""
    lowest: bool


def facets(panels: Sequence[Panel], titles: Mapping[str, str], height: float = 2.2) -> tuple["Canvas", list[Facet]]:
    """An empty figure and its axes. One panel: the variants side by side, in rows that leave few places empty. Several: rows of
    panels for each variant.

    Args:
        panels: of the figure.
        titles: variant to title; "" for none.
        height: of the axes, in inches.
    """
    many = len(panels) > 1
    count = len(panels) if many else len(titles)
    widths = now().widths
    across = min(range(1, min(len(widths), count) + 1), key=lambda across: _unfit(count, across))
    deep = math.ceil(count / across)
    rows = deep * (len(titles) if many else 1)
    canvas = empty((widths[across - 1], (height + 0.25 + 0.17 * any(titles.values())) * rows))
    axes = canvas.subplots(rows, across, squeeze=False)
    found = []
    for place, variant in enumerate(titles):
        for index, panel in enumerate(panels):
            at = index if many else place
            row, column = deep * place * many + at // across, at % across
            if titles[variant] and index == 0:
                title(axes[row, column], titles[variant], widths[across - 1] / (1 if many else across) - 0.2)
            last = place == len(titles) - 1 and at + across >= count if many else at + across >= count
            found.append(Facet(axes[row, column], variant, panel, many or column == 0, last))
    for ax in set(axes.flat) - {facet.ax for facet in found}:
        ax.remove()
    return canvas, found


def _unfit(count: int, across: int) -> float:
    """How badly so many panels fit into rows of `across`: empty places, and rows that are no half longer than columns."""
    deep = math.ceil(count / across)
    return 0.4 * (across * deep - count) + abs(math.log(across / deep / 1.5))


def empty(size: tuple[float, float]) -> "Canvas":
    """A figure whose layout matplotlib solves."""
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Canvas(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.04))


def nothing(why: str) -> "Canvas":
    """A figure in the place of one that has nothing to show (levels beyond those that a small scale runs)."""
    canvas = empty((now().widths[0], 0.6))
    canvas.text(0.5, 0.5, why, ha="center", va="center")
    return canvas


def title(ax: "Axes", text: str, inches: float) -> None:
    """A title in bold on the left, broken to fit a width."""
    shown = textwrap.fill(text, max(12, int(inches / 0.075)), break_on_hyphens=False)
    typeset(ax.set_title(shown, loc="left", fontsize=8, fontweight="bold"))


def legend(canvas: "Canvas", handles: "Mapping[str, Artist]", title: str | None = None) -> None:
    """One legend under all panels, in as many columns as there is room for, or beside them, in one; its entries have ids, "legend0" and
    so on.
    """
    if not handles:
        return
    width, height = canvas.get_size_inches()
    each = _LETTER * max(map(len, handles)) + 0.58
    lines = math.ceil(len(handles) / max(1, min(len(handles), int(width / each))))
    beside = lines > _BELOW and width + each <= max(now().widths)
    if beside:
        canvas.set_size_inches(now().fit(width + each), max(height, 0.17 * (len(handles) + (title is not None)) + 0.1))
    else:
        canvas.set_size_inches(width, height + 0.17 * (lines + (title is not None)))
    labels = [f"\N{ZERO WIDTH SPACE}{label}" if label.startswith("_") else label for label in handles]  # else left out
    shown = canvas.legend(
        [*handles.values()], labels, loc="outside right upper" if beside else "outside lower center",
        ncols=1 if beside else math.ceil(len(handles) / lines), title=title, title_fontsize=8,
    )  # fmt: skip
    for index, (text, handle) in enumerate(zip(shown.get_texts(), shown.legend_handles, strict=True)):
        typeset(text)
        text.set_gid(f"legend{index}")
        if handle is not None:
            handle.set_gid(f"legend{index}-mark")


def y_axes(drawn: Sequence[Facet], values: Sequence[Sequence[Iterable[float]]], zero: bool = False) -> list[str]:
    """The y axes of one metric's facets, the same for all variants unless that flattens one: around the values of all series but
    one that lies far from the others. Returns sentences for the caption.
    """
    log = drawn[0].panel.log
    every = [[_shown(series, log=False) for series in of_facet] for of_facet in values]
    each = [_together(of_facet, log) for of_facet in every]
    union = _together([[*chain(*of_series)] for of_series in zip(*every, strict=True)], log)
    spans = [span for span in (_span(own, log) for own in each) if span]
    shared = bool(spans) and _span(union, log) <= min(_FLAT * median(spans), _FLATTEST * min(spans))
    notes = []
    for facet, own in zip(drawn, each, strict=True):
        notes.append(panel_axis(facet.ax.yaxis, facet.panel, union if shared and own else own, log, zero))
        if shared and not facet.leftmost:
            facet.ax.set_ylabel("")
    return notes


def _together(series: Sequence[Sequence[float]], log: bool) -> list[float]:
    """The values of all series, without those of one that makes their range much longer."""
    every = [value for one in series for value in one]
    for index, one in enumerate(series):
        others = [value for place, other in enumerate(series) for value in other if place != index]
        if sum(map(bool, series)) > 2 and len(one) >= _LONG and 0 < _OUTLYING * _span(others, log) < _span(every, log):
            return others
    return every


def _shown(values: Iterable[float], log: bool) -> list[float]:
    """The finite values; on a log axis the positive ones."""
    return [float(value) for value in values if math.isfinite(value) and (value > 0 or not log)]


def _span(values: Iterable[float], log: bool) -> float:
    shown = _shown(values, log)
    if not shown:
        return 0.0
    return math.log(max(shown) / min(shown)) if log else max(shown) - min(shown)


def set_label(axis: "XAxis | YAxis", label: str, letters: int = 32) -> None:
    """A label, broken where it is longer than the axis: a y axis has room for so many letters."""
    place, canvas = axis.axes.get_subplotspec(), axis.axes.get_figure(root=True)
    if axis.axis_name == "x" and place is not None and canvas is not None:
        letters = int(11.5 * canvas.get_size_inches()[0] / place.get_gridspec().ncols)
    axis.set_label_text(broken(label, letters))
    typeset(axis.label)


def broken(label: str, letters: int) -> str:
    r"""A label in as few lines of so many letters as it needs, each about as long as the others.

    >>> broken("test accuracy, pruned at once (%)", 32)
    'test accuracy,\npruned at once (%)'
    """
    count = len(textwrap.wrap(label, letters)) or 1
    widths = range(math.ceil(len(label) / count) or 1, letters)
    return textwrap.fill(label, next((width for width in widths if len(textwrap.wrap(label, width)) <= count), letters))


def needs_log(values: Iterable[float]) -> bool:
    """Whether most of some values would lie on each other at the low end of a linear axis.

    >>> needs_log([0, 1, 4, 16, 64, 256, 1024]), needs_log([0, 10, 20, 30]), needs_log([0.014, 0.015, 0.016, 0.07])
    (True, False, True)
    """
    found = sorted(set(_shown(values, log=False)))
    return len(found) > 3 and found[0] >= 0 and median(found) < (0.25 if found[0] else 0.15) * found[-1]


def scale_axis(
    axis: "XAxis | YAxis",
    values: Sequence[float],
    log: bool = False,
    falling: bool = False,
    form: "Callable[[float], str] | None" = None,
    zero: bool = False,
    whole: bool = False,
    at: Iterable[float] = (),
) -> str:
    """Limits around the finite values, with a little air, and ticks at round numbers; without values the panel says so. Returns a
    sentence for the caption, or "".

    Args:
        axis: of which the scale is set.
        values: to be shown.
        log: logarithmic; linear below the smallest positive value if there are values of 0, so that they have a place.
        falling: the largest value first.
        form: writes a tick's number.
        zero: the axis begins at 0.
        whole: ticks are whole numbers.
        at: places of the ticks of a log axis, if they are at most six.
    """
    from matplotlib.ticker import MaxNLocator

    shown, positive = _shown(values, log=False), _shown(values, log=True)
    if not shown:
        axis.set_ticks([])
        axis.set_ticks([], minor=True)
        if not axis.axes.texts:
            axis.axes.text(0.5, 0.5, "no finite values", transform=axis.axes.transAxes, ha="center", va="center")
        return ""
    low, high = min(shown), max(shown)
    least = min(positive) if log and positive and low <= 0 else 0.0
    set_scale = getattr(axis.axes, f"set_{axis.axis_name}scale")
    if least:
        set_scale("symlog", linthresh=least, linscale=max(0.05, 0.25 * math.log10(high / least)))
    elif log and positive:
        set_scale("log", nonpositive="clip")
    scale = axis.get_transform()
    start, end = (float(value) for value in scale.transform([low, high]))
    if low == high == 0:
        end = 1.0  # nothing but 0: at the foot of an axis, not in the middle of hundredths
    air = end - start if end - start > 1e-9 * abs(end) else 0.1 * abs(end) or 1.0
    limits = scale.inverted().transform([0.0 if zero else start - 0.06 * air, end + 0.06 * air])
    getattr(axis.axes, f"set_{axis.axis_name}lim")(*(limits[::-1] if falling else limits))
    if log and positive:
        own = sorted(set(at)) or [0.0, least] * (least == high)
        ticks = own if 0 < len(own) <= 6 else [0.0] * bool(least) + round_numbers(max(least, limits[0]), high if falling else limits[1])
        named = apart(axis, {tick: (form or short)(tick) for tick in ticks})
        axis.set_ticks([*named][:: -1 if falling else 1], [*named.values()][:: -1 if falling else 1])
        axis.set_ticks([], minor=True)
    elif log:
        axis.set_ticks([low])
    else:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole))
        if axis.axis_name == "x":
            axis.set_major_formatter(lambda tick, _: (form or short)(round(tick, 12)))
    return "A log axis with a 0 is linear below the smallest value above it." if least else ""


def panel_axis(axis: "XAxis | YAxis", panel: Panel, values: Sequence[float], log: bool, zero: bool = False) -> str:
    """The axis of a panel around some values on its scale, with a thin line at its threshold: what counts as stable, or as equal.
    Returns a sentence for the caption, or "".
    """
    set_label(axis, panel.label)
    if panel.ticks:
        getattr(axis.axes, f"set_{axis.axis_name}lim")(-0.5, len(panel.ticks) - 0.5)
        axis.set_ticks(range(len(panel.ticks)), panel.ticks)
        return ""
    if panel.threshold is None or not _shown(values, log=False):
        return scale_axis(axis, values, log, zero=zero)
    marked = panel.scale * panel.threshold
    (axis.axes.axhline if axis.axis_name == "y" else axis.axes.axvline)(marked, color=PALE, linewidth=0.8, zorder=1.4)
    return scale_axis(axis, [*values, marked], log, zero=zero)


def threshold_marks(panels: Sequence[Panel], direction: str, where: str = "") -> str:
    """A sentence for the caption; "" where there is no threshold. `where`: if not across a panel.

    >>> threshold_marks([Panel("gap", "gap (pp)", scale=100, threshold=0.02)], "horizontal")
    'The thin horizontal line is the threshold, 2.'
    """
    values = list(dict.fromkeys(f"{panel.scale * panel.threshold:,.6g}" for panel in panels if panel.threshold is not None))
    s, be = ("s", "are") if len(values) > 1 else ("", "is")
    return f"The thin {direction} line{s}{where} {be} the threshold{s}, {' and '.join(values)}." if values else ""
