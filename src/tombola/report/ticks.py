"""Ticks of axes: round numbers, as few digits as they need, none in the way of another."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axis import XAxis, YAxis

_LETTER, _MARGIN = 0.075, 0.6
"""Inches of a letter of a label, the space beside it counted in; and of what lies beside a pair of axes."""


def apart(axis: "XAxis | YAxis", ticks: Mapping[float, str]) -> dict[float, str]:
    """The ticks of an axis whose labels do not run into each other: 0, then powers of ten, then the others that still have room."""
    place, canvas = axis.axes.get_subplotspec(), axis.axes.get_figure(root=True)
    if axis.axis_name == "y" or place is None or canvas is None:
        return {**ticks}
    inches = canvas.get_size_inches()[0] / place.get_gridspec().ncols - _MARGIN
    (low, high), scale = sorted(axis.get_view_interval()), axis.get_transform()
    ends = scale.transform([low, high])
    places = {tick: inches * float((scale.transform([tick])[0] - ends[0]) / (ends[1] - ends[0])) for tick in ticks}
    found: list[float] = []
    for tick in sorted(ticks, key=lambda tick: (tick != 0, tick <= 0 or math.log10(tick) % 1 > 1e-9)):
        if all(abs(places[tick] - places[other]) >= _LETTER / 2 * (len(ticks[tick]) + len(ticks[other])) for other in found):
            found.append(tick)
    return {tick: label for tick, label in ticks.items() if tick in found}


def short(value: float) -> str:
    """A number with at most four digits.

    >>> [short(value) for value in (0.05, 950, 1000, 4500, 266_200, 4_300_992)]
    ['0.05', '950', '1,000', '4,500', '266k', '4.3M']
    """
    from matplotlib.ticker import EngFormatter

    return f"{value:,.6g}" if abs(value) < 10_000 or not math.isfinite(value) else EngFormatter(sep="")(float(f"{value:.3g}"))


def round_numbers(low: float, high: float) -> list[float]:
    """Ticks of a log axis: powers of ten, 1-2-5 steps or finer ones; over a short way equally spaced.

    >>> round_numbers(900, 1_200_000), round_numbers(1.9, 21), round_numbers(0.064, 0.078)
    ([1000.0, 10000.0, 100000.0, 1000000.0], [2.0, 5.0, 10.0, 20.0], [0.065, 0.07, 0.075])
    """
    from matplotlib.ticker import LogLocator, MaxNLocator

    decades = math.log10(high / low)
    if decades < 0.5:
        ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
    else:
        subs = (1, 1.5, 2, 3, 5, 7) if decades < 1 else (1, 2, 5) if decades < 2.1 else (1,)
        ticks = LogLocator(subs=subs, numticks=12 if decades < 2.1 else 7).tick_values(low, high)
    return [round(float(tick), 15) for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
