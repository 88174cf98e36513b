"""Gradients and curvature of a task's loss at given weights, for criteria and actions that ask for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.keys import generator, stream
from tombola.core.task import Task
from tombola.core.trees import Tree
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.training.activations import on_training_examples
from tombola.training.cohort import setup
from tombola.training.derivatives import What, of_batch
from tombola.training.setup import Setup

EXAMPLES = 512
"""The number of examples over which a gradient is averaged, unless told otherwise."""
EXAMPLE_GRADIENTS, MOST_VALUES = 1000, 2**26
"""Examples whose gradients are held, unless told otherwise; and numbers that they may take, 256 MiB."""


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


def mean_activity(task: Task, data_dir: Path | str | None, seed: int, weights: Tree, batch: str = "0", size: int | None = None) -> Tree:
    """The mean over the examples of `mean_gradient` of |a|, a what the next layer reads of a unit: for each weight into the unit.

    Kernels whose units no other layer reads, such as the output's, have 0.

    Raises:
        TombolaError: of networks whose layers cannot be looked into.
    """
    seen = on_training_examples(task, data_dir, seed, weights, batch, size or EXAMPLES)
    found = {path: np.zeros(np.shape(leaf), np.float32) for path, leaf in weights.items()}
    for one in setup(task, load(task.data, data_dir)).network.units:
        size_of_unit = np.abs(seen[one.outgoing].inputs).reshape(-1, one.count).mean(axis=0)
        found[one.incoming] = np.broadcast_to(size_of_unit, found[one.incoming].shape)
    return found


def example_gradients(task: Task, data_dir: Path | str | None, seed: int, weights: Tree, batch: str = "0", size: int | None = None) -> Tree:
    """g_i of each of n examples, (n, *shape of the weight) of every prunable weight: the rows of the empirical Fisher sum g_i g_i^T / n.

    Args:
        size: n, in whole batches of the recipe; None: 1,000, or as many as fit in 256 MiB.

    Raises:
        TombolaError: for a network so large that not one batch fits.
    """
    found, inputs, targets, count, key = _drawn(task, data_dir, seed, batch, size or EXAMPLE_GRADIENTS)
    values = sum(weights[path].size for path in found.network.prunable)
    if (fits := MOST_VALUES // (values * found.recipe.batch)) < (count if size else 1):
        raise TombolaError(
            f"the gradients of {count * found.recipe.batch if size else found.recipe.batch} examples by {values} weights take more than "
            "256 MiB; give fewer examples, or prune this network by optimal_brain_damage"
        )
    slope, parts = of_batch(found, "examples"), []
    for index in range(min(count, fits)):
        part = slice(index * found.recipe.batch, (index + 1) * found.recipe.batch)
        one = slope(weights, inputs[part], None if targets is None else targets[part], jax.random.fold_in(key, index))
        parts.append({path: np.asarray(one[path]) for path in found.network.prunable if path in one})
    rows = len(parts) * found.recipe.batch
    still = {path: np.zeros((rows, *weights[path].shape), np.float32) for path in found.network.prunable if path not in parts[0]}
    return {**{path: np.concatenate([one[path] for one in parts]) for path in parts[0]}, **still}


SLOPES: dict[str, Callable[..., Tree]] = {
    "gradient": mean_gradient,
    "squares": mean_squares,
    "activity": mean_activity,
    "examples": example_gradients,
    "product": hessian_product,
}
"""What may be asked for by name: (task, data_dir, seed, weights, *vectors, batch=, size=) -> tree."""


def _drawn(task: Task, data_dir: Path | str | None, seed: int, batch: str, size: int) -> tuple[Setup, Any, Any, int, Any]:
    """(setup, inputs, targets, batches, key) of the examples that the stream ``gradient/{batch}`` draws."""
    dataset = load(task.data, data_dir)
    found, parts = setup(task, dataset), split(dataset, task.data, seed)
    count = min(-(-size // found.recipe.batch), max(1, found.steps_per_epoch))
    drawn = generator(seed, f"gradient/{batch}").permutation(parts.train)[: count * found.recipe.batch]
    key = jax.random.wrap_key_data(jnp.asarray(stream(seed, f"gradient/{batch}")))
    return found, dataset.inputs[drawn], None if parts.targets is None else parts.targets[drawn], count, key


def _mean(
    task: Task, data_dir: Path | str | None, seed: int, weights: Tree, batch: str, size: int | None, what: What, *vectors: Tree
) -> Tree:
    found, inputs, targets, count, key = _drawn(task, data_dir, seed, batch, size or EXAMPLES)
    slope, total = of_batch(found, what), {path: np.zeros(np.shape(leaf), np.float64) for path, leaf in weights.items()}
    for index in range(count):
        part = slice(index * found.recipe.batch, (index + 1) * found.recipe.batch)
        one = slope(weights, inputs[part], None if targets is None else targets[part], jax.random.fold_in(key, index), *vectors)
        total |= {path: total[path] + np.asarray(leaf) / count for path, leaf in one.items()}
    return {path: leaf.astype(np.float32) for path, leaf in total.items()}
