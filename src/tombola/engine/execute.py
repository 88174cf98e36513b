"""Carry a graph of runs out: skip what the store has, resume what was begun, train the rest cohort by cohort."""

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tombola.core.task import Data
from tombola.core.trees import finite
from tombola.data.dataset import load
from tombola.engine import checkpoints, results
from tombola.engine.checking import check
from tombola.engine.damage import discard
from tombola.engine.graph import Graph
from tombola.engine.order import Order
from tombola.engine.progress import Progress
from tombola.engine.queue import Queue
from tombola.engine.reading import built_info, done, wanted
from tombola.engine.resolved import program_of
from tombola.engine.starts import materialise, rehearse
from tombola.engine.steps import first_iteration, last_iteration
from tombola.kernels import compiling
from tombola.models.sparse_storage import Sizes
from tombola.pruning.selection import emptied
from tombola.store.store import Damaged, Record, Store
from tombola.training.cohort import train_cohort
from tombola.training.plan import Plan, plan
from tombola.training.replica import Outcome, Replica
from tombola.training.setup import Setup
from tombola.training.sparse_storage import may_be_sparse, sparse_sizes

_CANDIDATES = 8
"""The number of batches of ready runs that one of several workers looks at, as it may have to read what each of them starts from."""


class _Kind(NamedTuple):
    """Runs of a kind share a program and its layout."""

    data: Data
    program: Setup


