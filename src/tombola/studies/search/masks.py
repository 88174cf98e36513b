"""Ways to search a mask, at one budget."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from tombola.studies import Effect, Evidence, Figure, Panel, Row, Several, aside, claim, hardest, study
from tombola.studies.search.common import ACC, COUNTED, GRADIENTS, MARGIN, Gradient, Searcher, Ways

Arm = Searcher | Gradient | Literal["dense", "heuristic"]
SMOKE: tuple[Arm, ...] = ("dense", "heuristic", "random", "genetic", "seeded", "pbil", "bernoulli")
NEAR, LESS = 5.0, 5.0
"""Points of density around one half that count as near it; and by which a price has to lower it."""


@study("search.masks", task="digits-20-mlp", answers="Can a mask be searched instead of weights being trained, and what does it cost?")
class Masks(Ways):
    """Masks over untrained weights, found by chance, by evolution or by gradients, for the same number of example forward passes."""

    scales = {"smoke": {**Ways.settings_of("smoke"), "searchers": SMOKE, "budget": 50_000}}

    searchers: Several[Arm] = (
        "dense", "heuristic", "random", "flips", "genetic", "layered", "seeded", "sparser", "pbil", "snes", "sep_cma_es", *GRADIENTS,
    )  # fmt: skip
    """The ways of searching that are compared, with trained weights and the heuristic mask beside them."""

    def rows(self) -> Iterable[Row]:
        return (self.row(arm, replicate) for arm in self.searchers for replicate in range(self.replicates))

    def figures(self) -> Sequence[Figure]:
        ends = "Shown is, at the end of the budget, the mask that was best on validation examples. " + COUNTED
        across = Panel("density", "weights kept (%)", 100)
        return self.budget_figure(), Figure(
            "ends", "Accuracy and density of searched masks", (ACC,), "scatter", across=across, caption=ends
        )

    @claim(
        "SEARCH-C1",
        "I8",
        "At equal passes on ten classes, masks learnt by gradients beat PBIL and SNES, these beat the genetic algorithm, and that beats "
        "random search.",
        about=lambda study: study.ten_classes(),
        note=f"Each part is judged where it is hardest, and a difference counts from {MARGIN:g} pp. Of searched masks the best on "
        "validation examples is taken, of learnt ones the last.",
    )
    def the_order(self, table: Evidence) -> Iterable[Effect]:
        middle = ("pbil", "snes")
        yield from hardest(table.above(one, other, ACC, [0], least=MARGIN) for one in GRADIENTS for other in middle)
        yield from hardest(table.above(one, "genetic", ACC, [0], least=MARGIN) for one in middle)
        yield table.above("genetic", "random", ACC, [0], least=MARGIN)
        yield aside(table.above("sep_cma_es", "snes", ACC, [0]))
        yield aside(table.above("layered", "genetic", ACC, [0]))
        yield aside(table.above("flips", "genetic", ACC, [0]))

    @claim(
        "SEARCH-C3",
        "I8",
        "Evolved masks stay near half of the weights unless density is selected for.",
        about=lambda study: "densities are fixed" if study.fixed else "" if study.mask_density == 0.5 else "masks do not begin at one half",
        note=f"Near means within {NEAR:g} points of 50 %. Density is selected for if the price lowers it by more than {LESS:g} points.",
    )
    def density_stays(self, table: Evidence) -> Iterable[Effect]:
        for arm in ("genetic", "pbil", "snes"):
            away = (100 * table.of("density", arm, [0]) - 50).abs()
            name = f"{table.called(arm)}: density within {NEAR:g} points of 50 %"
            yield table.effect(name, "points", NEAR - away, lacks=table.lacking([arm], "density", [0]))
        dense, sparse = (100 * table.of("density", arm, [0]) for arm in ("genetic", "sparser"))
        lacks = table.lacking(["genetic", "sparser"], "density", [0])
        yield table.effect("a price lowers the density", "points", dense - sparse, least=LESS, lacks=lacks)

    @claim(
        "SEARCH-C4",
        "I8",
        "A genetic algorithm that begins from a heuristic mask beats both that mask and the same algorithm from random masks.",
        note=f"The passes of the dense run that the heuristic mask comes from are in the budget. A difference counts from {MARGIN:g} "
        "pp. There is room if some mask is better by as much than the algorithm from random masks.",
    )
    def seeding_helps(self, table: Evidence) -> Iterable[Effect]:
        reached = 100 * table.table[table.table.arm != "dense"].groupby("arm").acc.mean()
        room = reached.max() - reached.get("genetic", math.nan)
        lacks = f"no room: no mask is {MARGIN:g} pp above the genetic algorithm's" if room < MARGIN else ""
        yield table.above("seeded", "genetic", ACC, [0], least=MARGIN, lacks=lacks)
        yield table.above("seeded", "heuristic", ACC, [0], least=MARGIN)
