"""Train a cohort: replicas of one task that differ in seed, start, mask, noise and learning rate."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.task import Task
from tombola.data.augment import check_augment
from tombola.data.dataset import Dataset, sizes
from tombola.kernels.device import give_back, prepare
from tombola.models.sparse_storage import Sizes, to_dense, to_sparse
from tombola.training import optimizers
from tombola.training.convolutions import fastest
from tombola.training.frozen import trained_paths
from tombola.training.inputs import inputs_of
from tombola.training.mask_schedules import mask_updates
from tombola.training.plan import Plan, plan
from tombola.training.replica import Checkpoint, Outcome, Replica
from tombola.training.replica_batch import Arrays, ReplicaBatch
from tombola.training.schedules import learning_rate
from tombola.training.scorer import check
from tombola.training.setup import Setup
from tombola.training.sparse_storage import sparse_sizes
from tombola.training.watch import check as check_detectors


def setup(task: Task, dataset: Dataset) -> Setup:
    """What the task's programs are compiled for. Raises if a batch is larger than the training set, or if layers cannot be frozen."""
    # Before JAX touches a device, which building the network does: what it looks like is not known yet, only its name.
    prepare(large=len(dataset.shape) == 3 and task.model.name != "mlp")
    train, _ = sizes(dataset, task.data)
    if task.recipe.batch > train:
        raise TombolaError(f"batch = {task.recipe.batch}, but there are only {train} training examples; choose a smaller batch")
    pixels = None if dataset.mean is None or dataset.std is None else (tuple(dataset.mean.tolist()), tuple(dataset.std.tolist()))
    objective = task.objective.fitted(dataset)
    found = Setup(task.model, task.recipe, objective, objective.info(dataset), train, task.data.augment, pixels)
    check(objective, found)
    trained_paths(found.network, task.recipe.frozen)  # raises
    optimizers.check(task.recipe)
    check_augment(task.data.augment, task.data.name, dataset.shape, task.recipe.batch)
    return found


def total_iterations(task: Task, setup: Setup) -> int:
    """T, the length of the task's training. Raises for schedules that do not fit in it."""
    recipe, per_epoch = task.recipe, setup.steps_per_epoch
    if (total := recipe.steps.iterations(per_epoch)) == 0:
        raise TombolaError(f"steps = {str(recipe.steps)!r}: write how long to train, for example '5000it' or '20ep'")
    for name, steps in (("warmup", (recipe.warmup,)), ("milestones", recipe.milestones)):
        for step in steps:
            if step.iterations(per_epoch) > total:
                raise TombolaError(f"{name} {str(step)!r} lies after the end of training at iteration {total}; choose an earlier step")
    learning_rate(recipe, setup.timeline)  # raises
    mask_updates(setup)  # raises
    check_detectors(setup)
    for name in ("evaluate_every", "test_every"):
        step = getattr(recipe, name)
        if step is not None and step.iterations(per_epoch) == 0:
            raise TombolaError(f"{name} = {str(step)!r}, but the spacing of evaluations is at least 1it")
    return total


def check_keep(wanted: Iterable[int], begin: int) -> None:
    """Raise if weights are wanted of an iteration before the run begins."""
    if early := [step for step in wanted if step < begin]:
        raise TombolaError(f"weights of iteration {min(early)} are wanted, but the run begins at iteration {begin}; ask for that or later")


def train_cohort(
    task: Task,
    dataset: Dataset,
    replicas: Sequence[Replica],
    on_checkpoint: Callable[[int, Checkpoint], None] | None = None,
    on_progress: Callable[..., None] = lambda *told: None,
    layout: Plan | None = None,
    until: int | None = None,
    on_rows: Callable[[int, Sequence[Sequence[float]]], None] | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Train each replica to the end, or to iteration `until`, batch by batch; yields (index of the replica, outcome) as batches finish.

    On a CPU a replica's result is bitwise the same whoever shares its cohort. Those with few weights left are stored
    sparsely there (`tombola.training.sparse_storage`), which is no part of what a replica is or leaves.

    Args:
        replicas: they resume at one iteration, or begin at one. Where the plan lets several share a device they may begin
            at different ones: those that begin later wait.
        on_checkpoint: called with (index, checkpoint) at most every `CHECKPOINT_SECONDS`, between calls.
        on_progress: called with the number of replica-steps just trained, and what detectors say, if they do.
        layout: the plan; made for this cohort if not given.
        on_rows: called with (index, its rows so far) after each call that may have evaluated. It has the host wait for the devices.
        until: training stops after this iteration, bitwise where the whole run would be.
    """
    found = setup(task, dataset)
    end = total_iterations(task, found) if until is None else until
    layout = fastest(found, layout or plan(len(replicas), found.network.convolutional, dataset.on_disk, task.recipe.batch))
    arrays = _on_devices(dataset, layout)
    for sparse, indices in _by_sizes(task, found, layout, replicas).items():
        for first in range(0, len(indices), layout.capacity):
            together = indices[first : first + layout.capacity]
            checkpoint = None if on_checkpoint is None else lambda i, point, together=together: on_checkpoint(together[i], point)
            heard = None if on_rows is None else lambda i, rows, together=together: on_rows(together[i], rows)
            there = [_stored(replicas[index], sparse) for index in together]
            outcomes = ReplicaBatch(task, end, found, layout, sparse, arrays, there).train(checkpoint, on_progress, heard)
            give_back()
            for index, outcome in zip(together, outcomes, strict=True):
                start = replicas[index].start  # what a mask that moves has left is 0 from then on
                start = {path: np.zeros_like(leaf) for path, leaf in start.items()} if task.recipe.mask_schedule else start
                yield index, replace(outcome, snapshots={step: to_dense(tree, start) for step, tree in outcome.snapshots.items()})


def _by_sizes(task: Task, found: Setup, layout: Plan, replicas: Sequence[Replica]) -> dict[Sizes, list[int]]:
    groups: dict[Sizes, list[int]] = {}
    for index, replica in enumerate(replicas):
        steps = total_iterations(task, found) - replica.begin
        groups.setdefault(sparse_sizes(found, steps, replica.start, replica.mask) if layout.native else (), []).append(index)
    return groups


def _stored(replica: Replica, sizes: Sizes) -> Replica:
    start, mask = to_sparse(replica.start, replica.mask, sizes)
    return replace(replica, start=start, mask=mask)


@lru_cache(maxsize=2)
def _on_devices(dataset: Dataset, layout: Plan) -> Arrays:
    return Arrays(dataset, inputs_of(dataset.inputs, layout), inputs_of(dataset.test_inputs, layout))
