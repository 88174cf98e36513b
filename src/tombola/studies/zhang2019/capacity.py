"""Layers over widths and depths: how many are critical, against capacity (section 3.1)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.task import Count, Task
from tombola.evaluation.paired import effect_of
from tombola.evaluation.statistics import rank_correlation
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.tickets import distinct
from tombola.studies.zhang2019.common import (
    SOURCE,
    Classes,
    at_smoke,
    dense_run,
    for_noise,
    limit,
    reset,
    rows_of_measurement,
    units_of,
)

if TYPE_CHECKING:
    import pandas as pd

METRICS = (
    "width", "depth", "parameters", "step", "rise", "way", "rms", "robust", "between", "critical", "share_critical",
    "own_error", "gap", "chance", "kept", "prunable",
)  # fmt: skip
"""Of single layers `rise`, `way`, `rms`; of whole networks the numbers of `robust`, `between` and `critical` layers, and
`gap`, the accuracy of training less that of the test."""
WHOLE = "network"


class Capacity(Classes):
    """Fully connected networks over widths and depths."""

    widths: Annotated[tuple[Count, ...], Field(min_length=2)] = (16, 64, 256)
    """Units of every hidden layer."""
    depths: Annotated[tuple[Count, ...], Field(min_length=1)] = (2, 3, 5)
    """Hidden layers."""


def _configure(scale: Scale, task: str) -> Capacity:
    found = named_task(task, scale)
    return Capacity(task=found, **for_noise(found), **at_smoke(scale, widths=(8, 16), depths=(1, 2)))


@study(
    "zhang2019.capacity",
    answers="Do wider and deeper networks have fewer critical layers?",
    claims=("LAY-C5", "LAY-C9"),
    task="fcn-digits",
    configure=_configure,
)
def capacity(config: Capacity) -> Study:
    """Layers put back to their initial values, over a grid of networks."""
    if config.task.model.name != "mlp":
        raise TombolaError(
            f"the grid of widths and depths is of the model 'mlp', not {config.task.model.name!r}; choose a task such as fcn-digits"
        )
    for name in ("widths", "depths"):
        distinct(name, getattr(config, name))
    cells = [
        _cell(config, depth, width, replicate)
        for depth in sorted(config.depths)
        for width in sorted(config.widths)
        for replicate in range(config.replicates)
    ]
    layers = [f"hidden{index + 1}" for index in range(max(config.depths))]
    return Study(
        name="zhang2019.capacity",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=partial(claims, config),
        arms={str(depth): f"{depth} hidden layer{'s' * (depth > 1)}" for depth in sorted(config.depths)},
        variants={WHOLE: "whole network", **{name: name for name in (*layers, "output")}},
        levels="widths",
        figures=(
            Figure(
                "critical",
                "Layers that are critical, and robust, against the size of the network",
                (Panel("critical", "critical layers"), Panel("robust", "robust layers")),
                x="parameters",
                variants=(WHOLE,),
                caption=config.said(),
            ),
            Figure(
                "rise",
                "Rise of the error when a layer is put back to its initial values",
                (Panel("rise", f"rise of the {config.judged()} (pp)", 100),),
                x="parameters",
                variants=(*layers, "output"),
                caption=config.said(),
            ),
        ),
    )


def task_of(config: Capacity, depth: int, width: int) -> Task:
    """The task with the network of one size."""
    return config.task.but(model=config.task.model.but(options={**config.task.model.options, "widths": [width] * depth}))


def _cell(config: Capacity, depth: int, width: int, replicate: int) -> Cell:
    run = dense_run(config, replicate, task_of(config, depth, width))
    return Cell(str(depth), replicate, sorted(config.widths).index(width), run, measurement=reset(config, run, (Step("0it"),)))


def measure(config: Capacity, cell: Cell, results: Results) -> list[Row]:
    """A row for the network, and one for each layer, which is the row's variant."""
    assert cell.measurement is not None
    task, result = cell.run.task, results[cell.run]
    found = rows_of_measurement(result, results.measured(cell.measurement), units_of(results, task), [0])
    width, depth = sorted(config.widths)[cell.level], int(cell.arm)
    peers = [results.measured(_cell(config, depth, width, replicate).measurement) for replicate in range(config.replicates)]  # type: ignore[arg-type]
    allowed = limit(config, [float(one["own_error"]) for one in peers])
    robust = sum(row["rise"] <= allowed for row in found)
    critical = sum(row["rise"] > allowed and row["way"] >= config.critical for row in found)
    size = {
        "width": width,
        "depth": depth,
        "parameters": sum(results.network_info(task).sizes.values()),
        "kept": result.summary["kept"],
        "prunable": result.summary["prunable"],
        "own_error": found[0]["own_error"],
        "chance": found[0]["chance"],
        "step": 0,
    }
    whole = {
        "variant": WHOLE,
        "robust": robust,
        "critical": critical,
        "between": len(found) - robust - critical,
        "share_critical": critical / len(found),
        "gap": result.shown("train") - result.shown("test"),
    }
    return [{**size, **whole}, *({**size, "variant": row["arm"], **{name: row[name] for name in ("rise", "way", "rms")}} for row in found)]


def claims(config: Capacity, table: "pd.DataFrame") -> list[Verdict]:
    """LAY-C5 and C9 on the table of the study."""
    return [_c5(table), _c9(table)]


def _c5(table: "pd.DataFrame") -> Verdict:
    upper = table[~table.variant.isin((WHOLE, "hidden1"))]
    rise = upper.pivot_table(index="replicate", columns="width", values="rise", aggfunc="mean")
    narrow = table[(table.width == table.width.min()) & (table.variant != WHOLE)]
    least = narrow.groupby(["replicate", "arm"]).rise.min().groupby("replicate").mean()
    effects = (
        effect_of(
            "rise of the layers above the first, narrowest less widest network",
            "pp",
            list(100 * (rise.iloc[:, 0] - rise.iloc[:, -1])),
            least=1.0,
        ),
        effect_of("least rise of any layer of the narrowest networks", "pp", list(100 * least), decides=False),
    )
    sentence = "In wider networks the layers above the first are more robust; in narrow ones all layers matter."
    return Verdict("LAY-C5", sentence, f"{SOURCE}, section 3.1", effects)


def _c9(table: "pd.DataFrame") -> Verdict:
    whole = table[table.variant == WHOLE]
    size = [rank_correlation(one.parameters, one.share_critical) for _, one in whole.groupby("replicate")]
    gap = [rank_correlation(one.gap, one.share_critical) for _, one in whole.groupby("replicate")]
    known = [value for value in size if not np.isnan(value)]
    note = "" if known else "the share of critical layers is the same in all networks"
    effects = (
        effect_of(
            "-rank correlation of the share of critical layers with the number of parameters", "rho", [-value for value in known], note=note
        ),
        effect_of("rank correlation of the share of critical layers with the gap between training and test", "rho", gap, decides=False),
    )
    sentence = "The number of critical layers is a measure of complexity that does not grow with the number of parameters."
    return Verdict("LAY-C9", sentence, f"{SOURCE}, section 4", effects, "Over the networks of the grid, by replicate.")
