"""Inputs on their way to a program: whole on the devices, or batch by batch from the host."""

from typing import Any, Protocol

import jax
import numpy as np

from tombola.training.plan import Plan


class Inputs(Protocol):
    """The inputs of a pool or a test set."""

    def batch(self, indices: Any, after: Any) -> Any:
        """What a program takes as `inputs` for the examples at `indices`, (replicas, batch) or (replicas, 1, batch).

        `after`: what the call before this one gave. The host goes no more than one batch ahead of it.
        """


class Resident:
    """The whole array on each device, where the program gathers its batches itself."""

    def __init__(self, inputs: np.ndarray, layout: Plan) -> None:
        self.placed = jax.device_put(inputs, layout.shared)

    def batch(self, indices: Any, after: Any) -> Any:
        return self.placed


class Streamed:
    """An array on disk; the host gathers each replica's batch while the devices work on the one before."""

    def __init__(self, inputs: np.ndarray, layout: Plan) -> None:
        self.inputs, self.layout = inputs, layout

    def batch(self, indices: Any, after: Any) -> Any:
        chosen = np.asarray(indices).reshape(len(indices), -1)
        gathered = jax.device_put(self.inputs[chosen], self.layout.batches(chosen.shape[1]))
        jax.block_until_ready(after)  # else a host faster than the devices would fill their memory with batches
        return gathered


def inputs_of(array: np.ndarray, layout: Plan) -> Inputs:
    """Inputs (n, *shape) as the plan has them."""
    return Streamed(array, layout) if layout.streamed else Resident(array, layout)
