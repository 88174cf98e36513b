"""Networks whose weights are linear combinations of given ones: made on the devices, evaluated many at a time.

A point p of a networks is the network with the leaves ``W_p = sum over s of share[p, s] W_s``. Paths between networks,
planes through them, layers taken from another checkpoint: all are such shares.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tombola.core.task import Task
from tombola.core.trees import Tree, stack
from tombola.data.dataset import Dataset
from tombola.data.split import split
from tombola.evaluation.scores import Scores as Scores
from tombola.training.cohort import setup
from tombola.training.program import network_inputs
from tombola.training.scorer import Judged, class_shares, said_inside, scorer
from tombola.training.setup import Setup

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "test")
"""What is evaluated where nothing is chosen; choices are made on `validation`."""

STATISTICS_EXAMPLES = 5000
"""Training examples, the first of the replicate's, over which the statistics of batch norm are computed anew, without augmentation."""

_MOST_DENSE, _MOST_CONVOLUTIONAL = 32, 16
"""Networks that a device holds at a time; one where a batch of images from disk fills it."""


@dataclass(frozen=True, eq=False)
class WeightCombinations:
    """P networks made from S."""

    seed: int
    """The seed with whose split and labels they are evaluated."""
    sources: tuple[Tree, ...]
    """S trees of the network's weights."""
    shares: np.ndarray | None = None
    """(P, S), or (P, S, L) with one entry a layer, in the order of `Network.layers`; None: the sources are the points."""
    recompute: np.ndarray | None = None
    """(P,) bool: where True, the running statistics of batch norm are those of the network itself over training
    examples; elsewhere, and if None, they are mixed as the weights are."""
    train: int | None = None
    """Training examples to evaluate on, the first of the replicate's; None: all."""
    inside: tuple[str, ...] = ()
    """What else the networks say on the way that is to be in the scores, such as ``code`` (`Network.compute`)."""

    @property
    def points(self) -> int:
        """P, the number of networks."""
        return len(self.sources) if self.shares is None else len(self.shares)


def evaluate(task: Task, dataset: Dataset, networks: WeightCombinations, parts: Sequence[Part] = PARTS) -> dict[Part, Scores]:
    """Loss and predictions of every point of a networks, on each part of the data."""
    found = setup(task, dataset)
    layout = _layout(networks.points, found.network.convolutional, dataset.on_disk)
    if networks.inside:
        said_inside(found, networks.inside, "this measurement")
    program = _compile(found, layout, networks.inside)
    own = split(dataset, task.data, networks.seed)
    examples: dict[Part, tuple[np.ndarray, np.ndarray, Any]] = {
        "train": (dataset.inputs, own.train[: networks.train], own.targets),
        "validation": (dataset.inputs, own.validation, own.targets),
        "test": (dataset.test_inputs, own.test, dataset.test_targets),
    }
    of_inputs = found.objective.targets == "inputs"
    collected: dict[Part, list[list[Judged]]] = {part: [] for part in parts}
    for weights, recompute in _blocks(found, networks, layout, program):
        if found.network.running and recompute.any():
            batches_seen = [dataset.inputs[batch] for batch in _batches(own.train[:STATISTICS_EXAMPLES], layout.batch)]
            weights = _renewed(program, weights, jax.device_put(recompute, layout.stacked), batches_seen)
        for part in parts:
            pool, indices, targets = examples[part]
            batches: list[Judged] = []
            shares = class_shares(targets, indices) if found.objective.by_class else None
            for place, batch in enumerate(_batches(indices, layout.batch)):
                share = () if shares is None else (_batches(shares, layout.batch)[place],)
                batches.append(program.score(weights, pool[batch], None if of_inputs else targets[batch], *share))
                if dataset.on_disk:  # else a host faster than the devices would fill their memory with batches
                    jax.block_until_ready(batches[-2:-1])
            collected[part].append(batches)
    return {
        part: Scores(
            found.objective,
            found.data.classes or 0,
            *_gathered(jax.device_get(collected[part]), networks.points, found.objective.by_class),
            _targets(found, *examples[part]),
            examples[part][2][examples[part][1]] if dataset.classes is not None else None,
        )
        for part in parts
    }


