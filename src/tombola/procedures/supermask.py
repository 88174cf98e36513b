"""`tombola.supermask`: learn which weights of an untrained network to keep (Zhou et al. 2019, section 5)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.keys import replicate_seed
from tombola.core.masks import Mask
from tombola.core.step import Step
from tombola.core.task import Supermask, Task
from tombola.core.trees import Tree, replica, replicas, stack
from tombola.data.dataset import load
from tombola.evaluation.weight_combinations import evaluate
from tombola.procedures.mask_training import mask_recipe
from tombola.procedures.measurements import Context
from tombola.procedures.packed import plain as masked_off
from tombola.procedures.supermask_measurements import learnt_supermask
from tombola.surgery.combine import combine
from tombola.surgery.values import constant
from tombola.training.cohort import setup
from tombola.training.train import train
from tombola.training.trajectory import Trajectory

Values = Literal["init", "constant"]


@dataclass(frozen=True)
class Supermasks:
    """R networks whose weights were never trained, and the masks that were."""

    mask: Mask
    """Bool leaves (R, ...) on the prunable weights: what the scores come to."""
    weights: Tree
    """Leaves (R, ...) of the plain network under that mask, w b r; fit to be a start for `tombola.train`."""
    density: np.ndarray
    """(R,) the share of the weights that a drawn mask keeps on average."""
    accuracy: np.ndarray
    """(R,) test accuracy in [0, 1], the mean over drawn masks."""
    expected_accuracy: np.ndarray
    """(R,) of the network with expected weights."""
    threshold_accuracy: np.ndarray
    """(R,) of `weights`."""
    trajectory: Trajectory
    """How the scores trained: leaves ``{path}.score`` beside the weights, which stay at their start."""


def supermask(
    task: Task,
    spec: Supermask | None = None,
    *,
    values: Values = "constant",
    steps: Step | str | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    samples: int = 10,
    replicates: int | None = None,
    seed: int = 0,
    start: Tree | None = None,
    mask: Mask | None = None,
    data_dir: Path | str | None = None,
) -> Supermasks:
    """Train scores instead of weights, as `mask_recipe` says, and look at the masks that come out.

    Args:
        spec: how scores become a mask; Bernoulli masks with dynamic rescaling if not given.
        values: what weights are: as they start (`init`), or their signs times the standard deviation of the layer's
            initialiser (`constant`).
        steps, batch: of the task's recipe, if not given.
        learning_rate: 100 if not given, 0.1 for `edge_popup` and `signed`.
        samples: masks that are drawn at the end, over which the accuracy is averaged.
        start: weights, leaves (R, ...), such as ``dense.final``; the initial weights if not given.
        mask: weights that are pruned are 0 and stay so; in `density` and in rescaling they count as their scores say.

    Raises:
        TombolaError: for values that are neither, a start or a mask that does not fit the network.
    """
    if values not in get_args(Values):
        raise unknown("kind of values", values, get_args(Values))
    if samples < 1:
        raise TombolaError(f"samples = {samples}: a mean over at least 1 drawn mask is needed")
    spec = spec or Supermask(rescale="dynamic")
    recipe = mask_recipe(task.recipe, spec, learning_rate, steps, batch)
    learning, dataset = task.but(recipe=recipe), load(task.data, data_dir)
    network = setup(learning, dataset).network
    count = replicas(start) if start is not None else replicas(mask) if mask is not None else replicates or 1
    if replicates is not None and replicates != count:
        raise TombolaError(f"replicates = {replicates}, but start or mask have {count}; leave it out")
    trees = []
    for index in range(count):
        first = {**network.init(replicate_seed(seed, index)), **(replica(start, index) if start is not None else {})}
        start_values = constant(network, first) if values == "constant" else first
        trees.append(start_values if mask is None else combine(replica(mask, index), start_values))
    found = train(learning, count, seed, start=stack(trees), mask=mask, data_dir=data_dir)
    plain = task.but(recipe=recipe.but(supermask=None))
    seen, kept, weights = [], [], []
    for index, one in enumerate(found.seeds):
        tree = replica(found.final, index)
        query = learnt_supermask(Context(setup(plain, dataset).network, one), tree, supermask=spec.model_dump(), samples=samples)
        seen.append(query.read(evaluate(plain, dataset, query.networks, query.parts)))
        plain_weights, plain_mask, _ = masked_off(spec, tree, replica(found.mask, index))
        kept.append(plain_mask)
        weights.append(plain_weights)
    return Supermasks(
        mask=stack(kept),
        weights=stack(weights),
        density=np.array([one["density"][-1] for one in seen]),
        accuracy=np.array([one["sampled_acc"].mean() for one in seen]),
        expected_accuracy=np.array([one["expected_acc"][-1] for one in seen]),
        threshold_accuracy=np.array([one["threshold_acc"][-1] for one in seen]),
        trajectory=found,
    )
