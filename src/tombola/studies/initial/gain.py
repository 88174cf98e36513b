"""How large weights begin, from lazy to rich: does the initialisation choose the mask, or do the data?"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from tombola.core.keys import replicate_seed
from tombola.evaluation import similarity
from tombola.evaluation.movement import largest
from tombola.procedures.imp import imp_chain
from tombola.studies import Action, Effect, Evidence, Figure, Measurement, Panel, Results, Row, Run, Task, Values, claim, study
from tombola.studies.initial.common import NOTE, TUNED, Tuned
from tombola.studies.tickets import ACC_FINAL, Each, Positive, chain_rows
from tombola.studies.transplant.common import FEW

MEASURED: tuple[str, ...] = (*TUNED, "predicted", "signs_kept", "overlap", "aligned")
LEAST = 5.0
"""Per cent of overlap, or of signs, that count as a difference."""
CHOSEN = Panel("predicted", "overlap with the largest initial weights beyond chance (%)", 100)
SIGNS = Panel("signs_kept", "kept weights that end with their initial sign (%)", 100)
NAIVE = Panel("overlap", "overlap with another initialisation's mask beyond chance (%)", 100)
ALIGNED = Panel("aligned", "the same, units matched (%)", 100)


@study(
    "initial.gain", task="digits-mlp", answers="Is a ticket's mask chosen by its initialisation or by the data, as weights begin larger?"
)
class Gain(Tuned):
    """Tickets of networks whose initial weights are all multiplied by a gain: small ones learn features, large ones hardly move.

    Of each mask: how far it is that of the largest initial weights, how many of its weights keep their sign, and how much it overlaps
    with that of another initialisation, as it is and with units matched by activations.
    """

    columns = MEASURED
    arms = {"ticket": "winning ticket", "reinit": "same mask, fresh draw"}

    gains: Annotated[Each[Positive], Field(min_length=2)] = (0.25, 0.5, 1.0, 2.0, 4.0)
    """Factors on all initial weights, from small to large."""

    @property
    def variants(self) -> Mapping[str, str]:
        return {f"{gain:g}": f"gain {gain:g}" for gain in self.gains}

    def settings(self) -> Mapping[str, tuple[Task, Action | None]]:
        return {f"{gain:g}": (self.task.but(model=self.task.model.but(gain=self.task.model.gain * gain)), None) for gain in self.gains}

    def sparse(self, replicate: int, variant: str, chain: Sequence[Run]) -> Iterable[Row]:
        yield from chain_rows("ticket", replicate, chain[:1], variant)
        others = imp_chain(chain[0].but(seed=replicate_seed(self.seed, (replicate + 1) % self.replicates)), self.levels, self.pruning)
        for level in self.within(self.compared):
            of = (chain[0].at("end"), chain[level].its_mask(), others[0].at("end"), others[level].its_mask())
            alike = Measurement(task=chain[0].task, seed=chain[0].seed, name="masks", of=of)
            yield Row("ticket", replicate, level, chain[level], variant=variant, measurement=alike)
            yield Row("reinit", replicate, level, self.fresh(chain[level], level, None), variant=variant)

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[str, ...]]:
        """The steps at both ends of tickets, between which signs turn over."""
        return {row.run: (row.run.begin, "end") for row in rows if row.arm == "ticket"}

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        found = super().measure(row, results)
        if isinstance(found, list) or row.measurement is None:
            return found
        result, alike = results[row.run], results.of(row)
        mask, begin, end = (result.weights(what) for what in ("mask", row.run.begin, "end"))
        dense = results[self._dense_of(row.run)].weights("0it")
        chosen = {path: largest(np.asarray(dense[path]), int(np.count_nonzero(leaf))) for path, leaf in mask.items()}
        same = sum(int(((begin[path] < 0) == (end[path] < 0))[leaf].sum()) for path, leaf in mask.items())
        own = {"predicted": similarity.overlap(mask, chosen), "signs_kept": same / result.summary["kept"]}
        return {**found, **own, **{name: float(alike[name]) for name in ("overlap", "aligned")}}

    def _dense_of(self, ticket: Run) -> Run:
        assert ticket.kept is not None
        found = ticket.kept.of[0].run
        assert isinstance(found, Run)
        return found

    def figures(self) -> Sequence[Figure]:
        return [
            Figure("gain", "Who chooses the mask", (CHOSEN, SIGNS), arms=("ticket",), caption=NOTE, compared=True),
            Figure("alike", "Masks of two initialisations", (NAIVE, ALIGNED), arms=("ticket",), compared=True),
            Figure("accuracy", "Tickets by gain", (ACC_FINAL,)),
            self.rates_figure(),
        ]

    @claim(
        "INIT-C2",
        "IDEAS I4",
        "The gain of the initial weights sets what a ticket is: where it is large, the mask is that of the largest initial weights and "
        "signs stay; where it is small, the data set the mask, and masks of different initialisations agree more once units are matched.",
        note=f"{NOTE} The largest gain is compared with the smallest, at a tenth of the weights and less. A difference of the "
        "overlap, or of the share of signs, counts from 5 %.",
    )
    def gain_is_the_dial(self, table: Evidence) -> Iterable[Effect]:
        small, large = (table.only(variant=f"{self.gains[place]:g}") for place in (0, -1))
        at = small.levels(0, FEW)
        for panel, more, less in ((CHOSEN, large, small), (SIGNS, large, small), (ALIGNED, small, large)):
            lacks = more.lacking(("ticket",), panel.metric, at)
            which = "large above small gain" if more is large else "small above large gain"
            found = more.of(panel, "ticket", at) - less.of(panel, "ticket", at)
            yield table.effect(f"{panel.quantity}: {which}", "%", found, least=LEAST, lacks=lacks)
