"""What the studies of phases share: the onset of stability k* of a task in several settings, as `frankle2020.onset` finds it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tombola.core.errors import unknown
from tombola.studies import Each, Results, Run, Task
from tombola.studies.base import Counted, Row, Scale
from tombola.studies.dense import for_noise
from tombola.studies.evidence import CENSORED
from tombola.studies.frankle2020.common import SMOKE, Instability, dense_run
from tombola.studies.frankle2020.onset import Onset
from tombola.studies.phases.settings import BASE, settings_of

HALF_A_PLACE = 0.25
"""Half a place of the steps k, which lie a factor of sqrt(2) apart, in log2: a smaller move is none."""
NOT_PUBLISHED = "question of our own"


TWELVE = (
    BASE,
    "rate / 4",
    "rate x 2",
    "batch x 4",
    "width / 4",
    "width x 2",
    "no label noise",
    "60 % label noise",
    "momentum",
    "warm-up of 1/3",
    "more decay",
    "half as long",
)
"""The settings of the scale `small`; one that a task does not have is left out."""


class Settings(Instability):
    """The first step from which on a network is stable, by setting and replicate."""

    paper = ""
    scales = {
        "smoke": {**SMOKE, "children": 2, "k": ("0it", "50it"), "settings": (BASE, "no label noise")},
        "small": {"replicates": 6, "children": 2, "points": 11, "settings": TWELVE},
        "paper": {"children": 2},
    }
    shares = Onset.shares
    counted: ClassVar[Counted] = "rounds"

    settings: Each[str] = ()
    """Changes of the task, by their names in `tombola.studies.phases.settings`. If none is named, all that change it."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        found = {**for_noise(task), **super().at(scale, task)}
        known = settings_of(task)
        return found | {name: tuple(one for one in found[name] if one in known) for name in ("settings",) if name in found}

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Setting -> task."""
        known = settings_of(self.task)
        if wrong := [name for name in self.settings if name not in known]:
            raise unknown("setting of this task", wrong[0], known)
        return {name: known[name] for name in self.settings or known}

    @property
    def variants(self) -> Mapping[str, str]:
        return {name: name for name in self.tasks}

    @cached_property
    def searches(self) -> dict[str, Onset]:
        """Setting -> the study that finds k*: same replicates, children and paths."""
        shared = {name: getattr(self, name) for name in Instability.model_fields if name != "task"}
        return {name: Onset(**shared, task=task) for name, task in self.tasks.items()}

    def rows(self) -> Iterable[Row]:
        """A row for each setting and replicate, and the pairs of children that the search begins with."""
        for name, search in self.searches.items():
            yield from (replace(row, variant=name) for row in search.rows())

    def more(self, rows: Sequence[Row], results: Results) -> Iterable[Row]:
        """The next steps that are tried."""
        for name, search in self.searches.items():
            yield from (replace(row, variant=name) for row in search.more(rows, results))

    def foreseen(self, rows: Sequence[Row]) -> Iterable[Row]:
        for name, search in self.searches.items():
            yield from (replace(row, variant=name) for row in search.foreseen([row for row in rows if row.variant == name]))

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[str, ...]]:
        """The steps to keep: all k of all settings."""
        return {run: steps for search in self.searches.values() for run, steps in search.keep(rows).items()}

    def onset_of(self, name: str, replicate: int, results: Results) -> dict[str, float]:
        """The end of the search: `onset`, the first stable step, infinite if there is none; `after`, the last unstable one, NaN if
        there is none; `log2_onset`; `barrier`, at the first step that was tried.
        """
        search = self.searches[name]
        found = search.search(replicate, results)
        first, after = (float(found.tried.get(place, (none,))[0]) for place, none in ((found.stable, np.inf), (found.unstable, np.nan)))
        per_epoch = results.network_info(search.task).steps_per_epoch
        ends = [step.iterations(per_epoch) for step in (search.steps[1], search.steps[-1])]
        return {"onset": first, "after": after, "log2_onset": log2_of(first, *ends), "barrier": found.tried[min(found.tried)][1]}

    def dense(self, name: str, replicate: int) -> Run:
        """The dense run of a setting."""
        return dense_run(self, replicate, self.tasks[name])


def log2_of(step: float, first: float, last: float) -> float:
    """log2 of a step; 0, and what is never reached, as half an octave before the first and after the last of the steps that are tried.

    >>> log2_of(0, 4, 64), log2_of(16, 4, 64), log2_of(float("inf"), 4, 64)
    (1.5, 4.0, 6.5)
    """
    return float(np.clip(np.log2(max(step, 1e-9)), np.log2(first) - 0.5, np.log2(last) + 0.5))


def no_onset(onsets: Any) -> str:
    """Why there is nothing to move: more than a quarter of some networks are stable at no step, or all at the first."""
    values = np.asarray(onsets, float)
    if np.isinf(values).mean() > CENSORED:
        return f"{100 * np.isinf(values).mean():.0f} % of the networks are stable at no step that was tried"
    return "no unstable phase: the networks are stable from the first step on" if (values == 0).mean() > 0.5 else ""
