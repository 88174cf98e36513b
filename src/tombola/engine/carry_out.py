"""Carry a graph of runs out: skip what the store has, resume what was begun, train the rest cohort by cohort."""

import inspect
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from tombola.core import masks
from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.core.trees import Tree
from tombola.data.dataset import Dataset, load
from tombola.engine import checkpoints, provenance
from tombola.engine.graph import Graph
from tombola.engine.progress import Progress
from tombola.procedures.actions import Context, mask_actions, value_actions
from tombola.procedures.run import Action, Run
from tombola.pruning import selection
from tombola.store.files import dump_json
from tombola.store.store import Damaged, Record, Store
from tombola.surgery.combine import combine
from tombola.training.cohort import COLUMNS, Member, Outcome, geometry, total_iterations, train_cohort
from tombola.training.plan import Plan, plan
from tombola.training.program import Geometry


@dataclass
class Engine:
    """What the runs of one study are carried out with."""

    graph: Graph
    store: Store
    data_dir: Path | None = None
    progress: Progress = field(default_factory=Progress)

    def carry_out(self) -> dict[str, Record]:
        """Train what is missing; digest -> record of every run of the graph.

        A file that turns out to be damaged is named, its run taken out, and computed again.
        """
        self._validate()
        self.store.prepare()
        while True:
            try:
                self._train_missing()
                return {digest: self.store.get(digest) for digest in self.graph.runs}
            except Damaged as damage:
                self.progress.warn(f"{damage}; computing it again")
                self.store.remove(damage.record.digest)

    def done(self, digest: str) -> bool:
        """Whether the store has the run with all the weights that are wanted of it."""
        return digest in self.store and self.wanted(digest) <= self.store.get(digest).steps()

    def wanted(self, digest: str) -> set[int]:
        """Iterations whose weights are wanted of a run."""
        run = self.graph.runs[digest]
        found, end = self._resolved(run.task)
        return {step.iterations(found.steps_per_epoch, end) for step in self.graph.keep[digest]}

    def _validate(self) -> None:
        """Steps, networks and actions of all runs are tried before anything trains or is written."""
        rehearsed = set()
        for digest, run in self.graph.runs.items():
            found, end = self._resolved(run.task)
            run.begin.iterations(found.steps_per_epoch, end)
            self.wanted(digest)
            for actions, action in ((mask_actions, run.mask), (value_actions, run.kept), (value_actions, run.pruned)):
                if action is None:
                    continue
                options = {name: value for name, value in action.options.items() if name != "stream"}
                key = (found, action.name, tuple(source.what == "mask" for source in action.of), json.dumps(options, sort_keys=True))
                if key not in rehearsed:
                    rehearsed.add(key)
                    self._rehearse(actions, action, found)

    def _rehearse(self, actions: Any, action: Action, found: Geometry) -> None:
        """Call an action on zeros: what is wrong with its name, options or parents shows now."""
        mask = selection.dense({path: found.network.shapes[path].shape for path in found.network.prunable})
        weights = {path: np.zeros(shape.shape, shape.dtype) for path, shape in found.network.shapes.items()}
        parents = [mask if source.what == "mask" else weights for source in action.of]
        _call(actions, action, Context(found.network, 0, mask), parents)

    def _resolved(self, task: Task) -> tuple[Geometry, int]:
        return resolved(task, self.data_dir)

    # -- training -----------------------------------------------------------------------------------------------

    def _train_missing(self) -> None:
        missing = [digest for digest in self.graph.runs if not self.done(digest)]
        self.progress.start({digest: self._length(digest) for digest in missing})
        with self.progress:
            while missing:
                ready = [digest for digest in missing if self._ready(digest)]
                trained = False
                for wave, layout in self._waves(ready):
                    claimed = [digest for digest in wave if self.store.claim(digest)]
                    # Between our look and our claim another process may have finished it.
                    mine = [digest for digest in claimed if not self.done(digest)]
                    try:
                        if mine:
                            self._train(mine, layout)
                            trained = True
                    finally:
                        self.store.release(claimed)
                missing = [digest for digest in missing if not self.done(digest)]
                if missing and not trained:
                    time.sleep(0.5)  # another process holds all that is ready
                self.progress.remaining(missing)

    def _ready(self, digest: str) -> bool:
        return all(self.done(source.run.digest) for source in self.graph.runs[digest].parents())

    def _length(self, digest: str) -> int:
        run = self.graph.runs[digest]
        found, end = self._resolved(run.task)
        return end - run.begin.iterations(found.steps_per_epoch, end)

    def _waves(self, ready: Sequence[str]) -> Iterator[tuple[list[str], Plan]]:
        """Ready runs that can train together, a wave at a time; earlier generations first.

        The layout follows from the whole graph, not from what happens to be missing: a resumed study trains in the
        same programs as an uninterrupted one.
        """
        width = self._width()
        groups: dict[Any, list[str]] = {}
        for digest in sorted(ready, key=self.graph.generation.__getitem__):
            groups.setdefault((self._program(digest), self._position(digest)), []).append(digest)
        for (program, _), members in groups.items():
            layout = plan(width[program], program.network.convolutional)
            for first in range(0, len(members), layout.wave):
                yield members[first : first + layout.wave], layout

    def _program(self, digest: str) -> Geometry:
        return self._resolved(self.graph.runs[digest].task)[0]

    def _position(self, digest: str) -> int:
        checkpoint = checkpoints.iteration(self.store.checkpoint_path(digest))
        run = self.graph.runs[digest]
        found, end = self._resolved(run.task)
        return run.begin.iterations(found.steps_per_epoch, end) if checkpoint is None else checkpoint

    def _width(self) -> dict[Geometry, int]:
        counts = Counter((self._program(digest), self.graph.generation[digest]) for digest in self.graph.runs)
        width: dict[Geometry, int] = {}
        for (program, _), count in counts.items():
            width[program] = max(count, width.get(program, 0))
        return width

    def _train(self, digests: Sequence[str], layout: Plan) -> None:
        task = self.graph.runs[digests[0]].task
        dataset = load(task.data, self.data_dir)
        self.progress.training(digests)
        began = time.monotonic()
        members = [self._member(digest) for digest in digests]

        def on_checkpoint(index: int, checkpoint: checkpoints.Checkpoint) -> None:
            checkpoints.save(self.store.checkpoint_path(digests[index]), checkpoint)

        with self._renewed(digests):
            for index, outcome in train_cohort(task, dataset, members, on_checkpoint, self.progress.advance, layout):
                self._put(digests[index], members[index], outcome, time.monotonic() - began, len(members))

    @contextmanager
    def _renewed(self, digests: Sequence[str]) -> Iterator[None]:
        """Keep this process's claims alive, also while one long chunk computes."""
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

    def _member(self, digest: str) -> Member:
        run = self.graph.runs[digest]
        found, end = self._resolved(run.task)
        mask, start = self._materialise(run, found)
        return Member(
            seed=run.seed,
            start=start,
            mask=mask,
            begin=run.begin.iterations(found.steps_per_epoch, end),
            noise=run.noise,
            keep=frozenset(self.wanted(digest)),
            resume=checkpoints.load(self.store.checkpoint_path(digest)),
        )

    # -- masks and starts ---------------------------------------------------------------------------------------

    def _materialise(self, run: Run, found: Geometry) -> tuple[Mask, Tree]:
        shapes = {path: found.network.shapes[path].shape for path in found.network.prunable}
        context = Context(found.network, run.seed)
        mask = selection.dense(shapes) if run.mask is None else self._act(mask_actions, run.mask, context)
        masks.check(mask, shapes)
        for path in selection.emptied(mask):
            self.progress.warn(f"layer {path!r} of {self.progress.label(run.digest)} is empty: no signal passes through it")
        context = context._replace(mask=mask)
        kept = found.network.init(run.seed) if run.kept is None else self._act(value_actions, run.kept, context)
        pruned = 0.0 if run.pruned is None else self._act(value_actions, run.pruned, context)
        return mask, combine(mask, kept, pruned)

    def _act(self, actions: Any, action: Action, context: Context) -> Any:
        return _call(actions, action, context, [self.source(source.run, source.what) for source in action.of])

    def source(self, run: Run, what: str) -> Tree:
        """The mask of a stored run, or its weights at a step."""
        record, (found, end) = self.store.get(run.digest), self._resolved(run.task)
        if what == "mask":
            return record.mask({path: found.network.shapes[path].shape for path in found.network.prunable})
        return record.weights(Step(what).iterations(found.steps_per_epoch, end))

    # -- results ------------------------------------------------------------------------------------------------

    def _put(self, digest: str, member: Member, outcome: Outcome, seconds: float, together: int) -> None:
        run = self.graph.runs[digest]
        lines = [",".join(COLUMNS), *(",".join(_number(value) for value in row) for row in outcome.rows)]
        summary = {
            **{name: None if np.isnan(value) else value for name, value in outcome.summary.items()},
            "kept": masks.kept(member.mask),
            "prunable": masks.size(member.mask),
            "density": masks.density(member.mask),
            "kept_by_layer": {path: int(np.count_nonzero(leaf)) for path, leaf in member.mask.items()},
        }
        made = {
            "command": provenance.command(),
            "device": provenance.device(),
            "versions": provenance.versions(),
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": round(seconds, 3),
            "trained_together": together,
        }
        files = {
            "spec.json": dump_json(run.canonical()),
            "metrics.csv": ("\n".join(lines) + "\n").encode(),
            "summary.json": dump_json(summary),
            "made.json": dump_json(made),
        }
        trees = {"mask.safetensors": masks.pack(member.mask)}
        trees |= {f"weights/{step}it.safetensors": weights for step, weights in outcome.snapshots.items()}
        if digest in self.store:
            self.store.remove(digest)  # it lacked weights that are wanted now
        self.store.put(digest, files, trees)
        self.store.checkpoint_path(digest).unlink(missing_ok=True)


def _call(actions: Any, action: Action, context: Context, parents: list[Tree]) -> Any:
    function = actions[action.name]
    try:
        inspect.signature(function).bind(context, *parents, **action.options)
    except TypeError as error:
        raise TombolaError(f"{actions.kind} {action.name!r}: {error}; it takes {inspect.signature(function)}") from None
    return function(context, *parents, **action.options)


def _number(value: float) -> str:
    """As short as reads back bitwise."""
    return str(int(value)) if value.is_integer() else repr(value)


@lru_cache(maxsize=256)
def resolved(task: Task, data_dir: Path | None) -> tuple[Geometry, int]:
    """What a task's programs are compiled for, and its last iteration."""
    dataset: Dataset = load(task.data, data_dir)
    found = geometry(task, dataset)
    return found, total_iterations(task, found)
