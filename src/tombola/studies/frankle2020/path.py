"""The error along the way from one child to another, dense and sparse (figure 2 and appendix)."""

from functools import partial
from typing import TYPE_CHECKING

from tombola.core.step import Step
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Panel, Results, Scale, Study, study
from tombola.studies.frankle2020.beside import Beside, beside_arms, beside_cells, beside_fields
from tombola.studies.frankle2020.common import (
    METRICS,
    PARTS,
    instability_panel,
    measure,
    steps_of,
)

if TYPE_CHECKING:
    import pandas as pd

LABELS = {"test": "test set", "train": "training set"}


class Path(Beside):
    """Paths between children of W_k, and between those of tickets that were rewound to it."""

    k: tuple[Step, ...] = ()
    """Steps k at which the copies are made; none named: 0 and an eighth of training."""


def _configure(scale: Scale, task: str) -> Path:
    return Path(**beside_fields(scale, named_task(task, scale)))


@study(
    "frankle2020.path",
    answers="How does the error change on the line between two copies that were trained under different SGD noise?",
    claims=(),
    task="digits-noise-mlp",
    configure=_configure,
)
def path(config: Path) -> Study:
    """Test and training error along the lines between children, by k, dense and sparse."""
    cells = beside_cells(config, steps_of(config.k, config.task, (0.0, 0.125)))
    return Study(
        name="frankle2020.path",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=lambda table: [],
        details=partial(details, cells),
        arms=beside_arms(config),
        variants=LABELS,
        levels="steps",
        figures=(
            Figure(
                "path",
                "Error along the line between two children",
                (Panel("value", "error (%)", 100),),
                kind="profile",
                detail="paths",
                x_label="a: a W + (1 - a) W'",
                caption=config.said(),
            ),
            Figure("instability", "Barriers", (instability_panel(config),), x="step", caption=config.said()),
        ),
    )


def details(cells: list[Cell], results: Results) -> "dict[str, pd.DataFrame]":
    """Errors at every point, averaged over the pairs of a replicate."""
    import pandas as pd

    frames = []
    for cell in cells:
        assert cell.measurement is not None
        found, density = results.measured(cell.measurement), results[cell.run].summary["density"]
        where = {"arm": cell.arm, "level": cell.level, "density": density, "replicate": cell.replicate}
        frames += [pd.DataFrame({**where, "variant": part, "x": found["a"], "value": found[f"{part}_error"]}) for part in PARTS]
    keys = ["variant", "arm", "level", "replicate", "x"]
    return {"paths": pd.concat(frames).groupby(keys, as_index=False).mean()}
