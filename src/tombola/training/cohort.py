"""Train a cohort: replicas of one task that differ in seed, start, mask and noise."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from tombola.core import keys
from tombola.core.backend import prepare
from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.task import Task
from tombola.core.trees import Tree, stack
from tombola.data.dataset import Dataset, sizes
from tombola.data.split import Split, split
from tombola.training.plan import Plan, plan
from tombola.training.program import Fixed, Geometry, Program, compile_program

NOISE = ("data_order", "augmentation", "dropout")
"""The streams that make up a run's SGD noise."""


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on: bitwise the same as if it had never stopped."""

    iteration: int
    state: tuple[np.ndarray, ...]
    """The leaves of `State`, in JAX's order."""
    rows: tuple[tuple[float, ...], ...]
    snapshots: Mapping[int, Tree]


@dataclass(frozen=True)
class Member:
    """One replica of a cohort."""

    seed: int
    start: Tree
    mask: Mask
    begin: int = 0
    """Iteration at which it begins: schedule and data order go on from there, optimiser state starts empty."""
    noise: Mapping[str, str] = field(default_factory=dict)
    """Stream of `NOISE` -> suffix: another suffix is another draw of that noise under the same seed."""
    keep: frozenset[int] = frozenset()
    """Iterations at which its weights are wanted."""
    resume: Checkpoint | None = None


@dataclass(frozen=True)
class Outcome:
    """What one replica's training gave."""

    rows: tuple[tuple[float, ...], ...]
    """One a evaluation: `COLUMNS`."""
    summary: Mapping[str, float]
    snapshots: Mapping[int, Tree]


COLUMNS = ("step", "val_loss", "val_acc", "test_loss", "test_acc")
"""Of `Outcome.rows`; NaN where the test set was not evaluated. Losses are mean cross-entropies in nats."""


def geometry(task: Task, dataset: Dataset) -> Geometry:
    """What the task's programs are compiled for. Raises if a batch is larger than the training set."""
    prepare()  # before JAX touches a device, which building the network does
    train, _ = sizes(dataset, task.data)
    if task.recipe.batch > train:
        raise TombolaError(f"batch = {task.recipe.batch}, but there are only {train} training examples; choose a smaller batch")
    shape = tuple(dataset.inputs.shape[1:])
    return Geometry(task.model, task.recipe, shape, dataset.classes, train, task.data.augment)


def total_iterations(task: Task, geometry: Geometry) -> int:
    """T, the length of the task's training. Raises for schedules that do not fit in it."""
    recipe, per_epoch = task.recipe, geometry.steps_per_epoch
    if (total := recipe.steps.iterations(per_epoch)) == 0:
        raise TombolaError(f"steps = {str(recipe.steps)!r}: write how long to train, for example '5000it' or '20ep'")
    for name, steps in (("warmup", (recipe.warmup,)), ("milestones", recipe.milestones)):
        for step in steps:
            if step.iterations(per_epoch) > total:
                raise TombolaError(f"{name} {str(step)!r} lies after the end of training at iteration {total}; choose an earlier step")
    for name in ("evaluate_every", "test_every"):
        step = getattr(recipe, name)
        if step is not None and step.iterations(per_epoch) == 0:
            raise TombolaError(f"{name} = {str(step)!r}, but the spacing of evaluations is at least 1it")
    return total


def train_cohort(
    task: Task,
    dataset: Dataset,
    members: Sequence[Member],
    on_checkpoint: Callable[[int, Checkpoint], None] | None = None,
    on_progress: Callable[[int], None] = lambda steps: None,
    layout: Plan | None = None,
) -> Iterator[tuple[int, Outcome]]:
    """Train each member to the end, wave by wave; yields (index of the member, outcome) as waves finish.

    On a CPU a member's result is bitwise the same whoever shares its cohort.

    Args:
        members: they must begin, or resume, at one iteration.
        on_checkpoint: called with (index, checkpoint) at most every `CHECKPOINT_SECONDS`, between chunks.
        on_progress: called with the number of replica-steps just trained.
        layout: the plan; made for this cohort if not given.
    """
    found = geometry(task, dataset)
    layout = layout or plan(len(members), found.network.convolutional)
    program = compile_program(found, layout)
    arrays = _on_devices(dataset, layout)
    for first in range(0, len(members), layout.wave):
        wave = list(members[first : first + layout.wave])
        checkpoint = None if on_checkpoint is None else lambda i, point, first=first: on_checkpoint(first + i, point)
        outcomes = _Wave(task, found, layout, program, arrays, wave).train(checkpoint, on_progress)
        yield from ((first + index, outcome) for index, outcome in enumerate(outcomes))


