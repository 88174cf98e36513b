"""The smallest step k from which on a network is stable, found by bisection: a look before a training run is designed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from tombola.studies import Details, Figure, Panel, Results, Row, Run, Step, TombolaError, Values, study, tickets
from tombola.studies.frankle2020.common import SMOKE, Rounds, Sparse, dense_run, from_step


class Search(NamedTuple):
    """The state of a replicate's bisection, in places of the list of steps."""

    tried: dict[int, tuple[int, float]]
    """Place -> its iteration, and the instability there, the mean over pairs."""
    unstable: int
    """The last that is known to be unstable; -1: none."""
    stable: int
    """The first after it that is known to be stable; the number of steps: none."""

    @property
    def next(self) -> int | None:
        """The place to try; None: the search is over."""
        over = self.stable - self.unstable <= 1 or self.unstable == max(self.tried)
        return None if over else (self.unstable + self.stable) // 2


@study("frankle2020.onset", task="digits-noise-mlp", answers="From which step k on is this network stable to SGD noise?")
class Onset(Sparse):
    """The first step that is stable, by replicate: as many steps are tried as bisection needs, stability taken to be monotone in k.

    Where no steps are named they are 0, and from 1/512 of training on each sqrt(2) times the one before.
    """

    scales = {"smoke": {**SMOKE, "children": 2}}
    columns = ("kept", "prunable", "onset", "share", "after", "tries")
    arms = {"onset": "onset of stability"}
    counted = "rounds"
    shares = (0.0, *(2.0 ** (-power / 2) for power in range(18, 0, -1)))

    levels: Rounds = 0
    """The rounds of pruning after which the ticket's onset of stability is sought, with rewinding to each k. 0: the dense network's
    onset."""

    def rows(self) -> Iterable[Row]:
        """A row for each replicate, and the pairs at both ends of the list."""
        steps = self.steps
        if len(steps) < 2:
            raise TombolaError(f"k = {', '.join(steps)}, but a search needs two steps or more")
        yield from (Row("onset", replicate, self.levels, self._ticket(replicate, steps[0])) for replicate in range(self.replicates))
        for replicate in range(self.replicates):
            for k in (steps[0], steps[-1]):
                yield from self.tried(replicate, k)

    def tried(self, replicate: int, k: Step) -> list[Row]:
        """The pairs of children at a step."""
        dense = dense_run(self, replicate)
        parent = self._ticket(replicate, k) if self.levels else from_step(dense, k)
        return self.pair_rows("tried", replicate, self.levels, parent, dense)

    def _ticket(self, replicate: int, k: Step) -> Run:
        """The dense run if there are no rounds, else the ticket of the last round, rewound to k."""
        return tickets(self, replicate, levels=self.levels, rewind=k)[-1]

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[str, ...]]:
        """The steps to keep: all, whichever is tried later."""
        return {dense_run(self, replicate): self.steps for replicate in range(self.replicates)}

    def more(self, rows: Sequence[Row], results: Results) -> Iterable[Row]:
        """The next step of every replicate whose search is not over."""
        for replicate in range(self.replicates):
            place = self.search(replicate, results).next
            if place is not None:
                yield from self.tried(replicate, self.steps[place])

    def foreseen(self, rows: Sequence[Row]) -> Iterable[Row]:
        """A search in which each step that is tried is stable: it goes to the earliest, from which children train longest."""
        for replicate in range(self.replicates):
            tried = {row.run.begin for row in rows if row.arm == "tried" and row.replicate == replicate}
            places = [len(self.steps) - 1]
            while places[-1] > 1:
                places.append(places[-1] // 2)
            for place in places[max(1, len(tried) - 1) :]:
                yield from self.tried(replicate, self.steps[place])

    def search(self, replicate: int, results: Results) -> Search:
        """What the results say so far; both ends of the list are tried first."""
        steps, tried = self.steps, {}
        for place, k in enumerate(steps):
            rows = self.tried(replicate, k)
            if all(row.run in results for row in rows):
                pairs = [self.of_pair(row, results)["instability"] for row in rows]
                tried[place] = (results[rows[0].run].begin, float(np.mean(pairs)))
        unstable = max((place for place, (_, mean) in tried.items() if not mean < self.stable), default=-1)
        stable = min((place for place in tried if place > unstable), default=len(steps))
        return Search(tried, unstable, stable)

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """A row for each replicate; none for the pairs that were tried."""
        if row.arm == "tried":
            return []
        found, result = self.search(row.replicate, results), results[row.run]
        first, after = (float(found.tried.get(place, (none,))[0]) for place, none in ((found.stable, np.inf), (found.unstable, np.nan)))
        return {
            "onset": first,
            "share": first / result.end,
            "after": after,
            "tries": len(found.tried),
        }

    def details(self, results: Results) -> Details:
        """Instability at every step that was tried, by replicate."""
        found = []
        for row in (one for one in self.rows() if one.arm == "onset"):
            tried = self.search(row.replicate, results).tried.values()
            found += [results.where(row, x=begin, value=instability) for begin, instability in tried]
        return {"tried": found}

    def figures(self) -> Sequence[Figure]:
        each = f"Each replicate tries steps of its own, out of {len(self.steps)}, so that a mean may be of few."
        tried = Figure(
            "tried",
            "Instability at the steps that were tried",
            (replace(self.barrier, metric="value"),),
            kind="profile",
            detail="tried",
            x="step",
            x_label="step k (iteration)",
            caption=f"{each} {self.evaluated}",
        )
        last, first = Panel("after", "last unstable step k (iteration)"), Panel("onset", "first stable step k (iteration)")
        said = f"Only the steps that were tried count; marks of replicates are darker where several coincide. {self.evaluated}"
        return tried, Figure("onset", "Between which steps each network becomes stable", (last, first), caption=said)
