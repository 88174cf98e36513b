"""Optimisers: Optax transformations of gradients, and the step that is made of one."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax

from tombola.core.registry import Registry
from tombola.core.task import Recipe
from tombola.core.trees import Tree
from tombola.kernels import adam as adam_in_c

optimizers: Registry[Callable[[Recipe], optax.GradientTransformation]] = Registry("optimizer")


def transformation(recipe: Recipe) -> optax.GradientTransformation:
    """The recipe's optimiser. Its state starts empty wherever a run begins, also at a step k > 0."""
    return optimizers[recipe.optimizer](recipe)


def step(recipe: Recipe, gradients: Tree, moments: Any, weights: Tree, mask: Tree, rate: Any, in_c: bool = False) -> tuple[Tree, Any]:
    """(weights, moments) after w <- w - rate u of the leaves that train, u as the optimiser has it.

    Where the mask is 0, a weight keeps its value, bit for bit: the one rule about masks.

    Args:
        in_c: Adam's step in C, where there is a compiler; the same up to rounding.
    """
    if in_c and recipe.optimizer in _ADAMS and adam_in_c.available(weights):
        place, decay = _ADAMS[recipe.optimizer]
        after, state = adam_in_c.step(gradients, moments[place], weights, mask, rate, **{decay: recipe.weight_decay})
        return after, (*moments[:place], state, *moments[place + 1 :])
    update, moments = transformation(recipe).update(gradients, moments, weights)
    moved = {path: leaf - rate * update[path] for path, leaf in weights.items()}
    return {path: jnp.where(mask[path], leaf, weights[path]) if path in mask else leaf for path, leaf in moved.items()}, moments


def _scaled() -> optax.GradientTransformation:
    """Adam's own step, with the constants of the one in C."""
    return optax.scale_by_adam(adam_in_c.B1, adam_in_c.B2, adam_in_c.EPSILON)


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
    return optax.chain(_l2(recipe), _scaled())


@optimizers.register
def adamw(recipe: Recipe) -> optax.GradientTransformation:
    """Adam with decoupled decay: u = adam(g) + decay * w."""
    return optax.chain(_scaled(), _l2(recipe))


_ADAMS = {"adam": (1, "l2"), "adamw": (0, "decay")}
"""Optimiser -> place of Adam's state in that of its chain; what `tombola.kernels.adam.step` calls its weight decay."""
