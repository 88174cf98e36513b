"""Gradients and curvature of a task's loss at given weights, for criteria and actions that ask for them."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from tombola.core.keys import generator, stream
from tombola.core.task import Task
from tombola.core.trees import Tree
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.training.cohort import setup
from tombola.training.derivatives import What, of_batch

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
    return _mean(task, data_dir, seed, weights, batch, size, "gradient")


def hessian_product(
    task: Task, data_dir: Path | str | None, seed: int, weights: Tree, vector: Tree, batch: str = "0", size: int | None = None
) -> Tree:
    """H v, H the Hessian of the mean training loss at the weights over the examples of `mean_gradient`; 0 where a leaf does not train.

    Source: forward over reverse differentiation (Pearlmutter 1994), exact up to rounding.
    """
    return _mean(task, data_dir, seed, weights, batch, size, "product", vector)


def mean_squares(task: Task, data_dir: Path | str | None, seed: int, weights: Tree, batch: str = "0", size: int | None = None) -> Tree:
    """The mean over the examples of `mean_gradient` of g_i^2, g_i the gradient of one example's loss: the diagonal of the empirical Fisher.

    An example's loss has the network's running statistics, not those of a batch, and no dropout.
    """
    return _mean(task, data_dir, seed, weights, batch, size, "squares")


def _mean(
    task: Task, data_dir: Path | str | None, seed: int, weights: Tree, batch: str, size: int | None, what: What, *vectors: Tree
) -> Tree:
    dataset = load(task.data, data_dir)
    found, parts = setup(task, dataset), split(dataset, task.data, seed)
    count = min(-(-(size or EXAMPLES) // found.recipe.batch), max(1, found.steps_per_epoch))
    drawn = generator(seed, f"gradient/{batch}").permutation(parts.train)[: count * found.recipe.batch]
    slope, total = of_batch(found, what), {path: np.zeros(np.shape(leaf), np.float64) for path, leaf in weights.items()}
    key = jax.random.wrap_key_data(jnp.asarray(stream(seed, f"gradient/{batch}")))
    for index, examples in enumerate(np.split(drawn, count)):
        targets = None if parts.targets is None else parts.targets[examples]
        one = slope(weights, dataset.inputs[examples], targets, jax.random.fold_in(key, index), *vectors)
        total |= {path: total[path] + np.asarray(leaf) / count for path, leaf in one.items()}
    return {path: leaf.astype(np.float32) for path, leaf in total.items()}
