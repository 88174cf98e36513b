"""`tombola.instability`: is a network at step k stable to SGD noise? (Frankle et al. 2020, section 3)"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.keys import replicate_seed
from tombola.core.masks import Mask
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.core.trees import Tree, per_replica, replica, replicas, stack
from tombola.data.dataset import load
from tombola.evaluation.barrier import FORMS, STABLE, Form, check_ends
from tombola.evaluation.weight_combinations import PARTS, Part
from tombola.procedures.measurement import BatchNorm
from tombola.procedures.paths import Paths, checked_options, gathered, line
from tombola.surgery.combine import combine
from tombola.training.cohort import setup, total_iterations
from tombola.training.replica import NOISE
from tombola.training.train import train, train_copies
from tombola.training.trajectory import Trajectory


@dataclass(frozen=True)
class Instability:
    """C children of W_k for each of R replicates, and the paths between all N = C (C - 1) / 2 pairs of them."""

    k: Step
    children: tuple[Trajectory, ...]
    """C trajectories of R replicas."""
    paths: Paths
    """Leading axes (R, N); pairs in the order (0, 1), (0, 2), ..., (1, 2), ..."""
    part: Part
    form: Form

    @property
    def barrier(self) -> np.ndarray:
        """(R,) instability in percentage points: the error barrier, averaged over the pairs of a replicate."""
        return self.paths.barrier(self.part, self.form).mean(axis=1)

    @property
    def stable(self) -> np.ndarray:
        """(R,) bool: whether the instability is below 2 percentage points."""
        return self.barrier < 100 * STABLE


def instability(
    task: Task,
    k: Step | str = "0it",
    *,
    children: int = 3,
    replicates: int | None = None,
    seed: int = 0,
    start: Tree | None = None,
    mask: Mask | None = None,
    vary: Sequence[str] = NOISE,
    part: Part = "test",
    form: Form = "maximum",
    points: int = 30,
    batch_norm: BatchNorm = "recompute",
    train_examples: int | None = None,
    data_dir: Path | str | None = None,
) -> Instability:
    """Train to W_k, make children with the same W_k and SGD noise of their own, train them to T, look at the ways between.

    Args:
        k: the step; 0it: children of the initialisation.
        children: C, 2 or more.
        replicates: R initialisations; taken from `start` or `mask` where they are given, else 1.
        start: W_k, leaves (R, ...), such as ``dense.at("500it")``; trained to if not given.
        mask: bool leaves (R, ...) on the prunable weights: children of a sparse network. Pruned weights are held at what
            `start` has there; 0 if it is not given.
        vary: streams of SGD noise that differ between children: data_order, augmentation, dropout; the others are held.
        part: which error is judged, `test` or `train`.
        form: which height of the barrier: `maximum`, `midpoint` or `linear`.
        points, batch_norm, train_examples: as for `tombola.path`.

    Raises:
        TombolaError: children that come out equal (the task has none of the noise that varies), an end of a path whose
            error is not its child's, a k after the end of training.
    """
    if children < 2:
        raise TombolaError(f"children = {children}, but a path needs 2 networks or more")
    for name, given, allowed in (("part of the data", part, PARTS), ("form of barrier", form, FORMS)):
        if given not in allowed:
            raise unknown(name, given, allowed)
    if wrong := [stream for stream in vary if stream not in NOISE]:
        raise unknown("stream of SGD noise", wrong[0], NOISE)
    options = checked_options(points, batch_norm, train_examples)
    dataset = load(task.data, data_dir)
    found_in = setup(task, dataset)
    end = total_iterations(task, found_in)
    if Step(k).iterations(found_in.steps_per_epoch, end) == end:
        raise TombolaError(f"k = {str(k)!r} is the end of training at iteration {end}, where children have nothing to train; choose less")
    if not found_in.noise & set(vary):
        raise TombolaError(f"vary = {list(vary)}, but this task has none of that noise, so children would be equal; add data_order")
    if start is None:
        start = _dense_run(task, k, replicates, seed, mask, data_dir)
    noises = [dict.fromkeys(vary, f"child/{index}") for index in range(children)]
    found = train_copies(task, noises, replicates, seed, start=start, mask=mask, begin=k, data_dir=data_dir)
    lines = []
    for index, one in enumerate(found[0].seeds):
        for first, second in combinations(found, 2):
            between = line(task, dataset, one, replica(first.final, index), replica(second.final, index), **options)
            recorded = [1 - float(child.metrics["test_acc"][index, -1]) for child in (first, second)]
            check_ends(between["test_own"], recorded, int(between["test_examples"]))
            lines.append(between)
    pairs = len(lines) // len(found[0].seeds)
    return Instability(Step(k), tuple(found), gathered(lines, (len(found[0].seeds), pairs)), part, form)


def _dense_run(task: Task, k: Step | str, replicates: int | None, seed: int, mask: Mask | None, data_dir: Path | str | None) -> Tree:
    """W_k of the dense network; 0 where it is pruned."""
    count = replicas(mask) if mask else replicates
    if Step(k) == "0it":
        network = setup(task, load(task.data, data_dir)).network
        found = stack([network.init(replicate_seed(seed, index)) for index in range(count or 1)])
    else:
        found = train(task, count, seed, until=k, data_dir=data_dir).final
    return per_replica(combine, mask, found) if mask else found
