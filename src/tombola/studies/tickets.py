"""What studies of pruning share: the settings of iterative magnitude pruning, the chain of tickets, their controls."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.step import Step
from tombola.core.task import Rates, Task
from tombola.procedures.imp import imp_runs
from tombola.procedures.run import Action, Run
from tombola.pruning.structured import Norm, Structure, check_structure
from tombola.studies.base import Config

Levels = Annotated[int, Field(ge=1, le=60)]
Level = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Pruning(Config):
    """Iterative magnitude pruning: what all its studies can be set to."""

    rates: Rates = {}
    """Share of its remaining weights that a round takes, by kind of layer; what is not named is as the task has it."""
    scope: Literal["layer", "global"] | None = None
    """None: as the task has it."""
    criterion: str = "large_final"
    structure: Structure = "weights"
    """`units`: whole units and channels are pruned, by the norm of their weights' scores."""
    norm: Norm = "l2"
    """Of `structure` `units`."""
    prune_at: Step = Step("end")
    """The step whose weights the criterion sees as final ones."""

    @model_validator(mode="after")
    def _norm_is_of_units(self) -> Self:
        check_structure(self.structure, self.norm)
        return self

    def rates_of(self, task: Task) -> dict[str, float]:
        """Rates by kind of layer: the study's own over the task's."""
        return {**task.rates, **self.rates}

    def scope_of(self, task: Task) -> Literal["layer", "global"]:
        """The study's scope, or the task's."""
        return self.scope or task.scope


def tickets(config: Pruning, replicate: int, task: Task | None = None, **changes: Any) -> list[Run]:
    """The dense run of a replicate and its winning tickets, one a level.

    Args:
        changes: other arguments of `imp_runs`; `levels` and `rewind` are needed where the configuration has none.
    """
    task = task or config.task
    arguments = {
        "levels": getattr(config, "levels", None),
        "rates": config.rates_of(task),
        "rewind": getattr(config, "rewind", "0it"),
        "criterion": config.criterion,
        "scope": config.scope_of(task),
        "structure": config.structure,
        "norm": config.norm,
        "prune_at": config.prune_at,
    }
    return imp_runs(task, replicate_seed(config.seed, replicate), **{**arguments, **changes})


def reinitialised(ticket: Run, level: int, draw: int = 0) -> Run:
    """The ticket's mask with a fresh random initialisation; it trains from the ticket's step to the end, as the ticket does."""
    same = Action(name="same", of=(ticket.its_mask(),))
    return ticket.but(mask=same, kept=Action(name="reinit", options={"stream": f"reinit/{level}/{draw}"}))


def randomly_masked(config: Pruning, ticket: Run, level: int, draw: int = 0) -> Run:
    """The ticket's start under a random mask with its count in each layer."""
    name = "shuffle" if config.structure == "weights" else "shuffle_units"
    return ticket.but(mask=Action(name=name, of=(ticket.its_mask(),), options={"stream": f"mask/{level}/{draw}"}))


def distinct(name: str, values: Sequence[Any]) -> None:
    """Raise if a value comes twice: its rows would be taken for one another's."""
    for value in values:
        if list(values).count(value) > 1:
            raise TombolaError(f"{name}: {value!r} is given twice; name each once")


def spread_levels(levels: int, most: int = 6) -> tuple[int, ...]:
    """Some levels from dense to the last, evenly: for figures that cannot show all."""
    return tuple(dict.fromkeys(round(index * levels / (most - 1)) for index in range(most)))


def margin(task: Task, given: float | None = None) -> float:
    """What counts as no difference, in percentage points: what is given; else 0.2 with 10,000 test examples, and 1 with fewer."""
    if given is not None:
        return given
    large = task.data.name in ("mnist", "fashion-mnist", "cifar10", "imagenet") and (task.data.test or 10_000) >= 10_000
    return 0.2 if large else 1.0
