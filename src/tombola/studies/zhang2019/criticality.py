"""Module criticality: how wide the valley is between a layer's initial and final values (Chatterji et al. 2020)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from tombola.core.step import Step
from tombola.core.task import Count
from tombola.evaluation.paired import effect_of
from tombola.evaluation.statistics import rank_correlation
from tombola.evaluation.verdict import Verdict
from tombola.models.groups import Unit
from tombola.models.tasks import task as named_task
from tombola.procedures.measurement import Measurement
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.zhang2019.common import Layers, at_smoke, dense_run, for_noise, reset, units_of

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("kept", "prunable", "criticality", "log_criticality", "a", "sigma", "distance", "rise", "own_train_error")
NETWORK = "network"


class Criticality(Layers):
    """Layers moved along their way and shaken."""

    train_examples: Count | None = None
    """Training examples on which the valley is measured; None: all."""
    unit: Unit = "layer"
    places: Annotated[int, Field(ge=2)] = 11
    """Evenly spaced places a from the initial values (0) to the final ones (1)."""
    noises: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = tuple(
        round(10 ** (power / 4 - 3), 6) for power in range(13)
    )
    """Standard deviations of the noise: 0.001 to 1, four a decade."""
    draws: Annotated[int, Field(ge=1)] = 5
    """Draws of the noise at each place and standard deviation, over which the error is averaged."""
    epsilon: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """A place in the valley has a training error of no more than this above that of the trained network."""

    def sees_training(self) -> bool:
        """Always: the valley is one of the training error."""
        return True


def _configure(scale: Scale, task: str) -> Criticality:
    found = named_task(task, scale)
    return Criticality(task=found, **for_noise(found), **at_smoke(scale, places=3, noises=(0.01, 0.1), draws=2))


@study(
    "zhang2019.criticality",
    answers="How wide is the valley around each layer's way through training?",
    claims=("LAY-O2",),
    task="fcn-digits",
    configure=_configure,
)
def criticality(config: Criticality) -> Study:
    """Module criticality by layer, with the network's total, beside the rise of the error on re-initialisation."""
    return Study(
        name="zhang2019.criticality",
        config=config,
        cells=tuple(
            Cell("dense", replicate, 0, dense_run(config, replicate), measurement=_valley(config, replicate))
            for replicate in range(config.replicates)
        ),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=claims,
        measurements=tuple(_reset(config, replicate) for replicate in range(config.replicates)),
        details=partial(details, config),
        figures=(
            Figure(
                "criticality",
                "Module criticality against the rise of the error on re-initialisation",
                (Panel("log_criticality", "log10(1 + module criticality)"),),
                kind="scatter",
                across=Panel("rise", f"rise of the {config.judged()} (pp)", 100),
                caption="The least of (a |theta_T - theta_0| / sigma)^2 over the valley.",
            ),
            Figure(
                "valley",
                "Rise of the training error along each layer's way, under noise",
                (Panel("rise", "rise of the training error (pp)", 100, threshold=config.epsilon),),
                kind="heatmap",
                detail="valley",
                x_label="standard deviation of the noise",
                caption="Rows: a, from the layer's initial values (0) to its final ones (1). "
                f"The valley: {100 * config.epsilon:g} pp at most.",
            ),
        ),
    )


def _valley(config: Criticality, replicate: int) -> Measurement:
    run = dense_run(config, replicate)
    options: dict[str, Any] = {
        "unit": config.unit,
        "places": config.places,
        "noises": list(config.noises),
        "draws": config.draws,
        "batch_norm": config.batch_norm,
        "train": config.train_examples,
    }
    return Measurement(task=run.task, seed=run.seed, name="valley", of=(run.at("end"), run.its_mask(), run.at("0it")), options=options)


def _reset(config: Criticality, replicate: int) -> Measurement:
    return reset(config, dense_run(config, replicate), (Step("0it"),), unit=config.unit)


def least(error: np.ndarray, a: np.ndarray, sigma: np.ndarray, distance: float, allowed: float) -> tuple[float, float, float]:
    """(mu, a, sigma): mu = min of a^2 distance^2 / sigma^2 over places whose `error` (A, N) is `allowed` or less; inf where none is.

    >>> least(np.array([[0.5, 0.9], [0.0, 0.5]]), np.array([0.0, 1.0]), np.array([0.1, 1.0]), 2.0, 0.1)
    (400.0, 1.0, 0.1)
    """
    values = np.where(error <= allowed, (a[:, None] * distance / sigma[None, :]) ** 2, np.inf)
    place, noise = np.unravel_index(int(np.argmin(values)), values.shape)
    if not np.isfinite(values[place, noise]):
        return float("inf"), float("nan"), float("nan")
    return float(values[place, noise]), float(a[place]), float(sigma[noise])


def measure(config: Criticality, cell: Cell, results: Results) -> list[Row]:
    """A row for each layer, and one with the network's total."""
    assert cell.measurement is not None
    found, alone = results.measured(cell.measurement), results.measured(_reset(config, cell.replicate))
    summary, own = results[cell.run].summary, float(found["own_error"])
    common = {"kept": summary["kept"], "prunable": summary["prunable"], "own_train_error": own}
    rows: list[Row] = []
    for index, name in enumerate(units_of(results, config.task, config.unit)):
        distance = float(found["distance"][index])
        value, a, sigma = least(found["error"][index], found["a"], found["sigma"], distance, own + config.epsilon)
        rise = float(alone["error"][index, 0] - alone["own_error"])
        rows.append({**common, "arm": name, **_value(value), "a": a, "sigma": sigma, "distance": distance, "rise": rise})
    return [*rows, {**common, "arm": NETWORK, **_value(sum(row["criticality"] for row in rows))}]


def _value(value: float) -> dict[str, float]:
    return {"criticality": value, "log_criticality": float(np.log10(1 + value))}


def details(config: Criticality, results: Results) -> "dict[str, pd.DataFrame]":
    """Rise of the training error over places and noises, a map for each layer."""
    import pandas as pd

    rows = []
    for replicate in range(config.replicates):
        found = results.measured(_valley(config, replicate))
        for index, name in enumerate(units_of(results, config.task, config.unit)):
            for place, a in enumerate(found["a"]):
                for noise, sigma in enumerate(found["sigma"]):
                    rise = float(found["error"][index, place, noise] - found["own_error"])
                    at = {"variant": "", "arm": name, "level": 0, "density": 1.0, "replicate": replicate}
                    rows.append({**at, "row": f"a = {a:.2g}", "column": f"{sigma:.2g}", "rise": rise})
    return {"valley": pd.DataFrame(rows)}


def claims(table: "pd.DataFrame") -> list[Verdict]:
    """LAY-O2 on the table of the study."""
    rows = table[table.arm != NETWORK]
    rho = [rank_correlation(one.log_criticality, one.rise) for _, one in rows.groupby("replicate") if len(one) > 2]
    effect = effect_of("rank correlation over layers of module criticality with the rise of the error", "rho", rho, least=0.3)
    sentence = "Module criticality orders the layers as the rise of the error on re-initialisation does."
    return [Verdict("LAY-O2", sentence, "Chatterji et al. 2020, section 3", (effect,))]
