"""The layers of winning tickets, of random masks and of re-initialised tickets, against density."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from tombola.evaluation.statistics import rank_correlation
from tombola.studies import Details, Effect, Evidence, Figure, Panel, Results, Row, Values, aside, claim, study
from tombola.studies.tickets import Level, PruningStudy, Several, randomly_masked, reinitialised, tickets
from tombola.studies.zhang2019 import common

Kind = Literal["ticket", "random", "reinit"]
LEFT = Panel("layer_density", "weights of the layer left (%)", 100)


@study("zhang2019.tickets", task="fcn-digits", answers="Does pruning make layers more, or less, critical?")
class Tickets(PruningStudy, common.Layers):
    """Layers of sparse networks, put back to what the networks began with: tickets and two controls, by density."""

    paper = "A replication of Zhang et al. 2019"
    scales = {"smoke": {"replicates": 2, "levels": (1,), "draws": 2}}
    columns = ("layer_density", "random_error", "random_rise", *(name for name in common.COLUMNS if name not in ("draw", "step")))

    levels: Several[Level] = (3, 7, 11)
    """The rounds of pruning after which sparse networks are looked at, beside the dense one; 20 % a round leave 51, 21 and 8.6 %."""
    kinds: Several[Kind] = ("ticket", "random", "reinit")
    """The kinds of sparse network that are compared."""
    draws: Annotated[int, Field(ge=1, le=1000)] = 10
    """Fresh draws of each layer."""

    @property
    def arms(self) -> dict[str, str]:
        labels = {"ticket": "winning ticket", "random": "random mask", "reinit": "ticket's mask, re-initialised"}
        return {kind: labels[kind] for kind in self.kinds}

    def rows(self) -> Iterable[Row]:
        for replicate in range(self.replicates):
            chain = tickets(self, replicate, levels=max(self.levels))
            for kind in self.kinds:
                for level in (0, *sorted(self.levels)):
                    run = chain[level]
                    if level and kind != "ticket":
                        run = randomly_masked(self, run, level) if kind == "random" else reinitialised(run, level)
                    yield Row(kind, replicate, level, run, measurement=self.reset(run, (run.begin,), draws=self.draws))

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for each layer, which is the row's variant."""
        mask, layers = results[row.run].weights("mask"), results.network_info(self.task).layers
        first, *drawn = (self.reset_values(row, results, [one.name for one in layers], column) for column in range(1 + self.draws))
        found = []
        for place, (layer, values) in enumerate(zip(layers, first, strict=True)):
            sizes, random = sum(mask[path].size for path in layer.prunable), {}
            for name in ("error", "rise"):
                random[f"random_{name}"] = float(np.mean([draw[place][name] for draw in drawn]))
            density = sum(int(mask[path].sum()) for path in layer.prunable) / sizes if sizes else np.nan
            found.append({**values, "variant": layer.name, "arm": row.arm, "layer_density": density, **random})
        return found

    def details(self, results: Results) -> Details:
        """Errors by layer and density, for each kind of network."""
        table = self.frame(self.rows(), results)
        table = table.assign(row=table.variant, column=table.density.map(lambda one: f"{100 * one:.3g}"))
        return {"layers": table[["arm", "density", "replicate", "row", "column", "error"]]}

    def figures(self) -> Sequence[Figure]:
        rise = Figure("rise", "Rise of the error when a layer is put back to what it began with", (self.rise,), caption=self.caption)
        layers = self.heat_map("layers", "Error by layer and density", self.error, across="density (%)")
        title, share = "Winning tickets: rise of the error against the share of the layer's weights left", replace(LEFT, log=True)
        left = Figure("survival", title, (self.rise,), "scatter", across=share, arms=("ticket",), caption=self.caption, compared=True)
        return (rise, layers, left) if "ticket" in self.kinds else (rise, layers)

    @claim(
        "LAY-C10",
        "on MNIST",
        "The first layer of a winning ticket is less critical than that of the dense network, and than that of a randomly pruned one.",
        note=lambda study: (
            f"At the lowest density, after {max(study.levels)} rounds. Less critical: put back, it raises the error less. The "
            "replication: by 25.6 pp in a ticket, 51 in the dense network, 46 under a random mask."
        ),
    )
    def first_layer(self, table: Evidence) -> Iterable[Effect]:
        last, rows = max(self.levels), table.table[table.table.variant == next(iter(table.table.variant), "")]
        first = Evidence(self, rows)
        ticket = first.of(self.rise, "ticket")
        for arm, level, said in (("ticket", 0, "in the dense network"), ("random", last, "under a random mask")):
            lacks = first.lacking(["ticket", arm], self.rise, [last]) or common.near_chance(rows[(rows.arm == arm) & (rows.level == level)])
            other = first.of(self.rise, arm)
            values = [] if lacks else other[level] - ticket[last]
            name = f"rise with the first layer put back {said}, above that in the ticket"
            yield table.effect(name, "pp", values, least=table.resolution, lacks=lacks)
        sparse = table.table[(table.table.arm == "ticket") & (table.table.level == last)]
        rho = [rank_correlation(own.layer_density, own.rise) for _, own in sparse.groupby("replicate")]
        yield aside(table.effect("rank correlation over layers of the weights left with the rise", "rho", rho))
