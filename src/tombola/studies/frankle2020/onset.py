"""The smallest step k from which on a network is stable, found by bisection: a look before a training run is designed."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.models.tasks import task as named_task
from tombola.procedures.run import Run
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.frankle2020.common import (
    Rounds,
    Sparse,
    at_smoke,
    dense_run,
    for_noise,
    from_step,
    instability_panel,
    measure,
    pair_cells,
    steps_of,
)
from tombola.studies.tickets import tickets

if TYPE_CHECKING:
    import pandas as pd

CANDIDATES = (0.0, *(2.0 ** (-power / 2) for power in range(18, 0, -1)))
"""Steps k where none are named: 0, and from 1/512 of training on each sqrt(2) times the one before."""


class Onset(Sparse):
    """Bisection over the steps k."""

    levels: Rounds = 0
    """Rounds of pruning (IMP with rewinding to k): the onset of the ticket's stability; 0: of the dense network's."""


def _configure(scale: Scale, task: str) -> Onset:
    found = named_task(task, scale)
    return Onset(task=found, **for_noise(found), **at_smoke(scale, children=2))


@study(
    "frankle2020.onset",
    answers="From which step k on is this network stable to SGD noise?",
    claims=(),
    task="digits-noise-mlp",
    configure=_configure,
)
def onset(config: Onset) -> Study:
    """The first step that is stable, by replicate: as many steps are tried as bisection needs, stability taken to be monotone in k."""
    steps = steps_of(config.k, config.task, CANDIDATES)
    if len(steps) < 2:
        raise TombolaError(f"k = {', '.join(steps)}, but a search needs two steps or more")
    found = [Cell("onset", replicate, config.levels, _shown(config, replicate, steps[0])) for replicate in range(config.replicates)]
    ends = [
        cell for replicate in range(config.replicates) for index in (0, len(steps) - 1) for cell in _tried(config, replicate, steps[index])
    ]
    return Study(
        name="frankle2020.onset",
        config=config,
        cells=(*found, *ends),
        metrics=("kept", "prunable", "onset", "share", "after", "tries"),
        measure=partial(measured, config, steps),
        claims=lambda table: [],
        keep={dense_run(config, replicate): steps for replicate in range(config.replicates)},  # whichever is tried later
        arms={"onset": "onset of stability"},
        details=partial(details, config, steps),
        more=partial(more, config, steps),
        figures=(
            Figure(
                "tried",
                "Instability at the steps that were tried",
                (replace(instability_panel(config), metric="value"),),
                kind="profile",
                detail="tried",
                x_label="step k (iteration)",
                caption=f"Of {len(steps)} steps. {config.said()}",
            ),
            Figure(
                "onset",
                "From which step on the network is stable",
                (
                    Panel("onset", "first stable step k"),
                    Panel("after", "last unstable step k"),
                    Panel("share", "first stable step (% of training)", 100),
                ),
                caption=f"Of the steps that were tried; the onset lies between the two. {config.said()}",
            ),
        ),
    )


def _parent(config: Onset, replicate: int, k: Step) -> Run:
    dense = dense_run(config, replicate)
    return tickets(config, replicate, levels=config.levels, rewind=k)[-1] if config.levels else from_step(dense, k)


def _shown(config: Onset, replicate: int, k: Step) -> Run:
    """The run whose density the row has."""
    return _parent(config, replicate, k) if config.levels else dense_run(config, replicate)


def _tried(config: Onset, replicate: int, k: Step) -> list[Cell]:
    return pair_cells(config, "tried", replicate, config.levels, _parent(config, replicate, k), dense_run(config, replicate))


class Search(NamedTuple):
    """Where a replicate's bisection stands, in places of the list of steps."""

    tried: dict[int, float]
    """Place -> instability, the mean over pairs."""
    unstable: int
    """The last that is known to be unstable; -1: none."""
    stable: int
    """The first after it that is known to be stable; the number of steps: none."""

    @property
    def next(self) -> int | None:
        """The place to try; None: the search is over."""
        over = self.stable - self.unstable <= 1 or self.unstable == max(self.tried)
        return None if over else (self.unstable + self.stable) // 2


def search(config: Onset, steps: tuple[Step, ...], replicate: int, results: Results) -> Search:
    """What the results say so far; both ends of the list are tried first."""
    tried = {}
    for place, k in enumerate(steps):
        cells = _tried(config, replicate, k)
        if all(cell.run in results for cell in cells):
            tried[place] = float(np.mean([measure(config, cell, results)["instability"] for cell in cells]))
    unstable = max((place for place in tried if not tried[place] < config.stable), default=-1)
    stable = min((place for place in tried if place > unstable), default=len(steps))
    return Search(tried, unstable, stable)


def more(config: Onset, steps: tuple[Step, ...], results: Results) -> tuple[Cell, ...]:
    """The next step of every replicate whose search is not over."""
    found = ((replicate, search(config, steps, replicate, results).next) for replicate in range(config.replicates))
    return tuple(cell for replicate, place in found if place is not None for cell in _tried(config, replicate, steps[place]))


def measured(config: Onset, steps: tuple[Step, ...], cell: Cell, results: Results) -> "Row | list[Row]":
    """A row for each replicate; none for the pairs that were tried."""
    if cell.arm == "tried":
        return []
    found, result = search(config, steps, cell.replicate, results), results[cell.run]
    begins = {place: results[_tried(config, cell.replicate, steps[place])[0].run].begin for place in found.tried}
    first = float(begins.get(found.stable, np.inf))
    return {
        "kept": result.summary["kept"],
        "prunable": result.summary["prunable"],
        "onset": first,
        "share": first / result.end,
        "after": float(begins.get(found.unstable, np.nan)),
        "tries": len(found.tried),
    }


def details(config: Onset, steps: tuple[Step, ...], results: Results) -> "dict[str, pd.DataFrame]":
    """Instability at every step that was tried, by replicate."""
    import pandas as pd

    rows = []
    for replicate in range(config.replicates):
        density = results[_shown(config, replicate, steps[0])].summary["density"]
        for place, value in search(config, steps, replicate, results).tried.items():
            begin = results[_tried(config, replicate, steps[place])[0].run].begin
            where = {"variant": "", "arm": "onset", "level": config.levels, "density": density, "replicate": replicate}
            rows.append({**where, "x": begin, "value": value})
    return {"tried": pd.DataFrame(rows)}
