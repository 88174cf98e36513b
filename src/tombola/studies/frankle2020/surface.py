"""The error over the plane through three children of W_k, as contours."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from tombola.core.step import Step
from tombola.models.tasks import task as named_task
from tombola.procedures.measurement import Measurement
from tombola.studies.base import Cell, Figure, Panel, Results, Scale, Study, study
from tombola.studies.frankle2020.common import (
    METRICS,
    Instability,
    at_smoke,
    children_of,
    dense_run,
    for_noise,
    from_step,
    instability_panel,
    measure,
    pair_cells,
    steps_of,
)

if TYPE_CHECKING:
    import pandas as pd


class Surface(Instability):
    """Planes through children of the first replicate."""

    k: tuple[Step, ...] = ()
    """Steps k, a plane each; none named: 0, 1/16 and 1/4 of training."""
    children: Annotated[int, Field(ge=3, le=10)] = 3
    """The first three span the plane."""
    replicates: Annotated[int, Field(ge=1)] = 1
    """The plane is drawn for the first."""
    grid: Annotated[int, Field(ge=2, le=201)] = 25
    """Points of the plane in each direction."""
    margin: Annotated[float, Field(ge=0, le=2)] = 0.3
    """How far the plane reaches beyond the networks, as a share of their extent."""


def _configure(scale: Scale, task: str) -> Surface:
    found = named_task(task, scale)
    return Surface(task=found, **for_noise(found), **at_smoke(scale, k=("0it", "1it"), children=3, replicates=1, grid=5))


@study(
    "frankle2020.surface",
    answers="What does the error look like between and around three copies?",
    claims=(),
    task="digits-noise-mlp",
    configure=_configure,
)
def surface(config: Surface) -> Study:
    """Error over the plane through three children, a plane a step k."""
    steps = steps_of(config.k, config.task, (0.0, 1 / 16, 1 / 4))
    planes = {level: _plane(config, k) for level, k in enumerate(steps)}
    cells: list[Cell] = []
    for replicate in range(config.replicates):
        dense = dense_run(config, replicate)
        for level, k in enumerate(steps):
            cells += pair_cells(config, "dense", replicate, level, from_step(dense, k), dense)
    return Study(
        name="frankle2020.surface",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=lambda table: [],
        arms={"dense": "dense network"},
        levels="steps",
        measurements=tuple(planes.values()),
        details=partial(details, config, planes),
        figures=(
            Figure("instability", "Barriers between the three", (instability_panel(config),), x="step", caption=config.said()),
            Figure(
                "surface",
                "Error over the plane through three children",
                (Panel("value", f"{'training' if config.part == 'train' else 'test'} error (%)", 100),),
                kind="surface",
                detail="surface",
                caption="Statistics of batch norm, where there is any, computed anew at each point.",
            ),
        ),
    )


def _plane(config: Surface, k: Step) -> Measurement:
    dense = dense_run(config, 0)
    children = children_of(from_step(dense, k), config)[:3]
    options = {"grid": config.grid, "margin": config.margin, "train": config.train_examples}
    return Measurement(task=dense.task, seed=dense.seed, name="plane", of=tuple(run.at("end") for run in children), options=options)


def details(config: Surface, planes: dict[int, Measurement], results: Results) -> "dict[str, pd.DataFrame]":
    """Errors on the grid of each plane, and at its networks."""
    import pandas as pd

    frames = []
    for level, measurement in planes.items():
        found = results.measured(measurement)
        x, y = np.meshgrid(found["x"], found["y"])
        where = {"variant": "", "arm": "dense", "level": level, "density": 1.0}
        error, own = found[f"{config.part}_error"], found[f"{config.part}_networks"]
        frames.append(pd.DataFrame({**where, "x": x.ravel(), "y": y.ravel(), "value": error.ravel(), "network": ""}))
        names = [f"child {index + 1}" for index in range(3)]
        places = found["networks"]
        frames.append(pd.DataFrame({**where, "x": places[:, 0], "y": places[:, 1], "value": own, "network": names}))
    return {"surface": pd.concat(frames, ignore_index=True)}
