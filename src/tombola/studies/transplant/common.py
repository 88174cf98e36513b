"""What the studies of transplants share: initialisations of one split, what is trained of them, collapsed runs, intervals over tables."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

from pydantic import Field

from tombola.core.keys import replicate_seed
from tombola.procedures.imp import imp_chain
from tombola.procedures.run import Action, Run, RunRef
from tombola.studies import Evidence, Figure, Frame, Level, Panel, Results, Row, Step, Study, Task, TicketStudy, Values
from tombola.studies.testbeds import near_chance
from tombola.studies.tickets import ACC_FINAL as ACC_FINAL

COLLAPSED = Panel("collapsed", "runs that collapsed (%)", 100)
TRAINED: tuple[str, ...] = ("kept", "prunable", "draw", "acc_es", "acc_final", "train_acc_final", "collapsed")
"""Columns of a run that was trained."""
FEW = 0.1
"""Density up to which claims about sparse networks are judged."""
NOTE = (
    "Initialisations are the units; all of them have one split, so that no mask has seen another's test examples. Judged on accuracy at "
    "the end, so that no early stop is censored. Collapsed runs count as they are, and their share by arm is a column."
)


class Transplants(TicketStudy):
    """Tickets of several initialisations of one split, at some of their levels under other masks or over other values.

    Replicates are initialisations.
    """

    scales = {
        "smoke": {"replicates": 2, "levels": 2, "compared": (2,)},
        "small": {"replicates": 6, "levels": 14, "compared": (5, 11, 14)},
        "paper": {"replicates": 8, "levels": 16, "compared": (3, 5, 8, 11, 14, 16)},
    }
    columns = TRAINED

    compared: Annotated[tuple[Level, ...], Field(min_length=1)] = (5, 11, 14)
    """Levels at which tickets are compared with others; those beyond `levels` do not count."""

    def chain(self, index: int, order: str = "0", task: Task | None = None, rewind: Step | None = None) -> list[Run]:
        """The tickets of an initialisation, found under one SGD noise; rewound to another step than configured, if one is given."""
        pruning = self.pruning if rewind is None else self.pruning.but(rewind=rewind)
        return imp_chain(initialised(self, index, order, task), self.levels, pruning)

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """Accuracies, and whether the run collapsed."""
        return trained(row.run, results)

    def figures(self) -> Sequence[Figure]:
        return [Figure("accuracy", self.answers.rstrip("?"), (ACC_FINAL, COLLAPSED))]

    def few(self, table: Evidence) -> list[int]:
        """The compared levels at a tenth of the weights and less."""
        return table.levels(0, FEW)


def initialised(study: Study, index: int, order: str = "0", task: Task | None = None) -> Run:
    """The dense run of one initialisation under SGD noise of its own; all initialisations have the split of one seed."""
    noise = dict.fromkeys(("data_order", "augmentation", "dropout"), f"{index}/{order}")
    start = Action(name="reinit", options={"stream": f"initialisation/{index}"})
    return Run(task=task or study.task, seed=replicate_seed(study.seed, 0), kept=start, noise=noise)


def under_noise(run: Run, name: str) -> Run:
    """The same run under other SGD noise."""
    return run.but(noise=dict.fromkeys(run.noise, name))


def dense_rows(arm: str, study: Transplants) -> Iterable[Row]:
    """The dense runs, at level 0 of an arm."""
    return (Row(arm, index, 0, initialised(study, index)) for index in range(study.replicates))


def masked(run: Run, mask: Action | RunRef, name: str) -> Run:
    """The start of a run (a dense one, or a ticket) under another mask, and SGD noise of its own."""
    action = mask if isinstance(mask, Action) else Action(name="parent_mask", of=(mask,))
    return under_noise(run.but(mask=action), name)


def trained(run: Run, results: Results) -> Values:
    """What is told of a run: its accuracies, and whether it collapsed, which it did if it ends near chance or diverges."""
    result = results[run]
    acc = result.shown("test")
    return {
        "acc_es": result.shown("es_test"),
        "acc_final": acc,
        "train_acc_final": result.shown("train"),
        "collapsed": int(not math.isfinite(acc) or near_chance(100 * acc, run.task)),
    }


def over_pairs(rows: Frame, column: str, units: Sequence[int]) -> Callable[[Sequence[int]], float]:
    """Units -> the mean of a column over those rows whose `replicate` and `mask` are both among them: for `statistics.jackknife`."""

    def mean(chosen: Sequence[int]) -> float:
        return float(rows[rows.replicate.isin(chosen) & rows["mask"].isin(chosen)][column].mean())

    return mean
