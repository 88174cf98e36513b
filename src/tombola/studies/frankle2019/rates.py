"""Pruning rates: how much a round may take (appendix)."""

import math
from collections.abc import Iterable, Mapping, Sequence

from tombola.studies import ACC_ES, ACC_FINAL, ES, Effect, Evidence, Figure, Row, Several, Share, aside, claim, study, tickets
from tombola.studies.frankle2019.common import Pruned, at_points_of


@study("frankle2019.rates", task="mnist1d-mlp", answers="How much may one round of pruning take?")
class PruningRates(Pruned):
    """A chain of tickets for each pruning rate. Levels are the steps of all ladders together, from dense to sparse."""

    scales = {
        "smoke": {"replicates": 2, "levels": 2, "fractions": (0.2, 0.6)},
        "small": {"levels": 60},
        "paper": {"levels": 60, "smallest": 0.012},
    }

    fractions: Several[Share] = (0.1, 0.2, 0.4, 0.6, 0.8)
    """The shares of the remaining weights that a round takes from the layers whose rate is highest in the task; other layers follow in
    proportion."""
    smallest: Share = 0.03
    """The nominal density at which rounds end, unless `levels` rounds are done before."""

    @property
    def arms(self) -> Mapping[str, str]:
        return {str(fraction): f"{fraction:.0%} a round" for fraction in self.fractions}

    def rows(self) -> Iterable[Row]:
        """The rows, ladder by ladder."""
        ladders = {fraction: self._ladder(fraction) for fraction in self.fractions}
        places = {density: place for place, density in enumerate(sorted({d for ladder in ladders.values() for d in ladder}, reverse=True))}
        highest = max(self.rates.values()) or 1.0
        for replicate in range(self.replicates):
            for fraction, ladder in ladders.items():
                taken = {kind: fraction * rate / highest for kind, rate in self.rates.items()}
                chain = tickets(self, replicate, levels=len(ladder) - 1, rates=taken)
                yield from (Row(str(fraction), replicate, places[density], run) for density, run in zip(ladder, chain, strict=True))

    def _ladder(self, fraction: float) -> list[float]:
        """The nominal densities, dense first."""
        rounds = min(self.levels, math.ceil(math.log(self.smallest) / math.log(1 - fraction)))
        return [round((1 - fraction) ** level, 6) for level in range(rounds + 1)]

    def figures(self) -> Sequence[Figure]:
        caption = "Each arm names the share of the remaining weights that a round takes; the output layer loses its share in proportion."
        return [Figure("rates", "Pruning rates", (ES, ACC_ES, ACC_FINAL), caption=caption)]

    @claim(
        "LTH-C15",
        "appendix",
        "Rates of 10 and of 20 % a round give tickets that stay accurate at smaller sizes than rates of 40 % or more.",
        note="It is judged by accuracy at equal density, at the densities of the faster ladder of 25 % or less.",
    )
    def small_rounds_reach_smaller_sizes(self, table: Evidence) -> Iterable[Effect]:
        fast = [str(fraction) for fraction in self.fractions if fraction >= 0.4] or ["0.4"]
        for slower, faster in [*((slow, one) for slow in ("0.1", "0.2") for one in fast), ("0.1", "0.2")]:
            both = at_points_of(table, slower, faster)
            found = both.above(slower, faster, ACC_ES, both.levels(0, 0.25))
            if faster in fast:
                yield found
            elif {slower, faster} <= set(self.arms):
                yield aside(found, "not claimed")
