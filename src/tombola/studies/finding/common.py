"""What the studies of finding tickets share: the methods, each as a run that trains what it found, and the controls of all of them."""

from typing import Any

from tombola.studies import Action, Run, Step, dense_run, pruned_mask
from tombola.studies.moving.common import AtDensities, Iterative, going_on, moving, sparse

METHODS = {
    "random": "random (ERK)",
    "snip": "SNIP",
    "grasp": "GraSP",
    "synflow": "SynFlow",
    "early_bird": "early bird",
    "rigl": "RigL",
    "gradual": "gradual",
    "one_shot": "one shot, rewound",
    "one_shot_lrr": "one shot, learning-rate rewinding",
    "cycled": "random, cycles as for the last",
    "imp": "iterative, rewound",
    "lrr": "iterative, learning-rate rewinding",
}
"""Method -> its label, roughly from cheap to dear."""
AT_START = ("snip", "grasp", "synflow")
"""Methods that prune the untrained network."""
CONTROLS = {"shuffled": "mask shuffled within layers", "reinit": "mask over fresh initial weights", "inverted": "the wrong way round"}
UPDATES = 40
LOOKS = 40
"""Updates of masks in the length of a training, and looks at the weights."""


class Finding(Iterative):
    """Tickets found by several methods, at the same densities of all prunable weights."""

    densities: tuple[float, ...] = (0.1, 0.05, 0.02)

    def found(self, method: str, replicate: int) -> dict[int, Run]:
        """Level -> the run that trains what a method found."""
        dense = dense_run(self, replicate)
        if method in ("imp", "lrr"):
            return self.by_level(self.imp(replicate, continued=method == "lrr"))
        if method == "cycled":
            return {level: self.cycled(replicate, level) for level in range(1, len(self.densities) + 1)}
        return {level: self._run(method, dense, density) for level, density in enumerate(self.densities, 1)}

    def _run(self, method: str, dense: Run, density: float) -> Run:
        recipe = self.task.recipe
        every = str(recipe.steps.times(1 / UPDATES))
        if method == "gradual":
            end = str(recipe.steps.times(0.75))
            return dense.but(task=moving(self.task, method, final=density, end=end, every=every, scope=self.scope))
        if method == "rigl":
            return dense.but(task=moving(self.task, method, every=every), mask=sparse(density))
        if method == "one_shot_lrr":
            return going_on(dense, dense, pruned_mask(self.pruned(density), dense, dense), 1)
        if method == "one_shot":
            return self.rewound(dense, pruned_mask(self.pruned(density), dense, dense))
        if method == "early_bird":
            return self.rewound(dense, self.early_bird(dense, density))
        return dense.but(mask=at_start(self, method, dense, density))

    def early_bird(self, dense: Run, density: float) -> Action:
        """The mask of the first look at which masks have settled."""
        return Action(
            name="early_bird", of=tuple(dense.at(step) for step in looks(self)), options={"density": density, "scope": self.scope}
        )


def at_start(study: AtDensities, method: str, dense: Run, density: float, **changes: Any) -> Action:
    """The mask of a method that sees the untrained network alone; `changes` are options, such as ``inverted=True``."""
    if method == "random":
        return sparse(density)
    if method == "snip":
        mask = pruned_mask(study.pruned(density, criterion="snip", prune_at="0it"), dense, dense)
        return mask.but(options={**mask.options, **changes})
    return Action(name=method, options={"density": density, **changes})


def looks(study: AtDensities) -> list[Step]:
    """Evenly spaced steps of training, both ends among them."""
    steps = study.task.recipe.steps
    return [Step("0it"), *dict.fromkeys(steps.times(index / LOOKS) for index in range(1, LOOKS)), Step("end")]


def control(study: AtDensities, name: str, run: Run, level: int) -> Run:
    """The same run under its mask shuffled within layers, or with its mask over fresh initial weights."""
    plain = run.but(task=study.task)
    if name == "shuffled":
        return plain.but(mask=Action(name="shuffle", of=(run.its_mask(),), options={"stream": f"mask/{level}/0"}))
    same = Action(name="parent_mask", of=(run.its_mask(),))
    return plain.but(mask=same, kept=Action(name="reinit", options={"stream": f"reinit/{level}/0"}))
