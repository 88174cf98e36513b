"""Whether masks that were found in different ways on one initialisation are the same masks."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Annotated

import numpy as np
from pydantic import Field

from tombola.core import masks
from tombola.evaluation.statistics import rank_correlation
from tombola.studies import Each, Effect, Evidence, Figure, Panel, Results, Row, Run, Values, aside, claim, study
from tombola.studies.search.common import ARMS, GRADIENTS, Gradient, Searched, Searcher

PHI = Panel("phi", "agreement of masks beyond chance (phi)")
INPUTS = Panel("inputs", "rank correlation of weights kept by input")
NO_MORE, AGREE = 0.05, 0.1
"""Agreement that counts as chance; and rank correlation from which on masks agree in their inputs."""


@study("search.overlap", task="digits-20-mlp", answers="Do different ways to search find the same mask?")
class Overlap(Searched):
    """Pairs of masks that were found on one initialisation: weights that both keep, and how many weights they keep of each input."""

    scales = {"smoke": {**Searched.settings_of("smoke"), "searchers": ("genetic", "pbil", "bernoulli")}}

    searchers: Annotated[Each[Searcher | Gradient], Field(min_length=2)] = ("genetic", "pbil", "snes", "bernoulli", "edge_popup")
    """The ways of searching whose masks are compared."""

    @property
    def columns(self) -> tuple[str, ...]:
        return ("phi", "inputs")

    @property
    def arms(self) -> Mapping[str, str]:
        return {self.name_of(*pair): " with ".join(ARMS[one] for one in pair) for pair in combinations(self.searchers, 2)}

    def name_of(self, one: str, other: str) -> str:
        """The arm of a pair."""
        return f"{one}-{other}"

    def rows(self) -> Iterable[Row]:
        return (self.row(arm, replicate) for arm in self.searchers for replicate in range(self.replicates))

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[str, ...]]:
        return {row.run: ("end",) for row in rows if row.arm in GRADIENTS}

    def measure(self, row: Row, results: Results) -> list[Values]:
        """A row for each pair that this arm is the first of."""
        own, found = self._mask(row, results), []
        for arm in self.searchers[self.searchers.index(row.arm) + 1 :]:
            other = self._mask(self.row(arm, row.replicate), results)
            first = next(iter(own))
            agree = [phi(own[path], other[path]) for path in own]
            counts = (mask[first].sum(axis=tuple(range(1, mask[first].ndim))) for mask in (own, other))
            found.append({"arm": self.name_of(row.arm, arm), "phi": float(np.mean(agree)), "inputs": rank_correlation(*counts)})
        return found

    def _mask(self, row: Row, results: Results) -> masks.Mask:
        if row.arm in GRADIENTS:
            from tombola.models.supermask import chosen, nonzero

            spec = row.run.task.recipe.supermask
            assert spec is not None
            return nonzero(chosen(spec, dict(results[row.run].weights("end"))))
        found, shapes = results.of(row), results.network_info(row.run.task).shapes
        packed = {name.removeprefix("mask/"): bits for name, bits in found.items() if name.startswith("mask/")}
        return masks.unpack(packed, {path: shapes[path] for path in shapes if path in packed})

    def figures(self) -> Sequence[Figure]:
        said = (
            "Phi is the correlation of the bits of two masks, averaged over layers; random masks have 0 on average. "
            "The other axis compares how many weights of the first layer each mask keeps of every input."
        )
        return (Figure("overlap", "Do searches find the same mask?", (INPUTS,), "scatter", across=PHI, caption=said),)

    @claim(
        "SEARCH-C8",
        "I8",
        "Evolved and learnt masks on one initialisation overlap no more than chance, yet agree in which inputs they use.",
        note="It is judged by the masks of the genetic algorithm and Bernoulli masks. Overlap is no more than chance if phi is below "
        f"{NO_MORE:g}. They agree in the inputs if the rank correlation of the numbers of weights that they keep of each input "
        f"is above {AGREE:g}.",
    )
    def same_inputs(self, table: Evidence) -> Iterable[Effect]:
        arm = self.name_of("genetic", "bernoulli")
        phis, inputs = table.of(PHI, arm), table.of(INPUTS, arm)
        yield table.effect(f"phi below {NO_MORE:g}", "", NO_MORE - phis, lacks=table.lacking([arm], PHI, [0]))
        yield table.effect("weights kept by input agree", "rho", inputs, least=AGREE, lacks=table.lacking([arm], INPUTS, [0]))
        yield aside(table.effect("of PBIL's and Bernoulli masks: phi", "", table.of(PHI, self.name_of("pbil", "bernoulli"))))


def phi(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two layers' bits; NaN where one keeps all or nothing.

    >>> phi(np.array([True, False, True, False]), np.array([True, False, False, False])).__round__(3)
    0.577
    """
    a, b = one.reshape(-1).astype(float), other.reshape(-1).astype(float)
    spread = a.std() * b.std()
    return float(((a - a.mean()) * (b - b.mean())).mean() / spread) if spread else float("nan")
