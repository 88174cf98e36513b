"""`tombola.instability`: is a network at step k stable to SGD noise? (Frankle et al. 2020, section 3)"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.api.paths import Paths, gathered
from tombola.api.session import Session
from tombola.api.trajectory import Trajectory
from tombola.core.errors import TombolaError, unknown
from tombola.core.numbers import whole
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.engine.graph import parent_runs
from tombola.engine.resolved import resolved
from tombola.evaluation.barrier import FORMS, STABLE, Form, check_ends
from tombola.evaluation.weight_combinations import PARTS, Part
from tombola.procedures.measurement import BatchNorm
from tombola.procedures.paths import children_of, from_step, path_between, path_options
from tombola.procedures.run import Run
from tombola.store.store import Store
from tombola.studies.figure import Figure
from tombola.studies.shown import Shown, long
from tombola.training.replica import NOISE

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Instability(Shown):
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
        """(R,) instability, as `Paths.barrier`: the error barrier, averaged over the pairs of a replicate."""
        return self.paths.barrier(self.part, self.form).mean(axis=1)

    @property
    def stable(self) -> np.ndarray:
        """(R,) bool: whether the instability is below 2 percentage points; of another objective, below 2 % of the headline at chance."""
        of = self.paths.objective
        return self.barrier < of.headline.factor * STABLE * of.counted_in(self.paths.chance[self.part].mean(axis=1))

    def _brief(self) -> Iterator[tuple[str, Any]]:
        yield from {"k": str(self.k), "children": len(self.children), "barrier": self.barrier.round(3).tolist()}.items()
        yield "stable", self.stable.tolist()

    def tables(self) -> "dict[str, pd.DataFrame]":
        """`stability`, a row a replicate, and the `barriers` and `points` of the paths."""
        replicas = ("replicate", range(len(self.barrier)))
        return {"stability": long([replicas], barrier=self.barrier, stable=self.stable), **self.paths.tables()}

    def pictures(self) -> "Sequence[tuple[Figure, pd.DataFrame]]":
        """The error along the paths, averaged over the pairs of a replicate."""
        (figure, rows), *_ = self.paths.pictures()
        title, label = f"The lines between children of step {self.k}", "a, from one child (0) to the other (1)"
        return [(replace(figure, title=title, x_label=label), rows)]


def instability(
    task: Task,
    k: Step | str = "0it",
    *,
    children: int = 3,
    replicates: int | None = None,
    seed: int = 0,
    start: Mapping[str, Any] | None = None,
    mask: Mapping[str, Any] | None = None,
    vary: Sequence[str] = NOISE,
    part: Part = "test",
    form: Form = "maximum",
    points: int = 30,
    batch_norm: BatchNorm = "recompute",
    train_examples: int | None = None,
    store: Store | Path | str | None = None,
    data_dir: Path | str | None = None,
) -> Instability:
    """Measure how unstable networks are to SGD noise at step k (Frankle et al. 2020, section 3).

    Each of R networks trains to W_k. Its children are copies of W_k that train on to the end T, each under SGD noise of its own. The
    instability is the error barrier between two children, averaged over their pairs:

        max_a E(a W_1 + (1 - a) W_2) - (E(W_1) + E(W_2)) / 2

    Args:
        k: the step; at 0it the children share only the initialisation.
        children: C copies, 2 or more.
        replicates: R initialisations; taken from `start` or `mask` where they are given, else 1.
        start: W_k, leaves (R, ...), such as ``dense.at("500it")``. If not given, it is trained.
        mask: bool leaves (R, ...) on the prunable weights, for the children of a sparse network. Pruned weights are held at what
            `start` has there, or at 0 if there is no `start`.
        vary: the streams of SGD noise that differ between children: data_order, augmentation, dropout. All other noise is shared.
        part: the data on which the error is judged, `test` or `train`.
        form: the height of the barrier: `maximum` (as above), `midpoint`, or `linear` (above the line between the ends).
        points, batch_norm, train_examples, store: as for `tombola.path`.

    Raises:
        TombolaError: if children come out equal because the task has none of the noise that varies, if an end of a path does not have the
            error of its child, or if k lies after the end of training.
    """
    if whole("children", children) < 2:
        raise TombolaError(f"children = {children}, but a path needs 2 networks or more")
    for name, given, allowed in (("part of the data", part, PARTS), ("form of barrier", form, FORMS)):
        if given not in allowed:
            raise unknown(name, given, allowed)
    if wrong := [stream for stream in vary if stream not in NOISE]:
        raise unknown("stream of SGD noise", wrong[0], NOISE)
    options = path_options(points, batch_norm, train_examples)
    session = Session.of(task, store, data_dir, start, mask)
    setup, end = resolved(session.task, session.data_dir)
    if Step(k).iterations(setup.steps_per_epoch, end) == end:
        raise TombolaError(f"k = {str(k)!r} is the end of training at iteration {end}, where children have nothing to train; choose less")
    if not setup.noise & set(vary):
        raise TombolaError(f"vary = {list(vary)}, but this task has none of that noise, so children would be equal; add data_order")
    parents = session.runs(replicates, seed, start=start, mask=mask, begin=Step(k))
    if start is None:
        parents = [from_step(Run(task=session.task, seed=run.seed), Step(k)).but(mask=run.mask) for run in parents]
    copies = [children_of(run, vary, children) for run in parents]
    paths = [path_between(*pair, _dense(run), options) for run, own in zip(parents, copies, strict=True) for pair in combinations(own, 2)]
    trained = session.train(list(zip(*copies, strict=True)), measurements=paths, first=False)  # as the study keeps them
    found = session.found(paths)
    for path, one in zip(paths, found, strict=True):
        ends = [session.store.get(run.digest).metrics() for run, what in parent_runs(path) if what == "end"]
        recorded = [task.objective.headline_of(metrics[f"test_{task.objective.columns[1]}"][-1]) for metrics in ends]
        check_ends(one["test_own"], recorded, int(one["test_examples"]), task.objective)
    return Instability(Step(k), tuple(trained), gathered(found, task.objective, (len(parents), len(paths) // len(parents))), part, form)


def _dense(child: Run) -> Run | None:
    """The run whose W_k a child goes on from, if that run began at its initial weights."""
    before = child.kept.of[0].run if child.kept is not None else None
    return before if isinstance(before, Run) and before.begin == "0it" else None
