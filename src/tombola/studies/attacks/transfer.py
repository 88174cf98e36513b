"""Whether attacks on one network of a chain carry over to others of other densities."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.task import Count
from tombola.evaluation.paired import at_an_end
from tombola.evaluation.verdict import Effect
from tombola.procedures.run import Run
from tombola.studies.attacks.common import UnderAttack
from tombola.studies.base import Row, Values, study
from tombola.studies.claims import Evidence, claim
from tombola.studies.figure import Figure, Panel
from tombola.studies.results import Results
from tombola.studies.tickets import tickets

if TYPE_CHECKING:
    import pandas as pd

CARRIED = Panel("carried", "attacks that carry over (%)", 100)
LESS = 1.0
"""Least difference, in pp, that counts."""


@study("attacks.transfer", task="digits-mlp", answers="Does an attack on one ticket carry over to tickets of other densities?")
class Transfer(UnderAttack):
    """PGD's examples for each ticket of a chain shown to all others, and to the same ticket trained again under other SGD noise."""

    scales = {"smoke": {"every": 1}}
    columns = ("kept", "prunable", "carried", "own")
    arms = {"again": "same ticket, trained again", "density": "tickets of other densities"}

    every: Count = 2
    """Rounds of pruning between two tickets that are attacked."""

    @property
    def variants(self) -> dict[str, str]:  # the last radius alone carries over
        return {}

    def rows(self) -> Iterable[Row]:
        """A row for each second ticket of a chain."""
        if self.every > self.levels:
            raise TombolaError(f"every = {self.every}, but there are only {self.levels} levels: a ticket has no other; choose fewer")
        for replicate in range(self.replicates):
            chain = tickets(self, replicate)[:: self.every]
            again = [run.but(noise={"data_order": "again"}) for run in chain]
            found = self.under_attack([*chain, *again], transfer=True, eps=[self.eps[-1]])
            yield from (Row("again", replicate, place, run, measurement=found) for place, run in enumerate((*chain, *again)))

    def _pairs(self, row: Row, results: Results) -> tuple[np.ndarray, int, int]:
        """The matrix of what carries over, the number of tickets, and the place of this row's."""
        assert row.measurement is not None
        matrix = results.measured(row.measurement)["transfer"]
        return matrix, len(matrix) // 2, row.level

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for the ticket trained again, and one for the mean over other densities; none for second trainings."""
        matrix, count, place = self._pairs(row, results)
        if place >= count:
            return []
        summary = {name: results[row.run].summary[name] for name in ("kept", "prunable")} | {"own": float(matrix[place, place])}
        others = [float(matrix[place, other]) for other in range(count) if other != place]
        return [
            {**summary, "arm": "again", "carried": float(matrix[place, count + place])},
            {**summary, "arm": "density", "carried": float(np.mean(others))},
        ]

    def details(self, results: Results) -> "dict[str, pd.DataFrame]":
        """What carries over from each ticket to each."""
        import pandas as pd

        frames = []
        for row in self.rows():
            matrix, count, place = self._pairs(row, results)
            if place < count:
                at = {
                    "variant": "",
                    "arm": "",
                    "level": 0,
                    "density": 1.0,
                    "replicate": row.replicate,
                    "row": self._called(row.run, results),
                }
                for other, target in enumerate(parent.run for parent in row.measurement.of[:count]):  # type: ignore[union-attr]
                    assert isinstance(target, Run)
                    frames.append({**at, "column": self._called(target, results), "carried": float(matrix[place, other])})
        return {"transfer": pd.DataFrame(frames)}

    def _called(self, run: Run, results: Results) -> str:
        return f"{100 * results[run].summary['density']:.3g} %"

    def figures(self) -> Sequence[Figure]:
        said = (
            f"Of examples that both networks get right, those that PGD against one, at radius {self.eps[-1]:g}, makes wrong for the other."
        )
        matrix = Figure(
            "transfer", "Which attacks carry over", (CARRIED,), "heatmap", detail="transfer", x_label="density of the other", caption=said
        )
        return Figure("carried", "Attacks that carry over, by density", (CARRIED,), caption=said), matrix

    @claim(
        "ATT-C4",
        "I5",
        "Attacks carry over less between tickets of different density than between trainings of one ticket.",
        note=f"By more than {LESS:g} pp of the examples that both networks classify rightly, over all densities, at the largest radius.",
    )
    def densities_protect(self, table: Evidence) -> Iterable[Effect]:
        at = sorted(int(level) for level in table.table.level.unique())
        one, other = table.pair("again", "density", CARRIED, at)
        lacks = table.lacking(["again", "density"], CARRIED.metric, at)
        lacks = lacks or at_an_end("what carries over", {"again": one, "density": other}, LESS)
        yield table.effect("trained again above other densities", "pp", one - other, least=LESS, lacks=lacks)
