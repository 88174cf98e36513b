"""Learning rates as functions of the iteration, so that a run that begins at step k goes on where step k would be."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from tombola.core.task import Recipe


def learning_rate(recipe: Recipe, steps_per_epoch: int) -> Callable[[Any, Any], Any]:
    """(rate, t) -> learning rate of iteration t = 0, 1, ..., T - 1; that of the recipe is given anew, so that others share a program.

    rate * schedule(t) * min(1, (t + 1) / warmup), where schedule is
    constant: 1;  stepped: decay ** (milestones m with m <= t);  cosine: (1 + cos(pi t / T)) / 2.
    """
    total = recipe.steps.iterations(steps_per_epoch)
    warmup = recipe.warmup.iterations(steps_per_epoch, total)
    milestones = jnp.array([step.iterations(steps_per_epoch, total) for step in recipe.milestones], jnp.float32)

    def scheduled(rate: Any, t: Any) -> Any:
        value, t = (jnp.asarray(one, jnp.float32) for one in (rate, t))
        if recipe.schedule == "stepped":
            value *= jnp.float32(recipe.decay) ** jnp.sum(t >= milestones)
        if recipe.schedule == "cosine":
            value *= (1 + jnp.cos(jnp.pi * t / total)) / 2
        if warmup:
            value *= jnp.minimum(1, (t + 1) / warmup)
        return value

    return scheduled
