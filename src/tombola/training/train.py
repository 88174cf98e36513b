"""`tombola.train`: train replicas of a task from any start under any mask."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tombola.core import keys, masks
from tombola.core.errors import TombolaError, unknown
from tombola.core.masks import Mask
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.core.trees import Tree, replica, replicas, stack
from tombola.data.dataset import load
from tombola.training.cohort import check_keep, setup, total_iterations, train_cohort
from tombola.training.replica import NOISE, Outcome, Replica, columns
from tombola.training.trajectory import Trajectory


def train(
    task: Task,
    replicates: int | None = None,
    seed: int = 0,
    *,
    start: Tree | None = None,
    mask: Mask | None = None,
    begin: Step | str = "0it",
    until: Step | str = "end",
    keep: Sequence[Step | str] = (),
    noise: Mapping[str, str] | None = None,
    data_dir: Path | str | None = None,
) -> Trajectory:
    """Train replicas of a task; where the mask is 0 a weight keeps its starting value, bit for bit.

    Args:
        task: data, model and recipe; `tombola.task("mnist1d-mlp")` or your own `tombola.Task`.
        replicates: R; taken from `start` or `mask` where they are given, else 1.
        seed: with it, replicate r has the 64-bit seed ``keys.replicate_seed(seed, r)``: split, initial weights, data
            order, augmentation and dropout follow from that. Equal seeds pair the replicates of two calls.
        start: weights to begin from, leaves (R, ...); the initial weights if not given.
        mask: bool leaves (R, ...) on the prunable weights; everything is kept if not given.
        begin: the step that `start` stands for: learning-rate schedule and data order go on from there.
        until: training stops after this step, with schedule and data order as on the way to the end. It is the last
            evaluation, and `Trajectory.end`.
        keep: steps whose weights are wanted; the first and the last are always kept.
        noise: another draw of SGD noise under the same seed, as {stream: name}; streams are `data_order`,
            `augmentation` and `dropout`.
        data_dir: folder of the data files; else TOMBOLA_DATA.

    Raises:
        TombolaError: for weights or masks that do not fit the network, or steps after the end (or after `until`).
    """
    (found,) = train_copies(
        task, [noise or {}], replicates, seed, start=start, mask=mask, begin=begin, until=until, keep=keep, data_dir=data_dir
    )
    return found


def train_copies(
    task: Task,
    noises: Sequence[Mapping[str, str]],
    replicates: int | None = None,
    seed: int = 0,
    *,
    start: Tree | None = None,
    mask: Mask | None = None,
    begin: Step | str = "0it",
    until: Step | str = "end",
    keep: Sequence[Step | str] = (),
    data_dir: Path | str | None = None,
) -> list[Trajectory]:
    """`train`, several times over in one cohort: copies of every replica that differ in their SGD noise alone, a trajectory each."""
    dataset = load(task.data, data_dir)
    found = setup(task, dataset)
    network, end, per_epoch = found.network, total_iterations(task, found), found.steps_per_epoch
    count = _replicates(replicates, start, mask)
    seeds = tuple(keys.replicate_seed(seed, index) for index in range(count))
    starts = start if start is not None else stack([network.init(one) for one in seeds])
    kept = mask if mask is not None else {path: np.ones((count, *network.shapes[path].shape), bool) for path in network.prunable}
    _check_start(starts, {path: (count, *shape.shape) for path, shape in network.shapes.items()})
    masks.check(kept, {path: (count, *network.shapes[path].shape) for path in network.prunable})
    for name in [name for noise in noises for name in noise]:
        if name not in NOISE:
            raise unknown("stream of SGD noise", name, NOISE)
    first = Step(begin).iterations(per_epoch, end)
    last = Step(until).iterations(per_epoch, end)
    if last <= first and last < end:
        raise TombolaError(f"until = {str(until)!r} is iteration {last}, but the run begins at iteration {first}; choose a later step")
    wanted = frozenset({first, last} | {Step(step).iterations(per_epoch, last) for step in keep})
    check_keep(wanted, first)
    members = [
        Replica(one, replica(starts, index), replica(kept, index), first, noise, wanted)
        for noise in noises
        for index, one in enumerate(seeds)
    ]
    outcomes = [outcome for _, outcome in train_cohort(task, dataset, members, until=last)]
    return [_trajectory(task, seeds, kept, outcomes[copy * count : (copy + 1) * count], per_epoch, last) for copy in range(len(noises))]


def _trajectory(task: Task, seeds: tuple[int, ...], mask: Mask, outcomes: list[Outcome], per_epoch: int, end: int) -> Trajectory:
    rows = np.array([outcome.rows for outcome in outcomes])
    metrics = {name: rows[:, :, column] for column, name in enumerate(columns(task.objective))}
    return Trajectory(
        task=task,
        seeds=seeds,
        mask=mask,
        metrics={**metrics, "step": rows[0, :, 0].astype(int)},
        summary={name: np.array([outcome.summary[name] for outcome in outcomes]) for name in outcomes[0].summary},
        snapshots={step: stack([outcome.snapshots[step] for outcome in outcomes]) for step in outcomes[0].snapshots},
        steps_per_epoch=per_epoch,
        end=end,
    )


def _replicates(given: int | None, *trees: Tree | None) -> int:
    found = {replicas(tree) for tree in trees if tree} | ({given} if given is not None else set())
    if len(found) > 1:
        raise TombolaError(f"replicates: start, mask and `replicates` must agree, but they say {', '.join(map(str, sorted(found)))}")
    count = found.pop() if found else 1
    if count < 1:
        raise TombolaError(f"replicates = {count}, but at least 1 is needed")
    return count


def _check_start(start: Tree, shapes: Mapping[str, tuple[int, ...]]) -> None:
    if start.keys() != shapes.keys():
        wrong = sorted(start.keys() ^ shapes.keys())[0]
        raise TombolaError(f"start: {wrong!r} is {'not a weight of this network' if wrong in start else 'missing'}")
    for path, leaf in start.items():
        if leaf.shape != shapes[path]:
            raise TombolaError(f"start {path!r} has shape {tuple(leaf.shape)}, but {shapes[path]} is needed (replicates first)")