def _gathered(blocks: list[list[Judged]], points: int, weighted: bool) -> Judged:
    """Each batch of each block (the loss as its mean, or as its part of a weighted one) -> all examples, without the points that fill
    the last block.
    """
    sizes = np.array([one.prediction.shape[1] for one in blocks[0]])
    mean = partial(np.sum, axis=0) if weighted else partial(np.average, axis=0, weights=sizes)
    losses = [mean([one.loss for one in block]) for block in blocks]

    def joined(read: Callable[[Judged], np.ndarray]) -> np.ndarray:
        return np.concatenate([np.concatenate([read(one) for one in block], axis=1) for block in blocks])[:points]

    named = [{name: joined(partial(_named, of, name)) for name in getattr(blocks[0][0], of)} for of in ("measures", "inside")]
    return Judged(np.concatenate(losses)[:points], named[0], joined(lambda one: one.prediction), named[1])


def _named(of: str, name: str, judged: Judged) -> np.ndarray:
    found: np.ndarray = getattr(judged, of)[name]
    return found


def _targets(found: Setup, pool: np.ndarray, indices: np.ndarray, targets: Any) -> np.ndarray:
    return np.asarray(network_inputs(found, pool[indices]) if found.objective.targets == "inputs" else targets[indices])


class _Layout(NamedTuple):
    """How networks lie on the devices."""

    mesh: Mesh
    per_device: int
    vmapped: bool
    """A device's networks side by side (True), or one after the other."""
    batch: int

    @property
    def block(self) -> int:
        return self.mesh.size * self.per_device

    @property
    def stacked(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec("replica"))

    @property
    def shared(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())


