"""Optimisers: Optax transformations of gradients; the learning rate is applied by the loop."""

from collections.abc import Callable

import optax

from tombola.core.registry import Registry
from tombola.core.task import Recipe

optimizers: Registry[Callable[[Recipe], optax.GradientTransformation]] = Registry("optimizer")


def transformation(recipe: Recipe) -> optax.GradientTransformation:
    """The recipe's optimiser. Its state starts empty wherever a run begins, also at a step k > 0."""
    return optimizers[recipe.optimizer](recipe)


def _l2(recipe: Recipe) -> optax.GradientTransformation:
    """Weight decay as an L2 term in the gradient, g + decay * w, on every leaf that trains, as the papers' code has it."""
    return optax.add_decayed_weights(recipe.weight_decay) if recipe.weight_decay else optax.identity()


@optimizers.register
def sgd(recipe: Recipe) -> optax.GradientTransformation:
    """U = g."""
    return _l2(recipe)


@optimizers.register
def momentum(recipe: Recipe) -> optax.GradientTransformation:
    """M <- momentum m + g;  u = m (heavy ball, not dampened)."""
    return optax.chain(_l2(recipe), optax.trace(recipe.momentum))


@optimizers.register
def nesterov(recipe: Recipe) -> optax.GradientTransformation:
    """M <- momentum m + g;  u = momentum m + g."""
    return optax.chain(_l2(recipe), optax.trace(recipe.momentum, nesterov=True))


@optimizers.register
def adam(recipe: Recipe) -> optax.GradientTransformation:
    """Adam with b1 = .9, b2 = .999, eps = 1e-8."""
    return optax.chain(_l2(recipe), optax.scale_by_adam())


@optimizers.register
def adamw(recipe: Recipe) -> optax.GradientTransformation:
    """Adam with decoupled decay: u = adam(g) + decay * w."""
    return optax.chain(optax.scale_by_adam(), _l2(recipe))
