"""The layers of winning tickets, of random masks and of re-initialised tickets, against density."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from tombola.evaluation.paired import effect_of
from tombola.evaluation.statistics import rank_correlation
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.run import Run
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.tickets import Level, PruningConfig, distinct, randomly_masked, reinitialised, tickets
from tombola.studies.zhang2019.common import METRICS as COMMON
from tombola.studies.zhang2019.common import (
    RANDOM,
    REINIT,
    SOURCE,
    Layers,
    at_smoke,
    error_panel,
    for_noise,
    reset,
    rows_of_measurement,
    units_of,
)

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["ticket", "random", "reinit"]
ARMS = {"ticket": "winning ticket", "random": "random mask", "reinit": "ticket's mask, re-initialised"}
METRICS = ("layer_density", "random_error", "random_rise", *(name for name in COMMON if name not in ("draw", "step")))


class Tickets(PruningConfig, Layers):
    """Layers of sparse networks, put back to what the networks began with."""

    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = (3, 7, 11)
    """Rounds of pruning after which networks are looked at, beside the dense one (20 % a round: 51, 21, 8.6 %)."""
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)] = ("ticket", "random", "reinit")
    draws: Annotated[int, Field(ge=1)] = 10
    """Fresh draws of each layer."""


def _configure(scale: Scale, task: str) -> Tickets:
    found = named_task(task, scale)
    return Tickets(task=found, **for_noise(found), **at_smoke(scale, levels=(1,), draws=2))


@study(
    "zhang2019.tickets",
    answers="Does pruning make layers more, or less, critical?",
    claims=("LAY-C10",),
    task="fcn-digits",
    configure=_configure,
)
def in_tickets(config: Tickets) -> Study:
    """Rise of the error by layer and density, for tickets and two controls."""
    distinct("levels", config.levels)
    distinct("kinds", config.kinds)
    return Study(
        name="zhang2019.tickets",
        config=config,
        cells=tuple(_cells(config)),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=partial(claims, config),
        arms={kind: ARMS[kind] for kind in config.kinds},
        details=partial(details, config),
        figures=(
            Figure(
                "rise",
                "Rise of the error when a layer is put back to what it began with",
                (Panel("rise", f"rise of the {config.judged()} (pp)", 100), Panel("layer_density", "weights of the layer left (%)", 100)),
                caption=config.said(),
            ),
            Figure(
                "layers",
                "Error by layer and density",
                (error_panel(config),),
                kind="heatmap",
                detail="layers",
                x_label="density (%)",
                caption=config.said(),
            ),
            Figure(
                "survival",
                "Rise of the error against the share of the layer's weights that is left",
                (Panel("rise", f"rise of the {config.judged()} (pp)", 100),),
                kind="scatter",
                across=Panel("layer_density", "weights of the layer left (%)", 100),
                caption=config.said(),
            ),
        ),
    )


def _cells(config: Tickets) -> list[Cell]:
    cells = []
    for replicate in range(config.replicates):
        chain = tickets(config, replicate, levels=max(config.levels))
        for kind in config.kinds:
            cells.append(_cell(config, kind, replicate, 0, chain[0]))
            cells += [_cell(config, kind, replicate, level, _run(config, kind, chain[level], level)) for level in sorted(config.levels)]
    return cells


def _run(config: Tickets, kind: Kind, ticket: Run, level: int) -> Run:
    if kind == "ticket":
        return ticket
    return randomly_masked(config, ticket, level) if kind == "random" else reinitialised(ticket, level)


def _cell(config: Tickets, kind: Kind, replicate: int, level: int, run: Run) -> Cell:
    return Cell(kind, replicate, level, run, measurement=reset(config, run, (run.begin,), draws=config.draws))


def measure(config: Tickets, cell: Cell, results: Results) -> list[Row]:
    """A row for each layer, which is the row's variant."""
    assert cell.measurement is not None
    names = units_of(results, config.task)
    rows = rows_of_measurement(results[cell.run], results.measured(cell.measurement), names, [results[cell.run].begin])
    mask = results[cell.run].weights("mask")
    found = []
    for layer in results.network_info(config.task).layers:
        own = [row for row in rows if row["arm"] == layer.name]
        drawn = [row for row in own if row["variant"] == RANDOM]
        sizes = [mask[path].size for path in layer.prunable]
        found.append(
            {
                **next(row for row in own if row["variant"] == REINIT),
                "variant": layer.name,
                "arm": cell.arm,
                "level": cell.level,
                "layer_density": sum(int(mask[path].sum()) for path in layer.prunable) / sum(sizes) if sizes else np.nan,
                "random_error": float(np.mean([row["error"] for row in drawn])),
                "random_rise": float(np.mean([row["rise"] for row in drawn])),
            }
        )
    return found


def details(config: Tickets, results: Results) -> "dict[str, pd.DataFrame]":
    """Errors by layer and density, for each kind of network."""
    import pandas as pd

    rows = []
    for cell in _cells(config):
        density = results[cell.run].summary["density"]
        for row in measure(config, cell, results):
            at = {"variant": "", "arm": cell.arm, "level": 0, "density": density, "replicate": cell.replicate}
            rows.append({**at, "row": row["variant"], "column": f"{100 * density:.3g}", "error": row["error"]})
    return {"layers": pd.DataFrame(rows)}


def claims(config: Tickets, table: "pd.DataFrame") -> list[Verdict]:
    """LAY-C10 on the table of the study, at the lowest density."""
    first, last = next(iter(table.variant)), max(config.levels)
    rows = table[table.variant == first]

    def rise(arm: str, level: int) -> "pd.Series[float]":
        return rows[(rows.arm == arm) & (rows.level == level)].set_index("replicate").rise

    wanted = {"ticket", "random"} <= set(config.kinds)
    note = "" if wanted else "needs tickets and random masks"
    dense = 100 * (rise("ticket", 0) - rise("ticket", last)) if wanted else []
    random = 100 * (rise("random", last) - rise("ticket", last)) if wanted else []
    effects = (
        effect_of("rise of the first layer in the dense network, above that in the ticket, by", "pp", list(dense), note=note),
        effect_of("rise of the first layer under a random mask, above that in the ticket, by", "pp", list(random), note=note),
        effect_of("rank correlation over layers of the weights left with the rise", "rho", _survival(table, last), decides=False),
    )
    sentence = "The first layer of a winning ticket is less critical than that of the dense or of a randomly pruned network."
    note = f"At the lowest density, after {last} rounds."
    return [Verdict("LAY-C10", sentence, f"after {SOURCE}; a replication", effects, note)]


def _survival(table: "pd.DataFrame", level: int) -> list[float]:
    rows = table[(table.arm == "ticket") & (table.level == level)]
    return [rank_correlation(one.layer_density, one.rise) for _, one in rows.groupby("replicate")]
