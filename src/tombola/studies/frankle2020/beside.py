"""Dense networks, and tickets of one density beside them, against k; two studies look at these."""

from collections.abc import Iterable, Mapping
from typing import Any

from tombola.studies import Row, Scale, Task, tickets
from tombola.studies.frankle2020.common import EXTREME, FEW, ONE_SHOT, Rounds, Sparse, from_step


class Beside(Sparse):
    """Children of dense networks, and of tickets of one density."""

    scales = {"smoke": {**FEW, "ticket": 1}}

    ticket: Rounds = 7
    """The rounds of pruning after which a ticket is looked at beside the dense network: 7 rounds of 20 % leave a density of 21 %. 0: no
    ticket."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        own = {"ticket": EXTREME[task.name]} if task.name in EXTREME else {}
        return {**ONE_SHOT.get(task.name, {}), **own, **super().at(scale, task)}

    @property
    def arms(self) -> dict[str, str]:
        return {"dense": "dense network", "ticket": f"ticket after {self.ticket} rounds"}

    def rows(self) -> Iterable[Row]:
        """A row for each pair of children of the dense network and of the ticket, at each step k, whose place is the level."""
        for replicate, level, k, dense in self.starts():
            yield from self.pair_rows("dense", replicate, level, from_step(dense, k), dense)
            if self.ticket:
                ticket = tickets(self, replicate, levels=self.ticket, rewind=k)[-1]
                yield from self.pair_rows("ticket", replicate, level, ticket, dense)
