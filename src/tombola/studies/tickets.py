"""What studies of pruning share: the settings of iterative magnitude pruning, the chain of tickets, their controls, what is measured."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self, TypeVar

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.task import Task
from tombola.evaluation.early_stopping import es_iteration, iterations_to
from tombola.procedures.imp import imp_runs, pruned_mask
from tombola.procedures.run import Action, Run
from tombola.pruning.pruning import Pruning
from tombola.studies.base import Row, Study, Values
from tombola.studies.figure import Panel
from tombola.studies.results import Result, Results
from tombola.studies.testbeds import margin as margin

T = TypeVar("T")


def _each_once(values: Sequence[T]) -> Sequence[T]:
    distinct("", values)
    return values


Each = Annotated[tuple[T, ...], AfterValidator(_each_once)]
"""Values of a field, each given once."""
Several = Annotated[tuple[T, ...], Field(min_length=1), AfterValidator(_each_once)]
"""One of them at least."""
Levels = Annotated[int, Field(ge=1, le=60)]
Level = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]

RUN_METRICS: tuple[str, ...] = (
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
"""The columns that `run_metrics` fills."""

ES = Panel("es_iteration", "early-stopping iteration", log=True)
ACC_ES = Panel("acc_es", "test accuracy at early stop (%)", 100)
ACC_FINAL = Panel("acc_final", "test accuracy at the end (%)", 100)
TRAIN_ACC = Panel("train_acc_final", "training accuracy at the end (%)", 100)
TO_1P5 = Panel("iters_to_1p5x", "iterations to 1.5 times the dense minimum of validation loss", log=True)
TO_1P1 = Panel("iters_to_1p1x", "iterations to 1.1 times the dense minimum of validation loss", log=True)


def run_metrics(row: Row, results: Results) -> Values:
    """The metrics of one run; the dense run of its task and replicate, if the study has it, sets the loss that it is to reach."""
    result = results[row.run]
    dense: Result | None = results.get(Run(task=row.run.task, seed=row.run.seed))
    step, censored = es_iteration(result.metrics)
    reference = None if dense is None else float(np.fmin.reduce(dense.metrics["val_loss"]))
    return {
        "kept": result.summary["kept"],
        "prunable": result.summary["prunable"],
        "draw": row.draw,
        "es_iteration": step,
        "es_censored": int(censored),
        "acc_es": result.shown("es_test"),
        "acc_final": result.shown("test"),
        "train_acc_final": result.shown("train"),
        "val_loss_min": float(np.fmin.reduce(result.metrics["val_loss"])),
        "iters_to_1p5x": math.nan if reference is None else iterations_to(result.metrics, 1.5 * reference),
        "iters_to_1p1x": math.nan if reference is None else iterations_to(result.metrics, 1.1 * reference),
    }


class PruningStudy(Study):
    """A study in which networks are pruned."""

    chosen: ClassVar[Mapping[str, str]] = {}
    """Field of `pruning` that the study chooses itself -> what to do instead of setting it."""

    pruning: Pruning = Pruning()

    @model_validator(mode="after")
    def _leaves_what_is_chosen(self) -> Self:
        for name, instead in self.chosen.items():
            if getattr(self.pruning, name) != Pruning.model_fields[name].default:
                raise TombolaError(f"{name} = {getattr(self.pruning, name)!r}, but {instead}")
        return self

    @property
    def rates(self) -> dict[str, float]:
        """Rates by kind or name of layer: the study's own over the task's. Raises where densities are named instead."""
        if self.pruning.densities:
            raise TombolaError(f"study {self.name!r} is about rates, so it takes no densities; set rates")
        return self.pruning.of(self.task).rates


class TicketStudy(PruningStudy):
    """A study of tickets and their controls by the rounds of iterative magnitude pruning, measured run by run."""

    columns = RUN_METRICS

    levels: Levels = 13
    """Rounds of pruning after the dense run."""

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """Early stop, accuracies, losses."""
        return run_metrics(row, results)

    def within(self, compared: Sequence[int]) -> list[int]:
        """The compared levels that there are. Raises if there is none."""
        found = [level for level in compared if level <= self.levels]
        if not found:
            raise TombolaError(f"compared = {list(compared)}, but there are only {self.levels} levels; name some of these")
        return found


def tickets(study: PruningStudy, replicate: int, task: Task | None = None, levels: int | None = None, **changes: Any) -> list[Run]:
    """The dense run of a replicate and its winning tickets, one a level.

    Args:
        levels: needed where the configuration has none.
        changes: fields of `pruning` that are otherwise than configured.
    """
    rounds = getattr(study, "levels", None) if levels is None else levels
    assert isinstance(rounds, int)
    return imp_runs(task or study.task, replicate_seed(study.seed, replicate), rounds, study.pruning.but(**changes))


def chain_rows(arm: str, replicate: int, chain: Sequence[Run], variant: str = "", first: int = 0) -> Iterator[Row]:
    """A row for each run of a chain, from level `first` on: 1 where another arm has the dense run."""
    return (Row(arm, replicate, level, run, variant=variant) for level, run in enumerate(chain) if level >= first)


def reinitialised(ticket: Run, level: int, draw: int = 0) -> Run:
    """The ticket's mask with a fresh random initialisation; it trains from the ticket's step to the end, as the ticket does."""
    same = Action(name="parent_mask", of=(ticket.its_mask(),))
    return ticket.but(mask=same, kept=Action(name="reinit", options={"stream": f"reinit/{level}/{draw}"}))


def randomly_masked(study: PruningStudy, ticket: Run, level: int, draw: int = 0) -> Run:
    """The ticket's start under a random mask with its count in each layer."""
    name = "shuffle" if study.pruning.structure == "weights" else "shuffle_units"
    return ticket.but(mask=Action(name=name, of=(ticket.its_mask(),), options={"stream": f"mask/{level}/{draw}"}))


def at_once(pruning: Pruning, dense: Run, level: int) -> Action:
    """The mask of one round that takes as much as `level` rounds do."""
    return pruned_mask(pruning.at_once(dense.task, level), dense, dense)


def distinct(name: str, values: Sequence[Any]) -> None:
    """Raise if a value comes twice: its rows would be taken for one another's."""
    for value in values:
        if list(values).count(value) > 1:
            raise TombolaError(f"{name}: {value!r} is given twice; name each once".removeprefix(": "))


def spread_levels(levels: int, most: int = 6) -> tuple[int, ...]:
    """Some levels from dense to the last, evenly: for figures that cannot show all."""
    return tuple(dict.fromkeys(round(index * levels / (most - 1)) for index in range(most)))
