"""Reconstruction: what an autoencoder learns."""

from typing import ClassVar, Literal

from tombola.core.objective import register
from tombola.objectives.regression import Regression


@register("reconstruction")
class Reconstruction(Regression):
    """Targets are the inputs as the network gets them (standardised, augmented); otherwise as regression."""

    targets: ClassVar[Literal["classes", "values", "inputs"]] = "inputs"
