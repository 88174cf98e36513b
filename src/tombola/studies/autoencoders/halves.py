"""Which half of an autoencoder can be pruned: the encoder, the decoder, or both."""

import math
from collections.abc import Iterable, Mapping, Sequence

from tombola.evaluation.paired import interpolated
from tombola.studies import Effect, Evidence, Figure, Frame, Levels, Row, Run, Share, Task, claim, study, tickets
from tombola.studies.autoencoders.common import KINDS, LOST, PROBE, Coded, kinds, little


@study("autoencoders.halves", task="digits-ae", answers="Which half of an autoencoder can be pruned: encoder, decoder, or both?")
class Halves(Coded):
    """Iterative pruning of one half, which leaves half of all weights at the most; and of both at half the rate, down to as few in all."""

    arms = {"both": "both halves", "encoder": "encoder alone", "decoder": "decoder alone"}
    scales = {"smoke": {"replicates": 2, "levels": 1, "probed": 200}}
    chosen = {"rates": "the study prunes by halves; set rate"}

    levels: Levels = 10
    """Rounds of pruning of one half."""
    rate: Share = 0.2
    """The share of its remaining weights that a round takes from a half. Where both halves are pruned, each loses half that share."""

    @property
    def variants(self) -> Mapping[str, str]:
        return {name: KINDS[name] for name in kinds(self.task)}

    @property
    def rounds_of_both(self) -> int:
        """Rounds after which both halves together have no more weights left than after `levels` rounds of one."""
        return math.ceil(math.log((1 + (1 - self.rate) ** self.levels) / 2) / math.log(1 - self.rate / 2))

    def rows(self) -> Iterable[Row]:
        for variant, task in kinds(self.task).items():
            for replicate in range(self.replicates):
                for arm in self.arms:
                    for level, run in enumerate(self._chain(arm, replicate, task)):
                        if level or arm == "both":
                            yield self.row(arm, replicate, level, run, variant)

    def _chain(self, arm: str, replicate: int, task: Task) -> list[Run]:
        rates = {half: self.rate / 2 if arm == "both" else self.rate * (arm == half) for half in ("encoder", "decoder")}
        return tickets(self, replicate, task, levels=self.rounds_of_both if arm == "both" else self.levels, rates=rates)

    def figures(self) -> Sequence[Figure]:
        caption = "Density is that of the whole network. A loss of 100 % is all of the way from the dense network to the mean picture."
        return [Figure("halves", "Pruning one half or both", (LOST, PROBE), caption=caption)]

    def _at(self, rows: Evidence, arm: str, low: float, high: float) -> tuple[Frame, Frame]:
        """What a half has lost at those of its levels that lie between two densities, and what both have lost at as few weights."""
        own = rows.only(arm=arm).levels(low, high)
        both = 100 * interpolated(rows.table, "lost", "both", arm)
        return rows.of(LOST, arm, own), both[[level for level in own if level in both.columns]]

    @claim(
        "AE-C2",
        "section 4, autoencoders",
        "At the same number of weights in all, an autoencoder that is pruned in both halves is better than one that is pruned in one.",
        note="It is judged at 55 to 70 % density of the whole network; what both halves lose there is interpolated, linearly in the "
        "logarithm of density. A difference counts from 1 pp, and there is something to gain only where one half alone loses "
        "more than that.",
    )
    def both_are_better(self, table: Evidence) -> Iterable[Effect]:
        rows = table.only(variant="ae")
        for arm in ("encoder", "decoder"):
            one, both = self._at(rows, arm, 0.55, 0.7)
            name = f"{self.arms[arm]} loses more than both halves"
            lacks = self.collapsed(rows) or _unreached(one) or little(self.arms[arm], one, 1.0)
            yield table.effect(name, "pp", (one - both).mean(axis=1), least=1.0, lacks=lacks)

    @claim(
        "AE-C3",
        "section 4, variational autoencoders",
        "The encoder of a variational autoencoder can be pruned at almost no cost down to half of all weights, the decoder cannot.",
        note="Almost no cost means that no more than 2 % of the way to the mean picture is lost. It is judged at 50 to 60 % density "
        "of the whole network.",
    )
    def encoders_are_free(self, table: Evidence) -> Iterable[Effect]:
        rows, margin = table.only(variant="vae"), 100 * self.margin
        (encoder, _), (decoder, _) = (self._at(rows, arm, 0.5, 0.6) for arm in ("encoder", "decoder"))
        for name, values in (
            ("encoder alone loses less than the margin", margin - encoder),
            ("decoder alone loses more", decoder - margin),
        ):
            yield table.effect(name, "pp", values.mean(axis=1), lacks=self.collapsed(rows) or _unreached(values))


def _unreached(values: Frame) -> str:
    return "" if values.shape[1] else "no level that the claim is about was run"
