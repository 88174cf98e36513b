"""Attacks on the networks of a task: the ball that its data have, and all networks attacked on the devices."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from tombola.core.errors import TombolaError
from tombola.core.keys import stream
from tombola.core.task import Task
from tombola.core.trees import Tree, stack
from tombola.data.dataset import Dataset
from tombola.data.split import split
from tombola.evaluation import attacks
from tombola.evaluation.attacks import Ball
from tombola.evaluation.plausibility import Plausibility
from tombola.training.cohort import setup
from tombola.training.program import network_inputs
from tombola.training.setup import Setup

Unit = Literal["input", "range", "std"]


class Adversary:
    """What attacks a task's networks on the first test examples."""

    def __init__(self, task: Task, dataset: Dataset, seed: int, examples: int | None = None) -> None:
        self._setup, self._seed, self._data, self._task = setup(task, dataset), seed, dataset, task
        if dataset.classes is None or self._setup.data.vocabulary is not None:
            what = "tokens" if self._setup.data.vocabulary is not None else "no classes to be taken for another"
            raise TombolaError(
                f"attacks change the inputs of a classifier, but the data set {task.data.name} has {what}; take another task"
            )
        chosen = split(dataset, task.data, seed).test[:examples]
        self.inputs = np.asarray(network_inputs(self._setup, dataset.test_inputs[chosen]))
        assert dataset.test_targets is not None
        self.targets = np.asarray(dataset.test_targets[chosen])

    def plausibility(self, relations: Sequence[Mapping[int, float]] = ()) -> Plausibility:
        """What training rows of a table are like."""
        if self.inputs.ndim != 2:
            raise TombolaError(
                f"plausible rows are those of a table, but an input has shape {self.inputs.shape[1:]}; leave `plausible` out"
            )
        own = split(self._data, self._task.data, self._seed)
        assert own.targets is not None
        if wrong := [place for relation in relations for place in relation if not 0 <= place < self.inputs.shape[1]]:
            raise TombolaError(f"a relation names feature {wrong[0]}, but a row has {self.inputs.shape[1]}; count from 0")
        return Plausibility(self.as_given(self._data.inputs[own.train]), own.targets[own.train], relations)

    def as_given(self, inputs: np.ndarray) -> np.ndarray:
        """Inputs in the unit that the data come in, float64."""
        scaling = self._data.scaling
        return (np.asarray(inputs, np.float64) * np.asarray(scaling.std) + np.asarray(scaling.mean)) * scaling.divisor

    def predicted(self, network: Tree, inputs: np.ndarray) -> np.ndarray:
        """(n,) the classes that are predicted."""
        return np.asarray(_predict(self._setup)(network, inputs))

    def ball(self, eps: float, unit: Unit = "input", fixed: Sequence[int] = (), whole: Sequence[int] = (), bounded: bool = True) -> Ball:
        """The ball within which inputs may move.

        Args:
            eps: the radius: in the unit of the inputs (of pixels on a scale from 0 to 1); or in shares of each feature's `range`, or of
                its standard deviation (`std`), over the data that networks train on.
            unit: `input`: inputs stay within the smallest and largest value of all; else each feature within its own.
            bounded: whether inputs stay within smallest and largest values; pixels always do.
            fixed, whole: places of features, counted in a flat input, that stay; and that move by 1 in the unit that the data come in.
        """
        pool = np.asarray(network_inputs(self._setup, self._data.inputs))
        if unit == "input" and self._data.std is not None and self._data.mean is not None:  # pixels from 0 to 1
            mean, std = self._data.mean, self._data.std
            return Ball(_f32(eps / std), _f32((0 - mean) / std), _f32((1 - mean) / std))
        low, high = (pool.min(), pool.max()) if unit == "input" else (pool.min(0), pool.max(0))
        spread = 1.0 if unit == "input" else high - low if unit == "range" else pool.std(0)
        shape = self.inputs.shape[1:]
        radius, spacing = (
            np.broadcast_to(eps * spread, shape).astype(np.float32).reshape(-1).copy(),
            np.zeros(shape, np.float32).reshape(-1),
        )
        if wrong := [place for place in (*fixed, *whole) if not 0 <= place < radius.size]:
            raise TombolaError(f"feature {wrong[0]} is asked to stay, or to be whole, but an input has {radius.size}; count from 0")
        radius[list(fixed)] = 0
        scaling = self._data.scaling
        unit_of = 1 / (scaling.divisor * np.broadcast_to(np.asarray(scaling.std or 1.0), shape)).reshape(-1)
        spacing[list(whole)] = unit_of[list(whole)]
        low, high = (low, high) if bounded else (-np.inf, np.inf)
        return Ball(radius.reshape(shape), _f32(low), _f32(high), spacing.reshape(shape))

    def run(self, name: str, networks: Sequence[Tree], ball: Ball, **options: Any) -> np.ndarray:
        """(P, n, ...): each network's inputs after an attack on it. Drawn from the seed's stream `attack`."""
        devices = tuple(jax.devices())  # as many networks at a time, whatever their number: one program for all
        program, key = _compile(self._setup, name, devices, tuple(sorted(options.items()))), stream(self._seed, "attack")
        ball = Ball(*(np.broadcast_to(_f32(one), self.inputs.shape[1:]) for one in ball))
        found = []
        for first in range(0, len(networks), len(devices)):
            rows = np.minimum(np.arange(first, first + len(devices)), len(networks) - 1)
            found.append(np.asarray(program(stack([networks[row] for row in rows]), self.inputs, self.targets, ball, key)))
        return np.concatenate(found)[: len(networks)]

    def wrong(self, networks: Sequence[Tree], inputs: np.ndarray) -> np.ndarray:
        """(P, n) whether each network misclassifies its own inputs (P, n, ...), or the same ones (n, ...)."""
        given = np.broadcast_to(inputs, (len(networks), *self.inputs.shape))
        judge = _judge(self._setup)
        return np.stack([np.asarray(judge(network, one, self.targets)) for network, one in zip(networks, given, strict=True)])


def _f32(value: Any) -> Any:
    return np.asarray(value, np.float32)


@lru_cache(maxsize=8)
def _judge(found: Setup) -> Callable[..., Any]:
    return jax.jit(lambda weights, inputs, targets: attacks.wrong(partial(_logits, found, weights), inputs, targets))


@lru_cache(maxsize=8)
def _predict(found: Setup) -> Callable[..., Any]:
    return jax.jit(lambda weights, inputs: _logits(found, weights, inputs).argmax(-1))


def _logits(found: Setup, weights: Tree, inputs: Any) -> Any:
    return found.network.apply(weights, inputs, train=False)[0]


@lru_cache(maxsize=32)
def _compile(found: Setup, name: str, devices: tuple[Any, ...], options: tuple[tuple[str, Any], ...]) -> Callable[..., Any]:
    attack = {**attacks.ATTACKS, "deepfool": attacks.deepfool}[name]

    def on_one_device(weights: Tree, inputs: Any, targets: Any, ball: Ball, key: Any) -> Any:
        drawn = jax.random.wrap_key_data(jnp.asarray(key))
        return jax.lax.map(lambda own: attack(partial(_logits, found, own), inputs, targets, ball, drawn, **dict(options)), weights)

    mesh, over, whole = Mesh(np.array(devices), ("replica",)), PartitionSpec("replica"), PartitionSpec()
    specs = (over, whole, whole, whole, whole)
    return jax.jit(jax.shard_map(on_one_device, mesh=mesh, in_specs=specs, out_specs=over, check_vma=False))
