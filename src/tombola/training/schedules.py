"""Learning rates as functions of the iteration, so that a run that begins at step k goes on where step k would be.

A schedule is a registered function ``(recipe, timeline, **options)`` that returns a factor of the learning rate as a function
of the iteration t (a float32 scalar of JAX). A user's own file adds one:

    @tb.schedules.register
    def root(recipe, timeline, *, offset=1.0):
        return lambda t: 1 / jnp.sqrt(offset + t)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from tombola.core.errors import TombolaError
from tombola.core.loading import summary
from tombola.core.parts import Reads
from tombola.core.parts import schedules as schedules
from tombola.core.registry import plain
from tombola.core.step import Timeline
from tombola.core.task import Recipe

Factor = Callable[[Any], Any]


def learning_rate(recipe: Recipe, timeline: Timeline) -> Callable[[Any, Any], Any]:
    """(rate, t) -> learning rate of iteration t = 0, 1, ..., T - 1; that of the recipe is given anew, so that others share a program.

    rate * schedule(t) * min(1, (t + 1) / warmup).

    Raises:
        TombolaError: for a schedule that is not registered, options that it does not take, milestones or a decay that it does not
            use, or a factor that is no number.
    """
    reads = Reads(recipe)
    factor = schedules.call(recipe.schedule, reads, timeline, **recipe.schedule_options)
    warmup = timeline.iteration(recipe.warmup)
    try:
        shape = jax.eval_shape(factor, jax.ShapeDtypeStruct((), jnp.float32)).shape
    except Exception as error:
        raise TombolaError(
            f"schedule {plain(recipe.schedule)!r} must return a function of the iteration, but it fails: {summary(error)}"
        ) from error
    if shape != ():
        raise TombolaError(
            f"schedule {plain(recipe.schedule)!r} must return a function of t that gives one number, not an array of shape {shape}"
        )
    reads.refuse_unread(f"schedule {plain(recipe.schedule)!r}", "milestones", "decay")

    def scheduled(rate: Any, t: Any) -> Any:
        value, t = (jnp.asarray(one, jnp.float32) for one in (rate, t))
        value *= factor(t)
        if warmup:
            value *= jnp.minimum(1, (t + 1) / warmup)
        return value

    return scheduled


@schedules.register
def constant(recipe: Recipe, timeline: Timeline) -> Factor:
    """1."""
    return jnp.ones_like


@schedules.register
def stepped(recipe: Recipe, timeline: Timeline) -> Factor:
    """``decay`` to the power of the number of milestones m with m <= t."""
    milestones = jnp.array([timeline.iteration(step) for step in recipe.milestones], jnp.float32)
    return lambda t: jnp.float32(recipe.decay) ** jnp.sum(t >= milestones)


@schedules.register
def linear(recipe: Recipe, timeline: Timeline, *, end: float = 0.0) -> Factor:
    """1 - (1 - end) t / T: from 1 down to `end`, in [0, 1] (word2vec: .025 to .0001, so end = .004)."""
    if not 0 <= end <= 1:
        raise TombolaError(f"schedule 'linear': end = {end!r}, but it is a share of the learning rate, from 0 to 1")
    return lambda t: 1 - (1 - end) * t / timeline.total


@schedules.register
def cosine(recipe: Recipe, timeline: Timeline) -> Factor:
    """(1 + cos(pi t / T)) / 2 (Loshchilov & Hutter 2017)."""
    return lambda t: (1 + jnp.cos(jnp.pi * t / timeline.total)) / 2
