"""Which of the runs that are ready are begun first."""

import random
from collections.abc import Callable, Collection, Mapping
from functools import cache

from tombola.engine.graph import Graph, parent_runs

_CHAINS = 2
"""The number of longest chains that are left for each worker when chains begin to be worked on side by side."""


class Order:
    """One worker takes earlier generations first, so that as many runs as possible train together.

    Several finish chains before they begin others: each goes on with its own, they do not meet at the same runs, and whole chains are
    there early. Once no more is left than two of the longest chains for each worker, what has the longest way to go comes first, as
    else most would wait for the last chains at the end. Which of equals comes first differs from worker to worker.
    """

    def __init__(self, graph: Graph, lengths: Mapping[str, int], workers: int) -> None:
        self._generation, self._lengths, self._workers = graph.generation, lengths, workers
        self.parents = {digest: {parent.digest for parent, _ in parent_runs(run)} for digest, run in graph.runs.items()}
        """Digest -> those of its parents."""
        self._way: dict[str, int] = dict.fromkeys(graph.runs, 0)
        """Digest -> steps to the end of the longest chain that begins with it."""
        for digest in reversed(graph.runs):  # children first
            self._way[digest] += lengths[digest]
            for parent in self.parents[digest]:
                self._way[parent] = max(self._way[parent], self._way[digest])
        self._chance = cache(lambda digest: random.random())

    def ready(self, missing: Collection[str]) -> list[str]:
        """The missing runs whose parents are all there."""
        return [digest for digest in missing if not any(parent in missing for parent in self.parents[digest])]

    def key(self, missing: Collection[str]) -> Callable[[str], tuple[float, float]]:
        """What the runs that are ready are sorted by, lowest first."""
        if self._workers == 1:
            return lambda digest: (self._generation[digest], 0.0)
        steps, longest = sum(self._lengths[digest] for digest in missing), max((self._way[digest] for digest in missing), default=0)
        if steps <= _CHAINS * longest * self._workers:
            return lambda digest: (-self._way[digest], self._chance(digest))
        return lambda digest: (-self._generation[digest], self._chance(digest))
