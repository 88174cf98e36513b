"""Ranges of sparsity: where any sparse network matches, where only tickets do, where none does (section 5, figures 7 and 8)."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.evaluation.paired import by_replicate, effect_of, effect_over_levels, levels_within
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.frankle2020.common import EXTREME, SOURCE, instability_panel, steps_of
from tombola.studies.frankle2020.grid import ARMS, GRID_METRICS, Grid, Place, grid_fields, measure_grid, places, settled
from tombola.studies.frankle2020.sparse import gap_panel
from tombola.studies.tickets import distinct, margin

if TYPE_CHECKING:
    import pandas as pd


class Bounds(NamedTuple):
    """Densities between the paper's ranges."""

    trivial: float
    """Above it, randomly pruned networks match, too."""
    matching: float
    """Above it, tickets match."""


BOUNDS = {"resnet20-cifar10": Bounds(0.79, 0.13), "vgg16-cifar10": Bounds(0.16, 0.0112)}
"""Task -> the paper's, 80.0 and 13.4, 16.8 and 1.2 %, each moved off the density at which it lies."""
OTHERWISE = Bounds(0.5, 0.05)


class Ranges(Grid):
    """Accuracy against density after rewinding to one step, and the step at which networks become stable."""

    rewind: Step | None = None
    """The step whose networks are shown, one of `k`. None: the last but two, an eighth of training where `k` is not set."""


def _configure(scale: Scale, task: str) -> Ranges:
    fields = grid_fields(scale, named_task(task, scale))
    if scale != "smoke":  # from the first round to beyond the paper's density, or to 5 %
        fields["compared"] = tuple(range(1, EXTREME[task] + 7, 3)) if task in EXTREME else tuple(range(1, 15, 2))
    return Ranges(**fields)


@study(
    "frankle2020.ranges",
    answers="At which densities does any sparse network match, at which only tickets, and how does the onset of stability change?",
    claims=("LMC-C11", "LMC-C12"),
    task="digits-noise-mlp",
    configure=_configure,
)
def ranges(config: Ranges) -> Study:
    """Accuracy and instability against density at one k; onset of stability and of matching against density."""
    distinct("compared", config.compared)
    steps, grid = steps_of(config.k, config.task), places(config)
    shown = config.rewind or steps[max(0, len(steps) - 3)]
    if shown not in steps:
        raise TombolaError(f"rewind = {str(shown)!r}, but k = {', '.join(steps)}; choose one of these")
    cells = [replace(cell, **_as_round(place)) for place, rows in grid.items() if place.k == shown for cell in rows]
    return Study(
        name="frankle2020.ranges",
        config=config,
        cells=tuple(cells),
        metrics=(*GRID_METRICS, *(f"{what}_{unit}" for what in WHATS for unit in ("onset", "place"))),
        measure=partial(measured, config, grid),
        claims=partial(claims, config),
        arms={arm: ARMS[arm] for arm in ("ticket", "random", "reinit")},
        measurements=tuple(cell.measurement for rows in grid.values() for cell in rows if cell.measurement is not None),
        figures=(
            Figure(
                "ranges",
                f"Accuracy and instability against density, rewound to {shown}",
                (gap_panel(config), instability_panel(config)),
                caption=config.said(),
            ),
            Figure(
                "onset",
                "Step k from which on networks are stable, and from which on they match",
                (
                    Panel("stable_onset", "onset of stability (iteration k)", log=True),
                    Panel("matching_onset", "onset of matching (iteration k)", log=True),
                ),
                caption=f"Of the steps {', '.join(step.removesuffix('it') for step in steps)}. {config.said()}",
            ),
        ),
    )


WHATS = {"stable": "stability", "matching": "matching"}
UNIT = "places of k"


def _as_round(place: Place) -> dict[str, Any]:
    """Against density the dense network is where tickets begin."""
    return {"arm": "ticket" if place.arm == "dense" else place.arm, "level": place.round, "variant": ""}


def measured(config: Ranges, grid: Mapping[Place, list[Cell]], cell: Cell, results: Results) -> list[Row]:
    """The columns of all pairs of a place at the shown step, at its first; and from which of all steps on its arm is stable,
    and matches, at its density.
    """
    if cell.draw:
        return []
    arm, steps = cell.arm if cell.level else "dense", steps_of(config.k, config.task)
    rows = [[measure_grid(config, pair, results) for pair in grid[Place(arm, cell.replicate, cell.level, k)]] for k in steps]
    means = {metric: [float(np.mean([row[metric] for row in pairs])) for pairs in rows] for metric in ("instability", "gap")}
    found = settled(config, means["instability"], means["gap"])
    begins = [*(pairs[0]["step"] for pairs in rows), float("inf")]
    onsets = {f"{what}_onset": begins[place] for what, place in zip(WHATS, found, strict=True)}
    places = {f"{what}_place": float(place) for what, place in zip(WHATS, found, strict=True)}
    return [{**row, **onsets, **places} for row in rows[steps.index(cell.run.begin)]]


def claims(config: Ranges, table: "pd.DataFrame") -> list[Verdict]:
    """LMC-C11 and C12 on the table of the study."""
    return [_c11(config, table), _c12(table)]


def _c11(config: Ranges, table: "pd.DataFrame") -> Verdict:
    judged = config.task.name in BOUNDS
    bounds = BOUNDS[config.task.name] if judged else OTHERWISE
    tolerance = margin(config.task, config.margin)
    above = {arm: 100 * by_replicate(table, "gap", arm) + tolerance for arm in ("ticket", "random")}

    def effect(name: str, values: "pd.DataFrame", low: float, high: float) -> Effect:
        levels = levels_within(table, low, high)
        note = "" if judged else "the claim is about ResNet-20 and VGG-16"
        return effect_over_levels(name, "pp", values[levels], table, note=note, decides=judged)

    trivial, matching = (f"{100 * bound:g} %" for bound in bounds)
    effects = (
        effect(f"above {trivial}: random pruning above dense - {tolerance:g} pp, by", above["random"], bounds.trivial, 1),
        effect(f"{matching} to {trivial}: tickets above dense - {tolerance:g} pp, by", above["ticket"], bounds.matching, bounds.trivial),
        effect(f"{matching} to {trivial}: random pruning below it, by", -above["random"], bounds.matching, bounds.trivial),
        effect(f"below {matching}: tickets below it, by", -above["ticket"], 0, bounds.matching),
    )
    sentence = "There are three ranges of sparsity: any sparse network matches, only tickets match, none matches."
    return Verdict("LMC-C11", sentence, f"{SOURCE}, section 5, figure 7", effects)


def _c12(table: "pd.DataFrame") -> Verdict:
    place = by_replicate(table, "stable_place", "ticket")
    middle, last = levels_within(table, 0.1, 0.4), int(place.columns[-1])
    plateau = place[middle].mean(axis=1)
    spread = place[middle].max(axis=1) - place[middle].min(axis=1)
    judged = bool(middle) and last not in middle
    effects = (
        effect_of("dense network: onset of stability later than at 10 to 40 %", UNIT, place[0] - plateau if judged else []),
        effect_of(
            "10 to 40 %: onsets at the densities less than 1.5 places apart, by", UNIT, 1.5 - spread if judged else [], decides=False
        ),
        effect_of("lowest density: onset of stability later than at 10 to 40 %", UNIT, place[last] - plateau if judged else []),
    )
    sentence = "With growing sparsity, the onset of stability first comes earlier, then stays, then comes later."
    return Verdict("LMC-C12", sentence, f"{SOURCE}, section 5, figure 8", effects)
