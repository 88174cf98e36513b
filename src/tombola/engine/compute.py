"""Runs and measurements carried out: what every study and every function in Python comes down to."""

from collections.abc import Collection
from pathlib import Path

from tombola.core import interrupts
from tombola.engine.damage import discard
from tombola.engine.execute import Engine
from tombola.engine.graph import Graph
from tombola.engine.measuring import execute_measurements, rehearse_measurements
from tombola.engine.progress import Progress
from tombola.procedures.measurement import Measurement
from tombola.store.store import Damaged, Store


def compute(
    found: Graph, measurements: Collection[Measurement], store: Store, data_dir: Path | None, progress: Progress, workers: int = 1
) -> None:
    """Train and evaluate what the store lacks. A damaged file is named, and what it belongs to is computed again.

    An interrupt, of a cell in a notebook too, leaves checkpoints in a store on disk, from which the same call goes on.

    Args:
        workers: processes that share the work, this one among them.
    """
    engine = Engine(found, store, data_dir, progress, workers)
    rehearse_measurements(measurements, data_dir)
    with interrupts.heeded(ends=False):
        while True:
            try:
                engine.execute()
                execute_measurements(measurements, store, data_dir, progress, workers)
                return progress.warn_python()
            except Damaged as damage:
                discard(damage.record, damage.name, progress)
