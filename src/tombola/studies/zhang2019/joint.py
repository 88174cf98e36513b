"""Several layers at once: pairs, the first n, the last n, random sets, the largest robust set that is found greedily (section 3)."""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Annotated

import numpy as np
from pydantic import Field

from tombola.core.keys import generator
from tombola.models.groups import Unit
from tombola.studies import Details, Effect, Evidence, Figure, Panel, Results, Row, Step, Values, aside, claim, dense_run, study
from tombola.studies.zhang2019 import common

MOST_PAIRS = 300
"""Networks with more pairs than this have their pairs left out."""


@study("zhang2019.joint", task="fcn-digits", answers="Are layers that are robust one by one robust together?")
class Joint(common.Robust):
    """Sets of layers put back to one step at once."""

    scales = {"smoke": {"replicates": 2, "subsets": 2}}
    columns = (
        "kept", "prunable", "draw", "layers", "error", "rise", "sum_of_rises", "most_of_rises", "validation_rise", "own_error", "chance",
    )  # fmt: skip
    arms = {
        "single": "one layer",
        "pair": "pairs",
        "first": "the first n",
        "last": "the last n",
        "random": "n at random",
        "greedy": "n that matter least, added one by one",
        "robust": "all that are robust by themselves",
    }
    counted = "layers"

    reset_to: Step = common.INITIAL
    """The step to whose weights the layers are put back."""
    unit: Unit = "layer"
    """What is put back together: `layer`, `block`, `stage`."""
    subsets: Annotated[int, Field(ge=0, le=1000)] = 10
    """How many random sets of layers there are of each size."""

    def rows(self) -> Iterable[Row]:
        return [self._row("single", replicate, 1) for replicate in range(self.replicates)]

    def _row(self, arm: str, replicate: int, level: int = 0, sets: Sequence[Sequence[str]] = ()) -> Row:
        """Sets of layers put back, or each layer by itself."""
        run, several = dense_run(self, replicate), {"sets": [list(one) for one in sets]} if sets else {}
        return Row(arm, replicate, level, run, measurement=self.reset(run, (self.reset_to,), unit=self.unit, **several))

    def more(self, rows: Sequence[Row], results: Results) -> Iterable[Row]:
        """Sets of layers, once their names are known; the sets of those that are robust; the greedy sets, one size a time."""
        names, robust = common.units_of(results, self.task, self.unit), self.robust_units(results, self.rows(), self.unit)
        for replicate in range(self.replicates):
            yield from (self._row(arm, replicate, sets=sets) for arm, sets in self._named(names, replicate).items())
            if len(robust) > 1:
                yield self._row("robust", replicate, len(robust), [robust])
            yield from self._greedy(results, names, replicate)

    def _named(self, names: list[str], replicate: int) -> dict[str, list[list[str]]]:
        """Arm -> sets that need no result."""
        draw, sizes = generator(dense_run(self, replicate).seed, "joint/random"), range(1, len(names) + 1)
        drawn = [list(draw.choice(len(names), size, replace=False)) for size in sizes[1:-1] for _ in range(self.subsets)]
        found: dict[str, list[list[str]]] = {
            "first": [names[:size] for size in sizes],
            "last": [names[-size:] for size in sizes],
            "random": [[names[index] for index in sorted(one)] for one in drawn],
            "pair": [list(pair) for pair in combinations(names, 2)] if len(names) * (len(names) - 1) / 2 <= MOST_PAIRS else [],
        }
        return {arm: sets for arm, sets in found.items() if sets}

    def _greedy(self, results: Results, names: list[str], replicate: int) -> Iterable[Row]:
        """The greedy sets so far, and the candidates for the next."""
        chosen: list[str] = []
        for size in range(1, len(names) + 1):
            candidates = [[*chosen, name] for name in names if name not in chosen]
            row = self._row("greedy", replicate, size, candidates)
            yield row
            if row.measurement not in results.known:
                break
            chosen = candidates[self._least(row, results)]

    def _least(self, row: Row, results: Results) -> int:
        """The place of the candidate with the least error on the validation set."""
        return int(np.argmin(results.of(row)["validation_error"][:, 0]))

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for each set; of the greedy candidates the one that is chosen."""
        names = common.units_of(results, self.task, self.unit)
        alone = {one["arm"]: one["rise"] for one in self.reset_values(self._row("single", row.replicate), results, names)}
        assert row.measurement is not None
        sets: list[list[str]] = row.measurement.options.get("sets") or [[name] for name in names]
        values = list(zip(sets, self.reset_values(row, results, ["+".join(one) for one in sets]), strict=True))
        draws, rows = dict[int, int](), list[Values]()
        for layers, one in [values[self._least(row, results)]] if row.arm == "greedy" else values:
            size, rises = len(layers), [alone[name] for name in layers]
            draws[size] = draws.get(size, -1) + 1
            place = {"arm": row.arm, "level": size, "draw": draws[size], "layers": " ".join(layers)}
            rows.append({**one, **place, "sum_of_rises": sum(rises), "most_of_rises": max(rises)})
        return rows

    def details(self, results: Results) -> Details:
        """Errors of pairs, both ways round, and of single layers on the diagonal."""
        import pandas as pd

        names = common.units_of(results, self.task, self.unit)
        sets = {replicate: self._named(names, replicate).get("pair") for replicate in range(self.replicates)}
        pairs = [self._row("pair", replicate, sets=pair) for replicate, pair in sets.items() if pair]
        found = self.frame([*self.rows(), *pairs], results)
        found["beyond"] = (found.rise - found.sum_of_rises).where(found.arm == "pair")
        ends = found.layers.str.split(" ")
        both = [found.assign(row=ends.str[one], column=ends.str[other]) for one, other in ((0, -1), (-1, 0))]
        table = pd.concat(both).drop_duplicates(["replicate", "row", "column"])
        order = {name: place for place, name in enumerate([*range(self.replicates), *names])}
        table = table.sort_values(["replicate", "row", "column"], key=lambda column: column.map(order))
        return {"pairs": table[["replicate", "row", "column", "error", "beyond"]].assign(level=1)}

    def figures(self) -> Sequence[Figure]:
        said = f"{self.caption} Layers are added greedily by the error on the validation set."
        beyond, arms = Panel("beyond", "beyond the two rises added (pp)", 100), ("first", "last", "random", "greedy")
        title = "Error against the number of layers that are put back at once"
        return (
            Figure("joint", title, (self.error,), x="level", arms=arms, caption=said),
            self.heat_map(
                "pairs",
                "Two layers put back at once",
                self.error,
                beyond,
                across="with",
                said="On the diagonal one layer is put back alone.",
            ),
        )

    @claim("LAY-C7", "section 3.2", "Layers that are robust one by one are not robust together.")
    def not_together(self, table: Evidence) -> Iterable[Effect]:
        single, rows = table.only(arm="single").table, table.only(arm="robust").table.set_index("replicate")
        allowed = 100 * self.limit_in(single)
        robust = self.robust_in(single.assign(arm=single.layers))
        put_back = set(" ".join(rows.layers.unique()).split())
        few = "fewer than two layers are robust by themselves"
        if wrong := put_back - set(robust):
            few = f"not robust by themselves, though put back: {', '.join(sorted(wrong))}"
        lacks = common.near_chance(single) or ("" if len(rows) and not wrong else few)
        name = f"rise with all robust layers put back, above the {allowed:.2g} pp that one may raise the error by"
        yield table.effect(name, "pp", 100 * rows.rise - allowed, lacks=lacks)
        name = "rise with all robust layers put back, above the sum of their rises"
        yield aside(table.effect(name, "pp", 100 * (rows.rise - rows.sum_of_rises)))
