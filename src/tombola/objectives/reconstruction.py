"""Reconstruction: what an autoencoder learns."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from tombola.core.objective import register
from tombola.objectives.likelihood import Likelihood, bernoulli_nats, check_range, flat, mean_picture
from tombola.objectives.regression import Regression
from tombola.objectives.sparse_code import SparseCode, plain


@register("reconstruction")
class Reconstruction(SparseCode, Regression):
    """Targets are the inputs as the network gets them (standardised, augmented). The headline `mse` is the squared difference from the
    picture that the network expects, averaged over its values.
    """

    targets: ClassVar[Literal["classes", "values", "inputs"]] = "inputs"

    likelihood: Likelihood = "gaussian"
    """The loss: of `gaussian` the squared error, averaged over the values of a target; of `bernoulli` the cross-entropy of each value
    with the sigmoid of its output, in nats, summed over the values."""
    noise: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of normal noise on the inputs of training, in their unit; targets are without it (a denoising autoencoder)."""

    @property
    def changes_batches(self) -> bool:
        """Whether batches are changed: where there is noise, or a subclass has a `batch` of its own."""
        return self.noise > 0 or type(self).batch is not Reconstruction.batch

    def batch(self, key: Any, examples: tuple[Any, Any], predict: Any) -> tuple[Any, Any]:
        """Noise on the inputs."""
        if not self.noise:
            return examples
        import jax

        inputs, targets = examples
        return inputs + self.noise * jax.random.normal(key, inputs.shape), targets

    def loss(self, outputs: Any, targets: Any) -> Any:
        """(B,) as `likelihood` says."""
        outputs = plain(outputs)
        return bernoulli_nats(outputs, targets) if self.likelihood == "bernoulli" else flat((outputs - targets) ** 2).mean(-1)

    def training_loss(self, outputs: Any, targets: Any, smoothing: float) -> Any:
        """The loss, and the terms that make it sparse."""
        values = 1 if self.likelihood == "bernoulli" else flat(targets).shape[-1]
        return self.loss(outputs, targets) + self.penalty(outputs) / values

    def measures(self, outputs: Any, targets: Any) -> Mapping[str, Any]:
        """The measure `mse`."""
        return {"mse": flat((self.prediction(plain(outputs)) - targets) ** 2).mean(-1)}

    def prediction(self, outputs: Any) -> Any:
        """(B, ...) the picture that the network expects."""
        return mean_picture(self.likelihood, outputs)

    def fitted(self, dataset: Any) -> Self:
        """Raises for a Bernoulli likelihood of values outside [0, 1]."""
        check_range(self.name, self.likelihood, dataset)
        return self

    def chance(self, targets: Any) -> float:
        """The squared error of the mean picture: the variance of a value, averaged over the values."""
        return float(np.var(np.asarray(targets, np.float64), axis=0).mean())
