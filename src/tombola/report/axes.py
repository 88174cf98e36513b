"""Axes with ticks that say what was run."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_INCHES_A_CHARACTER = 0.072
"""Upper bound of a digit's width at the tick labels' size, with a little air."""


def falling_axis(ax: "Axes", ticks: Sequence[float], ends: tuple[float, float], label: Callable[[float], str], inches: float) -> None:
    """Log x axis from dense on the left to sparse on the right: all ticks, and labels at those that have room.

    Args:
        ax: the panel.
        ticks: densities in (0, 1], or numbers of weights.
        ends: the largest and the smallest value that is shown.
        label: what is written at a tick.
        inches: length of the axis, which decides how many labels fit.
    """
    ax.set_xscale("log")
    ax.set_xlim(ends[0] * 1.12, ends[1] / 1.12)
    x_ticks(ax, sorted(set(ticks), reverse=True), label, inches)


def growing_axis(ax: "Axes", ends: tuple[float, float], label: Callable[[float], str], inches: float) -> None:
    """Log x axis from the smallest to the largest of some positive numbers: round ticks, and labels at those that have room."""
    left, right = ends[0] / 1.12, ends[1] * 1.12
    ax.set_xscale("log")
    ax.set_xlim(left, right)
    x_ticks(ax, round_numbers(left, right), label, inches)


def rising_axis(ax: "Axes", ticks: Sequence[float], steps: Sequence[float], inches: float) -> None:
    """Log x axis of steps k, or of widths, from left to right, linear below the smallest positive one, so that 0 has a place on it.

    Args:
        ax: the panel.
        ticks: its own steps.
        steps: those of all panels, which are to have the same axis.
        inches: length of the axis, which decides how many labels fit.
    """
    first, last = min(steps), max(steps)
    if last > 0:
        least = min(step for step in steps if step > 0)
        ax.set_xscale("symlog", linthresh=least, linscale=linear_part(last / least))
    scale = ax.xaxis.get_transform()
    left, right = (float(end) for end in scale.transform([first, last]))
    air = 0.04 * (right - left) or 0.5
    ax.set_xlim(*scale.inverted().transform([left - air, right + air]))
    x_ticks(ax, sorted(set(ticks)), lambda step: f"{step:,.0f}", inches)


def linear_part(ratio: float) -> float:
    """Decades that the part from 0 to the smallest positive value takes of a log axis over so many times that value."""
    return max(0.05, 0.25 * math.log10(ratio))


def x_ticks(ax: "Axes", ticks: Sequence[float], label: Callable[[float], str], inches: float) -> None:
    """Ticks in the order from left to right, with labels at those that have room on an axis of so many inches."""
    places = ax.xaxis.get_transform().transform([*ax.get_xlim(), *ticks])
    places = inches * (places - places[0]) / (places[1] - places[0])
    labels = [label(tick) for tick in ticks]
    shown = thinned(places[2:], [_INCHES_A_CHARACTER * len(label) for label in labels])
    ax.set_xticks([ticks[index] for index in shown], [labels[index] for index in shown])
    ax.set_xticks([tick for index, tick in enumerate(ticks) if index not in shown], labels=[], minor=True)


def round_axis(ax: "Axes", ends: tuple[float, float]) -> None:
    """Linear x axis of whole numbers, such as rounds of pruning, from the first to the last: whole ticks."""
    from matplotlib.ticker import MaxNLocator

    first, last = ends
    air = 0.04 * (last - first) or 0.5
    ax.set_xlim(first - air, last + air)
    ax.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))


def percent_label(density: float) -> str:
    """100, 80, 51.2, 21, 3.6, 0.43.

    >>> [percent_label(density) for density in (1.0, 0.512, 0.0107, 0.0043)]
    ['100', '51.2', '1.1', '0.43']
    """
    return f"{100 * density:.1f}".removesuffix(".0") if density >= 0.01 else f"{100 * density:.2g}"


def count_label(count: float) -> str:
    """A number of weights with two or three digits.

    >>> [count_label(count) for count in (950, 1000, 1500, 266200, 4300992)]
    ['950', '1k', '1.5k', '266k', '4.3M']
    """
    unit, letter = next((unit, letter) for unit, letter in ((1e6, "M"), (1e3, "k"), (1, "")) if count >= 0.9995 * unit or unit == 1)
    return f"{count / unit:.0f}{letter}" if count >= 99.5 * unit else f"{count / unit:.2g}{letter}"


def thinned(places: Sequence[float], widths: Sequence[float], gap: float = 0.05) -> list[int]:
    """Indices of labels that stand clear of each other: every k-th from the first on, k as small as it can be, and
    the last if it has room.

    >>> thinned([0.0, 1.0, 2.0, 3.0], [1.2, 1.2, 1.2, 1.2])
    [0, 2]
    """

    def clear(a: int, b: int) -> bool:
        return abs(places[a] - places[b]) >= (widths[a] + widths[b]) / 2 + gap

    count = len(places)
    for stride in range(1, count + 1):
        shown = list(range(0, count, stride))
        if all(clear(a, b) for a, b in pairwise(shown)):
            break
    return [*shown, count - 1] if clear(shown[-1], count - 1) else shown


def round_numbers(low: float, high: float) -> list[float]:
    """Three to eight ticks of a log axis: powers of ten, 1-2-5 steps or finer ones; over a short way equally spaced.

    >>> round_numbers(900, 120_000), round_numbers(1.9, 21), round_numbers(0.064, 0.078)
    ([1000.0, 10000.0, 100000.0], [2.0, 5.0, 10.0, 20.0], [0.065, 0.07, 0.075])
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [digit * 10.0**decade for decade in decades for digit in digits if low <= digit * 10.0**decade <= high]
        if len(ticks) >= 3:
            return ticks[:: max(1, math.ceil(len(ticks) / 8))]
    step = next(
        digit * 10.0**decade
        for decade in reversed(range(decades[0] - 12, decades[-1] + 1))
        for digit in (5, 2, 1)
        if math.floor(high / (digit * 10.0**decade)) - math.ceil(low / (digit * 10.0**decade)) >= 2
    )
    return [round(index * step, 15) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def log_ticks(axis: "Axis", least: float = 0.0) -> None:
    """Round numbers on a log axis, written out. On one that is linear below `least` they begin there, and 0 is one."""
    low, high = sorted(axis.get_view_interval())
    ticks = [0.0] * bool(least) + round_numbers(max(low, least), high)
    axis.set_ticks(ticks, [f"{tick:,.6g}" for tick in ticks])
    axis.set_ticks([], minor=True)