def _layout(points: int, convolutional: bool, on_disk: bool) -> _Layout:
    """The layout on devices, as in training (`tombola.training.plan`): on a CPU one network at a time a core, no convolution in a loop."""
    devices = jax.devices()[: max(1, min(len(jax.devices()), points))]
    cpu = devices[0].platform == "cpu"
    share = -(-points // len(devices))
    blocks = -(-share // (_MOST_CONVOLUTIONAL if convolutional else _MOST_DENSE))
    per_device = 1 if on_disk or (cpu and convolutional) else -(-share // blocks)
    batch = 100 if on_disk else 500 if convolutional else 2000
    return _Layout(Mesh(np.array(devices), ("replica",)), per_device, not cpu, batch)


def _blocks(found: Setup, networks: WeightCombinations, layout: _Layout, program: "_Program") -> Iterator[tuple[Tree, np.ndarray]]:
    """(leaves (size, ...), recompute (size,)) of a block of points at a time; the last point fills the last block."""
    points, size = networks.points, layout.block
    recompute = np.zeros(points, bool) if networks.recompute is None else networks.recompute
    layer_of = {path: index for index, layer in enumerate(found.network.layers) for path in layer.paths}
    sources = None if networks.shares is None else jax.device_put(list(networks.sources), layout.shared)
    for first in range(0, points, size):
        rows = np.minimum(np.arange(first, first + size), points - 1)
        if networks.shares is None:
            weights = jax.device_put(stack([networks.sources[row] for row in rows]), layout.stacked)
        else:
            shares = networks.shares[rows].astype(np.float32)
            by_path = {path: shares if shares.ndim == 2 else shares[:, :, layer_of[path]] for path in found.network.shapes}
            weights = program.mix(sources, by_path)
        yield weights, recompute[rows]


def _as(dtype: Any, leaf: Any) -> Any:
    """A mean of leaves as the leaves are: what counts or points is rounded to whole numbers."""
    return jnp.round(leaf).astype(dtype) if jnp.issubdtype(dtype, jnp.integer) else leaf


def _batches(indices: np.ndarray, size: int) -> list[np.ndarray]:
    return [indices[first : first + size] for first in range(0, len(indices), size)]


def _renewed(program: "_Program", weights: Tree, recompute: Any, inputs: Sequence[np.ndarray]) -> Tree:
    """The weights with statistics averaged over the examples of all batches, where `recompute` says so."""
    found = [program.statistics(weights, batch) for batch in inputs]
    sizes = np.array([len(batch) for batch in inputs], np.float32)
    return program.replace(weights, found, sizes / sizes.sum(), recompute)


class _Program(NamedTuple):
    mix: Callable[..., Tree]
    """(S trees, path -> shares (N, S)) -> leaves (N, ...)."""
    statistics: Callable[..., Tree]
    """(leaves (N, ...), inputs (batch, ...)) -> statistics of the batch, (N, ...)."""
    replace: Callable[..., Tree]
    """(leaves (N, ...), statistics of each batch, weight of each batch, which (N,)) -> leaves with their mean in the place of
    those that were there."""
    score: Callable[..., Judged]
    """(leaves (N, ...), inputs (batch, ...), targets (batch, ...) or None) -> what they come to, the loss as its mean (N,)."""


@lru_cache(maxsize=32)
def _compile(found: Setup, layout: _Layout, inside: tuple[str, ...]) -> _Program:
    network, judge = found.network, scorer(found, inside=inside)

    def mix(sources: Sequence[Tree], shares: Mapping[str, Any]) -> Tree:
        def leaf(path: str) -> Any:
            wide = shares[path].reshape(-1, len(sources), *[1] * sources[0][path].ndim)
            # One after the other, not as a product of matrices: a share of 1 gives the source's own bits; a share of 0
            # leaves a source out, also one that is not finite.
            mixed = sum(jnp.where(wide[:, index] == 0, 0, wide[:, index] * source[path]) for index, source in enumerate(sources))
            return _as(sources[0][path].dtype, mixed)

        return {path: leaf(path) for path in network.shapes}

    def statistics(weights: Tree, inputs: Any) -> Tree:
        return network.statistics(weights, network_inputs(found, inputs))

    def score(weights: Tree, inputs: Any, targets: Any, *share: Any) -> Judged:
        judged = judge(weights, network_inputs(found, inputs), targets)
        return judged._replace(loss=(judged.loss * share[0]).sum() if share else judged.loss.mean())

    def replace(weights: Tree, found: Sequence[Tree], share: Any, which: Any) -> Tree:
        def leaf(path: str) -> Any:
            mean = _as(weights[path].dtype, sum(share[index] * one[path] for index, one in enumerate(found)))
            return jnp.where(which.reshape(-1, *[1] * (mean.ndim - 1)), mean, weights[path])

        return {**weights, **{path: leaf(path) for path in network.running}}

    return _Program(
        mix=jax.jit(mix, out_shardings=layout.stacked),
        statistics=_over_networks(statistics, layout),
        replace=jax.jit(replace, out_shardings=layout.stacked),
        score=_over_networks(score, layout),
    )


def _over_networks(function: Callable[..., Any], layout: _Layout) -> Callable[..., Any]:
    """Lift a function of (one network, data) to a block of networks over the devices."""

    def on_one_device(weights: Tree, *data: Any) -> Any:
        if layout.vmapped:
            return jax.vmap(lambda one: function(one, *data))(weights)
        if layout.per_device > 1:
            return jax.lax.map(lambda one: function(one, *data), weights)
        alone = function({path: leaf[0] for path, leaf in weights.items()}, *data)
        return jax.tree.map(lambda leaf: leaf[None], alone)

    spec = PartitionSpec("replica")

    def lifted(weights: Tree, *data: Any) -> Any:
        specs = (spec, *(PartitionSpec() for _ in data))
        return jax.shard_map(on_one_device, mesh=layout.mesh, in_specs=specs, out_specs=spec, check_vma=False)(weights, *data)

    return jax.jit(lifted)
