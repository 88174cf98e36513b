"""A step of plain gradient descent on tables of which a batch reads a few rows: the others are neither read nor written."""

from collections.abc import Callable, Collection
from typing import Any

import jax.numpy as jnp

from tombola.core.trees import Tree


def step(
    gradients: Callable[..., tuple[Tree, Tree]], trained: Collection[str], weights: Tree, mask: Tree, rate: Any, inputs: Any, *others: Any
) -> Tree:
    """The weights after w <- w - rate g, g summed over all places at which a batch reads a row; where the mask is 0, bit for bit as before.

    The network is given the rows in the place of its tables, one for each token of the batch, and the places of these for tokens.
    What is done to tables of millions of rows is so as dear as the batch is long.

    Args:
        gradients: `tombola.training.program.gradient` of a network all of whose leaves are tables.
        trained: the leaves that train.
        inputs: tokens, int32 of any shape.
        others: what `gradients` takes besides.
    """
    tokens = inputs.reshape(-1)
    rows = {path: leaf[tokens] for path, leaf in weights.items()}
    places = jnp.arange(len(tokens)).reshape(inputs.shape)
    slopes, _ = gradients({path: rows[path] for path in trained}, rows, places, *others)
    after = dict(weights)
    for path, slope in slopes.items():
        held = jnp.where(mask[path][tokens], slope, 0.0)  # -rate 0 = -0: the one number that leaves all others as they are
        after[path] = weights[path].at[tokens].add(-rate * held)
    return after
