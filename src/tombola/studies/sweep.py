"""One study under several settings, side by side: a study itself."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from typing import Any, Self

from pydantic import model_validator

from tombola.core.errors import TombolaError
from tombola.evaluation.verdict import Verdict
from tombola.procedures.measurement import Measurement
from tombola.procedures.run import Run
from tombola.studies.base import Row, Study, Values
from tombola.studies.figure import Figure
from tombola.studies.results import Details, Frame, Results
from tombola.studies.shown import framed

_BETWEEN = " | "
"""What stands between a setting and the study's own variant, where it has some."""


def _of_first(name: str) -> Any:
    return property(lambda sweep: getattr(sweep.first, name))


class Sweep(Study):
    """Every setting is a variant of the table, or as many as the study has variants itself; what is trained for one is found by all.

    Each figure against what levels count is drawn once more with a line a setting and a panel an arm (`Figure.compared`).
    """

    settings: dict[str, Any]
    """What a setting is called -> the study under it."""
    swept: dict[str, Any]
    """Field -> values, of which the settings are the combinations."""

    name, answers, default_task, learns = map(_of_first, ("name", "answers", "default_task", "learns"))
    columns, meanings, counted, claims = map(_of_first, ("columns", "meanings", "counted", "claims"))

    @model_validator(mode="after")
    def _are_alike(self) -> Self:
        kinds = {(type(one), one.task.objective.name, one.columns, one.counted) for one in self.settings.values()}
        if len(kinds) > 1:
            raise TombolaError("the settings of a sweep learn different things, which no table holds together; run them one by one")
        return self

    @cached_property
    def first(self) -> Study:
        """The study under the first setting, which says what all have in common."""
        found: Study = next(iter(self.settings.values()))
        return found

    @property
    def arms(self) -> Mapping[str, str]:
        return {arm: label for one in self.settings.values() for arm, label in one.arms.items()}

    @property
    def variants(self) -> Mapping[str, str]:
        own = self.settings.items()
        return {
            _named(at, variant): ", ".join(filter(None, (at, label)))
            for at, one in own
            for variant, label in (one.variants or {"": ""}).items()
        }

    @cached_property
    def _own(self) -> dict[Row, tuple[str, Row]]:
        """Row of the sweep -> its setting, and the row as the study under it has it."""
        return {self._row(at, row): (at, row) for at, one in self.settings.items() for row in one.rows()}

    def _row(self, at: str, row: Row) -> Row:
        return replace(row, variant=_named(at, row.variant))

    def rows(self) -> Iterable[Row]:
        return self._own

    def more(self, rows: Sequence[Row], results: Results) -> Iterable[Row]:
        for at, one in self.settings.items():
            for row in one.more([self._own[here][1] for here in rows if self._own[here][0] == at], results):
                self._own.setdefault(self._row(at, row), (at, row))
                yield self._row(at, row)

    def foreseen(self, rows: Sequence[Row]) -> Iterable[Row]:
        for at, one in self.settings.items():
            own = [self._own[row][1] for row in rows if self._own[row][0] == at]
            yield from (self._row(at, row) for row in one.foreseen(own))

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        at, own = self._own[row]
        found = self.settings[at].measure(own, results)
        if isinstance(found, list):  # rows that may say their own variant
            return [{**values, "variant": _named(at, values.get("variant", own.variant))} for values in found]
        return found

    def varied(self, row: Row) -> Values:
        return self._values[self._own[row][0]]

    @cached_property
    def _values(self) -> dict[str, Values]:
        """Setting -> the values of its swept fields, each by the last part of its name where no other has the same."""
        last = [key.rpartition(".")[2] for key in self.swept]
        names = [one if last.count(one) == 1 else key for one, key in zip(last, self.swept, strict=True)]
        told = [[one if isinstance(one, str | int | float) else json.dumps(one) for one in values] for values in self.swept.values()]
        found = {at: dict(zip(names, values, strict=True)) for at, values in zip(self.settings, product(*told), strict=True)}
        return {at: {name: value for name, value in values.items() if name != "task"} for at, values in found.items()}

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[str, ...]]:
        kept: dict[Run, tuple[str, ...]] = {}
        for at, one in self.settings.items():
            for run, steps in one.keep([self._own[row][1] for row in rows if self._own[row][0] == at]).items():
                kept[run] = tuple(dict.fromkeys([*kept.get(run, ()), *steps]))
        return kept

    def measurements(self) -> Sequence[Measurement]:
        return [measurement for one in self.settings.values() for measurement in one.measurements()]

    def details(self, results: Results) -> Details:
        found: dict[str, list[Frame]] = {}
        for at, one in self.settings.items():
            for name, frame in framed(one.details(results)).items():
                own = frame.get("variant", [""] * len(frame))
                found.setdefault(name, []).append(frame.assign(variant=[_named(at, variant) for variant in own]))
        return found

    def figures(self) -> Sequence[Figure]:
        own, at = self.first.figures(), list(self.settings)
        shown = [replace(one, variants=tuple(_named(name, variant) for name in at for variant in one.variants)) for one in own]
        return [*(replace(one, name=f"{one.name}-compared", compared=True) for one in shown if one.kind == "density"), *shown]

    def judge(self, table: Frame) -> list[Verdict]:
        found = []
        for at, one in self.settings.items():
            mine = [variant for variant in table.variant.unique() if variant == at or variant.startswith(f"{at}{_BETWEEN}")]
            rows = table[table.variant.isin(mine)]
            found += one.judge(rows.assign(variant=rows.variant.str.removeprefix(at).str.removeprefix(_BETWEEN)))
        return [replace(verdict, id=f"{verdict.id} ({at})") for verdict, at in zip(found, self._of_claims(), strict=True)]

    def _of_claims(self) -> list[str]:
        return [at for at, one in self.settings.items() for _ in one.claims]


def _named(at: str, variant: str) -> str:
    return f"{at}{_BETWEEN}{variant}" if variant else at
