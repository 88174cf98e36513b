"""The error over the plane through three children of W_k, as contours."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from tombola.core.step import Step
from tombola.procedures.measurement import Measurement
from tombola.studies.base import Row, study
from tombola.studies.figure import Figure, Panel
from tombola.studies.frankle2020.common import FEW, Instability, dense_run, from_step
from tombola.studies.results import Results

if TYPE_CHECKING:
    import pandas as pd


@study("frankle2020.surface", task="digits-noise-mlp", answers="What does the error look like between and around three copies?")
class Surface(Instability):
    """Error over the plane through three children of the first replicate, a plane a step k.

    Where no k is named they are 0, 1/16 and 1/4 of training.
    """

    scales = {"smoke": {**FEW, "children": 3, "replicates": 1, "grid": 5}}
    arms = {"dense": "dense network"}
    shares = (0.0, 1 / 16, 1 / 4)

    children: Annotated[int, Field(ge=3, le=10)] = 3
    """The first three span the plane."""
    replicates: Annotated[int, Field(ge=1)] = 1
    """The plane is drawn for the first."""
    grid: Annotated[int, Field(ge=2, le=201)] = 25
    """Points of the plane in each direction."""
    margin: Annotated[float, Field(ge=0, le=2)] = 0.3
    """How far the plane reaches beyond the networks, as a share of their extent."""

    def rows(self) -> Iterable[Row]:
        for replicate, level, k, dense in self.starts():
            yield from self.pair_rows("dense", replicate, level, from_step(dense, k), dense)

    def measurements(self) -> Sequence[Measurement]:
        return [self._plane(k) for k in self.steps]

    def _plane(self, k: Step) -> Measurement:
        dense = dense_run(self, 0)
        three = self.children_of(from_step(dense, k))[:3]
        options = {"grid": self.grid, "margin": self.margin, "train": self.train_examples}
        return Measurement(task=dense.task, seed=dense.seed, name="plane", of=tuple(run.at("end") for run in three), options=options)

    def details(self, results: Results) -> "dict[str, pd.DataFrame]":
        """Errors on the grid of each plane, and at its networks."""
        import pandas as pd

        frames = []
        for level, plane in enumerate(self.measurements()):
            found = results.measured(plane)
            x, y = np.meshgrid(found["x"], found["y"])
            where = {"variant": "", "arm": "dense", "level": level, "density": 1.0}
            error, own = found[f"{self.part}_error"], found[f"{self.part}_networks"]
            frames.append(pd.DataFrame({**where, "x": x.ravel(), "y": y.ravel(), "value": error.ravel(), "network": ""}))
            names = [f"child {index + 1}" for index in range(3)]
            places = found["networks"]
            frames.append(pd.DataFrame({**where, "x": places[:, 0], "y": places[:, 1], "value": own, "network": names}))
        return {"surface": pd.concat(frames, ignore_index=True)}

    def figures(self) -> Sequence[Figure]:
        error = Panel("value", f"{'training' if self.part == 'train' else 'test'} error (%)", 100)
        title, said = (
            "Error over the plane through three children",
            "Statistics of batch norm, where there is any, computed anew at each point.",
        )
        return (
            self.against_k("instability", "Barriers between the three", self.barrier),
            Figure("surface", title, (error,), kind="surface", detail="surface", caption=said),
        )
