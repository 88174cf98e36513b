"""Whether attacks on one network of a chain carry over to others of other densities."""

from collections.abc import Iterable, Sequence

import numpy as np

from tombola.core.task import Count
from tombola.evaluation.paired import at_an_end
from tombola.studies import Details, Effect, Evidence, Figure, Panel, Results, Row, TombolaError, Values, claim, study, tickets
from tombola.studies.attacks.common import UnderAttack

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
        matrix = results.of(row)["transfer"].astype(float)
        return matrix, len(matrix) // 2, row.level

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for the ticket trained again, and one for the mean over other densities; none for second trainings."""
        matrix, count, place = self._pairs(row, results)
        if place >= count:
            return []
        carried = {"again": matrix[place, count + place], "density": np.mean(np.delete(matrix[place, :count], place))}
        return [{"own": float(matrix[place, place]), "arm": arm, "carried": float(value)} for arm, value in carried.items()]

    def details(self, results: Results) -> Details:
        """What carries over from each ticket to each."""
        found = []
        for row in self.rows():
            matrix, count, place = self._pairs(row, results)
            if place < count:
                assert row.measurement is not None
                names = [f"{100 * results[parent.run].summary['density']:.3g} %" for parent in row.measurement.of[:count]]
                cells = zip(names, matrix[place].tolist(), strict=False)
                found += [{"replicate": row.replicate, "row": names[place], "column": name, "carried": value} for name, value in cells]
        return {"transfer": found}

    def figures(self) -> Sequence[Figure]:
        said = (
            f"Of the examples that both networks get right, the figure counts those that PGD against one (radius {self.eps[-1]:g}) makes "
            "wrong for the other."
        )
        matrix = Figure(
            "transfer", "Which attacks carry over", (CARRIED,), "heatmap", detail="transfer", caption=said,
            x_label="density of the other", y_label="density of the attacked",
        )  # fmt: skip
        return Figure("carried", "Attacks that carry over, by density", (CARRIED,), caption=said), matrix

    @claim(
        "ATT-C4",
        "I5",
        "Attacks carry over less between tickets of different density than between trainings of one ticket.",
        note=f"The difference has to be above {LESS:g} pp of the examples that both networks classify rightly. It is judged over all "
        "densities, at the largest radius.",
    )
    def densities_protect(self, table: Evidence) -> Iterable[Effect]:
        at = sorted(int(level) for level in table.table.level.unique())
        one, other = table.pair("again", "density", CARRIED, at)
        lacks = table.lacking(["again", "density"], CARRIED.metric, at)
        lacks = lacks or at_an_end("what carries over", {"again": one, "density": other}, LESS)
        yield table.effect("trained again above other densities", "pp", one - other, least=LESS, lacks=lacks)
