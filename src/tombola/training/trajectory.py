"""What training gives back: weights at the requested steps, and metrics over steps, for R replicas."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.core.trees import Tree


@dataclass(frozen=True)
class Trajectory:
    """R replicas side by side; every array has the replica axis first."""

    task: Task
    seeds: tuple[int, ...]
    mask: Mask
    metrics: Mapping[str, np.ndarray]
    """`step` (n,) iterations; `val_loss`, `val_acc`, `test_loss`, `test_acc` (R, n): nats, and shares in [0, 1]; NaN where the test
    set was not evaluated. What stands for `acc` with another objective is in its `columns`: `mse`, say."""
    summary: Mapping[str, np.ndarray]
    """(R,) each: `es_step` (iteration of minimum validation loss), `es_test_loss`, `es_test_acc`, and `train_loss`,
    `train_acc` on the whole training set after the last step."""
    snapshots: Mapping[int, Tree]
    steps_per_epoch: int
    end: int
    """The iteration after which training stopped: the end of the recipe, or `until`."""

    def at(self, step: "Step | str | int") -> Tree:
        """The weights after `step`, stacked (R, ...). They are there if training was asked to keep that step."""
        iteration = Step(step).iterations(self.steps_per_epoch, self.end)
        if iteration not in self.snapshots:
            there = ", ".join(f"{kept}it" for kept in sorted(self.snapshots)) or "none"
            raise TombolaError(f"no weights of step {str(step)!r} were kept (kept: {there}); train with keep=[{str(step)!r}]")
        return self.snapshots[iteration]

    @property
    def initial(self) -> Tree:
        """The weights training began from."""
        return self.at(min(self.snapshots))

    @property
    def final(self) -> Tree:
        """The weights after the last step."""
        return self.at("end")
