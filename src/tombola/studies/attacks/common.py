"""What the studies of attacks share: radii and attacks, networks of a chain attacked together, the columns that are measured."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from tombola.core.task import Count, Task
from tombola.studies import Figure, Measurement, Panel, Positive, Results, Row, Run, Scale, TicketStudy, Values

Attack = Literal["fgsm", "pgd", "square", "random"]
ROBUST = Panel("robust_acc", "test accuracy under attack (%)", 100)
PGD = Panel("pgd_acc", "test accuracy under PGD (%)", 100)
EQUAL = 5.0
"""Difference of accuracy under attack, in pp, within which networks are equally fragile."""
OTHER_RADII = {"mnist": (0.1, 0.2, 0.3), "fashion-mnist": (0.1, 0.2, 0.3)}
"""Data set -> radii, where they are not those of the digits."""


class UnderAttack(TicketStudy):
    """Networks that are trained, and then attacked on test examples."""

    paper = "Tombola's own question"
    columns = ("kept", "prunable", "draw", "clean_acc", *(f"{name}_acc" for name in ("robust", *get_args(Attack))), "distance")

    levels: Annotated[int, Field(ge=1, le=60)] = 10
    eps: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.05, 0.1, 0.2)
    """Radii of the attack in the maximum norm, on a scale of pixels from 0 to 1. If none is named, they are .1, .2 and .3 for MNIST."""
    attacks: Annotated[tuple[Attack, ...], Field(min_length=1)] = ("fgsm", "pgd", "square", "random")
    """The attacks whose minimum counts: an example counts as right under attack if it is right under each of them, and without one."""
    steps_of_pgd: Count = 40
    """Steps of projected gradient descent."""
    restarts: Count = 5
    """Random starts of projected gradient descent, of which the worst for the network counts."""
    attacked_examples: Count | None = 300
    """How many test examples are attacked, the first ones. None: all."""

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
        found, left = results.of(row), ("robust", *self.attacks)
        common = {name: float(found[name][row.place]) for name in ("clean_acc", "distance")}
        return [
            {**common, "variant": variant, **{f"{name}_acc": float(found[f"{name}_acc"][row.place, index]) for name in left}}
            for index, variant in enumerate(self.variants)
        ]

    @property
    def ensemble(self) -> str:
        """What the figures say of the attacks."""
        names = {"fgsm": "FGSM", "pgd": f"PGD-{self.steps_of_pgd} with {self.restarts} restarts", "square": "square", "random": "random"}
        attacks = ", ".join(names[one] for one in self.attacks)
        return f"An example counts if it is right under each of {attacks}; radii are in the maximum norm, of pixels from 0 to 1."

    def robust_figure(self, name: str, title: str, arms: Sequence[str] = ()) -> Figure:
        """Accuracy under attack against density, a panel a radius."""
        return Figure(name, title, (ROBUST,), arms=tuple(arms), caption=self.ensemble)
