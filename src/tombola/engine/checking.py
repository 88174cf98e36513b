"""What of a graph of runs cannot be carried out, said before anything trains or is written."""

from pathlib import Path

from tombola.core.errors import TombolaError, unknown
from tombola.engine.graph import Graph
from tombola.engine.reading import wanted
from tombola.engine.resolved import resolved
from tombola.engine.steps import first_iteration, last_iteration
from tombola.procedures.actions import rates_by_path
from tombola.training.cohort import check_keep
from tombola.training.replica import NOISE


def check(graph: Graph, data_dir: Path | None) -> None:
    """Raise for networks that cannot be built, rates of no layer, runs that train nothing, unknown noise, weights of no step of a run."""
    for digest, run in graph.runs.items():
        parts, _ = resolved(run.task, data_dir)
        begin, end = first_iteration(run, data_dir), last_iteration(run, data_dir)
        if run.mask is not None and (rates := run.mask.options.get("rates")):
            rates_by_path(parts.network, rates)
        if begin >= end and run.until != "end":
            raise TombolaError(
                f"until = {str(run.until)!r} is iteration {end}, but the run begins at iteration {begin}; choose a later step"
            )
        if begin == end:
            raise TombolaError(f"a run that begins at {str(run.begin)!r} trains nothing: training ends at iteration {end}; rewind to less")
        if wrong := [stream for stream in run.noise if stream not in NOISE]:
            raise unknown("stream of SGD noise", wrong[0], NOISE)
        check_keep(wanted(graph, digest, data_dir), begin)
