"""Error barriers between networks: how far the error rises on the way from one to the other."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.objective import Objective

Form = Literal["maximum", "midpoint", "linear"]
FORMS: tuple[Form, ...] = get_args(Form)
STABLE = 0.02
"""Networks are stable to SGD noise if the barrier between them is less: 2 percentage points (Frankle et al. 2020, section 3)."""
LEARNT = 0.02
"""A network is at chance unless its headline is better than the best constant answer's by so much, counted as `STABLE` is."""


def places(points: int) -> np.ndarray:
    """The places at which a path is evaluated: `points` evenly spaced a from 0 to 1, and the middle.

    >>> places(4).round(2).tolist()
    [0.0, 0.33, 0.5, 0.67, 1.0]
    """
    if points < 2:
        raise TombolaError(f"points = {points}, but a path is evaluated at 2 points (its ends) or more")
    return np.union1d(np.linspace(0, 1, points), [0.5])


def barrier(error: np.ndarray, a: np.ndarray, form: Form = "maximum") -> np.ndarray:
    """Height of the barrier on paths whose errors E(a), a from 0 to 1, are `error` (..., P): (...), in the unit of the error.

    * ``maximum``: max over a of E(a), minus the mean of the ends (E(0) + E(1)) / 2 (Frankle et al. 2020, section 2).
    * ``midpoint``: E(1/2) minus the mean of the ends.
    * ``linear``: max over a of E(a) - (a E(1) + (1 - a) E(0)) (Entezari et al. 2022, definition 3.1).

    `maximum` is never less than half the difference of the ends, also on a path that only rises; `linear` is 0 there.
    """
    if form not in FORMS:
        raise unknown("form of barrier", form, FORMS)
    first, last = error[..., :1], error[..., -1:]
    if form == "linear":
        return (error - (a * last + (1 - a) * first)).max(-1)
    mean = (first + last)[..., 0] / 2
    if form == "maximum":
        return error.max(-1) - mean
    return error[..., int(np.flatnonzero(a == 0.5)[0])] - mean


def at_chance(own: Any, chance: Any, objective: Objective) -> Any:
    """Which networks, by their headlines (arrays of any shape, or numbers), are no better than the best constant answer: from there no
    error can rise.
    """
    return own >= chance - LEARNT * objective.counted_in(chance)


def check_ends(own: np.ndarray, recorded: Sequence[float], examples: int, objective: Objective) -> None:
    """Raise unless the headlines of a path's ends, with statistics of their own, are those that their training recorded.

    Two and a half examples may fall otherwise, or 0.1 %: batches of another size may round otherwise.
    """
    for found, expected in zip(own, recorded, strict=True):
        both_diverged = np.isnan(found) and np.isnan(expected)
        allowed = max(1e-3, 2.5 / examples) * objective.counted_in(abs(expected))
        if not (abs(found - expected) <= allowed or both_diverged):  # one that is NaN is another network too
            raise TombolaError(
                f"an end of a path has {objective.in_words(found)}, but its training recorded {objective.in_words(expected)}: "
                "weights or data have changed since; use another --store, or train anew"
            )
