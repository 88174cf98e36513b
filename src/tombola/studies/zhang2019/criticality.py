"""Module criticality: how wide the valley is between a layer's initial and final values (Chatterji et al. 2020)."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tombola.core.task import Count
from tombola.evaluation.statistics import rank_correlation
from tombola.models.groups import Unit
from tombola.studies import Details, Effect, Evidence, Figure, Measurement, Panel, Results, Row, Values, claim, dense_run, study
from tombola.studies.zhang2019 import common

NETWORK = "network"


@study("zhang2019.criticality", task="fcn-digits", answers="How wide is the valley around each layer's way through training?")
class Criticality(common.Layers):
    """Layers moved along their way and shaken, beside the rise of the error on re-initialisation."""

    paper = "Chatterji et al. 2020"
    scales = {"smoke": {"replicates": 2, "places": 3, "noises": (0.01, 0.1), "draws": 2}}
    columns = ("kept", "prunable", "criticality", "log_criticality", "a", "sigma", "distance", "rise", "own_train_error")

    train_examples: Count | None = None
    """How many training examples the valley is measured on. None: all."""
    unit: Unit = "layer"
    """What is moved together: `layer`, `block`, `stage`."""
    places: Annotated[int, Field(ge=2, le=10_000)] = 11
    """How many evenly spaced places a there are on the way from the initial values (0) to the final ones (1)."""
    noises: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1)] = tuple(
        round(10 ** (power / 4 - 3), 6) for power in range(13)
    )
    """Standard deviations of the noise: 0.001 to 1, four a decade."""
    draws: Annotated[int, Field(ge=1, le=1000)] = 5
    """Draws of the noise at each place and standard deviation, over which the error is averaged."""
    epsilon: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """How much the training error at a place in the valley may exceed that of the trained network."""

    def sees_training(self) -> bool:
        """Always: the valley is one of the training error."""
        return True

    def rows(self) -> Iterable[Row]:
        runs = [dense_run(self, replicate) for replicate in range(self.replicates)]
        options: dict[str, Any] = {"unit": self.unit, "places": self.places, "noises": list(self.noises), "draws": self.draws}
        options |= {"batch_norm": self.batch_norm, "train": self.train_examples}
        for replicate, run in enumerate(runs):
            of = (run.at("end"), run.its_mask(), run.at(common.INITIAL))
            valley = Measurement(task=run.task, seed=run.seed, name="valley", of=of, options=options)
            yield Row("dense", replicate, 0, run, measurement=valley)

    def measurements(self) -> Sequence[Measurement]:
        return [self._reset(row) for row in self.rows()]

    def _reset(self, row: Row) -> Measurement:
        return self.reset(row.run, unit=self.unit)

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for each layer, and one with the network's total."""
        found, alone = results.of(row), results.measured(self._reset(row))
        own = float(found["own_error"])
        rows: list[Values] = []
        for index, name in enumerate(common.units_of(results, self.task, self.unit)):
            distance = float(found["distance"][index])
            value, a, sigma = least(found["error"][index], found["a"], found["sigma"], distance, own + self.epsilon)
            rise = float(alone["error"][index, 0] - alone["own_error"])
            rows.append({"own_train_error": own, "arm": name, **_value(value), "a": a, "sigma": sigma, "distance": distance, "rise": rise})
        return [*rows, {"own_train_error": own, "arm": NETWORK, **_value(sum(row["criticality"] for row in rows))}]

    def details(self, results: Results) -> Details:
        """Rise of the training error over places and noises, a map for each layer."""
        rows = []
        for row in self.rows():
            found = results.of(row)
            for index, name in enumerate(common.units_of(results, self.task, self.unit)):
                for (place, noise), error in np.ndenumerate(found["error"][index]):
                    cell = {"row": f"a = {found['a'][place]:.2g}", "column": f"{found['sigma'][noise]:.2g}"}
                    rows.append({"arm": name, "replicate": row.replicate, **cell, "rise": float(error - found["own_error"])})
        return {"valley": rows}

    def figures(self) -> Sequence[Figure]:
        criticality = Panel("log_criticality", "log10(1 + module criticality)")
        error = Panel("rise", "rise of the training error (pp)", 100, threshold=self.epsilon)
        title = "Module criticality against the rise of the error on re-initialisation"
        least = "Module criticality is the least of (a |theta_T - theta_0| / sigma)^2 over the valley."
        said = (
            f"Rows go from a layer's initial values (0) to its final ones (1); the valley is a rise of at most {100 * self.epsilon:g} pp."
        )
        return (
            Figure("criticality", title, (criticality,), "scatter", across=self.rise, caption=least),
            self.heat_map("valley", "Rise of the training error along each layer's way", error, across="SD of the noise", said=said),
        )

    @claim(
        "LAY-O2",
        "section 3",
        "Module criticality orders the layers as the rise of the error on re-initialisation does.",
        note="As the rise does: a rank correlation over layers of 0.5 or more.",
    )
    def order(self, table: Evidence) -> Iterable[Effect]:
        layers = table.table[table.table.arm != NETWORK]
        few = "" if layers.arm.nunique() > 3 else f"a rank correlation over {layers.arm.nunique()} layers says nothing"
        rho = [rank_correlation(own.log_criticality, own.rise) for _, own in layers.groupby("replicate")]
        name = "rank correlation over layers of module criticality with the rise of the error"
        yield table.effect(name, "rho", rho, least=common.ALIKE, lacks=few)


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


def _value(value: float) -> Values:
    return {"criticality": value, "log_criticality": float(np.log10(1 + value))}