@dataclass
class Engine:
    """What the runs of one study are carried out with."""

    graph: Graph
    store: Store
    data_dir: Path | None = None
    progress: Progress = field(default_factory=Progress)
    workers: int = 1
    """Processes that share the study, this one among them."""
    _sizes: dict[str, Sizes] = field(default_factory=dict)

    def execute(self) -> dict[str, Record]:
        """Train what is missing; digest -> record of every run of the graph.

        A file that turns out to be damaged is named, its run taken out, and computed again.
        """
        check(self.graph, self.data_dir)
        rehearse(self.graph.runs.values(), self.data_dir)
        self.store.prepare()
        if self.workers == 1:  # of several, each verifies what it reads
            for digest in self.graph.runs:
                if digest in self.store and (names := self.store.get(digest).damaged()):
                    discard(self.store.get(digest), names[0], self.progress)
        while True:
            try:
                self._train_missing()
                return {digest: self.store.get(digest) for digest in self.graph.runs}
            except Damaged as damage:
                discard(damage.record, damage.name, self.progress)

    def _done(self, digest: str) -> bool:
        return done(self.graph, digest, self.store, self.data_dir)

    def _wanted(self, digest: str) -> set[int]:
        return wanted(self.graph, digest, self.data_dir)

    # -- training -----------------------------------------------------------------------------------------------

    def _train_missing(self) -> None:
        queue, order = Queue(self.store, self.graph.runs, self._done), self._order
        self.progress.start({digest: self._length(digest) for digest in queue.missing})
        with self.progress:
            while queue.missing or not queue.confirm(() if self.workers > 1 else self.graph.runs):
                ready = order.ready(queue.missing)
                together, layout = next(self._batches(queue, ready), ([], None))
                if layout is None:
                    queue.wait(ready, self.progress)
                else:
                    with queue.taken(together) as mine:
                        if mine:
                            self._train(mine, layout)
                queue.look()
                self.progress.remaining(queue.missing)

    @cached_property
    def _order(self) -> Order:
        return Order(self.graph, {digest: self._length(digest) for digest in self.graph.runs}, self.workers)

    def _length(self, digest: str) -> int:
        begin, end = self._spans[digest]
        return end - begin

    def _batches(self, queue: Queue, ready: Collection[str]) -> Iterator[tuple[list[str], Plan]]:
        """Runs that are free and can train together, a batch at a time, in their order; of several workers each takes its share.

        The layout follows from the whole graph, not from what happens to be missing: a resumed study trains in the
        same programs as an uninterrupted one.
        """
        layouts, shares = self._layouts, Counter(self._kinds[digest] for digest in ready)
        groups: dict[Any, list[str]] = {}
        looked_at: Counter[_Kind] = Counter()
        key = self._order.key(queue.missing)
        for digest in sorted(queue.free(ready), key=lambda digest: (key(digest), self._spans[digest])):
            kind = self._kinds[digest]
            looked_at[kind] += 1
            if self.workers > 1 and looked_at[kind] > _CANDIDATES * layouts[kind].capacity:
                continue
            if not queue.confirm(self._order.parents[digest]):
                continue  # another study stored one without the weights that this run starts from
            position = self._position(digest, layouts[kind].per_device > 1, queue.begun)
            end = self._spans[digest][1]
            groups.setdefault((kind, end, position, self._sparse(digest, layouts[kind])), []).append(digest)
        batches = []
        for (kind, *_), replicas in groups.items():
            share = min(layouts[kind].capacity, -(-shares[kind] // self.workers))
            batches += [(replicas[first : first + share], layouts[kind]) for first in range(0, len(replicas), share)]
        if self.workers > 1:  # one that leaves no device idle goes first
            batches.sort(key=lambda batch: len(batch[0]) < batch[1].capacity)
        yield from batches

    def _sparse(self, digest: str, layout: Plan) -> Sizes:
        """The kernels that a ready run has in sparse storage: those of a batch are alike."""
        run = self.graph.runs[digest]
        found, steps = self._program(digest), self._length(digest)
        if run.mask is None or not layout.native or not may_be_sparse(found, steps):
            return ()
        if digest not in self._sizes:
            mask, start = materialise(run, self.store, self.data_dir)
            self._sizes[digest] = sparse_sizes(found, steps, start, mask)
        return self._sizes[digest]

    def _program(self, digest: str) -> Setup:
        return program_of(self.graph.runs[digest].task, self.data_dir)

    def _position(self, digest: str, waits: bool, begun: Collection[str]) -> tuple[int, bool]:
        """The iteration at which a run goes on, and whether it was begun. Replicas on one device wait for each other: one begin for all."""
        checkpoint = checkpoints.iteration(self.store, digest, self.progress.warn) if digest in begun else None
        if checkpoint is not None:
            return checkpoint, True
        return 0 if waits else self._spans[digest][0], False

    @cached_property
    def _spans(self) -> dict[str, tuple[int, int]]:
        """Digest -> the iterations at which a run begins and ends."""
        return {
            digest: (first_iteration(run, self.data_dir), last_iteration(run, self.data_dir)) for digest, run in self.graph.runs.items()
        }

    @cached_property
    def _kinds(self) -> dict[str, _Kind]:
        return {digest: _Kind(run.task.data, self._program(digest)) for digest, run in self.graph.runs.items()}

    @cached_property
    def _layouts(self) -> dict[_Kind, Plan]:
        """The plan of a worker's share of the largest generation of each kind."""
        generation = self.graph.generation
        counts = Counter((kind, generation[digest]) for digest, kind in self._kinds.items())
        width: dict[_Kind, int] = {}
        for (kind, _), count in counts.items():
            width[kind] = max(-(-count // self.workers), width.get(kind, 0))
        return {
            kind: plan(count, kind.program.network.convolutional, load(kind.data, self.data_dir).on_disk, kind.program.recipe.batch)
            for kind, count in width.items()
        }

    def _train(self, digests: Sequence[str], layout: Plan) -> None:
        task = self.graph.runs[digests[0]].task
        dataset = load(task.data, self.data_dir)
        self.progress.training(digests)
        began, compiled = time.monotonic(), compiling.seconds()
        replicas = [self._member(digest) for digest in digests]
        kept, hears, end = self.store.files.checkpoint(digests[0]), self.progress.on_rows, self._spans[digests[0]][1]
        keeps = None if kept is None else lambda index, checkpoint: checkpoints.save(self.store, digests[index], checkpoint)
        on_rows = None if hears is None else lambda index, rows: hears(digests[index], rows)
        for index, outcome in train_cohort(task, dataset, replicas, keeps, self.progress.advance, layout, end, on_rows):
            if not np.isfinite([row[1] for row in outcome.rows]).all():
                label = self.progress.label(digests[index])
                self.progress.warn(
                    f"{label} diverged: its loss is not finite; lower the learning rate"
                    if finite(replicas[index].start)
                    else f"{label} starts from weights that are not finite, and all that it measures is NaN; give others"
                )
            spent = time.monotonic() - began, compiling.seconds() - compiled
            self._put(digests[index], replicas[index], outcome, spent, len(replicas))

    def _member(self, digest: str) -> Replica:
        run = self.graph.runs[digest]
        mask, start = materialise(run, self.store, self.data_dir)
        stored = self.store.get(digest).steps() if digest in self.store else set()  # another study may read them
        for path in emptied(mask):
            self.progress.warn(f"layer {path!r} of {self.progress.label(digest)} is empty: no signal passes through it")
        return Replica(
            seed=run.seed,
            start=start,
            mask=mask,
            begin=self._spans[digest][0],
            noise=run.noise,
            keep=frozenset(self._wanted(digest) | stored | ({self._spans[digest][1]} if digest in self.graph.ends else set())),
            resume=checkpoints.load(self.store, digest),
            rate=run.task.recipe.learning_rate,
        )

    def _put(self, digest: str, replica: Replica, outcome: Outcome, spent: tuple[float, float], together: int) -> None:
        run = self.graph.runs[digest]
        network = self.store.put_network(built_info(run.task, self.data_dir).as_json())
        files = results.files(run, replica, outcome, network, spent, together)
        lacks_weights = digest in self.store
        self.store.put(digest, files, results.trees(replica, outcome), replace=lacks_weights)
        checkpoints.remove(self.store, digest)
