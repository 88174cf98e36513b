"""Training time as a value."""

import math
import re
from numbers import Integral
from typing import Any, NamedTuple

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from tombola.core.errors import TombolaError, shown

_FORM = re.compile(r"(?:(?P<ep>\d+)ep)?(?:(?P<it>\d+)it)?", re.ASCII)
_DIGITS = 9
"""Iterations are counted in 32 bits."""


def _parts(value: Any) -> tuple[int, int]:
    """(epochs, iterations) of a step's text."""
    match = _FORM.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise TombolaError(f"step {shown(value)}: write iterations and epochs as '500it', '2ep', '1ep50it', or 'end'")
    counts = [count.lstrip("0") or "0" for count in (match["ep"] or "", match["it"] or "")]
    if max(map(len, counts)) > _DIGITS:
        raise TombolaError(f"step {shown(value)} is longer than any training: write numbers of at most {_DIGITS} digits")
    return int(counts[0]), int(counts[1])


class Step(str):
    """A moment of training: ``"500it"`` (iterations), ``"2ep"`` (epochs), ``"1ep50it"``, or ``"end"``.

    An epoch is `steps_per_epoch` iterations, which only the data and batch size know; so a step is kept as
    written, in its shortest form, and resolved with `iterations`.

    >>> Step("1ep50it").iterations(steps_per_epoch=19, end=1000)
    69
    >>> Step("007it"), Step(500)
    ('7it', '500it')
    """

    def __new__(cls, value: "str | int") -> "Step":
        if isinstance(value, cls):
            return value
        if isinstance(value, Integral) and not isinstance(value, bool) and 0 <= value < 10**_DIGITS:
            return super().__new__(cls, f"{value}it")
        if value == "end":
            return super().__new__(cls, "end")
        epochs, its = _parts(value)
        text = (f"{epochs}ep" if epochs else "") + (f"{its}it" if its else "")
        return super().__new__(cls, text or "0it")

    def iterations(self, steps_per_epoch: int, end: int | None = None) -> int:
        """Iterations since the start of training. Raises if the step lies after `end`, the last iteration, if that is known."""
        if self == "end":
            if end is None:
                raise TombolaError("step 'end' has no meaning here; write iterations or epochs, such as '500it' or '2ep'")
            return end
        epochs, its = _parts(self)
        its += epochs * steps_per_epoch
        if end is not None and its > end:
            raise TombolaError(f"step {str(self)!r} is iteration {its}, after the end of training at {end}; choose 0it to {end}it")
        return its

    @property
    def order(self) -> tuple[float, int]:
        """What steps are sorted by where no epoch's length is known: epochs, then iterations; `end` is the last."""
        return (math.inf, 0) if self == "end" else _parts(self)

    def times(self, factor: float) -> "Step":
        """This step scaled: iterations are rounded, and at least one unless it is 0; epochs must stay whole.

        >>> Step("3000it").times(0.1), Step("5ep").times(3), Step("4it").times(0.1)
        ('300it', '15ep', '1it')
        """
        if self == "end" or self == "0it":
            return self
        epochs, its = (factor * part for part in _parts(self))
        if abs(epochs - round(epochs)) > 1e-6:
            raise TombolaError(
                f"step {str(self)!r} times {factor:g} is no whole number of epochs; write it in iterations, such as '5000it'"
            )
        return Step(f"{round(epochs)}ep{round(its)}it" if round(epochs) or round(its) else "1it")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls, serialization=core_schema.to_string_ser_schema())


class Timeline(NamedTuple):
    """How long a training is: what a step needs to become an iteration."""

    total: int
    """T, its last iteration."""
    steps_per_epoch: int

    def iteration(self, step: "Step | str | int") -> int:
        """Iterations since the start of training. Raises if the step lies after the end."""
        return Step(step).iterations(self.steps_per_epoch, self.total)

    def every(self, step: "Step | str | int", begin: int = 0, end: int | None = None) -> frozenset[int]:
        """Iterations from `begin` on that lie so far apart, up to `end`, which is one of them; the default is the last iteration."""
        end, spacing = self.total if end is None else end, Step(step).iterations(self.steps_per_epoch)
        if spacing < 1:
            raise TombolaError(f"every {str(step)!r}: the spacing must be at least 1it")
        return frozenset({*range(begin, end, spacing), end})
