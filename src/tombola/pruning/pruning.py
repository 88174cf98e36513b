"""How a network is pruned, as one value: what tasks, studies, `tombola.imp` and the mask action `prune` pass on whole."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from tombola.core.errors import TombolaError
from tombola.core.spec import Spec
from tombola.core.step import Step
from tombola.core.task import KINDS, Rates, Task
from tombola.pruning.criteria import Criterion, criteria, may_tie
from tombola.pruning.selection import Scope
from tombola.pruning.structured import Norm, Structure, check_structure


class Pruning(Spec):
    """Iterative pruning: what a round removes, and by which weights; and what the weights that remain go back to."""

    rates: Rates = {}
    """The share of its remaining weights that a round takes from a layer, named by the layer, by its block (such as `encoder`) or by its
    kind; one number stands for all kinds. The task says it for layers that are not named."""
    densities: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    """In place of rates: the share of its weights that each layer has left after round 1, 2, ..., each smaller than the one before. Layers
    whose rate is 0 in the task are left whole. A study that prunes by rounds takes as many rounds as there are densities."""
    scope: Scope | None = None
    """`layer`: the share is taken from each layer; `global`: from all layers together; `row` or `column`: from each row (a word) or each
    column (a dimension) of a layer's kernel. None: as the task has it."""
    criterion: Annotated[str, criteria] = "large_final"
    """A registered criterion, or in Python a function (initial, final) -> scores. One of your own is ``name@digest``, after its code."""
    structure: Structure = "weights"
    """`weights`: single weights are pruned; `units`: whole units and channels, by the norm of their weights' scores."""
    norm: Norm = "l2"
    """The norm by which whole units are ranked, where `structure` is `units`."""
    rewind: Step = Step("0it")
    """The step k to whose weights W_k the tickets are put back."""
    prune_at: Step = Step("end")
    """The step whose weights the criterion takes for the final ones."""

    @field_validator("rates", mode="before")
    @classmethod
    def _by_kind(cls, rates: object) -> object:
        return dict.fromkeys(KINDS, rates) if isinstance(rates, int | float) else rates

    @field_validator("criterion", mode="before")
    @classmethod
    def _by_name(cls, criterion: str | Criterion) -> str:
        if isinstance(criterion, str):
            criteria.check(criterion)
        return criteria.described(criterion)

    @model_validator(mode="after")
    def _norm_is_of_units(self) -> Self:
        check_structure(self.structure, self.norm)
        return self

    @model_validator(mode="after")
    def _densities_fall(self) -> Self:
        if any(later >= sooner for sooner, later in pairwise(self.densities)):
            raise ValueError(f"densities = {list(self.densities)}, but each has to be below the one before")
        if self.densities and self.rates:
            raise ValueError("both rates and densities are given, which say the same thing; leave one out")
        return self

    def of(self, task: Task) -> Self:
        """The same with the task's own rates and scope where it has none."""
        return self.but(rates={} if self.densities else {**task.rates, **self.rates}, scope=self.scope or task.scope)

    def at(self, task: Task, level: int) -> Self:
        """The pruning of one round, from 1 on: where densities are named, the rates that lead from the one before to its own."""
        return self._from(task, (1.0, *self.densities)[level - 1 : level + 1]) if self.densities else self

    def _from(self, task: Task, ends: Sequence[float]) -> Self:
        if len(ends) < 2:
            count = len(self.densities)
            raise TombolaError(f"densities = {list(self.densities)}, but more rounds are asked for; name more, or set levels={count}")
        return self.but(densities=(), rates={name: (1 - ends[1] / ends[0]) * bool(rate) for name, rate in task.rates.items()})

    def at_once(self, task: Task, rounds: int) -> Self:
        """One round that takes as much as so many do: 1 - (1 - rate)^rounds."""
        if self.densities:
            return self._from(task, (1.0, *self.densities[rounds - 1 : rounds]))
        rates = self.of(task).rates
        return self.but(rates={name: rate if rounds == 1 else 1 - (1 - rate) ** rounds for name, rate in rates.items()})

    def options(self, task: Task) -> dict[str, Any]:
        """The options of the mask action `prune`; what is at its default is left out where it came later than stored runs."""
        if self.densities:
            raise TombolaError("densities are for studies that prune round by round; here rates say what is pruned, so set these")
        found = self.of(task)
        options: dict[str, Any] = {"rates": found.rates, "criterion": found.criterion, "scope": found.scope}
        if may_tie(found.criterion, task.model.initializer):
            options["ties"] = "random"
        if found.structure != "weights":
            options |= {"structure": found.structure, "norm": found.norm}
        return options
