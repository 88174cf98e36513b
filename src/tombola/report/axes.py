"""Log axes with ticks that say what was run."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES_A_CHARACTER = 0.072
"""Upper bound of a digit's width at the tick labels' size, with a little air."""


def density_axis(ax: "Axes", densities: Sequence[float], inches: float) -> None:
    """Log axis from dense on the left to sparse on the right: a tick at every density, labels in per cent.

    Args:
        ax: the panel.
        densities: those that were run, in (0, 1].
        inches: length of the axis, which decides how many labels fit.
    """
    present = sorted(set(densities), reverse=True)
    left, right = max(present) * 1.12, min(present) / 1.12
    ax.set_xscale("log")
    ax.set_xlim(left, right)
    places = [inches * math.log(left / density) / math.log(left / right) for density in present]
    labels = [percent_label(density) for density in present]
    shown = thinned(places, [_INCHES_A_CHARACTER * len(label) for label in labels])
    ax.set_xticks([present[index] for index in shown], [labels[index] for index in shown])
    ax.set_xticks([density for index, density in enumerate(present) if index not in shown], labels=[], minor=True)
    ax.set_xlabel("density (% of weights remaining)")


def percent_label(density: float) -> str:
    """100, 80, 51.2, 21, 3.6, 0.43.

    >>> [percent_label(density) for density in (1.0, 0.512, 0.0107, 0.0043)]
    ['100', '51.2', '1.1', '0.43']
    """
    return f"{100 * density:.1f}".removesuffix(".0") if density >= 0.01 else f"{100 * density:.2g}"


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


def log_ticks(ax: "Axes") -> None:
    """Ticks at 1, 2, 5 x 10^k on a log y axis, written out; more of them where fewer than three fall in view."""
    low, high = sorted(ax.get_ylim())
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8), tuple(digit / 10 for digit in range(10, 100, 2))):
        ticks = [digit * 10.0**decade for decade in decades for digit in digits if low <= digit * 10.0**decade <= high]
        if len(ticks) >= 3:
            break
    ticks = ticks[:: max(1, math.ceil(len(ticks) / 8))]
    ax.set_yticks(ticks, [f"{tick:,.6g}" for tick in ticks])
    ax.set_yticks([], minor=True)
