"""What the studies of initialisations share: a learning rate chosen for each of them on validation data, before anything is pruned."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from tombola.core.keys import replicate_seed
from tombola.procedures.imp import imp_chain
from tombola.studies import Action, Details, Figure, Panel, Results, Row, Run, Task, Values
from tombola.studies.tickets import Level, Positive, Several, TicketStudy, reinitialised
from tombola.studies.transplant.common import TRAINED, trained

TUNED: tuple[str, ...] = (*TRAINED, "rate", "val_acc")
"""Columns of a run of a variant."""
NOTE = (
    "Each variant has the learning rate at which its dense networks end with the best mean validation accuracy. Claims are judged on test "
    "accuracy at the end, so that no early stop is censored."
)


class Tuned(TicketStudy):
    """Variants of a task (initialisers, gains), each at the learning rate that suits its dense networks, and the tickets of each."""

    scales: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {"replicates": 2, "levels": 1, "compared": (1,), "factors": (1.0,)},
        "small": {"replicates": 6, "levels": 13, "compared": (5, 10, 13)},
        "paper": {"replicates": 8, "levels": 16, "compared": (3, 5, 8, 11, 13, 16)},
    }
    columns = TUNED

    compared: Annotated[tuple[Level, ...], Field(min_length=1)] = (5, 10, 13)
    """Levels at which tickets are compared with others; those beyond `levels` do not count."""
    factors: Several[Positive] = (0.3, 1.0, 3.0)
    """The learning rates that are tried, as multiples of the task's."""

    def settings(self) -> Mapping[str, tuple[Task, Action | None]]:
        """Variant to its task, and to what its initial values are made by (None: by the task's initialiser)."""
        raise NotImplementedError

    def sparse(self, replicate: int, variant: str, chain: Sequence[Run]) -> Iterable[Row]:
        """Rows of a variant at its learning rate, from its chain of tickets."""
        raise NotImplementedError

    def dense(self, replicate: int, variant: str, factor: float) -> Run:
        """A dense run of a variant at one learning rate."""
        task, start = self.settings()[variant]
        recipe = task.recipe.but(learning_rate=factor * task.recipe.learning_rate)
        return Run(task=task.but(recipe=recipe), seed=replicate_seed(self.seed, replicate), kept=start)

    def rows(self) -> Iterable[Row]:
        for variant in self.settings():
            for draw, factor in enumerate(self.factors):
                for replicate in range(self.replicates):
                    yield Row("tried", replicate, 0, self.dense(replicate, variant, factor), draw, variant)

    def more(self, rows: Sequence[Row], results: Results) -> Iterable[Row]:
        return self._tickets_at({variant: self.chosen_rate(variant, results) for variant in self.settings()})

    def foreseen(self, rows: Sequence[Row]) -> Iterable[Row]:
        """Tickets take as long at the first factor as at the one that will be chosen."""
        return self._tickets_at(dict.fromkeys(self.settings(), self.factors[0])) if all(row.arm == "tried" for row in rows) else ()

    def _tickets_at(self, factors: Mapping[str, float]) -> Iterable[Row]:
        for variant, factor in factors.items():
            for replicate in range(self.replicates):
                chain = imp_chain(self.dense(replicate, variant, factor), self.levels, self.pruning)
                yield from self.sparse(replicate, variant, chain)

    def chosen_rate(self, variant: str, results: Results) -> float:
        """The factor whose dense networks have the best mean validation accuracy at the end; the first of equal ones."""
        means = [np.mean([results[self.dense(r, variant, factor)].shown("val") for r in range(self.replicates)]) for factor in self.factors]
        return self.factors[int(np.argmax(np.nan_to_num(means, nan=-np.inf)))]

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """Accuracies, whether it collapsed, its learning rate; none of the runs that were only tried."""
        if row.arm == "tried":
            return []
        result = results[row.run]
        rate = {"rate": row.run.task.recipe.learning_rate, "val_acc": result.shown("val")}
        return {**trained(row.run, results), **rate}

    def details(self, results: Results) -> Details:
        """Validation accuracy of each variant at each learning rate."""
        rates = []
        for row in self.rows():
            cell = {"row": self.variants.get(row.variant, row.variant), "column": f"x {self.factors[row.draw]:g}"}
            rates.append({"arm": "dense", "replicate": row.replicate, **cell, "value": results[row.run].shown("val")})
        return {"rates": rates}

    def rates_figure(self) -> Figure:
        """The grid of learning rates from which each variant has its own."""
        shown = Panel("value", "validation accuracy of dense networks (%)", 100)
        return Figure("rates", "Learning rates tried", (shown,), "heatmap", detail="rates", x_label="times the task's learning rate")

    def fresh(self, ticket: Run, level: int, start: Action | None) -> Run:
        """The mask of a ticket over a fresh draw of its variant's initial values."""
        if start is None or "stream" not in start.options:
            return reinitialised(ticket, level)
        return reinitialised(ticket, level).but(kept=start.but(options={**start.options, "stream": f"reinit/{level}/0"}))
