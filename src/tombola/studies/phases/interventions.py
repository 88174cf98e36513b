"""What makes the unstable phase shorter or longer, and whether that is good for the network."""

from collections.abc import Iterable, Sequence

from tombola.evaluation.statistics import rank_correlation
from tombola.studies import Effect, Evidence, Figure, Panel, Row, Values, aside, claim, study
from tombola.studies.phases.common import HALF_A_PLACE, Settings, no_onset
from tombola.studies.phases.settings import BASE
from tombola.studies.results import Column, Results

EXPECTED = {
    "warm-up of 1/3": -1,
    "width x 2": -1,
    "batch x 4": -1,
    "Adam": 1,
    "momentum": -1,
    "more decay": 1,
    "60 % label noise": 1,
    "rate x 2": 1,
}
"""Setting -> whether it is published to bring the onset forward (-1) or to put it off (1), where the task has it. Of a task that has
Adam, momentum is the change."""
UNEQUAL = 0.3
"""A rank correlation below this, either way, is none."""


@study(
    "phases.interventions",
    task="digits-noise-mlp",
    answers="What makes the unstable phase of training shorter or longer, and does a shorter one end better?",
)
class Interventions(Settings):
    """Onset of stability and accuracy, by setting."""

    columns = ("onset", "after", "log2_onset", "barrier", "acc_final", "train_acc_final")
    arms = {"onset": "onset of stability"}

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """A row for each setting and replicate; none for the pairs that were tried."""
        if row.arm == "tried":
            return []
        dense = results[self.dense(row.variant, row.replicate)]
        accuracies = {"acc_final": dense.shown("test"), "train_acc_final": dense.shown("train")}
        return {**self.onset_of(row.variant, row.replicate, results), **accuracies}

    def figures(self) -> Sequence[Figure]:
        first, last = Panel("onset", "first stable step k (iteration)"), Panel("after", "last unstable step k (iteration)")
        accuracy = Panel("acc_final", "test accuracy at the end (%)", 100)
        note = f"The steps that were tried lie a factor of sqrt(2) apart. {self.evaluated}"
        return (
            Figure("onset", "Between which steps networks become stable, by setting", (last, first), caption=note),
            Figure(
                "accuracy", "Accuracy against the onset of stability", (accuracy,), "scatter", across=first, caption=note, compared=True
            ),
        )

    def _log2(self, table: Evidence, name: str) -> tuple[Column, str]:
        """log2 of the onset of a setting by replicate, and why it cannot be judged."""
        own = table.only(variant=name).table.set_index("replicate")
        lacks = no_onset(own.onset) if len(own) and name == BASE else ""
        return own.log2_onset, lacks if len(own) else f"setting {name!r} was not run, or is the task itself"

    @claim(
        "PHASE-C3",
        "Altintas et al. 2025; Frankle et al. 2020",
        "Warm-up, width and large batches bring the onset of stability forward; Adam, weight decay, label noise and high rates put it off.",
        note="Each is one change of the task, in the same number of iterations. A move of less than half a place of the steps k "
        "counts as none. What is stable at no step counts as half an octave after the last one.",
    )
    def moved(self, table: Evidence) -> Iterable[Effect]:
        base, lacks = self._log2(table, BASE)
        optimizer = "momentum" if self.task.recipe.optimizer.startswith("adam") else "Adam"
        for name, sign in EXPECTED.items():
            if name in ("Adam", "momentum") and name != optimizer:
                continue
            values, missing = self._log2(table, name)
            moved = [] if missing or lacks else sign * (values - base)
            said = f"{name}: onset {'later' if sign > 0 else 'earlier'}"
            yield table.effect(said, "log2 ratio", moved, least=HALF_A_PLACE, lacks=missing or lacks)

    @claim(
        "PHASE-C7",
        "ours",
        "A longer unstable phase is neither better nor worse in itself: over settings of the same length, accuracy does not follow it.",
        note=f"It is judged by rank correlations over settings, one for each replicate. None means below {UNEQUAL:g} either way. The "
        "sign is shown beside it.",
    )
    def neither_better_nor_worse(self, table: Evidence) -> Iterable[Effect]:
        same = [name for name in self.tasks if self.tasks[name].recipe.steps == self.task.recipe.steps]
        own = table.table[table.table.variant.isin(same)]
        rho = [rank_correlation(of.log2_onset, of.acc_final) for _, of in own.groupby("replicate")]
        lacks = "" if len(same) >= 10 else f"{len(same)} settings of the same length; it takes 10"
        yield table.effect(f"rank correlation within {UNEQUAL:g}", "", [UNEQUAL - abs(one) for one in rho], lacks=lacks)
        yield aside(table.effect("rank correlation of onset and accuracy", "", rho))
