"""Carry a graph of runs out: skip what the store has, resume what was begun, train the rest cohort by cohort."""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tombola.core.task import Data
from tombola.core.trees import finite
from tombola.data.dataset import load
from tombola.engine import checkpoints, results
from tombola.engine.checking import check
from tombola.engine.damage import discard
from tombola.engine.graph import Graph, parent_runs
from tombola.engine.progress import Progress
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


@dataclass
class Engine:
    """What the runs of one study are carried out with."""

    graph: Graph
    store: Store
    data_dir: Path | None = None
    progress: Progress = field(default_factory=Progress)
    _sizes: dict[str, Sizes] = field(default_factory=dict)

    def execute(self) -> dict[str, Record]:
        """Train what is missing; digest -> record of every run of the graph.

        A file that turns out to be damaged is named, its run taken out, and computed again.
        """
        check(self.graph, self.data_dir)
        rehearse(self.graph.runs.values(), self.data_dir)
        self.store.prepare()
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
        missing = [digest for digest in self.graph.runs if not self._done(digest)]
        self.progress.start({digest: self._length(digest) for digest in missing})
        with self.progress:
            while missing:
                ready = [digest for digest in missing if self._ready(digest)]
                trained = False
                for together, layout in self._batches(ready):
                    claimed = [digest for digest in together if self.store.claim(digest)]
                    # Between our look and our claim another process may have finished it.
                    mine = [digest for digest in claimed if not self._done(digest)]
                    try:
                        if mine:
                            self._train(mine, layout)
                            trained = True
                    finally:
                        self.store.release(claimed)
                missing = [digest for digest in missing if not self._done(digest)]
                if missing and not trained:
                    time.sleep(0.5)  # another process holds all that is ready
                self.progress.remaining(missing)

    def _ready(self, digest: str) -> bool:
        return all(self._done(parent.digest) for parent, _ in parent_runs(self.graph.runs[digest]))

    def _length(self, digest: str) -> int:
        begin, end = self._span(digest)
        return end - begin

    def _batches(self, ready: Sequence[str]) -> Iterator[tuple[list[str], Plan]]:
        """Ready runs that can train together, a batch at a time; earlier generations first.

        The layout follows from the whole graph, not from what happens to be missing: a resumed study trains in the
        same programs as an uninterrupted one.
        """
        layouts = self._layouts()
        groups: dict[Any, list[str]] = {}
        for digest in sorted(ready, key=lambda digest: (self.graph.generation[digest], self._span(digest))):
            which = (self.graph.runs[digest].task.data, self._program(digest))
            position = self._position(digest, layouts[which].per_device > 1)
            end = self._span(digest)[1]
            groups.setdefault((which, end, position, self._sparse(digest, layouts[which])), []).append(digest)
        for (which, *_), replicas in groups.items():
            for first in range(0, len(replicas), layouts[which].capacity):
                yield replicas[first : first + layouts[which].capacity], layouts[which]

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

    def _position(self, digest: str, waits: bool) -> tuple[int, bool]:
        """Where it goes on, and whether it was begun. Replicas that share a device wait for each other's begin: one for all."""
        checkpoint = checkpoints.iteration(self.store.checkpoint_path(digest), self.progress.warn)
        if checkpoint is not None:
            return checkpoint, True
        return 0 if waits else self._span(digest)[0], False

    def _span(self, digest: str) -> tuple[int, int]:
        """The iterations at which a run begins and ends."""
        run = self.graph.runs[digest]
        return first_iteration(run, self.data_dir), last_iteration(run, self.data_dir)

    def _layouts(self) -> dict[tuple[Data, Setup], Plan]:
        """(data, program) -> the plan of a cohort as large as its largest generation."""
        generation = self.graph.generation
        counts = Counter((run.task.data, self._program(digest), generation[digest]) for digest, run in self.graph.runs.items())
        width: dict[tuple[Data, Setup], int] = {}
        for (data, program, _), count in counts.items():
            width[data, program] = max(count, width.get((data, program), 0))
        return {
            (data, program): plan(count, program.network.convolutional, load(data, self.data_dir).on_disk, program.recipe.batch)
            for (data, program), count in width.items()
        }

    def _train(self, digests: Sequence[str], layout: Plan) -> None:
        task = self.graph.runs[digests[0]].task
        dataset = load(task.data, self.data_dir)
        self.progress.training(digests)
        began, compiled = time.monotonic(), compiling.seconds()
        replicas = [self._member(digest) for digest in digests]

        paths = [self.store.checkpoint_path(digest) for digest in digests]

        def on_checkpoint(index: int, checkpoint: checkpoints.Checkpoint) -> None:
            checkpoints.save(paths[index], checkpoint)

        with self._renewed(digests):
            keeps, hears, end = on_checkpoint if all(paths) else None, self.progress.on_rows, self._span(digests[0])[1]
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

    @contextmanager
    def _renewed(self, digests: Sequence[str]) -> Iterator[None]:
        """Keep this process's claims alive, also while one long call computes."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(20):
                self.store.renew(digests)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

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
            begin=self._span(digest)[0],
            noise=run.noise,
            keep=frozenset(self._wanted(digest) | stored | ({self._span(digest)[1]} if digest in self.graph.ends else set())),
            resume=checkpoints.load(self.store.checkpoint_path(digest)),
            rate=run.task.recipe.learning_rate,
        )

    def _put(self, digest: str, replica: Replica, outcome: Outcome, spent: tuple[float, float], together: int) -> None:
        run = self.graph.runs[digest]
        network = self.store.put_network(built_info(run.task, self.data_dir).as_json())
        files = results.files(run, replica, outcome, network, spent, together)
        lacks_weights = digest in self.store
        self.store.put(digest, files, results.trees(replica, outcome), replace=lacks_weights)
        checkpoints.remove(self.store.checkpoint_path(digest))
