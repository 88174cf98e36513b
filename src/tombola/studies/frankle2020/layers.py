"""Which layers make the barrier? One layer moves from one child to the other, the rest stays (Adilova et al. 2024)."""

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from tombola.evaluation.barrier import barrier
from tombola.studies import Figure, Measurement, Panel, Results, Row, Values, study
from tombola.studies.frankle2020.common import Instability, from_step


@study("frankle2020.layers", task="digits-noise-mlp", answers="Which layers make the barrier between two copies?")
class Layers(Instability):
    """Barrier and distance by layer, on layer-wise paths between children of W_k."""

    columns = ("draw", "step", "share", "instability", "distance")

    def rows(self) -> Iterable[Row]:
        for replicate, level, k, dense in self.starts():
            for draw, (first, second) in enumerate(combinations(self.children_of(from_step(dense, k)), 2)):
                both = (first.at("end"), second.at("end"))
                by_layer = Measurement(task=dense.task, seed=dense.seed, name="layers", of=both, options=self.path_options())
                yield Row("dense", replicate, level, first, draw, measurement=by_layer)

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """A row for each layer: barrier_l = max over a of E(one layer mixed) - (E(W) + E(W')) / 2, or another form of it."""
        assert row.measurement is not None
        found, begin, end = results.of(row), results[row.run].begin, results[row.run].end
        self.check_ends(found, [results[parent.run] for parent in row.measurement.of])
        first, second = found[f"{self.part}_ends"]
        rows: list[Values] = []
        for name in sorted(key.removeprefix("distance/") for key in found if key.startswith("distance/")):
            # Against the errors of the whole networks: the end with one foreign layer is a point of the path.
            path = np.concatenate([[second], found[f"{self.part}_error/{name}"], [first]])
            height = float(barrier(path, np.concatenate([[0.0], found["a"], [1.0]]), self.form))
            of_layer = {"instability": self.if_learnt(found, (first, second), height), "distance": float(found[f"distance/{name}"])}
            rows.append({"step": begin, "share": begin / end, "arm": name.split("/", 1)[1], **of_layer})
        return rows

    def figures(self) -> Sequence[Figure]:
        caption = f"Heights are above the mean error of the two whole networks. {self.evaluated}"
        panels = (self.barrier, Panel("distance", "2-norm between the layers"))
        return (self.against_k("layers", "One layer moves, the others stay", *panels, caption=caption),)
