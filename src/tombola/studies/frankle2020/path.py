"""The error along the way from one child to another, dense and sparse (figure 2 and appendix)."""

from collections.abc import Sequence

from tombola.studies import Details, Figure, Panel, Results, study
from tombola.studies.frankle2020.beside import Beside
from tombola.studies.frankle2020.common import PARTS


@study(
    "frankle2020.path",
    task="digits-noise-mlp",
    answers="How does the error change on the line between two copies that were trained under different SGD noise?",
)
class Path(Beside):
    """Test and training error along the lines between children of W_k, and between those of tickets that were rewound to it.

    Where no k is named it is 0 and an eighth of training.
    """

    shares = (0.0, 0.125)
    variants = {"test": "test set", "train": "training set"}

    def details(self, results: Results) -> Details:
        """Errors at every point, averaged over the pairs of a replicate."""
        import pandas as pd

        frames = []
        for row in self.rows():
            found = results.of(row)
            frames += [pd.DataFrame(results.where(row, variant=part, x=found["a"], value=found[f"{part}_error"])) for part in PARTS]
        return {"paths": pd.concat(frames).groupby(["variant", "arm", "level", "replicate", "x"], as_index=False).mean()}

    def figures(self) -> Sequence[Figure]:
        title, panels, along = "Error along the line between two children", (Panel("value", "error (%)", 100),), "a: a W + (1 - a) W'"
        path = Figure("path", title, panels, kind="profile", detail="paths", x_label=along, caption=self.evaluated)
        return path, self.against_k("instability", "Barriers", self.barrier)
