"""Which layers matter: each is put back to earlier values, or drawn anew, in the trained network (section 3, figures 1 to 4)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from tombola.core.step import Step
from tombola.evaluation.paired import effect_of
from tombola.evaluation.statistics import rank_correlation
from tombola.evaluation.verdict import Verdict
from tombola.models.groups import Unit
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.zhang2019.common import (
    METRICS,
    RANDOM,
    REINIT,
    RMS,
    SOURCE,
    VARIANTS,
    Classes,
    at_smoke,
    by_layer,
    checkpoints,
    classes,
    dense_run,
    error_panel,
    for_noise,
    iterations,
    limit_in,
    reset,
    rows_of_measurement,
    units_of,
)

if TYPE_CHECKING:
    import pandas as pd

FED_FORWARD = ("mlp", "vgg")


class Robustness(Classes):
    """Layer by layer, against the step that it is put back to."""

    reset_to: tuple[Step, ...] = ()
    """Checkpoints tau; none named: the paper's epochs 0, 1, 2, 3, 8, 40 and 90 of 100, as shares of training."""
    draws: Annotated[int, Field(ge=1)] = 10
    """Fresh draws of each layer."""
    unit: Unit = "layer"
    """What is put back together: `layer`, `block`, `stage`."""


def _configure(scale: Scale, task: str) -> Robustness:
    found = named_task(task, scale)
    return Robustness(task=found, **for_noise(found), **at_smoke(scale, reset_to=("0it", "1it"), draws=2))


@study(
    "zhang2019.robustness",
    answers="Which layers of a trained network can be put back to their initial values?",
    claims=("LAY-C1", "LAY-C2", "LAY-C3", "LAY-C4"),
    task="fcn-digits",
    configure=_configure,
)
def robustness(config: Robustness) -> Study:
    """Layer x checkpoint, with a column for re-randomisation."""
    return Study(
        name="zhang2019.robustness",
        config=config,
        cells=tuple(_cell(config, replicate) for replicate in range(config.replicates)),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=partial(claims, config),
        variants=VARIANTS,
        levels="steps",
        details=partial(details, config),
        figures=(
            Figure(
                "layers",
                "Error when one layer is put back to step k, or drawn anew",
                (error_panel(config), RMS),
                kind="heatmap",
                detail="layers",
                x_label="put back to",
                caption=config.said(),
            ),
            Figure(
                "classes",
                "Error by class when one layer is put back to its initial values",
                (Panel("error", f"{config.judged()} (%)", 100),),
                kind="heatmap",
                detail="classes",
                x_label="class",
                caption=config.said(),
            ),
            Figure(
                "distance",
                "Rise of the error against the distance that the layer has travelled",
                (Panel("rise", f"rise of the {config.judged()} (pp)", 100),),
                kind="scatter",
                variants=(REINIT,),
                levels=(0,),
                across=RMS,
                caption="Layers put back to their first step.",
            ),
        ),
    )


def _cell(config: Robustness, replicate: int) -> Cell:
    dense = dense_run(config, replicate)
    steps = checkpoints(config.task, config.reset_to)
    return Cell("dense", replicate, 0, dense, measurement=reset(config, dense, steps, unit=config.unit, draws=config.draws))


def measure(config: Robustness, cell: Cell, results: Results) -> list[Row]:
    """A row for each layer and what it is reset to."""
    assert cell.measurement is not None
    steps = iterations(results, cell.run, checkpoints(config.task, config.reset_to))
    return rows_of_measurement(results[cell.run], results.measured(cell.measurement), units_of(results, config.task, config.unit), steps)


def details(config: Robustness, results: Results) -> "dict[str, pd.DataFrame]":
    """Errors by layer and column, and by layer and class."""
    import pandas as pd

    cells = [_cell(config, replicate) for replicate in range(config.replicates)]
    steps = checkpoints(config.task, config.reset_to)
    table = pd.DataFrame([{"replicate": cell.replicate, **row} for cell in cells for row in measure(config, cell, results)])
    marks = classes(config, table)
    where = {"arm": "", "density": 1.0}
    column = [str(steps[row.level]) if row.variant == REINIT else "random" for row in table.itertuples()]
    maps = table.assign(row=table.arm, column=column, mark=table.arm.map(marks), **where)[
        ["arm", "density", "replicate", "row", "column", "error", "loss", "rms", "max", "cosine", "mark"]
    ]
    by_class = []
    for cell in cells:
        assert cell.measurement is not None
        if "class_error" not in (measured := results.measured(cell.measurement)):
            continue  # there are no classes
        found = measured["class_error"][:, 0]
        for layer, errors in zip(marks, found, strict=True):
            at = {**where, "replicate": cell.replicate, "row": layer, "mark": marks[layer]}
            by_class += [{**at, "column": str(index), "error": float(error)} for index, error in enumerate(errors)]
    classed = {"classes": pd.DataFrame(by_class).assign(variant="", level=0)} if by_class else {}
    return {"layers": maps.assign(variant="", level=0), **classed}


