"""What the studies of moving masks share: networks at given densities, by rounds of pruning or in one training."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any

from pydantic import Field, field_validator

from tombola.core.keys import MOST_REPLICATES
from tombola.core.task import KINDS, MaskSchedule, Task
from tombola.pruning.pruning import Pruning
from tombola.pruning.selection import Scope
from tombola.studies import Action, Results, Row, Run, Step, Study, TombolaError, Values, dense_run, pruned_mask
from tombola.studies.effort import EFFORT, efforts
from tombola.studies.tickets import RUN_METRICS, Share, run_metrics


class AtDensities(Study):
    """Sparse networks at given densities, by whatever method: level l is the l-th of `densities`, level 0 the dense network."""

    columns = (*RUN_METRICS, *EFFORT)

    replicates: Annotated[int, Field(ge=1, le=MOST_REPLICATES)] = 10
    """Repetitions of the whole study. With fewer than ten, a sentence about five methods could not be contradicted, because p is adjusted
    for the choice of the hardest."""
    densities: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.5, 0.2, 0.1, 0.05, 0.025)
    """The shares of all prunable weights that are kept, whatever the kind of layer, from large to small."""
    scope: Scope = "global"
    """Whether magnitudes are ranked in each layer or in all of them together."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """Percentage points of accuracy that count as no difference. None: 0.2 with 10,000 test examples, else 1."""

    @field_validator("densities")
    @classmethod
    def _falling(cls, densities: tuple[float, ...]) -> tuple[float, ...]:
        if any(after >= before for before, after in pairwise(densities)):
            raise TombolaError(f"densities = {list(densities)}: write them from the largest to the smallest, each once")
        return densities

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """Accuracies, losses, and what it cost."""
        return {**run_metrics(row, results), **efforts(row.run, results)}

    def pruned(self, density: float, **changes: Any) -> Pruning:
        """One round that leaves so much of each layer, or of all layers together; `changes` are fields of `Pruning`."""
        return Pruning(rates=dict.fromkeys(KINDS, 1 - density), scope=self.scope, **changes)


class Rewound(AtDensities):
    """Networks whose weights go back to an early step."""

    rewind: Step = Step("0it")
    """The step k to whose weights W_k the tickets are put back."""

    def rewound(self, dense: Run, mask: Action) -> Run:
        """A mask over the weights of the step that tickets start from."""
        return dense.but(mask=mask, kept=Action(name="rewind", of=(dense.at(self.rewind),)), begin=self.rewind)


class Iterative(Rewound):
    """Iterative pruning among the methods."""

    per_round: Share = 0.36
    """The largest share of the remaining weights that a round of iterative pruning takes: two rounds of 20 % at once."""

    def rounds(self) -> list[tuple[int, float]]:
        """(level, share that it takes of what is left) of each round; the last of a level ends at its density."""
        found: list[tuple[int, float]] = []
        before = 1.0
        for level, density in enumerate(self.densities, 1):
            count = max(1, math.ceil(math.log(density / before) / math.log(1 - self.per_round) - 1e-9))
            found += [(level, 1 - (density / before) ** (1 / count))] * count
            before = density
        return found

    def imp(self, replicate: int, continued: bool = False, task: Task | None = None) -> list[Run]:
        """The dense run and those of all rounds: of iterative magnitude pruning, weights rewound to the start; or `continued`, weights
        going on from where they ended and the learning rate's schedule anew (learning-rate rewinding).
        """
        dense = dense_run(self, replicate, task)
        chain = [dense]
        for number, (_, rate) in enumerate(self.rounds(), 1):
            mask = pruned_mask(self.pruned(1 - rate), dense, chain[-1])
            chain.append(going_on(dense, chain[-1], mask, number) if continued else self.rewound(dense, mask))
        return chain

    def by_level(self, chain: Sequence[Run]) -> dict[int, Run]:
        """Level -> the last of its rounds; 0 -> the dense run."""
        return {0: chain[0], **{level: run for (level, _), run in zip(self.rounds(), chain[1:], strict=True)}}

    def cycled(self, replicate: int, level: int) -> Run:
        """A random mask, trained for as many cycles as learning-rate rewinding takes to the level: no new pruning."""
        first = dense_run(self, replicate).but(mask=sparse(self.densities[level - 1]))
        last, mask = first, Action(name="parent_mask", of=(first.its_mask(),))
        for number, _ in enumerate([one for one, _ in self.rounds() if one <= level], 1):
            last = going_on(dense_run(self, replicate), last, mask, number)
        return last


def going_on(dense: Run, last: Run, mask: Action, number: int) -> Run:
    """Another cycle: from the last weights, under a mask, with a data order of its own and the learning rate's schedule anew."""
    return dense.but(mask=mask, kept=Action(name="rewind", of=(last.at("end"),)), noise={"data_order": f"round/{number}"})


def sparse(density: float) -> Action:
    """A random mask with densities of layers as ERK has them."""
    return Action(name="sparse", options={"density": density, "densities": "erk"})


def moving(task: Task, name: str, **options: Any) -> Task:
    """The task under a mask schedule."""
    return task.but(recipe=task.recipe.but(mask_schedule=MaskSchedule(name=name, options=options)))


def once(task: Task, density: float, share: float, scope: str) -> Task:
    """The task, pruned once by |w| after a share of training."""
    step = str(task.recipe.steps.times(share)) if share < 1 else str(task.recipe.steps)
    return moving(task, "gradual", final=density, end=step, every=step, scope=scope)


def labels(names: Mapping[str, str], chosen: Sequence[str]) -> dict[str, str]:
    """The labels of the arms that are chosen, in the order of the labels."""
    return {name: label for name, label in names.items() if name in chosen}
