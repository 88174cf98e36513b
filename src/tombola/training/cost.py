"""What a step of training costs, before anything trains."""

from functools import lru_cache

import jax

from tombola.training.program import gradient
from tombola.training.setup import Setup


@lru_cache(maxsize=256)
def step_operations(setup: Setup) -> float:
    """Floating-point operations of a step's gradients of a batch, as XLA counts one: of what trains, by the way back to that."""
    network, batch = setup.network, setup.recipe.batch
    before = {path: leaf for path, leaf in network.shapes.items() if path in setup.trained}
    images = jax.ShapeDtypeStruct((batch, *setup.data.shape), setup.data.dtype)
    targets = jax.ShapeDtypeStruct((batch, *setup.target.shape), setup.target.dtype)
    key = jax.eval_shape(lambda: jax.random.key(0)) if network.stochastic else None
    lowered = jax.jit(gradient(setup)).lower(before, dict(network.shapes), images, targets, key)
    return setup.objective.gradients * float((lowered.cost_analysis() or {})["flops"])
