"""Replicas of a cohort that train at the same time, on its way through training: the host's side of the loop."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from tombola.core import interrupts
from tombola.core.task import Task
from tombola.core.trees import Tree, stack
from tombola.data.dataset import Dataset
from tombola.data.split import split
from tombola.models.sparse_storage import Sizes
from tombola.training.inputs import Inputs
from tombola.training.mask_schedules import mask_updates
from tombola.training.moving_masks import MovingMasks
from tombola.training.orders import Orders, fixed_of
from tombola.training.plan import Plan
from tombola.training.program import INTERVALS, NOTHING, TESTED, VALIDATED, Batches, Examples, Stops, compile_program
from tombola.training.replica import Checkpoint, Outcome, Replica
from tombola.training.scorer import class_shares, in_batches
from tombola.training.setup import Setup
from tombola.training.watch import Watch, copied, noted, told

CHECKPOINT_SECONDS = 15.0
"""Least time between two checkpoints of a batch of replicas: what a killed process can lose, beside the current call. Where writing
one takes more than a second, as over a network, so many times that."""


class Arrays(NamedTuple):
    """A data set, and its inputs as programs take them."""

    dataset: Dataset
    pool: Inputs
    test: Inputs


class ReplicaBatch:
    """Members that train at the same time: a call for several stops in a row, or one a step. All arithmetic is in `Program`."""

    def __init__(self, task: Task, end: int, found: Setup, layout: Plan, sparse: Sizes, arrays: Arrays, replicas: list[Replica]) -> None:
        """`sparse`: what the replicas have in sparse storage."""
        self.recipe, self.end, self.found, self.layout, self.arrays, self.replicas = task.recipe, end, found, layout, arrays, replicas
        self.program = program = compile_program(found._replace(sparse=sparse), layout)
        padded = replicas + [replicas[-1]] * (layout.capacity - len(replicas))
        self.splits = splits = [split(arrays.dataset, task.data, replica.seed) for replica in padded]
        begins = {replica.begin for replica in replicas}
        assert len(begins) == 1 or layout.per_device > 1
        self.t = min(begins) if replicas[0].resume is None else replicas[0].resume.iteration
        self.watch = Watch(self.recipe.detect, found, arrays.dataset, replicas, splits) if self.recipe.detect else None
        self.shadow: Any = None  # weights of the copies that were moved and trained on, for the detectors' next stop
        self.fixed = self._put(fixed_of(task, padded, splits))
        self._switch(self.watch.found_by_now() if self.watch else [])
        self.orders = [Orders(replica, part.train) for replica, part in zip(padded, splits, strict=True)]
        self.objective = found.objective
        tested = None if found.objective.targets == "inputs" else arrays.dataset.test_targets
        self.test_targets = self._put(None if tested is None else np.stack([tested] * layout.capacity))
        self.rows: list[tuple[list[int], list[int], tuple[Any, ...], Any]] = []
        """What each call that evaluated gave: iterations, what was done at each, and (replicas, >= iterations) of each column that
        validation and test have; and each replica's density, where masks move."""
        self.snapshots: list[dict[int, Tree]] = [dict(replica.resume.snapshots) if replica.resume else {} for replica in replicas]
        self.earlier = [replica.resume.rows if replica.resume else () for replica in replicas]
        updates, self.masks = mask_updates(found), [dict(one.resume.masks) if one.resume else {} for one in replicas]
        self.moves = {step for step in updates.steps if min(begins) < step <= end} if updates else set()
        start = self._put(stack([replica.start for replica in padded])), self._put(stack([replica.mask for replica in padded]))
        if replicas[0].resume is None:
            self.state = program.start(*start)
        else:
            states = [replica.resume.state for replica in padded if replica.resume is not None]
            leaves = [np.stack(leaf) for leaf in zip(*states, strict=True)]
            self.state = self._put(jax.tree.unflatten(jax.tree.structure(jax.eval_shape(program.start, *start)), leaves))
        self.moving = MovingMasks(found, updates, sparse, replicas, self.state, self._put) if updates else None
        self.pending = NOTHING  # what is still to be evaluated at this iteration, under the mask that has just moved
        self.drawn, self.order, self.first_epoch = np.empty(0), None, -1
        self.batches: dict[str, list[tuple[Any, Any]]] = {}
        self.nothing = self._put((np.zeros(layout.capacity, np.float32),) * len(self.objective.columns))

    def _put(self, tree: Any) -> Any:
        return jax.device_put(tree, self.layout.stacked)

    def train(self, on_checkpoint: Any, on_progress: Callable[..., None], on_rows: Any = None) -> list[Outcome]:
        """All calls, with checkpoints between them; before a process that was told to stop does so, one more."""
        saved, took = time.monotonic(), 0.0
        if self.replicas[0].resume is None:
            self._keep_and_look()
        with interrupts.deferred():
            for stops in self._calls():
                began = self.t
                self._call(stops)
                due = interrupts.told() or time.monotonic() - saved > CHECKPOINT_SECONDS * max(1.0, took)
                if on_checkpoint is not None and due and self.t < self.end and self.shadow is None:
                    found, writing = self._checkpoints(), time.monotonic()
                    for index, checkpoint in enumerate(found):
                        on_checkpoint(index, checkpoint)
                    saved, took = time.monotonic(), time.monotonic() - writing
                for index, rows in enumerate(self._rows() if on_rows else ()):
                    on_rows(index, rows)
                said = self.watch.said() if self.watch else []
                on_progress(sum(max(0, self.t - max(began, replica.begin)) for replica in self.replicas), *said)
        return self._outcomes()

    def _call(self, stops: list[int]) -> None:
        what = [self._what(stop) for stop in stops]
        if self.pending and self.layout.loop and len(stops) < INTERVALS:
            stops, what, self.pending = [self.t, *stops], [self.pending, *what], NOTHING
        self._settle()
        moves = stops[-1] in self.moves
        self._advance(stops, [*what[:-1], NOTHING] if moves else what)
        if moves:  # what is evaluated there, with the next call, and kept, is the network under its new mask
            self._move_masks()
            self.pending = what[-1]
        jax.block_until_ready(self.rows[-2:-1])  # the host goes no more than one call ahead
        self._settle(bool(self.watch) or self.t == self.end)
        self._keep_and_look()

    def _settle(self, due: bool = True) -> None:
        """Evaluate what is still to be evaluated here."""
        if due and self.pending:
            what, self.pending = self.pending, NOTHING
            self._advance([self.t], [what])

    def _checkpoints(self) -> list[Checkpoint]:
        self._settle()
        leaves = jax.tree.leaves(jax.device_get(self.state))
        states = [tuple(np.array(leaf[index]) for leaf in leaves) for index in range(len(self.replicas))]
        parts = zip(states, self._rows(), map(dict, self.snapshots), map(dict, self.masks), strict=True)
        return noted(self.watch, [Checkpoint(self.t, *rest) for rest in parts])

    def _calls(self) -> list[list[int]]:
        """The stops that are still ahead, those of one call together; where weights are wanted, or masks move, a call ends."""
        fresh, kept = self.replicas[0].resume is None, {step for replica in self.replicas for step in replica.keep}
        every, chunk, began = self._every(self.recipe.evaluate_every), self.found.chunk, self.t
        kept |= self.moves | ({*self.watch.horizons, *self.watch.begins} if self.watch else set())
        wanted = kept | set(range(0, self.end, every)) | set(range(0, self.end, chunk)) | {self.end}
        calls: list[list[int]] = [[self.t] if fresh else []]
        for stop in sorted(step for step in wanted if self.t < step <= self.end):
            call = calls[-1]
            if call and (not self.layout.loop or len(call) == INTERVALS or stop > began + self.found.span or call[-1] in kept - {self.t}):
                began = call[-1]
                calls.append([])
            calls[-1].append(stop)
        return [call for call in calls if call]

    def _every(self, step: Any) -> int:
        return step.iterations(self.found.steps_per_epoch)

    def _what(self, stop: int) -> int:
        """What is done at a stop, beside keeping weights."""
        recipe, last = self.recipe, stop == self.end
        if not last and stop % self._every(recipe.evaluate_every):
            return NOTHING
        return TESTED if last or stop % self._every(recipe.test_every or recipe.evaluate_every) == 0 else VALIDATED

    def _advance(self, stops: list[int], what: list[int]) -> None:
        """Train to each of the stops, and evaluate there."""
        self._draw_orders(stops[-1])
        columns = self._in_one_call(stops, what) if self.layout.loop else self._step_by_step(*stops, *what)
        if any(what):
            self.rows.append((stops, what, columns, self.moving.densities if self.moving else []))
        self.t = stops[-1]

    def _move_masks(self) -> None:
        """Let the mask schedule make new masks of those that there are."""
        moving, slopes, last = self.moving, {}, self.t - 1
        assert moving is not None
        if moving.updates.gradient:  # of every weight: not of what is stored alone
            inputs, weights = self.arrays.pool.batch(self._chosen(last), after=self.state.weights), moving.whole(self.state.weights)
            slopes = compile_program(self.found, self.layout).gradient(np.int32(last), weights, self.fixed, self._training(inputs))
        self.state = moving.move(self.program, self.state, self.fixed.begin, slopes, self.t)

    def _look(self) -> None:
        """Let the detectors look, where this is one of their stops; and where a shadow begins, train it to the stop that it is for."""
        if (watch := self.watch) is None:
            return
        if self.t in watch.horizons:
            self._switch(watch.look_at_all(self.t, *jax.device_get((self.state.weights, self.shadow, self.fixed.rate))))
            self.shadow = None
        state, stop = self.state, watch.begins.get(self.t, self.end + 1)
        if stop <= self.end:
            moved = self._put(watch.shadows(stop, jax.device_get(state.weights)))
            self.state = copied(state)._replace(weights=moved)  # copies: programs may take their arguments' memory
            self._draw_orders(stop)
            _ = self._in_one_call([stop], [NOTHING]) if self.layout.loop else self._step_by_step(stop, NOTHING)
            self.shadow, self.state = self.state.weights, state

    def _switch(self, indices: list[int]) -> None:
        """Let replicas go on at the rate that comes after detection."""
        if self.watch and indices:
            factors = np.array([self.watch.spec.then if index in indices else 1 for index in range(self.layout.capacity)], np.float32)
            self.fixed = self.fixed._replace(rate=self._put(np.array(self.fixed.rate) * factors))

    def _training(self, inputs: Any) -> Batches:
        return Batches(self.order, np.int32(self.first_epoch), inputs)

    def _draw_orders(self, stop: int) -> None:
        """Put the order of the epochs from here to `stop` on the devices."""
        per_epoch = self.found.steps_per_epoch
        if self.order is None or (stop - 1) // per_epoch >= self.first_epoch + self.found.epochs_ahead:
            self.first_epoch = self.t // per_epoch
            epochs = range(self.first_epoch, self.first_epoch + self.found.epochs_ahead)
            self.drawn = np.stack([orders.of(epochs, (self.end - 1) // per_epoch) for orders in self.orders])
            self.order = self._put(self.drawn)

    def _in_one_call(self, stops: list[int], what: list[int]) -> tuple[Any, ...]:
        call = Stops(np.zeros(INTERVALS + 1, np.int32), np.zeros(INTERVALS, np.int32), np.int32(len(stops)))
        call.stops[: len(stops) + 1], call.what[: len(stops)] = [self.t, *stops], what
        (validation,), (test,) = self._batches("validation"), self._batches("test")
        pool, tests = self.arrays.pool.batch(validation[0], after=()), self.arrays.test.batch(test[0], after=())
        examples = Examples(pool, self.fixed.targets, *validation), Examples(tests, self.test_targets, *test)
        self.state, columns = self.program.advance(self.state, self.fixed, self._training(pool), call, *examples)
        return columns

    def _step_by_step(self, stop: int, what: int) -> tuple[Any, ...]:
        weights, moments = self.state.weights, self.state.moments
        for t in range(self.t, stop):
            inputs = self.arrays.pool.batch(self._chosen(t), after=weights)
            weights, moments = self.program.step(np.int32(t), weights, moments, self.state.mask, self.fixed, self._training(inputs))
        self.state = self.state._replace(weights=weights, moments=moments)
        nan = (np.full(self.layout.capacity, np.nan),) * len(self.objective.columns)
        if what == NOTHING:
            return nan + nan
        return *self._validate(stop), *(self._score(self.state.weights, "test") if what == TESTED else nan)

    def _chosen(self, t: int) -> np.ndarray:
        """(replicas, batch): the pool indices that iteration t trains on."""
        epoch, position = divmod(t, self.found.steps_per_epoch)
        return self.drawn[:, epoch - self.first_epoch, position * self.recipe.batch :][:, : self.recipe.batch]

    def _keep_and_look(self) -> None:
        self._look()
        if any(self.t in replica.keep for replica in self.replicas):
            weights = jax.device_get(self.state.weights)
            for index, replica in enumerate(self.replicas):
                if self.t in replica.keep:
                    self.snapshots[index][self.t] = {path: np.array(leaf[index]) for path, leaf in weights.items()}
                    self.masks[index] |= {self.t: self.moving.now[index]} if self.moving else {}

    def _validate(self, stop: int) -> tuple[Any, ...]:
        """The objective's columns on the validation set; the best weights so far are kept. One call, where it is one batch."""
        *others, (indices, share) = self._batches("validation")
        before = self._sum(self.state.weights, "validation", others) if others else self.nothing
        inputs = self.arrays.pool.batch(indices, after=before)
        examples = Examples(inputs, self.fixed.targets, indices, share)
        self.state, columns = self.program.validate(self.state, self.fixed.begin, np.int32(stop), before, examples)
        return columns

    def _score(self, weights: Tree, part: str) -> tuple[Any, ...]:
        """The objective's columns of each replica on the validation, test or training set; arrays on the devices."""
        return self._sum(weights, part, self._batches(part))

    def _sum(self, weights: Tree, part: str, batches: list[tuple[Any, Any]]) -> tuple[Any, ...]:
        inputs, targets = (self.arrays.test, self.test_targets) if part == "test" else (self.arrays.pool, self.fixed.targets)
        scores: list[tuple[Any, ...]] = []
        for indices, share in batches:
            scores.append(self.program.score(weights, Examples(inputs.batch(indices, after=scores[-1:]), targets, indices, share)))
        return tuple(sum(column[1:], column[0]) for column in zip(*scores, strict=True))

    def _batches(self, part: str) -> list[tuple[Any, Any]]:
        """(indices, weight of each example in the mean) of an evaluation, on the devices: of all batches in a loop, else of each."""
        if part in self.batches:
            return self.batches[part]
        indices = np.stack([getattr(one, part) for one in self.splits])
        count, shares = indices.shape[1], self.layout.shares
        size = min(self.layout.evaluation_batch, count // shares * shares or count)
        share, where, targets = np.full(count, 1 / count, np.float32), self.layout.shared, self.arrays.dataset.test_targets
        if self.objective.by_class:
            of = [targets if part == "test" else one.targets for one in self.splits]
            share, where = np.stack([class_shares(one, at) for one, at in zip(of, indices, strict=True)]), self.layout.stacked
        places, share = in_batches(share, size)
        calls = [slice(None)] if self.layout.loop else [slice(one, one + 1) for one in range(len(places))]
        self.batches[part] = [(self._put(indices[:, places[one]]), jax.device_put(share[..., one, :], where)) for one in calls]
        return self.batches[part]

    def _rows(self) -> list[tuple[tuple[float, ...], ...]]:
        """The rows of each replica so far, from the devices."""
        self.rows = jax.device_get(self.rows)
        own: list[list[tuple[float, ...]]] = [[] for _ in self.replicas]
        for stops, what, columns, densities in self.rows:
            values = np.array(columns, np.float64).reshape(len(columns), self.layout.capacity, -1)
            for index, replica in enumerate(self.replicas):
                rows = values[:, index].T.tolist()  # of a call in a loop, as many as one can have
                there = zip(stops, what, rows[: len(stops)], strict=True)
                density = () if self.moving is None else (densities[index],)
                own[index] += [(float(stop), *row, *density) for stop, done, row in there if done != NOTHING and stop >= replica.begin]
        return [(*earlier, *mine) for earlier, mine in zip(self.earlier, own, strict=True)]

    def _outcomes(self) -> list[Outcome]:
        names, columns = self.objective.columns, {"es_step": self.state.best_step}
        for part, scores in (("es_test", self._score(self.state.best, "test")), ("train", self._score(self.state.weights, "train"))):
            columns |= {f"{part}_{name}": score for name, score in zip(names, scores, strict=True)}
        host = {name: np.asarray(value) for name, value in columns.items()}
        summaries = [{name: float(value[index]) for name, value in host.items()} for index in range(len(self.replicas))]
        if self.moving:
            self.masks = [{**kept, self.end: last} for kept, last in zip(self.masks, self.moving.now, strict=False)]
        return told(self.watch, [Outcome(*one) for one in zip(self._rows(), summaries, self.snapshots, self.masks, strict=True)])
