"""Which layers make the barrier? One layer moves from one child to the other, the rest stays (Adilova et al. 2024)."""

from functools import partial
from itertools import combinations

import numpy as np

from tombola.evaluation.barrier import barrier
from tombola.models.tasks import task as named_task
from tombola.procedures.measurement import Measurement
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.frankle2020.common import (
    Instability,
    at_smoke,
    children_of,
    dense_run,
    for_noise,
    from_step,
    guard_ends,
    instability_panel,
    learnt,
    steps_of,
)


class Layers(Instability):
    """Layer-wise paths between children of W_k."""


def _configure(scale: Scale, task: str) -> Layers:
    found = named_task(task, scale)
    return Layers(task=found, **for_noise(found), **at_smoke(scale, children=2, k=("0it", "1it")))


@study(
    "frankle2020.layers",
    answers="Which layers make the barrier between two copies?",
    claims=(),
    task="digits-noise-mlp",
    configure=_configure,
)
def layers(config: Layers) -> Study:
    """Barrier and distance by layer, against k."""
    cells: list[Cell] = []
    for replicate in range(config.replicates):
        dense = dense_run(config, replicate)
        for level, k in enumerate(steps_of(config.k, config.task)):
            children = children_of(from_step(dense, k), config)
            for draw, (first, second) in enumerate(combinations(children, 2)):
                both = (first.at("end"), second.at("end"))
                measurement = Measurement(task=dense.task, seed=dense.seed, name="layers", of=both, options=config.options())
                cells.append(Cell("dense", replicate, level, first, draw, measurement=measurement))
    return Study(
        name="frankle2020.layers",
        config=config,
        cells=tuple(cells),
        metrics=("draw", "step", "share", "instability", "distance"),
        measure=partial(measured, config),
        claims=lambda table: [],
        levels="steps",
        figures=(
            Figure(
                "layers",
                "One layer moves, the others stay",
                (instability_panel(config), Panel("distance", "2-norm between the layers")),
                x="step",
                caption=f"Above the mean error of the two whole networks. {config.said()}",
            ),
        ),
    )


def measured(config: Layers, cell: Cell, results: Results) -> list[Row]:
    """A row for each layer: barrier_l = max over a of E(one layer mixed) - (E(W) + E(W')) / 2, or another form of it."""
    assert cell.measurement is not None
    found, begin, end = results.measured(cell.measurement), results[cell.run].begin, results[cell.run].end
    guard_ends(config, found, [results[parent.run] for parent in cell.measurement.of])
    first, second = found[f"{config.part}_ends"]
    rows: list[Row] = []
    for name in sorted(key.removeprefix("distance/") for key in found if key.startswith("distance/")):
        # Against the errors of the whole networks: the end with one foreign layer is a point of the path.
        error = found[f"{config.part}_error/{name}"]
        path = np.concatenate([[second], error, [first]])
        a = np.concatenate([[0.0], found["a"], [1.0]])
        of_layer = {
            "arm": name.split("/", 1)[1],
            "instability": learnt(config, found, (first, second), float(barrier(path, a, config.form))),
            "distance": float(found[f"distance/{name}"]),
        }
        rows.append({"draw": cell.draw, "step": begin, "share": begin / end, **of_layer})
    return rows