CHECKPOINT_SECONDS = 15.0
"""Least time between two checkpoints of a wave: what a killed process can lose, beside the current chunk."""


class _Arrays(NamedTuple):
    """A data set on the devices."""

    dataset: Dataset
    pool: Any
    test: Any


@lru_cache(maxsize=2)
def _on_devices(dataset: Dataset, layout: Plan) -> _Arrays:
    return _Arrays(dataset, jax.device_put(dataset.inputs, layout.shared), jax.device_put(dataset.test_inputs, layout.shared))


class _Wave:
    """One wave on its way through training. The host's side of the loop; all arithmetic is in `Program`."""

    def __init__(self, task: Task, found: Geometry, layout: Plan, program: Program, arrays: _Arrays, members: list[Member]) -> None:
        self.task, self.found, self.layout, self.program, self.arrays = task, found, layout, program, arrays
        self.members = members
        padded = members + [members[-1]] * (layout.wave - len(members))
        splits = [split(arrays.dataset, task.data, member.seed) for member in padded]
        self.end = total_iterations(task, found)
        self.t = members[0].begin if members[0].resume is None else members[0].resume.iteration
        self.fixed = self._put(_fixed(padded, splits))
        self.test_labels = self._put(np.tile(arrays.dataset.test_labels, (layout.wave, 1)))
        self.rows: list[Any] = []
        self.snapshots: list[dict[int, Tree]] = [dict(member.resume.snapshots) if member.resume else {} for member in members]
        self.earlier = [member.resume.rows if member.resume else () for member in members]
        start = self._put(stack([member.start for member in padded]))
        if members[0].resume is None:
            self.state = program.start(start)
        else:
            states = [member.resume.state for member in padded if member.resume is not None]
            leaves = [np.stack(leaf) for leaf in zip(*states, strict=True)]
            self.state = self._put(jax.tree.unflatten(jax.tree.structure(jax.eval_shape(program.start, start)), leaves))
        self.order, self.first_epoch = None, -1

    def _put(self, tree: Any) -> Any:
        return jax.device_put(tree, self.layout.stacked)

    def train(self, on_checkpoint: Any, on_progress: Callable[[int], None]) -> list[Outcome]:
        fresh, saved = self.members[0].resume is None, time.monotonic()
        if fresh:
            self._evaluate_and_keep()
        for stop in self._stops():
            self._advance(stop)
            on_progress((stop - self.t) * len(self.members))
            self.t = stop
            self._evaluate_and_keep()
            if on_checkpoint is not None and time.monotonic() - saved > CHECKPOINT_SECONDS and stop < self.end:
                leaves = jax.tree.leaves(jax.device_get(self.state))
                for index in range(len(self.members)):
                    mine = tuple(np.array(leaf[index]) for leaf in leaves)
                    on_checkpoint(index, Checkpoint(self.t, mine, self._rows(index), dict(self.snapshots[index])))
                saved = time.monotonic()
        return self._outcomes()

    def _stops(self) -> list[int]:
        every, chunk = self._every(self.task.recipe.evaluate_every), self.found.chunk
        wanted = {step for member in self.members for step in member.keep} | set(range(0, self.end, every)) | set(range(0, self.end, chunk))
        return sorted({step for step in wanted if self.t < step < self.end} | {self.end} - {self.t})

    def _every(self, step: Any) -> int:
        return step.iterations(self.found.steps_per_epoch)

    def _advance(self, stop: int) -> None:
        per_epoch = self.found.steps_per_epoch
        if self.order is None or (stop - 1) // per_epoch >= self.first_epoch + self.found.epochs_ahead:
            self.first_epoch = self.t // per_epoch
            self.order = self.program.order(self.fixed, np.int32(self.first_epoch))
        calls = [(self.t, stop)] if self.layout.loop else [(t, t + 1) for t in range(self.t, stop)]
        for t0, t1 in calls:
            self.state = self.program.advance(
                self.state, self.fixed, self.order, np.int32(self.first_epoch), np.int32(t0), np.int32(t1), self.arrays.pool
            )

    def _evaluate_and_keep(self) -> None:
        recipe, last = self.task.recipe, self.t == self.end
        if last or self.t % self._every(recipe.evaluate_every) == 0:
            loss, correct = self._score(self.state.weights, "validation")
            self.state = self.program.keep_best(self.state, loss, np.int32(self.t))
            tested = last or self.t % self._every(recipe.test_every or recipe.evaluate_every) == 0
            test = self._score(self.state.weights, "test") if tested else (np.full(len(loss), np.nan),) * 2
            self.rows.append((np.full(self.layout.wave, self.t), loss, correct, *test))
        if any(self.t in member.keep for member in self.members):
            weights = jax.device_get(self.state.weights)
            for index, member in enumerate(self.members):
                if self.t in member.keep:
                    self.snapshots[index][self.t] = _replica(weights, index)

    def _score(self, weights: Tree, part: str) -> tuple[Any, Any]:
        """Mean loss (nats) and accuracy of each replica on the validation, test or training set; arrays on the devices."""
        inputs, labels = (self.arrays.test, self.test_labels) if part == "test" else (self.arrays.pool, self.fixed.labels)
        scores = [self.program.score(weights, inputs, labels, *batch) for batch in self._batches(part)]
        losses, accuracies = zip(*scores, strict=True)
        return sum(losses[1:], losses[0]), sum(accuracies[1:], accuracies[0])

    @cache  # noqa: B019  a wave does not outlive its training
    def _batches(self, part: str) -> list[tuple[Any, Any]]:
        """(indices, weight of each example in the mean) of each batch of an evaluation, on the devices.

        The last batch reaches back over the one before it, so that all have one shape; what it sees again weighs 0.
        """
        everything = np.tile(np.arange(len(self.arrays.test), dtype=np.int32), (self.layout.wave, 1))
        indices = everything if part == "test" else np.asarray(getattr(self.fixed, part))
        count = indices.shape[1]
        size = min(self.layout.evaluation_batch, count)
        found = []
        for begin in range(0, count, size):
            shifted = min(begin, count - size)
            share = np.where(np.arange(shifted, shifted + size) >= begin, 1 / count, 0).astype(np.float32)
            found.append((self._put(indices[:, shifted : shifted + size]), jax.device_put(share, self.layout.shared)))
        return found

    def _rows(self, index: int) -> tuple[tuple[float, ...], ...]:
        return (*self.earlier[index], *(tuple(float(np.asarray(value)[index]) for value in row) for row in self.rows))

    def _outcomes(self) -> list[Outcome]:
        train_loss, train_acc = self._score(self.state.weights, "train")
        test_loss, test_acc = self._score(self.state.best, "test")
        columns = {
            "es_step": self.state.best_step,
            "es_test_loss": test_loss,
            "es_test_acc": test_acc,
            "train_loss": train_loss,
            "train_acc": train_acc,
        }
        host = {name: np.asarray(value) for name, value in columns.items()}
        return [
            Outcome(self._rows(index), {name: float(value[index]) for name, value in host.items()}, self.snapshots[index])
            for index in range(len(self.members))
        ]


def _fixed(members: Sequence[Member], splits: Sequence[Split]) -> Fixed:
    return Fixed(
        mask=stack([member.mask for member in members]),
        keys=np.stack([[keys.stream(member.seed, _noise_stream(member, name)) for name in NOISE] for member in members]),
        labels=np.stack([part.labels for part in splits]),
        train=np.stack([part.train for part in splits]),
        validation=np.stack([part.validation for part in splits]),
    )


def _noise_stream(member: Member, name: str) -> str:
    suffix = member.noise.get(name, "")
    return f"{name}/{suffix}" if suffix else name


def _replica(tree: Any, index: int) -> Any:
    return jax.tree.map(lambda leaf: np.array(leaf[index]), tree)
