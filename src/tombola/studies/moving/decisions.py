"""What comes first: that the final mask is decided, or that SGD noise no longer matters?"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tombola.evaluation.journeys import follow, magnitudes
from tombola.studies import Effect, Evidence, Figure, Panel, Results, Row, Run, Share, Step, Values, claim, dense_run, study
from tombola.studies.frankle2020.onset import Onset

ONSET = Panel("onset", "first stable step k (iteration)", log=True)
DECIDED = Panel("decided", "step at which half of the final mask is decided (iteration)", log=True)


@study(
    "moving.decisions", task="digits-noise-mlp", answers="Is the final mask decided before the network is stable to SGD noise, or after?"
)
class Decisions(Onset):
    """The onset of stability as `frankle2020.onset` finds it, and the decision step of the dense network's largest weights.

    A weight is decided at the first of the steps k from which on it stays among the largest. Half of the final mask is decided at the
    median over its weights.
    """

    paper = ""
    columns = (*Onset.columns, "decided", "ahead")  # type: ignore[assignment]  # mypy takes a tuple's length for its type

    of_density: Share = 0.2
    """The density of the final mask, over all layers together."""

    def keep(self, rows: Sequence[Row]) -> Mapping[Run, tuple[str, ...]]:
        return {dense_run(self, replicate): (*self.steps, "end") for replicate in range(self.replicates)}

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        values = super().measure(row, results)
        if isinstance(values, list):
            return values
        dense, info = results[dense_run(self, row.replicate)], results.network_info(self.task)
        final = magnitudes({path: dense.weights("end")[path] for path in info.prunable}, self.of_density)
        steps = sorted({Step(step).iterations(info.steps_per_epoch, dense.end): str(step) for step in (*self.steps, "end")}.items())
        found = follow(((at, dict(dense.weights(step))) for at, step in steps), final, self.of_density)
        decided = float(np.median(np.concatenate([found.decided[path][kept] for path, kept in final.items()])))
        onset = min(float(values["onset"]), dense.end)
        return {**values, "decided": decided, "ahead": float(np.log2(max(1.0, onset) / max(1.0, decided)))}

    def figures(self) -> Sequence[Figure]:
        caption = (
            f"Each replicate has its own steps, out of {len(self.steps)}; the final mask has {100 * self.of_density:g} % of the weights."
        )
        return [
            *super().figures(),
            Figure("decisions", "Decision and stability", (ONSET,), kind="scatter", across=DECIDED, caption=caption),
        ]

    @claim(
        "MOV-C6",
        "proposed here",
        "Half of the final mask is decided before the network becomes stable to SGD noise.",
        note="Before means by half an octave or more, which is the spacing of the steps. An onset that is never reached counts as "
        "the end, which makes the effect smaller. The opposite would be as much of a finding.",
    )
    def before(self, table: Evidence) -> Iterable[Effect]:
        rows = table.table
        lacks = "no replicate has an unstable phase" if len(rows) and (rows.onset == 0).all() else ""
        yield table.effect("decided before stable", "octaves", rows.ahead.tolist(), least=0.5, lacks=lacks)
