"""Derivatives of the training loss on one batch, compiled."""

from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp

from tombola.core.trees import Tree
from tombola.training.program import gradient, network_inputs
from tombola.training.scorer import seen
from tombola.training.setup import Setup

What = Literal["gradient", "product", "squares", "examples"]


@lru_cache(maxsize=16)
def of_batch(found: Setup, what: What) -> Any:
    """(weights, inputs, targets, key, *vectors) -> what is wanted of one batch, of the leaves that train."""
    network, objective, gradients = found.network, found.objective, gradient(found)

    @jax.jit
    def slope(weights: Tree, inputs: Any, targets: Any, key: Any, *vectors: Tree) -> Tree:
        inputs = network_inputs(found, inputs)
        targets = inputs if objective.targets == "inputs" else targets
        if objective.changes_batches:
            predict = lambda inputs: network.apply(weights, inputs, train=False)[0]  # noqa: E731
            inputs, targets = objective.batch(key, (inputs, targets), predict)
        dropout = key if network.stochastic else None
        trained = {path: weights[path] for path in weights if path in found.trained}
        if what == "gradient":
            return gradients(trained, weights, inputs, targets, dropout)[0]
        if what == "product":
            own = {path: vectors[0][path] for path in trained}
            return jax.jvp(lambda moved: gradients(moved, weights, inputs, targets, dropout)[0], (trained,), (own,))[1]

        def loss(moved: Tree, example: Any, target: Any) -> Any:
            whole = {**weights, **moved}
            given = seen(found, network.compute(whole, example[None], train=False), whole)
            return objective.training_loss(given, None if target is None else target[None], found.recipe.label_smoothing).mean()

        if what == "examples":
            return jax.lax.map(lambda one: jax.grad(loss)(trained, *one), (inputs, targets))

        def added(total: Tree, one: tuple[Any, Any]) -> tuple[Tree, None]:
            of_one = jax.grad(loss)(trained, *one)
            return {path: leaf + of_one[path] ** 2 / len(inputs) for path, leaf in total.items()}, None

        return jax.lax.scan(added, jax.tree.map(jnp.zeros_like, trained), (inputs, targets))[0]

    return slope
