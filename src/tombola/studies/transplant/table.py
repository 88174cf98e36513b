"""Every initialisation under every mask: what of a ticket is its mask, what its initial values, what that they belong together."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tombola.evaluation import connectivity, similarity
from tombola.evaluation.statistics import jackknife, rank_correlation
from tombola.evaluation.variance import split
from tombola.pruning.controls import same_degrees
from tombola.studies import Action, Details, Effect, Evidence, Figure, Frame, Panel, Results, Row, Run, Values, aside, claim, study
from tombola.studies.claims import about
from tombola.studies.transplant.common import ACC_FINAL, COLLAPSED, NOTE, TRAINED, Transplants, dense_rows, masked, over_pairs, trained

MEASURED: tuple[str, ...] = (*TRAINED, "mask", "overlap", "overlap_degrees", "overlap_sd", "inputs_rho")
CHANCE = 0.05
"""Overlap beyond chance, as a share of what there could be, up to which masks overlap by chance."""
DRAWS = 4
"""Masks of the same degrees over which their overlap with another mask is averaged."""
PARTS = {"rows": "mask", "columns": "initialisation", "fit": "that they belong together", "noise": "SGD noise"}
MASKS = {
    "own": "own mask",
    "transplant": "another's mask",
    "degrees": "its degrees alone",
    "random": "its layer densities alone",
}
"""Arms of a table's cells."""


class Cells(Transplants):
    """Initialisations under other masks, each cell trained several times under SGD noise of its own."""

    orders: Annotated[int, Field(ge=2)] = 2
    """How often each cell is trained, each time in another order of the data."""

    def cell(self, arm: str, init: int, level: int, index: int, ticket: Run, mask: Any) -> Iterable[Row]:
        """One initialisation (with its ticket) under the mask of another, or what is made of that."""
        for order in range(self.orders):
            run = masked(ticket, mask, f"{arm}/{level}/{index}/{init}/{order}")
            yield Row(arm, init, level, run, index * self.orders + order)

    def remnants(self, init: int, level: int, chains: Sequence[Sequence[Run]]) -> Iterable[Row]:
        """One initialisation under masks of which only degrees, or layer densities, are those of the next one's mask."""
        index = (init + 1) % self.replicates
        for arm, name in (("degrees", "shuffle_degrees"), ("random", "shuffle")):
            mask = Action(name=name, of=(chains[index][level].its_mask(),), options={"stream": f"{arm}/{level}/{index}"})
            yield from self.cell(arm, init, level, index, chains[init][level], mask)


