"""Do comebacks matter? Pruning at a step forbids the weights that would come back."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from tombola.evaluation.journeys import follow, magnitudes
from tombola.studies import Effect, Evidence, Figure, Frame, Panel, Results, Row, Run, Step, Values, aside, claim, dense_run, hardest, study
from tombola.studies.moving.common import AtDensities, once
from tombola.studies.tickets import ACC_FINAL, Each, Share

COMEBACKS = Panel("comebacks", "weights of the final mask that pruning forbids (%)", 100)
LOST = Panel("lost", "test accuracy lost to the latest pruning (pp)", 100)
LEAST = 0.3
"""The least correlation that counts: a tenth of the variance."""


@study("moving.comebacks", task="digits-mlp", answers="Weights that are small now and large in the end: what does it cost to prune them?")
class Comebacks(AtDensities):
    """Networks that are pruned once, after a share of training, and trained on to its end; and what the dense network's final mask has
    of the weights that they lost.

    *Comebacks* at a step: the share of the weights that the dense network's largest at the end are, and its largest at the step are not.
    *Lost*: accuracy at the end, below that of the network that was pruned latest.
    """

    scales = {"smoke": {"replicates": 2, "densities": (0.1,), "shots": (0.1, 0.5)}}
    columns = (*AtDensities.columns, "share", "comebacks", "lost")

    shots: Annotated[Each[Share], Field(min_length=2)] = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65)
    """The moments at which the network is pruned, as shares of training."""

    @property
    def arms(self) -> Mapping[str, str]:
        return {f"once_{100 * share:g}": f"pruned after {share:.0%} of training" for share in self.shots}

    def rows(self) -> Iterable[Row]:
        """A network for each density and step; the dense one stands with the first."""
        for replicate in range(self.replicates):
            for place, arm in enumerate(self.arms):
                if place == 0:
                    yield Row(arm, replicate, 0, dense_run(self, replicate))
                for level in range(1, len(self.densities) + 1):
                    yield Row(arm, replicate, level, self.pruned_once(replicate, level, arm))

    def pruned_once(self, replicate: int, level: int, arm: str) -> Run:
        """The network that is pruned after an arm's share of training."""
        task = once(self.task, self.densities[level - 1], self._share(arm), self.scope)
        return dense_run(self, replicate).but(task=task)

    def _share(self, arm: str) -> float:
        return dict(zip(self.arms, self.shots, strict=True))[arm]

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[Step, ...]]:
        steps = (*(self.task.recipe.steps.times(share) for share in self.shots), Step("end"))
        return {dense_run(self, replicate): steps for replicate in range(self.replicates)}

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        values = super().measure(row, results)
        assert isinstance(values, dict)
        if row.level == 0:
            return {**values, "share": 0.0, "comebacks": 0.0, "lost": 0.0}
        dense, density = results[dense_run(self, row.replicate)], self.densities[row.level - 1]
        paths = results.network_info(self.task).prunable
        ends, now = (dense.weights(str(step)) for step in ("end", self.task.recipe.steps.times(self._share(row.arm))))
        spread: float | dict[str, float] = density if self.scope == "global" else dict.fromkeys(paths, density)
        final = magnitudes({path: ends[path] for path in paths}, spread)
        found = follow([(0, dict(now))], final, spread)
        counts = {path: int(leaf.sum()) for path, leaf in final.items()}
        back = sum(found.comebacks[path][0] * count for path, count in counts.items() if count) / sum(counts.values())
        latest = self.pruned_once(row.replicate, row.level, list(self.arms)[int(np.argmax(self.shots))])
        lost = results[latest].shown("test") - results[row.run].shown("test")
        return {**values, "share": self._share(row.arm), "comebacks": back, "lost": lost}

    def figures(self) -> Sequence[Figure]:
        sparse = tuple(range(1, len(self.densities) + 1))
        caption = "Each network is pruned once, by magnitude, and trained to the end."
        title, said = "What pruning forbids, and what it costs", f"{caption} Each moment of pruning has a marker of its own."
        return [
            Figure("comebacks", title, (LOST,), kind="scatter", across=COMEBACKS, levels=sparse, caption=said, compared="levels"),
            Figure("accuracy", "Pruning once", (ACC_FINAL, COMEBACKS), caption=caption),
        ]

    @claim(
        "MOV-C5",
        "proposed here",
        "Pruning at a step costs accuracy in proportion to the comebacks that it forbids, beyond what density explains.",
        note="Spearman's correlation over steps at one density, of 20 % and less, judged at the density where it is hardest. Until the "
        "first table had been seen it was averaged over these densities, which hid that they differ. It does not tell comebacks from "
        "what else is early about a step; over replicates, at one step, it would.",
    )
    def comebacks_cost(self, table: Evidence) -> Iterable[Effect]:
        small = table.levels(0, 0.2001)
        rows = table.table[table.table.level.isin(small) & (table.table.share < max(self.shots))]
        lacks, name = table.lacking([*self.arms], ACC_FINAL, small), "correlation of comebacks with accuracy lost, over steps"
        each = {level: _correlations(rows[rows.level == level], "replicate") for level in small} or {0: []}
        yield from hardest(table.effect(name + table.said([level]), "", values, least=LEAST, lacks=lacks) for level, values in each.items())
        steps = _correlations(rows, "share")
        yield aside(
            table.effect("the same over replicates, at each step", "", steps, least=LEAST),
            "of each step one number: steps, not replicates, are what is counted",
        )


def _correlations(rows: Frame, of: str) -> list[float]:
    """Spearman's correlation of what is forbidden with what is lost, for each value of a column: the mean over levels."""
    found = []
    for _, own in rows.groupby(of):
        each = [one[["comebacks", "lost"]].corr("spearman").iloc[0, 1] for _, one in own.groupby("level") if len(one) > 2]
        found.append(float(np.nanmean(each)) if np.isfinite(each).any() else float("nan"))
    return found
