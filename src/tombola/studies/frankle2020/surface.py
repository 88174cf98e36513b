"""The error over the plane through three children of W_k, as contours."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from tombola.studies import Details, Figure, Measurement, Panel, Results, Row, Step, study
from tombola.studies.frankle2020.common import FEW, Instability, dense_run, from_step
from tombola.studies.shown import long


@study("frankle2020.surface", task="digits-noise-mlp", answers="What does the error look like between and around three copies?")
class Surface(Instability):
    """Error over the plane through three children of the first replicate, a plane a step k.

    Where no k is named they are 0, 1/16 and 1/4 of training.
    """

    scales = {"smoke": {**FEW, "children": 3, "replicates": 1, "grid": 5}}
    arms = {"dense": "dense network"}
    shares = (0.0, 1 / 16, 1 / 4)

    children: Annotated[int, Field(ge=3, le=10)] = 3
    """Copies that are trained. The first three span the plane."""
    replicates: Annotated[int, Field(ge=1)] = 1
    """Repetitions of the whole study. The plane is drawn for the first."""
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

    def details(self, results: Results) -> Details:
        """Errors on the grid of each plane, and at its networks."""
        frames = []
        for level, plane in enumerate(self.measurements()):
            found = results.measured(plane)
            grid = long([("y", found["y"]), ("x", found["x"])], value=found[f"{self.part}_error"]).assign(network="")
            x, y = found["networks"].T
            own = long([("network", [f"child {index + 1}" for index in range(3)])], x=x, y=y, value=found[f"{self.part}_networks"])
            frames += [one.assign(arm="dense", level=level) for one in (grid, own)]
        return {"surface": frames}

    def figures(self) -> Sequence[Figure]:
        error = Panel("value", f"{'training' if self.part == 'train' else 'test'} error (%)", 100)
        title, said = (
            "Error over the plane through three children",
            "Statistics of batch norm, where there is any, are computed anew at each point.",
        )
        return (
            self.against_k("instability", "Barriers between the three", self.barrier),
            Figure("surface", title, (error,), kind="surface", detail="surface", caption=said),
        )
