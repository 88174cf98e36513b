"""What is in a mask beside its entries: how much of its help are the degrees, and does it keep neighbouring pixels together?"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tombola.evaluation import connectivity
from tombola.pruning.controls import same_degrees, shuffle
from tombola.studies import Details, Effect, Evidence, Figure, Panel, Results, Row, Run, Values, aside, claim, picture, study
from tombola.studies.claims import about
from tombola.studies.tickets import ACC_FINAL, at_once
from tombola.studies.transplant.common import COLLAPSED, NOTE, TRAINED, Transplants, dense_rows, trained
from tombola.studies.transplant.table import MASKS, Cells

MEASURED: tuple[str, ...] = (*TRAINED, "local", "local_degrees")
SHARE = 0.5
"""The part of what a mask's entries help another initialisation that its degrees have to give."""
SHOWN = (4, 6)
"""Rows and columns of units whose inputs are pictured."""
LOCAL = Panel("local", "mean distance of a unit's inputs, less than at random (%)", 100)


@study(
    "transplant.structure",
    task="digits-mlp",
    answers="What is in a mask: how many connections each unit has, or which pixels belong together?",
)
class Structure(Cells):
    """Another initialisation's mask, its degrees alone, its layer densities alone; and how far apart the inputs of first units lie.

    Inputs are the pixels of a square image, or, where they are no square number, places on a line.
    """

    scales = Transplants.scales
    columns = MEASURED
    arms = {
        **MASKS,
        "rounds": "rounds of pruning",
        "one_shot": "pruned at once",
    }

    def rows(self) -> Iterable[Row]:
        chains = [self.chain(index) for index in range(self.replicates)]
        yield from dense_rows("own", self)
        for level in self.within(self.compared):
            for init, chain in enumerate(chains):
                other = (init + 1) % self.replicates
                yield from self.cell("own", init, level, init, chain[level], chain[level].its_mask())
                yield from self.cell("transplant", init, level, other, chain[level], chains[other][level].its_mask())
                yield from self.remnants(init, level, chains)
                yield Row("rounds", init, level, chain[level])
                yield Row("one_shot", init, level, self._at_once(chain[level], level, chain[0]))

    def _at_once(self, ticket: Run, level: int, dense: Run) -> Run:
        return ticket.but(mask=at_once(self.pruning, dense, level))

    def measure(self, row: Row, results: Results) -> Values:
        """The values of a run; of masks, how much nearer the first units' inputs are than in random masks, and in those of equal degree."""
        found = trained(row.run, results)
        if row.arm not in ("rounds", "one_shot"):
            return found
        mask = self._first(results[row.run].weights("mask"))
        places, stream = _places(next(iter(mask.values())).shape[0]), f"local/{row.level}"
        own, plain, of_degrees = (
            connectivity.spread(next(iter(one.values())), places)
            for one in (mask, shuffle(mask, row.run.seed, stream), same_degrees(mask, row.run.seed, stream))
        )
        return {**found, "local": 1 - own / plain, "local_degrees": 1 - own / of_degrees}

    def _first(self, mask: Any) -> dict[str, np.ndarray]:
        path = next(iter(mask))
        return {path: mask[path]}

    def details(self, results: Results) -> Details:
        """Pictures of the inputs that the most connected units keep, of the first initialisation."""
        level = max(self.within(self.compared))
        chain = self.chain(0)
        rounds = self._first(results[chain[level]].weights("mask"))
        once = self._first(results[self._at_once(chain[level], level, chain[0])].weights("mask"))
        random = same_degrees(rounds, chain[level].seed, f"local/{level}")
        density, of_arm = results[chain[level]].summary["density"], {"rounds": rounds, "one_shot": once, "of the same degrees": random}
        tiles = {arm: _tiled(next(iter(mask.values()))) for arm, mask in of_arm.items()}
        return {"units": [picture(one, arm=arm, level=level, density=density) for arm, one in tiles.items()]}

    def figures(self) -> Sequence[Figure]:
        many = f"Each frame is one of the {SHOWN[0] * SHOWN[1]} units with the most connections; black inputs are kept."
        kept = Panel("value", "kept")
        strict = Panel("local_degrees", "the same, against masks of the same degrees (%)", 100)
        return [
            Figure("units", "Inputs of first units", (kept,), "image", detail="units", x_label=" ", y_label=" ", caption=many),
            Figure("local", "How near the inputs of a unit lie", (LOCAL, strict), arms=("rounds", "one_shot")),
            Figure("degrees", "What of a mask helps another", (ACC_FINAL, COLLAPSED), arms=("own", "transplant", "degrees", "random")),
        ]

    @claim(
        "TRANS-C6",
        "IDEAS I9",
        "Of what a mask is worth to another initialisation, above a random mask of its layer densities, its degrees alone are worth half "
        "or more.",
        note=f"{NOTE} It is judged at a tenth of the weights and less, by what the degrees gain less half of what the mask gains, in pp.",
    )
    def degrees_are_half(self, table: Evidence) -> Iterable[Effect]:
        at = self.few(table)
        mask, degrees, random = (table.of(ACC_FINAL, arm, at) for arm in ("transplant", "degrees", "random"))
        lacks = table.lacking(("transplant", "degrees", "random"), ACC_FINAL, at)
        yield table.above("transplant", "random", ACC_FINAL, at)
        more = degrees - random - SHARE * (mask - random)
        yield table.effect(f"gain by degrees above half of that by the mask{table.said(at)}", "pp", more, lacks=lacks)

    @claim(
        "TRANS-C8",
        "IDEAS I9; Pellegrini & Biroli 2022",
        "The inputs that a unit of an iteratively pruned network keeps lie nearer to one another than by chance, and nearer than in one "
        "pruned at once.",
        about=about("fully connected networks (mlp)", "mlp"),
        note="It is judged by the mean distance in pixels, at a tenth of the weights and less. That has to be smaller than in masks "
        "of the same degrees, which are random but for how many units read each pixel. Random masks are shown beside them.",
    )
    def masks_are_local(self, table: Evidence) -> Iterable[Effect]:
        at = self.few(table)
        lacks = table.lacking(("rounds", "one_shot"), "local_degrees", at)
        rounds, once = (100 * table.of("local_degrees", arm, at) for arm in ("rounds", "one_shot"))
        yield table.effect(f"nearer than in masks of the same degrees{table.said(at)}", "%", rounds, lacks=lacks)
        yield table.effect(f"nearer by rounds than at once{table.said(at)}", "%", rounds - once, lacks=lacks)
        yield aside(table.effect(f"nearer than in random masks{table.said(at)}", "%", 100 * table.of("local", "rounds", at)))


def _places(inputs: int) -> np.ndarray:
    """(inputs, 1 or 2) where each input is."""
    side = math.isqrt(inputs)
    index = np.arange(inputs)
    return np.stack([index // side, index % side], 1) if side * side == inputs else index[:, None]


def _tiled(leaf: np.ndarray) -> np.ndarray:
    """The kept inputs of the most connected units side by side, with grey frames between them."""
    height = int(_places(len(leaf))[:, 0].max()) + 1 if math.isqrt(len(leaf)) ** 2 == len(leaf) else 1
    units = np.argsort(-leaf.sum(0), kind="stable")[: SHOWN[0] * SHOWN[1]]
    tiles = [np.pad(leaf[:, unit].reshape(height, -1).astype(float), ((0, 1), (0, 1)), constant_values=0.3) for unit in units]
    tiles += [np.zeros_like(tiles[0])] * (SHOWN[0] * SHOWN[1] - len(tiles))
    return np.concatenate([np.concatenate(tiles[first : first + SHOWN[1]], 1) for first in range(0, len(tiles), SHOWN[1])])
