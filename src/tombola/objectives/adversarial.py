"""Adversarial training: an objective around another, whose batches are attacked before they are learnt."""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tombola.core.objective import Objective, register
from tombola.objectives.classification import Classification
from tombola.objectives.regression import Regression

_Above = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Attacked(Objective):
    """Put before another objective in the bases of a class, it learns that one's loss on inputs that PGD has moved to raise it.

        @tb.objectives.register
        class robust(Attacked, tb.objectives.Regression): ...

    Steps of PGD climb the sign of the gradient from a uniform point of the ball of radius `eps` in the maximum norm; validation and
    test are as they are without it. Source: Madry et al. 2018, section 2.1.
    """

    eps: _Above = 0.1
    """Radius: of pixels, on a scale from 0 to 1; else in the unit of the inputs."""
    steps: Annotated[int, Field(ge=1)] = 7
    size: _Above | None = None
    """The size of a step; None: 2.5 eps / steps."""
    within: tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]] | None = None
    """Smallest and largest input, and what a unit of `eps` is, by channel; None: as the data have it."""

    @property
    def gradients(self) -> int:
        return 1 + self.steps

    def fitted(self, dataset: Any) -> Objective:
        """The objective with the range of the inputs filled in: of pixels 0 to 1, else the smallest and largest value of the pool."""
        found = super().fitted(dataset)
        assert isinstance(found, Attacked)
        if found.within is not None:
            return found
        if dataset.std is not None:
            low, high, unit = (0 - dataset.mean) / dataset.std, (1 - dataset.mean) / dataset.std, 1 / dataset.std
        else:
            low, high, unit = (np.array([value]) for value in (dataset.inputs.min(), dataset.inputs.max(), 1.0))
        return found.but(within=tuple(tuple(np.asarray(one, float).tolist()) for one in (low, high, unit)))

    def batch(self, key: Any, examples: tuple[Any, Any], predict: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Inputs where PGD leaves them, and the same targets."""
        import jax
        import jax.numpy as jnp

        inputs, targets = examples
        low, high, unit = (jnp.array(one, inputs.dtype) for one in self.within or ((-jnp.inf,), (jnp.inf,), (1.0,)))
        radius, step = self.eps * unit, (self.size or 2.5 * self.eps / self.steps) * unit

        def project(moved: Any) -> Any:
            return jnp.clip(jnp.clip(moved, inputs - radius, inputs + radius), jnp.minimum(low, inputs), jnp.maximum(high, inputs))

        def climb(moved: Any, _: None) -> tuple[Any, None]:
            slope = jax.grad(lambda x: self.loss(predict(x), targets).sum())(moved)
            return project(moved + step * jnp.sign(slope)), None

        begin = project(inputs + radius * jax.random.uniform(key, inputs.shape, inputs.dtype, -1, 1))
        return jax.lax.stop_gradient(jax.lax.scan(climb, begin, None, length=self.steps)[0]), targets


@register("adversarial")
class Adversarial(Attacked, Classification):
    """Classification of attacked inputs."""


@register("adversarial_regression")
class AdversarialRegression(Attacked, Regression):
    """Regression on attacked inputs."""
