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
    """Train R replicas of a task, from any start and under any mask. Where the mask is 0, a weight keeps its starting value, bit for bit.

    Args:
        task: data, model and recipe: ``tombola.task("mnist1d-mlp")``, or a `tombola.Task` of your own.
        replicates: R; taken from `start` or `mask` where they are given, else 1.
        seed: with it, replicate r has the 64-bit seed ``keys.replicate_seed(seed, r)``. The split, the initial weights, the data
            order, augmentation and dropout follow from that. Equal seeds pair the replicates of two calls.
        start: weights to begin from, leaves (R, ...). If not given, the initial weights.
        mask: bool leaves (R, ...) on the prunable weights. If not given, everything is kept. Or a mask action that makes a mask for each
            replicate, such as ``tb.Action(name="sparse", options={"density": 0.1})``; then pruned weights are 0.
        begin: the step that `start` stands for. The learning-rate schedule and the data order go on from there.
        until: the step after which training stops. Schedule and data order are as on the way to the end. It is the last
            evaluation, and `Trajectory.end`.
        keep: steps whose weights are wanted. Those of the first and the last step are always kept.
        noise: another draw of SGD noise under the same seed, as {stream: name}; streams are `data_order`,
            `augmentation` and `dropout`.
        detect: a detector that says when the stable phase begins, by its name or as ``tb.Detect(name=..., level=...)``. If not given, the
            recipe's. `Trajectory.detected` and `Trajectory.signals` have what it found.
        on_stop: a function that is called wherever training stops to evaluate, once for each replicate, with a `tombola.api.session.Stop`:
            `run`, `replicate`, `step` and `metrics`. `tombola.tracker` makes one. A run that the store has already is not trained, and so
            never stops.
        store: folder, or `tombola.Store`, where runs are kept; what is there is not trained again. If not given, it is the store that
            `start` or `mask` come from, or else memory.
        data_dir: folder of the data files. If not given, the one that the variable TOMBOLA_DATA names.

    Raises:
        TombolaError: for weights or masks that do not fit the network, or steps after the end (or after `until`).
    """
    task = task if detect is None else a_task(task).but(recipe=task.recipe.but(detect=detect))
    session = Session.of(task, store, data_dir, start, mask)
    fields = {"begin": Step(begin), "until": Step(until), "noise": dict(noise or {})}
    return session.train([session.runs(replicates, seed, start=start, mask=mask, **fields)], keep, on_stop=on_stop)[0]
