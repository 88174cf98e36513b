"""`tombola.train`: train replicas of a task from any start under any mask."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tombola.api.session import Session, Stop, a_task
from tombola.api.trajectory import Trajectory
from tombola.core.step import Step
from tombola.core.task import Detect, Task
from tombola.procedures.run import Action
from tombola.store.store import Store


def train(
    task: Task,
    replicates: int | None = None,
    seed: int = 0,
    *,
    start: Mapping[str, Any] | None = None,
    mask: Mapping[str, Any] | Action | None = None,
    begin: Step | str = "0it",
    until: Step | str = "end",
    keep: Sequence[Step | str] = (),
    noise: Mapping[str, str] | None = None,
    detect: Detect | str | None = None,
    on_stop: Callable[[Stop], Any] | None = None,
    store: Store | Path | str | None = None,
    data_dir: Path | str | None = None,
) -> Trajectory:
    """Train replicas of a task; where the mask is 0 a weight keeps its starting value, bit for bit.

    Args:
        task: data, model and recipe; `tombola.task("mnist1d-mlp")` or your own `tombola.Task`.
        replicates: R; taken from `start` or `mask` where they are given, else 1.
        seed: with it, replicate r has the 64-bit seed ``keys.replicate_seed(seed, r)``: split, initial weights, data
            order, augmentation and dropout follow from that. Equal seeds pair the replicates of two calls.
        start: weights to begin from, leaves (R, ...); the initial weights if not given.
        mask: bool leaves (R, ...) on the prunable weights; everything is kept if not given. Or a mask action that makes
            one for each replicate, such as ``tb.Action(name="sparse", options={"density": 0.1})``; what that takes is 0.
        begin: the step that `start` stands for: learning-rate schedule and data order go on from there.
        until: training stops after this step, with schedule and data order as on the way to the end. It is the last
            evaluation, and `Trajectory.end`.
        keep: steps whose weights are wanted; the first and the last are always kept.
        noise: another draw of SGD noise under the same seed, as {stream: name}; streams are `data_order`,
            `augmentation` and `dropout`.
        detect: a detector that says when the stable phase begins, by its name or as ``tb.Detect(name=..., level=...)``: of
            the recipe, where that has none. Then `Trajectory.detected` and `Trajectory.signals` say what it found.
        on_stop: called wherever training stops to evaluate, once for each replicate, with a `tombola.api.session.Stop`: `run`,
            `replicate`, `step` and `metrics`. `tombola.tracker` makes one. A run that the store has is not trained, and not heard of.
        store: folder, or `tombola.Store`, where runs are kept: what is there is not trained again. None: where `start` or
            `mask` come from, else in memory.
        data_dir: folder of the data files; else TOMBOLA_DATA.

    Raises:
        TombolaError: for weights or masks that do not fit the network, or steps after the end (or after `until`).
    """
    task = task if detect is None else a_task(task).but(recipe=task.recipe.but(detect=detect))
    session = Session.of(task, store, data_dir, start, mask)
    fields = {"begin": Step(begin), "until": Step(until), "noise": dict(noise or {})}
    return session.train([session.runs(replicates, seed, start=start, mask=mask, **fields)], keep, on_stop=on_stop)[0]
