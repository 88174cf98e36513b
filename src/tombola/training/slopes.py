"""Gradients of a task's loss at given weights, for criteria and actions that ask for them."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tombola.core.keys import generator, stream
from tombola.core.task import Task
from tombola.core.trees import Tree
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.training.cohort import setup
from tombola.training.program import gradient, network_inputs
from tombola.training.setup import Setup

EXAMPLES = 512
"""Over which a gradient is averaged, unless told otherwise."""


def mean_gradient(task: Task, data_dir: Path | str | None, seed: int, weights: Tree, batch: str = "0", size: int | None = None) -> Tree:
    """dL/dw, a leaf of its weight's shape for every weight: L is the mean training loss over examples of the training set.

    The loss is the one that training minimises, with batch statistics of its own in each of the recipe's batches, without augmentation.

    Args:
        seed: of the run: whose split, labels and streams.
        weights: all leaves of the network, as they are: multiply by a mask what it is to take away.
        batch: names the examples, which the stream ``gradient/{batch}`` draws without replacement.
        size: how many, in whole batches of the recipe, up to as many as there are; None: 512.

    Returns:
        0 where a leaf does not train.
    """
    dataset = load(task.data, data_dir)
    found, parts = setup(task, dataset), split(dataset, task.data, seed)
    count = min(-(-(size or EXAMPLES) // found.recipe.batch), max(1, found.steps_per_epoch))
    drawn = generator(seed, f"gradient/{batch}").permutation(parts.train)[: count * found.recipe.batch]
    slope, total = _of_batch(found), {path: np.zeros(np.shape(leaf), np.float64) for path, leaf in weights.items()}
    key = jax.random.wrap_key_data(jnp.asarray(stream(seed, f"gradient/{batch}")))
    for index, examples in enumerate(np.split(drawn, count)):
        targets = None if parts.targets is None else parts.targets[examples]
        one = slope(weights, dataset.inputs[examples], targets, jax.random.fold_in(key, index))
        total |= {path: total[path] + np.asarray(leaf) / count for path, leaf in one.items()}
    return {path: leaf.astype(np.float32) for path, leaf in total.items()}


@lru_cache(maxsize=16)
def _of_batch(found: Setup) -> Any:
    """(weights, inputs, targets, key) -> gradient, of the leaves that train."""
    network, objective, gradients = found.network, found.objective, gradient(found)

    @jax.jit
    def slope(weights: Tree, inputs: Any, targets: Any, key: Any) -> Tree:
        inputs = network_inputs(found, inputs)
        targets = inputs if objective.targets == "inputs" else targets
        if objective.changes_batches:
            predict = lambda inputs: network.apply(weights, inputs, train=False)[0]  # noqa: E731
            inputs, targets = objective.batch(key, (inputs, targets), predict)
        dropout = key if network.stochastic else None
        return gradients({path: weights[path] for path in weights if path in found.trained}, weights, inputs, targets, dropout)[0]

    return slope
