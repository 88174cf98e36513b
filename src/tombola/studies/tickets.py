"""What studies of pruning share: the settings of iterative magnitude pruning, the chain of tickets, their controls."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.task import Task
from tombola.procedures.imp import imp_runs
from tombola.procedures.run import Action, Run
from tombola.pruning.pruning import Pruning
from tombola.studies.base import Config

Levels = Annotated[int, Field(ge=1, le=60)]
Level = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, lt=1)]


class PruningConfig(Config):
    """What all studies of pruning can be set to."""

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
        """Rates by kind or name of layer: the study's own over the task's."""
        return self.pruning.of(self.task).rates


def tickets(config: PruningConfig, replicate: int, task: Task | None = None, levels: int | None = None, **changes: Any) -> list[Run]:
    """The dense run of a replicate and its winning tickets, one a level.

    Args:
        levels: needed where the configuration has none.
        changes: fields of `pruning` that are otherwise than configured.
    """
    rounds = getattr(config, "levels", None) if levels is None else levels
    assert isinstance(rounds, int)
    return imp_runs(task or config.task, replicate_seed(config.seed, replicate), rounds, config.pruning.but(**changes))


def reinitialised(ticket: Run, level: int, draw: int = 0) -> Run:
    """The ticket's mask with a fresh random initialisation; it trains from the ticket's step to the end, as the ticket does."""
    same = Action(name="parent_mask", of=(ticket.its_mask(),))
    return ticket.but(mask=same, kept=Action(name="reinit", options={"stream": f"reinit/{level}/{draw}"}))


def randomly_masked(config: PruningConfig, ticket: Run, level: int, draw: int = 0) -> Run:
    """The ticket's start under a random mask with its count in each layer."""
    name = "shuffle" if config.pruning.structure == "weights" else "shuffle_units"
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
