"""What the store has of runs: whether all that is wanted, and weights and masks as trees in the order of their network."""

from collections.abc import Callable, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tombola.core.step import Step
from tombola.core.task import Task
from tombola.core.trees import Tree, select
from tombola.data.dataset import load
from tombola.engine.graph import Graph
from tombola.engine.steps import first_iteration, iteration, last_iteration
from tombola.procedures.measurement import Measurement
from tombola.procedures.network_info import NetworkInfo, from_json, network_info_of
from tombola.procedures.run import Given, Run
from tombola.store.store import Damaged, Record, Store
from tombola.studies.results import Result, Results

if TYPE_CHECKING:
    from tombola.training.setup import Setup


def network_info(record: Record, task: Task, data_dir: Path | None) -> NetworkInfo:
    """What is known of a stored run's network: as it is stored with it, or built where an older Tombola stored the run without."""
    stored = record.network()
    try:
        return built_info(task, data_dir) if stored is None else from_json(stored)
    except (KeyError, TypeError, ValueError, AttributeError):  # none of ours, whatever its name says
        return built_info(task, data_dir)


@lru_cache(maxsize=256)
def built_info(task: Task, data_dir: Path | None) -> NetworkInfo:
    """What is known of a task's network, which is built to see: JAX loads."""
    from tombola.engine.resolved import resolved

    return network_info_of(resolved(task, data_dir)[0], load(task.data, data_dir))


def load_tree(run: Run | Given, what: str, store: Store, data_dir: Path | None) -> Tree:
    """The mask of a stored run (`what` = "mask"; where it moves, "mask@100it" is that after a step), or its weights at a step; or arrays
    that were given. Raises `Damaged`.
    """
    if what.startswith("mask@") and isinstance(run, Run):
        info = network_info(record := store.get(run.digest), run.task, data_dir)
        shapes = {path: info.shapes[path] for path in info.prunable}
        return select(record.mask(shapes, iteration(run, Step(what.removeprefix("mask@")), data_dir)), shapes)
    record = (store.given if isinstance(run, Given) else store).get(run.digest)
    shapes, at = dict(run.shapes) if isinstance(run, Given) else {}, 0
    if isinstance(run, Run):
        info = network_info(record, run.task, data_dir)
        shapes = {path: info.shapes[path] for path in (info.prunable if what == "mask" else info.shapes)}
        at = 0 if what == "mask" else iteration(run, Step(what), data_dir)
    found = record.mask(shapes) if what == "mask" else record.weights(at)
    if any(path not in found or found[path].shape != shape for path, shape in shapes.items()):
        raise Damaged(record, "mask.safetensors" if what == "mask" else f"weights/{at}it.safetensors")
    return select(found, shapes)  # files are sorted by name


def done(found: Graph, digest: str, store: Store, data_dir: Path | None) -> bool:
    """Whether the store has the run with all the weights that are wanted of it."""
    return digest in store and wanted(found, digest, data_dir) <= store.get(digest).steps()


def wanted(found: Graph, digest: str, data_dir: Path | None) -> set[int]:
    """Iterations whose weights are wanted of a run."""
    return {iteration(found.runs[digest], step, data_dir) for step in found.keep[digest]}


def stored_results(
    found: Graph, runs: Mapping[str, Record], measurements: Mapping[Measurement, Record], store: Store, data_dir: Path | None
) -> Results:
    """What the runs of a graph left, by the records of their digests, and what measurements found; weights are read when asked for."""

    @lru_cache(maxsize=8)  # of all runs together: a study may look at thousands
    def weights(run: Run, what: str) -> Tree:
        return load_tree(run, what, store, data_dir)

    @cache
    def measured(measurement: Measurement) -> Tree:
        return measurements[measurement].found()

    def setup(task: Task) -> "Setup":
        from tombola.engine.resolved import resolved

        return resolved(task, data_dir)[0]

    runs_of = {run.task: runs[digest] for digest, run in found.runs.items()}

    @cache
    def info(task: Task) -> NetworkInfo:
        return network_info(runs_of[task], task, data_dir) if task in runs_of else built_info(task, data_dir)

    results = {run: _result(run, runs[digest], partial(weights, run), data_dir) for digest, run in found.runs.items()}
    return Results(results, measured, setup, measurements.keys(), info)


def _result(run: Run, record: Record, weights: Callable[[str], Tree], data_dir: Path | None) -> Result:
    summary = {name: np.nan if value is None else value for name, value in record.json("summary").items()}
    made, begin, end = record.json("made"), first_iteration(run, data_dir), last_iteration(run, data_dir)
    return Result(
        record.metrics(),
        summary,
        weights,
        begin,
        end,
        made["seconds"] / made["trained_together"],
        made,
        record.signals(),
        run.task.objective,
    )
