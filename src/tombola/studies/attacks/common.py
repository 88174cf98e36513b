"""What the studies of attacks share: radii and attacks, networks of a chain attacked together, the columns that are measured."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from tombola.core.task import Count, Task
from tombola.procedures.measurement import Measurement
from tombola.procedures.run import Run
from tombola.studies.base import Row, Scale, Values
from tombola.studies.figure import Figure, Panel
from tombola.studies.results import Results
from tombola.studies.tickets import Positive, TicketStudy

if TYPE_CHECKING:
    import pandas as pd

Attack = Literal["fgsm", "pgd", "square", "random"]
ROBUST = Panel("robust_acc", "test accuracy under attack (%)", 100)
PGD = Panel("pgd_acc", "test accuracy under PGD (%)", 100)
COLUMNS: tuple[str, ...] = (
    "kept",
    "prunable",
    "draw",
    "clean_acc",
    "robust_acc",
    "fgsm_acc",
    "pgd_acc",
    "square_acc",
    "random_acc",
    "distance",
)
EQUAL = 5.0
"""Difference of accuracy under attack, in pp, within which networks are equally fragile."""
OTHER_RADII = {"mnist": (0.1, 0.2, 0.3), "fashion-mnist": (0.1, 0.2, 0.3)}
"""Data set -> radii, where they are not those of the digits."""


class UnderAttack(TicketStudy):
    """Networks that are trained, and then attacked on test examples."""

    paper = "Tombola's own question"
    columns = COLUMNS

    levels: Annotated[int, Field(ge=1, le=60)] = 10
    eps: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.05, 0.1, 0.2)
    """Radii in the maximum norm, of pixels on a scale from 0 to 1. Of MNIST .1, .2 and .3, if none are named."""
    attacks: Annotated[tuple[Attack, ...], Field(min_length=1)] = ("fgsm", "pgd", "square", "random")
    """Whose minimum counts: an example is right under attack if it is right under each of them, and unattacked."""
    steps_of_pgd: Count = 40
    """Steps of projected gradient descent."""
    restarts: Count = 5
    """Random starts of projected gradient descent; the worst counts."""
    attacked_examples: Count | None = 300
    """The first test examples; None: all."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        radii = {"eps": OTHER_RADII[task.data.name]} if task.data.name in OTHER_RADII else {}
        small = {"replicates": 2, "levels": 1, "eps": (0.1,), "steps_of_pgd": 5, "restarts": 1, "attacked_examples": 50}
        return {**radii, **(small if scale == "smoke" else {}), **super().at(scale, task)}

    @property
    def variants(self) -> Mapping[str, str]:
        """Radii, from small to large."""
        return {f"{eps:g}": f"radius {eps:g}" for eps in self.eps}

    def under_attack(self, runs: Sequence[Run], task: Task | None = None, **options: Any) -> Measurement:
        """All of some networks of a replicate at their ends, attacked."""
        asked = {"eps": list(self.eps), "attacks": list(self.attacks), "steps": self.steps_of_pgd, "restarts": self.restarts}
        asked |= {"examples": self.attacked_examples, **options}
        return Measurement(
            task=task or self.task, seed=runs[0].seed, name="attacked", of=tuple(run.at("end") for run in runs), options=asked
        )

    def rows_of(self, arm: str, replicate: int, chain: Sequence[Run], first: int = 0, task: Task | None = None) -> list[Row]:
        """A row for each run of a chain from level `first` on; they are attacked together."""
        runs = chain[first:]
        found = self.under_attack(runs, task)
        return [Row(arm, replicate, first + place, run, measurement=found) for place, run in enumerate(runs)]

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """A row for each radius."""
        assert row.measurement is not None
        found, summary = results.measured(row.measurement), results[row.run].summary
        place = [parent.run for parent in row.measurement.of].index(row.run)
        common = {name: summary[name] for name in ("kept", "prunable")} | {"draw": row.draw, "clean_acc": float(found["clean_acc"][place])}
        common["distance"] = float(found["distance"][place])
        left = ("robust", *self.attacks)
        return [
            {**common, "variant": variant, **{f"{name}_acc": float(found[f"{name}_acc"][place, index]) for name in left}}
            for index, variant in enumerate(self.variants)
        ]

    def frame_of_pictures(self, rows: Sequence[Row], results: Results, shape: tuple[int, int]) -> "pd.DataFrame":
        """PGD's examples for networks at the largest radius: the first four test examples, two by two."""
        import pandas as pd

        frames = []
        for row in rows:
            assert row.measurement is not None
            found = results.measured(row.measurement)
            place = [parent.run for parent in row.measurement.of].index(row.run)
            four = [one.reshape(shape) for one in found["picture"][place][:4]]
            square = np.block([four[:2], four[2:]])
            columns, lines = np.meshgrid(np.arange(square.shape[1]), np.arange(square.shape[0]))
            at = {"variant": f"{self.eps[-1]:g}", "arm": row.arm, "level": row.level, "density": results[row.run].summary["density"]}
            frames.append(pd.DataFrame({**at, "row": lines.reshape(-1), "column": columns.reshape(-1), "value": square.reshape(-1)}))
        return pd.concat(frames, ignore_index=True)

    @property
    def ensemble(self) -> str:
        """What the figures say of the attacks."""
        names = {"fgsm": "FGSM", "pgd": f"PGD-{self.steps_of_pgd} with {self.restarts} restarts", "square": "square", "random": "random"}
        return f"Right under each of {', '.join(names[one] for one in self.attacks)}; radii in the maximum norm, of pixels from 0 to 1."

    def robust_figure(self, name: str, title: str, arms: Sequence[str] = ()) -> Figure:
        """Accuracy under attack against density, a panel a radius."""
        return Figure(name, title, (ROBUST,), arms=tuple(arms), caption=self.ensemble)
