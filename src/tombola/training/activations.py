"""What the layers of a network read and give, on training examples."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.keys import generator
from tombola.core.task import Task
from tombola.core.trees import Tree
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.models.computing import PLAIN
from tombola.models.network import Network
from tombola.training.cohort import setup
from tombola.training.program import network_inputs


class Seen(NamedTuple):
    """What one layer reads and gives."""

    inputs: np.ndarray
    """(examples, ..., inputs): what it reads, after all that stands before it."""
    outputs: np.ndarray
    """(examples, ..., outputs): its product or convolution, without the bias and whatever comes after."""


Layers = dict[str, Seen]
"""Path of a kernel -> what its layer reads and gives."""


def layers_on(network: Network, weights: Tree, inputs: Any) -> Layers:
    """What each linear and convolutional layer reads and gives, in evaluation: with running statistics in batch norm, without dropout.

    Raises:
        TombolaError: of networks that have other prunable layers, or that run a layer twice.
    """
    found = {path: Seen(*map(np.asarray, of)) for path, of in _looking_into(network)(weights, inputs).items()}
    if lacking := [path for path in network.prunable if path not in found]:
        raise TombolaError(f"what the layer of {lacking[0]!r} reads cannot be told: only nnx.Linear and nnx.Conv are looked into")
    return found


@lru_cache(maxsize=16)
def _looking_into(network: Network) -> Callable[[Tree, Any], dict[str, tuple[Any, Any]]]:
    @jax.jit
    def compute(weights: Tree, inputs: Any) -> dict[str, tuple[Any, Any]]:
        found: dict[str, tuple[Any, Any]] = {}

        def told(path: str, *of_layer: Any) -> None:
            if path in found:
                raise TombolaError(
                    f"the layer of {path!r} runs more than once, so that what it reads is not one thing; use another network"
                )
            found[path] = of_layer

        network.apply(weights, inputs, train=False, how=PLAIN._replace(record=told))
        return found

    return compute


def on_training_examples(task: Task, data_dir: Path | str | None, seed: int, weights: Tree, batch: str = "0", size: int = 512) -> Layers:
    """The same over examples that the stream ``gradient/{batch}`` draws of the replicate's training set, without augmentation."""
    dataset = load(task.data, data_dir)
    found, own = setup(task, dataset), split(dataset, task.data, seed)
    drawn = generator(seed, f"gradient/{batch}").permutation(own.train)[:size]
    return layers_on(found.network, weights, network_inputs(found, dataset.inputs[drawn]))


def on_made_up_examples(network: Network, weights: Tree) -> Layers:
    """The same over 16 random examples: for rehearsals, which read no data."""
    random, shape = np.random.default_rng(0), (16, *network.data.shape)
    integers = np.issubdtype(network.data.dtype, np.integer)
    drawn = random.integers(network.data.vocabulary or 1, size=shape) if integers else random.standard_normal(shape)
    return layers_on(network, weights, drawn.astype(network.data.dtype))
