"""How strongly does instability predict the accuracy gap, and which of stability and matching comes first? (open question)"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from tombola.evaluation.statistics import rank_correlation
from tombola.studies import Effect, Evidence, Figure, Frame, Row, aside, claim, study
from tombola.studies.frankle2020.grid import LATEST, PLACES, Grid

OURS = "a question that the paper leaves open, not one of its claims"


@study(
    "frankle2020.link",
    task="digits-noise-mlp",
    answers="How strongly does instability predict the gap in accuracy, and does stability come before matching?",
)
class Link(Grid):
    """Rank correlation of instability and accuracy gap within arms and over all, and the steps k at which each is settled."""

    paper = ""
    arms = {arm: label for arm, label in Grid.arms.items() if arm != "dense"}

    def rows(self) -> Iterable[Row]:
        """The rows of the grid but for the dense network's."""
        for place, rows in self.places.items():
            if place.arm != "dense":
                yield from (replace(row, variant=str(place.round)) for row in rows)

    def figures(self) -> Sequence[Figure]:
        caption = f"All densities and steps k are pooled. {self.evaluated}"
        return (
            Figure("link", "Accuracy against instability", (self.gap,), kind="scatter", across=self.barrier, caption=caption),
            self.against_k("by_step", "Instability and accuracy by step k", self.barrier, self.gap),
        )

    @claim(
        "LMC-O1",
        OURS,
        "The less stable a sparse network, the less accurate.",
        note=f"It is judged by the rank correlation of instability with the gap in accuracy, for k up to {100 * LATEST:g} % of "
        "training. The threshold of 0.5 is ours.",
    )
    def less_stable_less_accurate(self, table: Evidence) -> Iterable[Effect]:
        rows = table.table[table.table.share <= LATEST]
        mean = rows.groupby(["replicate", "arm", "variant", "level"], as_index=False)[["instability", "gap"]].mean()
        yield table.effect("over all sparse networks", "-rho", _correlation(mean), least=0.5)
        by_density = [_correlation(rows) for _, rows in mean.groupby("variant")]
        at_equal = [sum(of) / len(of) for of in zip(*by_density, strict=True)]
        yield aside(table.effect("at equal density, mean of the densities", "-rho", at_equal))
        for arm in self.arms:
            yield aside(table.effect(f"within: {table.called(arm)}", "-rho", _correlation(mean[mean.arm == arm])))

    @claim(
        "LMC-O2",
        OURS,
        "Going up in k, tickets are stable before they match.",
        note="It is judged by tickets that are unstable at k = 0 and become both, as the mean over densities. A place is the way "
        "from one k to the next.",
    )
    def stable_before_matching(self, table: Evidence) -> Iterable[Effect]:
        import pandas as pd

        by_density = [table.only(variant=variant) for variant in self.variants]
        unstable = [self.onsets(rows, "ticket") for rows in by_density if not self.never_unstable(rows, "ticket")]
        later = pd.concat([found.matching - found.stable for found in unstable], axis=1).mean(axis=1) if unstable else []
        lacks = "" if unstable else "tickets are stable at k = 0 at all densities"
        yield table.effect("k of matching later than k of stability", PLACES, later, lacks=lacks)


def _correlation(rows: Frame) -> list[float]:
    """-Spearman's rho of instability and gap, by replicate."""
    return [-rank_correlation(group.instability, group.gap) for _, group in rows.groupby("replicate")]
