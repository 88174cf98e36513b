"""A study's runs as a graph: which there are, what is wanted of each, and in which order they can train."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tombola.core.step import Step
from tombola.procedures.run import Run


@dataclass
class Graph:
    """All runs of a study with their ancestors, parents first."""

    runs: dict[str, Run] = field(default_factory=dict)
    """Digest -> run."""
    keep: dict[str, set[Step]] = field(default_factory=dict)
    """Digest -> steps whose weights are wanted, by a child or by the study."""
    generation: dict[str, int] = field(default_factory=dict)
    """Digest -> length of the longest chain of parents."""

    def add(self, run: Run) -> None:
        """Add a run and its ancestors. Chains may be long: no recursion."""
        pending = [run]
        while pending:
            last = pending[-1]
            missing = [source.run for source in last.parents() if source.run.digest not in self.runs]
            if missing:
                pending += missing
                continue
            pending.pop()
            if last.digest in self.runs:
                continue
            parents = list(last.parents())
            self.runs[last.digest] = last
            self.keep[last.digest] = set()
            self.generation[last.digest] = 1 + max((self.generation[source.run.digest] for source in parents), default=-1)
            for source in parents:
                if source.what != "mask":
                    self.keep[source.run.digest].add(Step(source.what))


def graph(runs: Iterable[Run], keep: Mapping[str, Iterable[Step]] | None = None) -> Graph:
    """The graph of the given runs; `keep` asks for further snapshots by digest."""
    found = Graph()
    for run in runs:
        found.add(run)
    for digest, steps in (keep or {}).items():
        found.keep[digest] |= {Step(step) for step in steps}
    return found
