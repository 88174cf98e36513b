"""What the store has of runs: whether all that is wanted, and weights and masks as trees in the order of their network."""

from pathlib import Path

from tombola.core.step import Step
from tombola.core.trees import Tree, select
from tombola.engine.graph import Graph
from tombola.engine.network_infos import network_info
from tombola.engine.steps import iteration
from tombola.procedures.run import Run
from tombola.store.store import Store


def load_tree(run: Run, what: str, store: Store, data_dir: Path | None) -> Tree:
    """The mask of a stored run (`what` = "mask"), or its weights at a step. Raises `Damaged` where the file is."""
    record, found = store.get(run.digest), network_info(run.task, data_dir)
    if what == "mask":
        shapes = {path: found.shapes[path] for path in found.prunable}
        return select(record.mask(shapes), shapes)  # files are sorted by name
    return select(record.weights(iteration(run.task, Step(what), data_dir)), found.shapes)


def done(found: Graph, digest: str, store: Store, data_dir: Path | None) -> bool:
    """Whether the store has the run with all the weights that are wanted of it."""
    return digest in store and wanted(found, digest, data_dir) <= store.get(digest).steps()


def wanted(found: Graph, digest: str, data_dir: Path | None) -> set[int]:
    """Iterations whose weights are wanted of a run."""
    return {iteration(found.runs[digest].task, step, data_dir) for step in found.keep[digest]}
