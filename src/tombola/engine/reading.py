"""Weights and masks of stored runs, as trees in the order of their network."""

from pathlib import Path

from tombola.core.step import Step
from tombola.core.trees import Tree, select
from tombola.engine.horizon import iteration
from tombola.engine.outlines import outline
from tombola.procedures.run import Run
from tombola.store.store import Store


def source(run: Run, what: str, store: Store, data_dir: Path | None) -> Tree:
    """The mask of a stored run (`what` = "mask"), or its weights at a step. Raises `Damaged` where the file is."""
    record, found = store.get(run.digest), outline(run.task, data_dir)
    if what == "mask":
        shapes = {path: found.shapes[path] for path in found.prunable}
        return select(record.mask(shapes), shapes)  # files are sorted by name
    return select(record.weights(iteration(run.task, Step(what), data_dir)), found.shapes)
