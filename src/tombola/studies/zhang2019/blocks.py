"""Residual blocks, shortcuts and stages as units: robust to re-initialisation, and to re-randomisation (section 3.3)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tombola.core.step import Step
from tombola.evaluation.paired import effect_of
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.groups import UNITS, Unit, groups
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Results, Row, Scale, Study, study
from tombola.studies.tickets import distinct
from tombola.studies.zhang2019.common import (
    SOURCE,
    Classes,
    at_smoke,
    classes_in,
    dense_run,
    error_panel,
    for_noise,
    limit_in,
    reset,
    robust_in,
    way,
)

if TYPE_CHECKING:
    import pandas as pd

RESIDUAL = ("resnet", "deep_resnet")
METRICS = ("kept", "prunable", "stage", "kind", "error", "rise", "way", "random_error", "random_rise", "rms", "own_error", "chance")
"""`random_...`: of fresh draws, averaged; the other errors are those at the initial values."""


class Blocks(Classes):
    """Units of several sizes, put back to their initial values and drawn anew."""

    units: Annotated[tuple[Unit, ...], Field(min_length=1)] = UNITS
    draws: Annotated[int, Field(ge=1)] = 10
    """Fresh draws of each unit."""


def _configure(scale: Scale, task: str) -> Blocks:
    found = named_task(task, scale)
    return Blocks(task=found, **for_noise(found), **at_smoke(scale, draws=2))


@study(
    "zhang2019.blocks",
    answers="Which blocks and stages of a residual network can be put back, or drawn anew?",
    claims=("LAY-C6",),
    task="resnet20-cifar10",
    configure=_configure,
)
def blocks(config: Blocks) -> Study:
    """Every layer, block and stage, re-initialised and re-randomised."""
    distinct("units", config.units)
    return Study(
        name="zhang2019.blocks",
        config=config,
        cells=tuple(_cell(config, replicate, unit) for replicate in range(config.replicates) for unit in config.units),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=partial(claims, config),
        variants={unit: f"{unit}s" for unit in UNITS},
        details=partial(details, config),
        figures=(
            Figure(
                "units",
                "Error when one unit is put back to its initial values, or drawn anew",
                (error_panel(config),),
                kind="heatmap",
                detail="units",
                x_label="what stands in its place",
                caption=config.said(),
            ),
        ),
    )


def _cell(config: Blocks, replicate: int, unit: Unit) -> Cell:
    dense = dense_run(config, replicate)
    measurement = reset(config, dense, (Step("0it"),), unit=unit, draws=config.draws)
    return Cell("dense", replicate, 0, dense, variant=unit, measurement=measurement)


def measure(config: Blocks, cell: Cell, results: Results) -> list[Row]:
    """A row for each unit of one size."""
    assert cell.measurement is not None
    found, summary = results.measured(cell.measurement), results[cell.run].summary
    named = groups(results.network_info(config.task).layers, cell.measurement.options["unit"])
    own, chance = float(found["own_error"]), float(found["chance"])
    rows: list[Row] = []
    for index, (name, layers) in enumerate(named.items()):
        error, drawn = float(found["error"][index, 0]), float(found["error"][index, 1:].mean())
        rows.append(
            {
                "arm": name,
                "kept": summary["kept"],
                "prunable": summary["prunable"],
                "stage": name.split("/")[0],
                "kind": layers[0].kind if len(layers) == 1 else cell.variant,
                "error": error,
                "rise": error - own,
                "way": way(error, own, chance),
                "random_error": drawn,
                "random_rise": drawn - own,
                "rms": float(found["rms"][index, 0]),
                "own_error": own,
                "chance": chance,
            }
        )
    return rows


def details(config: Blocks, results: Results) -> "dict[str, pd.DataFrame]":
    """Errors by unit, at the initial values and drawn anew."""
    import pandas as pd

    cells = [_cell(config, replicate, unit) for unit in config.units for replicate in range(config.replicates)]
    rows = [{"replicate": cell.replicate, "variant": cell.variant, **row} for cell in cells for row in measure(config, cell, results)]
    table = pd.DataFrame(rows)
    frames = []
    for unit in config.units:
        own, marks = table[table.variant == unit], classes_in(config, table[table.variant == unit])
        for column, metric in (("initial", "error"), ("random", "random_error")):
            at = {"row": own.arm, "column": column, "error": own[metric], "mark": own.arm.map(marks), "arm": "", "level": 0, "density": 1.0}
            frames.append(own[["variant", "replicate"]].assign(**at))
    return {"units": pd.concat(frames, ignore_index=True)}


def claims(config: Blocks, table: "pd.DataFrame") -> list[Verdict]:
    """LAY-C6 on the table of the study."""
    residual, plain = config.task.model.name in RESIDUAL, config.task.model.name == "vgg"
    sentence = (
        "VGG is like a fully connected network; ResNets spread critical layers over their stages, and blocks that are robust to "
        "re-initialisation are robust to fresh draws."
    )
    return [
        Verdict(
            "LAY-C6",
            sentence,
            f"{SOURCE}, section 3, figures 3 to 6",
            (_lower(table, plain), _spread(config, table, residual), _drawn(config, table, residual)),
        )
    ]


def _lower(table: "pd.DataFrame", decides: bool) -> Effect:
    rows = table[table.variant == "layer"]
    wide = rows.pivot_table(index="replicate", columns="arm", values="rise")[list(rows.arm.unique())] if len(rows) else rows
    third = wide.shape[1] // 3
    gap = list(100 * (wide.iloc[:, :third].mean(axis=1) - wide.iloc[:, -third:].mean(axis=1))) if third and len(rows) else []
    note = "" if decides else "said of VGG"
    return effect_of("rise of the lowest third of the layers above that of the highest third", "pp", gap, note=note, decides=decides)


def _spread(config: Blocks, table: "pd.DataFrame", decides: bool) -> Effect:
    rows = table[(table.variant == "layer") & (table.rise > limit_in(config, table))]
    inside = rows[rows.stage.str.startswith("stage")]
    counts = [inside[inside.replicate == one].stage.nunique() - 1.5 for one in table.replicate.unique()] if len(table) else []
    note = "" if decides else "said of residual networks"
    return effect_of(
        "stages that hold a layer that is not robust: more than one and a half, by", "stages", counts, note=note, decides=decides
    )


def _drawn(config: Blocks, table: "pd.DataFrame", decides: bool) -> Effect:
    rows = table[table.variant == "block"]
    robust = [block for block in robust_in(config, rows) if _several(table, block)] if len(rows) else []
    mean = rows[rows.arm.isin(robust)].groupby("replicate").random_rise.mean()
    note = "said of residual networks" if not decides else "" if robust else "no block is robust to re-initialisation"
    values = list(100 * (limit_in(config, table) - mean))
    return effect_of(
        "blocks robust to re-initialisation: a fresh draw too is, with so much to spare", "pp", values, note=note, decides=decides
    )


def _several(table: "pd.DataFrame", block: str) -> bool:
    """Whether a block is more than one layer."""
    return block not in set(table[table.variant == "layer"].arm)
