"""What many masks (or many networks) of one network come to on one batch: scored together on the devices, in bounded memory."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from tombola.core.keys import generator
from tombola.core.task import Rescale, Supermask, Task
from tombola.core.trees import Tree
from tombola.data.dataset import Dataset
from tombola.data.split import split
from tombola.models.supermask import factor
from tombola.training.cohort import setup
from tombola.training.program import network_inputs
from tombola.training.scorer import scorer
from tombola.training.setup import Setup

Fitness = Literal["error", "loss"]
Genes = Literal["mask", "weights"]
_MOST_BYTES, _SIDE_BY_SIDE = 2**26, 32
"""The most bytes of genes that a device holds at a time; and networks that an accelerator computes at once (a CPU one after the other)."""


class Population:
    """Rows of genes -> what their networks come to: masks over fixed weights, or weights themselves."""

    def __init__(self, task: Task, dataset: Dataset, seed: int) -> None:
        self._setup, self._dataset, self._parts = setup(task, dataset), dataset, split(dataset, task.data, seed)
        self._seed = seed

    @property
    def training_examples(self) -> int:
        """The number of the replicate's training examples."""
        return len(self._parts.train)

    @property
    def validation_examples(self) -> int:
        """The number of the replicate's validation examples."""
        return len(self._parts.validation)

    def batch(self, size: int, stream: str) -> np.ndarray:
        """Indices of `size` training examples, drawn without replacement from the replicate's stream; of all, where there are no more."""
        train = self._parts.train
        return train if size >= len(train) else generator(self._seed, stream).choice(train, size, replace=False)

    @property
    def validation(self) -> np.ndarray:
        """Indices of the validation examples."""
        return self._parts.validation

    def score(
        self,
        weights: Tree,
        genes: np.ndarray,
        paths: tuple[str, ...],
        examples: np.ndarray,
        fitness: Fitness = "error",
        rescale: Rescale = "none",
        kind: Genes = "mask",
    ) -> np.ndarray:
        """(P,) float64: the objective's headline, or its loss, over the examples, of each row of genes; infinite where it is not finite.

        Args:
            weights: W, all leaves of the network.
            genes: (P, n): the leaves `paths` behind one another; masks m of bool, for networks w m r; or float32 weights in their place.
            examples: indices into the pool.
            rescale: r of a layer, as `Supermask.rescale` has it.
        """
        devices = jax.devices()[: max(1, min(len(jax.devices()), len(genes)))]
        on_device = max(1, min(-(-len(genes) // len(devices)), _MOST_BYTES // (genes.shape[1] * genes.dtype.itemsize)))
        mesh, block = Mesh(np.array(devices), ("replica",)), on_device * len(devices)
        program = _compile(self._setup, mesh, paths, fitness, rescale, kind)
        shared = jax.device_put(weights, NamedSharding(mesh, PartitionSpec()))
        targets = None if self._parts.targets is None else self._parts.targets[examples]
        inputs, found = self._dataset.inputs[examples], []
        for first in range(0, len(genes), block):
            rows = np.minimum(np.arange(first, first + block), len(genes) - 1)  # the last fills the last block
            found.append(np.asarray(program(genes[rows], shared, inputs, targets), np.float64))
        values = np.concatenate(found)[: len(genes)]
        return np.where(np.isfinite(values), values, np.inf)


@lru_cache(maxsize=64)
def _compile(found: Setup, mesh: Mesh, paths: tuple[str, ...], fitness: Fitness, rescale: Rescale, kind: Genes) -> Callable[..., Any]:
    judge, spec = scorer(found), Supermask(rescale=rescale)
    sizes = [int(np.prod(found.network.shapes[path].shape)) for path in paths]

    def one(row: Any, weights: Tree, inputs: Any, targets: Any) -> Any:
        own = dict(weights)
        for path, leaf in zip(paths, jnp.split(row, np.cumsum(sizes)[:-1].tolist()), strict=True):
            leaf = leaf.reshape(weights[path].shape)
            if kind == "mask":
                mask = leaf.astype(weights[path].dtype)
                leaf = weights[path] * (mask * factor(spec, mask, mask))
            own[path] = leaf
        judged = judge(own, inputs, targets)
        return (judged.loss if fitness == "loss" else next(iter(judged.measures.values()))).mean()

    def on_one_device(genes: Any, weights: Tree, inputs: Any, targets: Any) -> Any:
        inputs = network_inputs(found, inputs)
        together = None if mesh.devices.flat[0].platform == "cpu" else _SIDE_BY_SIDE
        return jax.lax.map(lambda row: one(row, weights, inputs, targets), genes, batch_size=together)

    split_over, whole = PartitionSpec("replica"), PartitionSpec()
    specs = (split_over, whole, whole, whole)
    return jax.jit(jax.shard_map(on_one_device, mesh=mesh, in_specs=specs, out_specs=split_over, check_vma=False))