@study("transplant.table", task="digits-mlp", answers="Is a ticket its mask, its initial values, or that the two belong together?")
class Table(Cells):
    """The masks of n initialisations under each of these: n x n cells at some densities, each trained several times.

    Every cell has SGD noise of its own, also where mask and initialisation belong together. Beside them, under each initialisation
    another's mask of which only the counts of each input and output, or of each layer, are left.
    """

    scales = {**Transplants.scales, "smoke": {"replicates": 3, "levels": 2, "compared": (2,)}}
    columns = MEASURED
    arms = {
        **MASKS,
        "same_init": "same initialisation, other SGD noise",
        "other_init": "other initialisation",
    }

    def rows(self) -> Iterable[Row]:
        chains = [self.chain(index) for index in range(self.replicates)]
        yield from dense_rows("own", self)
        for level in self.within(self.compared):
            for init, chain in enumerate(chains):
                for index, other in enumerate(chains):
                    arm = "own" if index == init else "transplant"
                    yield from self.cell(arm, init, level, index, chain[level], other[level].its_mask())
                yield from self.remnants(init, level, chains)
                yield Row("same_init", init, level, self.chain(init, "again")[level])
                yield Row("other_init", init, level, chain[level])

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """Accuracies of cells; of masks, how alike they are: a row for each other initialisation, or one for the same."""
        if row.arm not in ("same_init", "other_init"):
            return {**trained(row.run, results), "mask": row.draw // self.orders}
        mask = results[row.run].weights("mask")
        if row.arm == "same_init":
            others = {row.replicate: results[self.chain(row.replicate)[row.level]].weights("mask")}
        else:
            others = {i: results[self.chain(i)[row.level]].weights("mask") for i in range(self.replicates) if i != row.replicate}
        shuffled = [same_degrees(dict(mask), row.run.seed, f"chance/{row.level}/{draw}") for draw in range(DRAWS)]
        return [{"draw": i, "mask": i, **_alike(mask, other, shuffled)} for i, other in others.items()]

    def details(self, results: Results) -> Details:
        """Accuracy of each cell; and the parts of the variance, whose replicates are pseudo-values."""
        import pandas as pd

        cells = pd.DataFrame([self._told(row, results) for row in self.rows() if row.level and row.arm in ("own", "transplant")])
        parts: list[Values] = []
        for (level, density), rows in cells.groupby(["level", "density"]):
            for name, label in PARTS.items():
                of = {"arm": "cells", "level": level, "density": density, "row": label, "column": f"{100 * density:.3g} %"}
                parts += [{**of, "replicate": i, "value": value} for i, value in enumerate(parts_of(rows, name))]
        names = {"row": "mask " + (cells["mask"] + 1).astype(str), "column": (cells.init + 1).astype(str), "replicate": cells.order}
        shown = cells.assign(**names, arm=[f"at {100 * density:.3g} %" for density in cells.density], value=cells.acc_final)
        return {"cells": shown[["arm", "level", "density", "replicate", "row", "column", "value"]], "parts": parts}

    def _told(self, row: Row, results: Results) -> Values:
        result = results[row.run]
        where = {"level": row.level, "density": result.summary["density"], "init": row.replicate}
        return {**where, "mask": row.draw // self.orders, "order": row.draw % self.orders, "acc_final": result.shown("test")}

    def figures(self) -> Sequence[Figure]:
        accuracy, variance = Panel("value", "test accuracy at the end (%)", 100), Panel("value", "mean square of test accuracy (pp²)")
        overlap = Panel("overlap", "overlap of masks beyond chance (%)", 100), Panel("inputs_rho", "rank correlation of inputs' degrees")
        trained_on, alike = ("own", "transplant", "degrees", "random"), ("same_init", "other_init")
        means = f"Cells are means of {self.orders} trainings; on the diagonal mask and initialisation belong together."
        from_jackknife = (
            "Replicates are pseudo-values of the jackknife over initialisations; a part that is 0 comes out below 0 half of the time."
        )
        beyond = "At 100 % one mask holds the other; 0 is chance. The degree of an input is the number of its connections."
        return [
            Figure("table", "Masks under initialisations", (accuracy,), "heatmap", x_label="initialisation", detail="cells", caption=means),
            Figure("parts", "What accuracy varies with", (variance,), "heatmap", x_label="density", detail="parts", caption=from_jackknife),
            Figure("accuracy", "What of a mask helps another initialisation", (ACC_FINAL, COLLAPSED), arms=trained_on),
            Figure("overlap", "How alike masks are", overlap, arms=alike, caption=beyond),
        ]

    @claim(
        "TRANS-C1",
        "IDEAS I9",
        "At a tenth of the weights and less, accuracy varies more with whether a mask and an initialisation belong together than with the "
        "mask or with the initialisation.",
        note=f"{NOTE} Mean squares are those of tables of two initialisations and their two masks. They count from the square of one "
        "test example.",
    )
    def fit_matters_most(self, table: Evidence) -> Iterable[Effect]:
        at, least = self.few(table), table.resolution**2
        lacks = table.lacking(("own", "transplant"), ACC_FINAL, at)
        found = {name: self._parts(table, name, at) for name in PARTS}
        for name in ("rows", "columns"):
            beyond = f"mean square of belonging together above that of the {PARTS[name]}{table.said(at)}"
            yield table.effect(beyond, "pp^2", found["fit"] - found[name], least=least, lacks=lacks)
        yield aside(table.above("own", "transplant", ACC_FINAL, at))

    @claim(
        "TRANS-C2",
        "IDEAS I9",
        "Masks of different initialisations overlap by chance alone, and yet keep the same inputs connected: that part of a mask helps "
        "another initialisation, the rest of it does not.",
        note=f"{NOTE} Overlap is chance if it is less than 5 % of the way from the hypergeometric mean to the most there could be. "
        "Masks use the same inputs if the rank correlation of the inputs' numbers of connections is above .7. The rest does not "
        "matter if a mask of which only the numbers of connections of inputs and outputs are left is within the margin.",
    )
    def inputs_transfer(self, table: Evidence) -> Iterable[Effect]:
        at = self.few(table)
        other = self._pairs(table, "overlap", at)
        yield table.effect(f"overlap less than 5 % beyond chance{table.said(at)}", "", CHANCE - other)
        rho = self._pairs(table, "inputs_rho", at)
        yield table.effect(f"rank correlation of the inputs' degrees{table.said(at)}", "", rho, least=0.7)
        yield table.above("transplant", "random", ACC_FINAL, at)
        yield table.within("degrees", "transplant", ACC_FINAL, at)
        beyond = self._pairs(table, "overlap_degrees", at)
        yield aside(table.effect(f"overlap beyond that of the degrees{table.said(at)}", "", beyond))

    @claim(
        "TRANS-C3",
        "IDEAS I9; against Grosse & Backes 2021",
        "In fully connected networks of LeNet's size, masks found from one initialisation under other SGD noise overlap more than by "
        "chance.",
        about=about("fully connected networks (mlp)", "mlp"),
        note=f"{NOTE} More means by at least 5 % of the way from the hypergeometric mean to the most there could be.",
    )
    def one_initialisation_one_mask(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(0, 1)
        same = table.of("overlap", "same_init", at)
        yield table.effect(
            f"overlap beyond chance{table.said(at)}", "", same, least=CHANCE, lacks=table.lacking(("same_init",), "overlap", at)
        )
        beyond = table.of("overlap_degrees", "same_init", at)
        yield aside(table.effect(f"overlap beyond that of the degrees{table.said(at)}", "", beyond))

    def _parts(self, table: Evidence, name: str, at: Sequence[int]) -> Frame:
        """Pseudo-values (initialisations, levels) of one part of the variance."""
        import pandas as pd

        cells = table.table[table.table.arm.isin(["own", "transplant"])]
        cells = cells.assign(init=cells.replicate, order=cells.draw % self.orders)
        return pd.DataFrame({level: parts_of(cells[cells.level == level], name) for level in at})

    def _pairs(self, table: Evidence, column: str, at: Sequence[int]) -> Frame:
        """Pseudo-values (initialisations, levels) of the mean over pairs of different initialisations."""
        import pandas as pd

        rows = table.table[table.table.arm == "other_init"]
        units = sorted(rows.replicate.unique())
        return pd.DataFrame({level: jackknife(over_pairs(rows[rows.level == level], column, units), units) for level in at})


def _alike(mask: Any, other: Any, shuffled: Sequence[Any]) -> Values:
    """How alike two masks are: entries against chance, against chance given the degrees, in standard deviations; degrees of inputs."""
    first = next(iter(mask))
    mean, deviation = similarity.expected_overlap(mask, other)
    both = sum(np.count_nonzero(mask[path] & other[path]) for path in mask)
    by_degrees = np.mean([sum(np.count_nonzero(one[path] & other[path]) for path in mask) for one in shuffled])
    return {
        "overlap": similarity.overlap(mask, other),
        "overlap_degrees": similarity.overlap(mask, other, float(by_degrees)),
        "overlap_sd": (both - mean) / deviation if deviation else np.nan,
        "inputs_rho": rank_correlation(*(connectivity.outgoing(of[first]).tolist() for of in (mask, other))),
    }


def parts_of(cells: Frame, name: str) -> list[float]:
    """Pseudo-values, over initialisations, of a part of the variance (`split`, in pp^2): of columns mask, init, order and acc_final."""
    values = cells.pivot(index="mask", columns=["init", "order"], values="acc_final")

    def part(chosen: Sequence[int]) -> float:
        some = 100 * values.loc[list(chosen), list(chosen)].to_numpy(float)
        return float(getattr(split(some.reshape(len(chosen), len(chosen), -1)), name))

    return jackknife(part, list(values.index))
