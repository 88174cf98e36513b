"""Are later copies stable because of where they begin, or because less training is left? (section 4, appendix)"""

from collections.abc import Iterable, Sequence

from tombola.studies import Effect, Evidence, Figure, Results, Row, Values, claim, study
from tombola.studies.frankle2020.common import ACCURACY, OF_INITIAL, Instability, from_step
from tombola.studies.frankle2020.trends import worst


@study(
    "frankle2020.remaining_time",
    task="digits-noise-mlp",
    answers="Are copies made later stable because of their weights, or because less training is left?",
)
class RemainingTime(Instability):
    """Instability of children of W_k that train for T - k iterations, and of others that train for T, their schedule begun anew."""

    arms = {"remaining": "from k to the end", "whole": "a whole training from W_k"}

    def rows(self) -> Iterable[Row]:
        for replicate, level, k, dense in self.starts():
            on = from_step(dense, k)
            yield from self.pair_rows("remaining", replicate, level, on, dense)
            yield from self.pair_rows("whole", replicate, level, on.but(begin="0it"), dense)

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """The columns of a pair; the step is that of W_k, also where training begins anew from it."""
        values = self.of_pair(row, results)
        if row.arm == "remaining":
            return values
        assert row.run.kept is not None
        goes_on = results[row.run.but(begin=row.run.kept.of[0].what)]
        return {**values, "step": goes_on.begin, "share": goes_on.begin / goes_on.end}

    def figures(self) -> Sequence[Figure]:
        title = "Instability when training goes on to its end, or begins anew, from W_k"
        return (self.against_k("remaining_time", title, self.barrier, OF_INITIAL, ACCURACY),)

    @claim(
        "LMC-C4",
        "appendix",
        "It is the weights at k, not the time that is left: children that train for the whole length from W_k are as stable.",
        note="The step k is the one from which the remaining training is stable by the mean over replicates, so that it is chosen by "
        "the same data. At k = 0 both are one run.",
    )
    def weights_not_time(self, table: Evidence) -> Iterable[Effect]:
        lacks, levels = self.onset(table, "remaining")
        yield self.is_stable(table, "whole", levels, lacks=lacks)
        whole, remaining = table.pair("whole", "remaining", self.barrier, table.of(self.barrier, "whole").columns[1:])
        values = worst(100 * self.stable - (whole - remaining))
        name = f"whole training less than {100 * self.stable:g} pp less stable than the remaining one, at the worst k > 0"
        yield table.effect(name + table.said(values.columns), "pp", values, lacks=self.never_unstable(table, "remaining"))
