"""How a network is pruned, as one value: what tasks, studies, `tombola.imp` and the mask action `prune` pass on whole."""

from typing import Any, Self

from pydantic import field_validator, model_validator

from tombola.core.spec import Spec
from tombola.core.step import Step
from tombola.core.task import KINDS, Rates, Task
from tombola.pruning.criteria import Criterion, criteria, may_tie
from tombola.pruning.selection import Scope
from tombola.pruning.structured import Norm, Structure, check_structure


class Pruning(Spec):
    """Iterative pruning: what a round removes, and by which weights; and what the weights that remain go back to."""

    rates: Rates = {}
    """Share of its remaining weights that a round takes from a layer, by the layer's name, or that of its block (such as `encoder`), or
    else its kind; one number: of all kinds. What is not named is as the task has it."""
    scope: Scope | None = None
    """`layer`: the share is taken from each layer; `global`: from all of them together; `row`, `column`: from each row (a word) or
    column (a dimension) of a layer's kernel. None: as the task has it."""
    criterion: str = "large_final"
    """A registered criterion; in Python a function (initial, final) -> scores too. A user's own as ``name@digest``, by its code."""
    structure: Structure = "weights"
    """`units`: whole units and channels are pruned, by the norm of their weights' scores."""
    norm: Norm = "l2"
    """Of `structure` `units`."""
    rewind: Step = Step("0it")
    """The step k whose weights W_k the tickets start from."""
    prune_at: Step = Step("end")
    """The step whose weights the criterion sees as final ones."""

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

    def of(self, task: Task) -> Self:
        """The same with the task's own rates and scope where it has none."""
        return self.but(rates={**task.rates, **self.rates}, scope=self.scope or task.scope)

    def at_once(self, task: Task, rounds: int) -> Self:
        """One round that takes as much as so many do: 1 - (1 - rate)^rounds."""
        rates = self.of(task).rates
        return self.but(rates={name: rate if rounds == 1 else 1 - (1 - rate) ** rounds for name, rate in rates.items()})

    def options(self, task: Task) -> dict[str, Any]:
        """Those of the mask action `prune`; what is at its default is left out where it came later than stored runs."""
        found = self.of(task)
        options: dict[str, Any] = {"rates": found.rates, "criterion": found.criterion, "scope": found.scope}
        if may_tie(found.criterion, task.model.initializer):
            options["ties"] = "random"
        if found.structure != "weights":
            options |= {"structure": found.structure, "norm": found.norm}
        return options
