"""Which dense networks collapse at a high learning rate: does the spike of the loss early in training tell?"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Annotated

import numpy as np
from pydantic import Field

from tombola.evaluation.statistics import jackknife
from tombola.studies import Effect, Evidence, Figure, Frame, Panel, Results, Row, Run, Step, Study, Values, aside, claim, study
from tombola.studies.tickets import ACC_FINAL, Each, Positive, Share
from tombola.studies.transplant.common import COLLAPSED, TRAINED, initialised, trained

SPIKE = Panel("spike", "largest early loss / first loss", log=True)
AUC = 0.9
"""Share of pairs, of a run that collapses and one that does not, in which the first has the larger spike."""


@study("transplant.collapse", task="mnist1d-mlp", answers="Does the spike of the loss early in training tell which networks collapse?")
class Collapse(Study):
    """Dense networks by momentum at high learning rates, without warm-up and with it: the spike of the loss, and whether they collapse.

    The spike is the largest validation loss in the first part of training over that at iteration 0. Nothing is pruned.
    """

    scales = {"smoke": {"replicates": 2, "rates_tried": (0.1, 1.0)}, "small": {"replicates": 12}, "paper": {"replicates": 20}}
    columns = (*TRAINED, "spike", "rate")
    arms = {"none": "no warm-up", "warm": "warm-up"}

    rates_tried: Annotated[Each[Positive], Field(min_length=2)] = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
    """The learning rates that are tried."""
    rise: Share = 0.1
    """Length of the linear warm-up, as a share of training."""
    early: Share = 0.1
    """The first share of training, in which the spike of the loss is looked for."""
    watched: Share = 0.01
    """The distance between evaluations, as a share of training."""

    @property
    def variants(self) -> Mapping[str, str]:
        return {f"{rate:g}": f"rate {rate:g}" for rate in self.rates_tried}

    def rows(self) -> Iterable[Row]:
        for rate in self.rates_tried:
            for arm, length in (("none", Step("0it")), ("warm", self.task.recipe.steps.times(self.rise))):
                yield from (Row(arm, index, 0, self._run(index, rate, length), variant=f"{rate:g}") for index in range(self.replicates))

    def _run(self, index: int, rate: float, warmup: Step) -> Run:
        every = self.task.recipe.steps.times(self.watched)
        recipe = self.task.recipe.but(optimizer="momentum", learning_rate=rate, warmup=warmup, evaluate_every=every, test_every=None)
        return initialised(self, index, task=self.task.but(recipe=recipe))

    def measure(self, row: Row, results: Results) -> Values:
        result = results[row.run]
        steps, losses = np.asarray(result.metrics["step"]), np.asarray(result.metrics["val_loss"], float)
        some = np.where(np.isfinite(losses), losses, np.inf)[steps <= self.early * result.end]
        return {**trained(row.run, results), "spike": float(some.max() / some[0]), "rate": float(row.variant)}

    def figures(self) -> Sequence[Figure]:
        return [Figure("collapse", "Spikes of the loss and collapsed networks", (COLLAPSED, SPIKE, ACC_FINAL))]

    @claim(
        "WARM-C5",
        "IDEAS F4",
        "The spike of the loss early in training tells which networks will collapse; with warm-up fewer do.",
        note="Two initialisations at one rate without warm-up make a pair if one network collapses and the other does not. The share "
        "of pairs in which the first has the larger spike has to be above 90 %, over all rates; its interval is a jackknife's "
        "over initialisations.",
    )
    def spikes_tell(self, table: Evidence) -> Iterable[Effect]:
        rows = table.table
        plain = rows[rows.arm == "none"]
        found = jackknife(lambda some: auc(plain[plain.replicate.isin(some)]), sorted(plain.replicate.unique()))
        yield table.effect("pairs in which the one that collapses has the larger spike", "", found, least=AUC)
        shares = {arm: rows[rows.arm == arm].groupby("replicate").collapsed.mean() for arm in ("none", "warm")}
        yield table.effect("collapsed runs fewer with warm-up", "pp", 100 * (shares["none"] - shares["warm"]))
        spikes = rows[rows.arm == "none"].groupby("replicate").spike.max()
        yield aside(table.effect("largest spike, log2", "", np.log2(spikes.replace(np.inf, np.nan))))


def auc(rows: Frame) -> float:
    """Share of pairs of runs at one rate, one collapsed and one not, in which the first has the larger spike; a tie is half."""
    won = [
        (first > second) + 0.5 * (first == second)
        for _, of in rows.groupby("rate")
        for first, second in product(of.spike[of.collapsed == 1], of.spike[of.collapsed == 0])
    ]
    return float(np.mean(won)) if won else float("nan")
