"""What a study would cost, before anything trains."""

from dataclasses import dataclass
from pathlib import Path

from tombola.engine.checking import check
from tombola.engine.graph import Graph
from tombola.engine.resolved import resolved
from tombola.engine.steps import first_iteration, last_iteration
from tombola.kernels.device import cores
from tombola.training.cost import step_operations

_RATE = 40e9
"""Floating-point operations a second and core that training reaches on a recent CPU, roughly; said as an estimate."""


@dataclass(frozen=True)
class Cost:
    """Estimated cost of a graph of runs on this machine's cores."""

    runs: int
    replica_steps: int
    floating_point_operations: float
    seconds: float


def estimate(graph: Graph, data_dir: Path | None) -> Cost:
    """Cost of all runs of a graph, stored or not: steps * (operations of the gradients of a batch). Raises for what cannot be trained."""
    check(graph, data_dir)
    steps, operations = 0, 0.0
    for run in graph.runs.values():
        found, _ = resolved(run.task, data_dir)
        length = last_iteration(run, data_dir) - first_iteration(run, data_dir)
        steps += length
        operations += length * step_operations(found)
    return Cost(len(graph.runs), steps, operations, operations / _RATE / cores())
