"""How strongly does instability predict the accuracy gap, and which of stability and matching comes first? (open question)"""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from tombola.evaluation.paired import effect_of
from tombola.evaluation.statistics import rank_correlation
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Scale, Study, study
from tombola.studies.frankle2020.common import instability_panel, steps_of
from tombola.studies.frankle2020.grid import ARMS, GRID_METRICS, LATEST, Grid, grid_fields, measure_grid, onsets, places
from tombola.studies.frankle2020.sparse import gap_panel
from tombola.studies.tickets import distinct

if TYPE_CHECKING:
    import pandas as pd

SPARSE = ("ticket", "random", "reinit")
NOTE = f"rho: rank correlation with the gap in accuracy, for k up to {100 * LATEST:g} % of training."
OURS = "a question that the paper leaves open, not one of its claims"


class Link(Grid):
    """Instability against accuracy, over k, density and arm."""


def _configure(scale: Scale, task: str) -> Link:
    return Link(**grid_fields(scale, named_task(task, scale)))


@study(
    "frankle2020.link",
    answers="How strongly does instability predict the gap in accuracy, and does stability come before matching?",
    claims=("LMC-O1", "LMC-O2"),
    task="digits-noise-mlp",
    configure=_configure,
)
def link(config: Link) -> Study:
    """Rank correlation of instability and accuracy gap within arms and over all, and the steps k at which each is settled."""
    distinct("compared", config.compared)
    cells: list[Cell] = []
    for place, rows in places(config).items():
        if place.arm != "dense":
            cells += [replace(cell, variant=str(place.round)) for cell in rows]
    return Study(
        name="frankle2020.link",
        config=config,
        cells=tuple(cells),
        metrics=GRID_METRICS,
        measure=partial(measure_grid, config),
        claims=partial(claims, config),
        arms={arm: ARMS[arm] for arm in SPARSE},
        variants={str(level): f"after {level} round{'s' if level > 1 else ''} of pruning" for level in config.compared},
        levels="steps",
        figures=(
            Figure(
                "link",
                "Accuracy against instability",
                (gap_panel(config),),
                kind="scatter",
                across=instability_panel(config),
                caption=f"All densities and steps k. {config.said()}",
            ),
            Figure(
                "by_step",
                "Instability and accuracy by step k",
                (instability_panel(config), gap_panel(config)),
                x="step",
                caption=config.said(),
            ),
        ),
    )


def claims(config: Link, table: "pd.DataFrame") -> list[Verdict]:
    """The open questions: correlation within arms and across, and which comes first in k."""
    mean = table[table.share <= LATEST].groupby(["replicate", "arm", "variant", "level"], as_index=False)[["instability", "gap"]].mean()
    effects = [effect_of("over all sparse networks", "-rho", _correlation(mean), least=0.5)]
    by_density = [_correlation(rows) for _, rows in mean.groupby("variant")]
    at_equal = [sum(of) / len(of) for of in zip(*by_density, strict=True)]
    effects.append(effect_of("at equal density, mean of the densities", "-rho", at_equal, decides=False))
    effects += [effect_of(f"within: {ARMS[arm]}", "-rho", _correlation(mean[mean.arm == arm]), decides=False) for arm in SPARSE]
    found, last = onsets(config, table), len(steps_of(config.k, config.task))
    tickets = found[(found.arm == "ticket") & (found.stable < last) & (found.matching < last)]
    lead = (tickets.matching - tickets.stable).groupby(tickets.replicate).mean()
    later = effect_of("k of matching later than k of stability", "places of k", lead, note="tickets that become both")
    return [
        Verdict("LMC-O1", "The less stable, the less accurate.", OURS, tuple(effects), NOTE),
        Verdict("LMC-O2", "Going up in k, tickets are stable before they match.", OURS, (later,)),
    ]


def _correlation(rows: "pd.DataFrame") -> list[float]:
    """-Spearman's rho of instability and gap, by replicate."""
    return [-rank_correlation(group.instability, group.gap) for _, group in rows.groupby("replicate")]
