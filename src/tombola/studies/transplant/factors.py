"""Mask, signs and magnitudes, each of one of two networks: which of the three have to belong together."""

from collections.abc import Iterable

from tombola.studies import ACC_FINAL, Action, Effect, Evidence, Row, Run, aside, claim, study
from tombola.studies.transplant.common import NOTE, Transplants, dense_rows, masked

OWN = {"both": (True, True), "signs": (True, False), "magnitudes": (False, True), "neither": (False, False)}
"""Arm to whether signs and magnitudes are those that belong to the mask."""


@study("transplant.factors", task="digits-mlp", answers="Which must belong to a mask: the signs of its weights, or their magnitudes?")
class Factors(Transplants):
    """The mask of a network over signs and magnitudes of its own initial weights, and of another's.

    Each network lends to the one before it in a ring, so that over all replicates mask, signs and magnitudes are of either of two
    networks in all 2^3 ways. Every run has SGD noise of its own.
    """

    arms = {
        "both": "own signs and magnitudes",
        "signs": "own signs, another's magnitudes",
        "magnitudes": "another's signs, own magnitudes",
        "neither": "another's signs and magnitudes",
    }

    def rows(self) -> Iterable[Row]:
        chains = [self.chain(index) for index in range(self.replicates)]
        yield from dense_rows("both", self)
        for level in self.within(self.compared):
            for index, chain in enumerate(chains):
                other = chains[(index + 1) % len(chains)]
                for arm in OWN:
                    start = chain[level].but(kept=self._start(arm, chain[0], other[0]))
                    run = masked(start, chain[level].its_mask(), f"{arm}/{level}/{index}")
                    yield Row(arm, index, level, run)

    def _start(self, arm: str, own: Run, other: Run) -> Action:
        signs, magnitudes = ((own if belongs else other).at(self.pruning.rewind) for belongs in OWN[arm])
        return Action(name="signs_of", of=(signs, magnitudes))

    @claim(
        "TRANS-C5",
        "IDEAS I9",
        "A ticket is its mask and its signs: with another network's magnitudes it is as good, with another's signs it is not.",
        note=f"{NOTE} It is judged at a tenth of the weights and less. As good means less than the margin below; not as good means "
        "more than the margin below the first.",
    )
    def signs_belong_to_masks(self, table: Evidence) -> Iterable[Effect]:
        at = self.few(table)
        yield table.within("signs", "both", ACC_FINAL, at)
        yield table.above("signs", "magnitudes", ACC_FINAL, at, least=table.margin)
        yield aside(table.above("both", "neither", ACC_FINAL, at))
        yield aside(table.above("magnitudes", "neither", ACC_FINAL, at))
