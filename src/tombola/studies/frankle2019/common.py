"""What the studies of the paper share: the configuration, the columns that are measured, the effects that several judge."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.evaluation.early_stopping import es_iteration, iterations_to
from tombola.evaluation.paired import by_replicate, effect_over_levels
from tombola.evaluation.verdict import Effect
from tombola.procedures.imp import pruned_mask
from tombola.procedures.run import Action, Run
from tombola.pruning.pruning import Pruning
from tombola.studies.base import Cell, Panel, Result
from tombola.studies.tickets import Levels, PruningConfig, reinitialised

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "Frankle & Carbin 2019"


class Pruned(PruningConfig):
    """Iterative magnitude pruning by a number of rounds."""

    levels: Levels = 13
    """Rounds of pruning after the dense run."""

    def within(self, compared: Sequence[int]) -> list[int]:
        """Those of the levels that there are. Raises if there is none."""
        found = [level for level in compared if level <= self.levels]
        if not found:
            raise TombolaError(f"compared = {list(compared)}, but there are only {self.levels} levels; name some of these")
        return found


def compared_cells(config: Pruned, replicate: int, chain: Sequence[Run], compared: Sequence[int], variant: str = "") -> list[Cell]:
    """Rows of all tickets of a chain, and of their re-initialisations at the compared levels."""
    cells = [Cell("ticket", replicate, level, run, variant=variant) for level, run in enumerate(chain)]
    again = [(level, reinitialised(chain[level], level)) for level in config.within(compared)]
    return cells + [Cell("reinit", replicate, level, run, variant=variant) for level, run in again]


def at_once(pruning: Pruning, dense: Run, level: int) -> Action:
    """The mask of one round that takes as much as `level` rounds do."""
    return pruned_mask(pruning.at_once(dense.task, level), dense, dense)


METRICS = (
    "kept",
    "prunable",
    "draw",
    "es_iteration",
    "es_censored",
    "acc_es",
    "acc_final",
    "train_acc_final",
    "val_loss_min",
    "iters_to_1p5x",
    "iters_to_1p1x",
)

ES = Panel("es_iteration", "early-stopping iteration", log=True)
ACC_ES = Panel("acc_es", "test accuracy at early stop (%)", 100)
ACC_FINAL = Panel("acc_final", "test accuracy at the end (%)", 100)
TRAIN_ACC = Panel("train_acc_final", "training accuracy at the end (%)", 100)


def measure(cell: Cell, results: Mapping[Run, Result]) -> dict[str, float]:
    """The metrics of one run; the dense run of its task and replicate, if the study has it, sets the loss that it is to reach."""
    result = results[cell.run]
    dense = results.get(Run(task=cell.run.task, seed=cell.run.seed))
    step, censored = es_iteration(result.metrics)
    reference = None if dense is None else float(np.fmin.reduce(dense.metrics["val_loss"]))
    return {
        "kept": result.summary["kept"],
        "prunable": result.summary["prunable"],
        "draw": cell.draw,
        "es_iteration": step,
        "es_censored": int(censored),
        "acc_es": result.shown("es_test"),
        "acc_final": result.shown("test"),
        "train_acc_final": result.shown("train"),
        "val_loss_min": float(np.fmin.reduce(result.metrics["val_loss"])),
        "iters_to_1p5x": math.nan if reference is None else iterations_to(result.metrics, 1.5 * reference),
        "iters_to_1p1x": math.nan if reference is None else iterations_to(result.metrics, 1.1 * reference),
    }


def against_dense(values: "pd.DataFrame", levels: Sequence[int], function: Callable[..., Any]) -> "pd.DataFrame":
    """function(dense, level) for each of the levels, by replicate."""
    return values[list(levels)].apply(lambda column: function(values[0], column))


def stops_sooner(table: "pd.DataFrame", arm: str, levels: Sequence[int], dense: str | None = None) -> "pd.DataFrame":
    """log2(early stop of the dense network / of the arm's), by replicate and level; NaN where both are censored, so that
    neither is known. The dense network is level 0 of the arm `dense` (None: of the arm itself).
    """
    es, censored = (by_replicate(table, metric, arm)[list(levels)] for metric in ("es_iteration", "es_censored"))
    whole, unknown = (by_replicate(table, metric, dense or arm)[0] for metric in ("es_iteration", "es_censored"))
    ratio = np.log2(es.clip(lower=1).rdiv(whole.clip(lower=1), axis=0))
    return ratio.mask(censored.gt(0) & (unknown.to_numpy()[:, None] > 0))


def reaches_sooner(table: "pd.DataFrame", arm: str, levels: Sequence[int], dense: str | None = None) -> Effect:
    """Whether the arm reaches 1.1 times the dense network's minimum of validation loss sooner than the dense network
    itself: not censored by early stops. Shown, not judged.
    """
    steps = by_replicate(table, "iters_to_1p1x", arm)[list(levels)]
    values = np.sign(steps.rsub(by_replicate(table, "iters_to_1p1x", dense or arm)[0], axis=0))
    name = "1.1x the dense minimum of validation loss is reached sooner than by the dense network"
    return effect_over_levels(name, "won - lost, share of pairs", values, table, decides=False)


def censoring(table: "pd.DataFrame", arm: str) -> str:
    """How many early stops of an arm are lower bounds."""
    rows = table[table.arm == arm]
    return f"{int(rows.es_censored.sum())} of {len(rows)} early stops of arm {arm} are censored"
