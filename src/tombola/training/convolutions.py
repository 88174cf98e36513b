"""The fastest algorithm for the convolutions of replicas that share a device: measured once, and remembered."""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tombola.core.files import cache_folder, write_atomically
from tombola.kernels.convolution import Algorithm
from tombola.models.computing import Computing
from tombola.training.plan import Plan
from tombola.training.program import gradient
from tombola.training.setup import Setup

CANDIDATES: tuple[Algorithm, ...] = ("direct", "patches", "in_turn")
_CALLS = 3


def fastest(found: Setup, layout: Plan) -> Plan:
    """The plan with the algorithm that was measured to be the fastest, where replicas of a convolutional network share a GPU.

    On a CPU, and where a replica has a device to itself, the plan's own is known to be.
    """
    if not found.network.convolutional or layout.per_device == 1 or layout.mesh.devices.flat[0].platform == "cpu":
        return layout
    return replace(layout, algorithm=remembered(found, layout.per_device))


@cache
def remembered(found: Setup, replicas: int) -> Algorithm:
    """The fastest of `measured`; kept in a file of the cache, by network, batch, replicas, device and version of JAX.

    The file makes a study that goes on later go on with the same sums.
    """
    what = {
        "model": found.model.canonical(),
        "shape": [*found.data.shape, *found.data.outputs],
        "batch": found.recipe.batch,
        "replicas": replicas,
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
    }
    path = _folder() / f"{hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]}.json"
    try:
        fastest: Algorithm = json.loads(path.read_text())["fastest"]
    except (OSError, ValueError, KeyError):
        seconds = measured(found, replicas)
        fastest = min(seconds, key=lambda algorithm: seconds[algorithm])
        with suppress(OSError):  # no cache can be written: measured again by the next process
            write_atomically(path, json.dumps(what | {"seconds": seconds, "fastest": fastest}, indent=1).encode())
    return fastest


def measured(found: Setup, replicas: int) -> dict[Algorithm, float]:
    """Algorithm -> seconds for the gradients of one batch of every replica, the least of a few; infinite where memory ran out."""
    network, batch = found.network, found.recipe.batch
    weights = {path: jnp.broadcast_to(leaf, (replicas, *leaf.shape)) for path, leaf in network.init(0).items()}
    trained = {path: weights[path] for path in found.trained}
    images = jnp.asarray(np.random.default_rng(0).standard_normal((replicas, batch, *found.data.shape), np.float32))
    targets, key = jnp.zeros((replicas, batch, *found.target.shape), found.target.dtype), jax.random.key(0) if network.stochastic else None
    seconds: dict[Algorithm, float] = {}
    for algorithm in CANDIDATES:
        step = jax.jit(jax.vmap(gradient(found, Computing(algorithm, precision=found.recipe.precision)), in_axes=(0, 0, 0, 0, None)))
        seconds[algorithm] = _least_seconds(partial(step, trained, weights, images, targets, key))
    return seconds


def _least_seconds(call: Callable[[], Any]) -> float:
    try:
        jax.block_until_ready(call())
        return min(_seconds(call) for _ in range(_CALLS))
    except jax.errors.JaxRuntimeError:
        return float("inf")


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


def _folder() -> Path:
    return cache_folder() / "convolutions"
