"""A study's runs as a graph: which there are, what is wanted of each, and in which order they can train."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tombola.core.step import Step
from tombola.procedures.measurement import Measurement
from tombola.procedures.run import Run


@dataclass
class Graph:
    """All runs of a study with their ancestors, parents first."""

    runs: dict[str, Run] = field(default_factory=dict)
    """Digest -> run."""
    keep: dict[str, set[Step]] = field(default_factory=dict)
    """Digest -> steps whose weights are wanted, by a child or by the study."""
    ends: set[str] = field(default_factory=set)
    """Digests of runs whose weights at the end are kept when they are trained, though nothing needs them."""
    generation: dict[str, int] = field(default_factory=dict)
    """Digest -> length of the longest chain of parents."""

    def add(self, run: Run) -> None:
        """Add a run and its ancestors. Chains may be long: no recursion."""
        pending = [run]
        while pending:
            last = pending[-1]
            parents = list(parent_runs(last))
            missing = [run for run, _ in parents if run.digest not in self.runs]
            if missing:
                pending += missing
                continue
            pending.pop()
            if last.digest in self.runs:
                continue
            self.runs[last.digest] = last
            self.keep[last.digest] = set()
            self.generation[last.digest] = 1 + max((self.generation[run.digest] for run, _ in parents), default=-1)
            self._keep(parents)

    def _keep(self, parents: Iterable[tuple[Run, str]]) -> None:
        for run, what in parents:
            if what != "mask":
                self.keep[run.digest].add(Step(what))

    def add_measurement(self, measurement: Measurement) -> None:
        """Add the runs that a measurement looks at."""
        parents = list(parent_runs(measurement))
        for run, _ in parents:
            self.add(run)
        self._keep(parents)


def parent_runs(of: Run | Measurement) -> Iterator[tuple[Run, str]]:
    """The runs that a run or a measurement is made from, each with what of it is looked at; what was given as arrays is left out."""
    for parent in of.parents():
        if isinstance(parent.run, Run):
            yield parent.run, parent.what


def graph(runs: Iterable[Run], keep: Mapping[str, Iterable[Step]] | None = None, measurements: Iterable[Measurement] = ()) -> Graph:
    """The graph of the given runs and of those that measurements look at; `keep` asks for further snapshots by digest."""
    found = Graph()
    for run in runs:
        found.add(run)
    for measurement in measurements:
        found.add_measurement(measurement)
    for digest, steps in (keep or {}).items():
        found.keep[digest] |= {Step(step) for step in steps}
    return found
