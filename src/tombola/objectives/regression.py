"""Regression: real targets, by the squared error."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from tombola.core.objective import Measure, Objective, register


@register("regression")
class Regression(Objective):
    """Targets (n, *shape), float32. The loss is the squared error, averaged over the values of a target; so is the headline, `mse`,
    in the square of the targets' unit.
    """

    measured: ClassVar[Mapping[str, Measure]] = {"mse": Measure("mean squared error")}

    def loss(self, outputs: Any, targets: Any) -> Any:
        """(B,) mean over the values of a target of (output - target)^2."""
        return ((outputs - targets) ** 2).reshape(len(targets), -1).mean(-1)

    def measures(self, outputs: Any, targets: Any) -> Mapping[str, Any]:
        """`mse`: the loss."""
        return {"mse": self.loss(outputs, targets)}

    def disagreement(self, first: Any, second: Any) -> float:
        """Mean squared difference of two networks' outputs."""
        return float(np.mean((np.asarray(first, np.float64) - second) ** 2))

    def chance(self, targets: Any) -> float:
        """The squared error of the targets' mean: their variance, averaged over the values of a target."""
        return float(np.var(np.asarray(targets, np.float64), axis=0).mean())
