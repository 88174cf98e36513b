"""`tombola.predict`: what networks say of raw inputs."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from tombola.api.session import Session, weights_of
from tombola.core.errors import TombolaError, warn
from tombola.core.task import Task
from tombola.core.trees import replica, replicas
from tombola.data.dataset import load
from tombola.engine.resolved import resolved
from tombola.training.setup import Setup

_BATCH = 500


def predict(
    task: Task, weights: Mapping[str, Any], x: ArrayLike, *, scaled: bool = False, data_dir: Path | str | None = None
) -> np.ndarray:
    """Outputs of R networks for inputs of your own, as in evaluation: no dropout, running statistics of batch norm.

    Args:
        weights: leaves (R, ...), such as ``trajectory.final``.
        x: (n, *shape), as the data set's come: pixels of MNIST from 0 to 255, say. They are scaled as its own are:
            ``load(task.data).scaling`` says how, and so does a ticket's metadata (`inputs`).
        scaled: `x` is as the network gets it already.

    Returns:
        (R, n, *outputs): logits, of classification.

    Raises:
        TombolaError: inputs or weights of another shape.
    """
    session = Session.of(task, None, data_dir)
    setup, dataset = resolved(session.task, session.data_dir)[0], load(session.task.data, session.data_dir)
    inputs, network = np.asarray(x), setup.network
    if inputs.shape[1:] != dataset.shape or not len(inputs):
        raise TombolaError(f"x has shape {inputs.shape}, but (n, {', '.join(map(str, dataset.shape))}) is needed, with n of 1 or more")
    if dataset.vocabulary is None:
        inputs = inputs.astype(np.float32) if scaled else dataset.scaling.of(inputs)
    trees = weights_of("weights", weights, network)
    batches = [inputs[first : first + _BATCH] for first in range(0, len(inputs), _BATCH)]
    rows = [[_outputs(setup)(replica(trees, index), batch) for batch in batches] for index in range(replicas(trees))]
    found = [np.concatenate(jax.device_get(row)) for row in rows]
    warn(
        *(
            f"outputs of replicate {index} are not finite: its weights, or x, are not"
            for index, one in enumerate(found)
            if not np.isfinite(one).all()
        )
    )
    return np.stack(found)


@lru_cache(maxsize=16)
def _outputs(setup: Setup) -> Any:
    network = setup.network
    return jax.jit(lambda weights, inputs: network.apply(weights, inputs, train=False)[0])