def claims(config: Robustness, table: "pd.DataFrame") -> list[Verdict]:
    """LAY-C1 to C4 on the table of the study."""
    return [_c1(table), _c2(config, table), _c3(config, table), _c4(table)]


def _c1(table: "pd.DataFrame") -> Verdict:
    least = 100 * (by_layer(table, "way", RANDOM).min(axis=1) - 0.5)
    effect = effect_of("way to chance of the layer that withstands a fresh draw best, above 50 %, by", "pp", list(least))
    return Verdict("LAY-C1", "A fresh draw of any layer takes the network to chance.", f"{SOURCE}, section 3, figure 1", (effect,))


def _c2(config: Robustness, table: "pd.DataFrame") -> Verdict:
    rise = by_layer(table, "rise")
    fitting = config.task.model.name in FED_FORWARD and rise.shape[1] > 1
    note = "" if fitting else "the claim is about fully connected networks, and VGG"
    gap = 100 * (rise.iloc[:, 0] - rise.iloc[:, 1:].max(axis=1)) if rise.shape[1] > 1 else []
    first = effect_of("rise of the first layer above that of any other", "pp", list(gap), note=note, decides=fitting)
    allowed = limit_in(config, table)
    others = 100 * (allowed - rise.iloc[:, 1:].max(axis=1)) if rise.shape[1] > 1 else []
    ambient = effect_of("all other layers robust, with so much to spare", "pp", list(others), decides=False)
    sentence = "Put back to its initial values, the first layer is critical; the others matter less."
    return Verdict("LAY-C2", sentence, f"{SOURCE}, section 3, figures 1 and 2", (first, ambient))


def _c3(config: Robustness, table: "pd.DataFrame") -> Verdict:
    rows = table[table.variant == REINIT]
    allowed = limit_in(config, rows)
    layers = list(rows.arm.unique())
    repair, later = [], []
    for _, own in rows.groupby("replicate"):
        rise = own.pivot_table(index="level", columns="arm", values="rise").reindex(columns=layers)
        first = rise[layers[0]]
        if len(rise) > 2 and first.iloc[0] > allowed:
            repair.append(-rank_correlation(first.index, first))
            if len(layers) > 1:
                needed = {layer: _repaired(rise[layer].to_numpy(), allowed) for layer in layers}
                later.append(needed[layers[0]] - max(needed[layer] for layer in layers[1:]))
    note = "" if repair else "the first layer does not matter here, or too few checkpoints were run"
    effects = (
        effect_of("-rank correlation of the first layer's rise with the checkpoint", "rho", repair, least=0.5, note=note),
        effect_of("checkpoints that the first layer needs beyond any other to be robust", "checkpoints", later, note=note),
    )
    sentence = "Later checkpoints repair the loss, and the first layer needs later ones than the others."
    return Verdict("LAY-C3", sentence, f"{SOURCE}, section 3, figures 1 and 2", effects)


def _repaired(rise: np.ndarray, allowed: float) -> int:
    """The first place from which on a layer is robust; the number of places if there is none.

    >>> _repaired(np.array([0.5, 0.0, 0.2, 0.01]), 0.02), _repaired(np.array([0.0, 0.0]), 0.02), _repaired(np.array([0.5]), 0.02)
    (3, 0, 1)
    """
    return next((place + 1 for place in reversed(range(len(rise))) if rise[place] > allowed), 0)


def _c4(table: "pd.DataFrame") -> Verdict:
    rise = by_layer(table, "rise")
    effects = []
    for metric, name in (("rms", "2-norm over sqrt(size)"), ("max", "max norm")):
        moved = by_layer(table, metric)
        rho = [rank_correlation(rise.loc[one], moved.loc[one]) for one in rise.index] if rise.shape[1] > 2 else []
        what = f"rank correlation over layers of the rise with the {name} below 0.5, by"
        effects.append(effect_of(what, "rho", [0.5 - value for value in rho], decides=metric == "rms"))
    return Verdict("LAY-C4", "Robustness does not follow the distance travelled.", f"{SOURCE}, section 3, figure 1", tuple(effects))
