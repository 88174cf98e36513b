"""Masks from few data: the rounds of pruning see a share of the training examples, the ticket is then trained on all."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from tombola.core.task import Count, Task
from tombola.studies import ACC_FINAL, Action, Effect, Evidence, Figure, Row, Scale, claim, dense_run, study
from tombola.studies.effort import SPENT
from tombola.studies.finding.common import Finding, control

ARMS = {
    "all": "mask from all data",
    "few": "mask from a tenth of the data",
    "short": "mask from a tenth of the data, in a tenth of the steps",
    "shuffled": "the first mask shuffled within layers",
}

TRAINING = {"digits": 1197, "mnist1d": 4000, "mnist": 55_000, "fashion-mnist": 55_000, "cifar10": 45_000}
"""Training examples of data sets, unless a task has fewer."""


@study("finding.data", task="digits-mlp", answers="Are a tenth of the examples enough to find a ticket?")
class Data(Finding):
    """Tickets of iterative pruning on all training examples, on few, and on few with as few steps; all are trained on all examples."""

    scales = {"smoke": {"replicates": 2, "densities": (0.1,), "per_round": 0.9}}
    densities: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05, 0.02)
    examples: Count = 120
    """How many training examples the rounds on few of them see: a tenth of the task's, where their number is known."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """The share of the steps that the shorter rounds train for."""

    @property
    def arms(self) -> Mapping[str, str]:
        return {arm: label.replace("a tenth of the data", f"{self.examples:,} examples") for arm, label in ARMS.items()}

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        whole = task.data.train or TRAINING.get(task.data.name)
        return {**super().at(scale, task), **({"examples": max(task.recipe.batch, round(whole / 10))} if whole else {})}

    def rows(self) -> Iterable[Row]:
        """Tickets by where their masks are from; the dense network stands with the first."""
        for replicate in range(self.replicates):
            dense = dense_run(self, replicate)
            yield Row("all", replicate, 0, dense)
            whole = self.by_level(self.imp(replicate))
            for level in range(1, len(self.densities) + 1):
                yield Row("all", replicate, level, whole[level])
                yield Row("shuffled", replicate, level, control(self, "shuffled", whole[level], level))
            for arm in ("few", "short"):
                found = self.by_level(self.imp(replicate, task=self._few(arm)))
                for level in range(1, len(self.densities) + 1):
                    mask = Action(name="parent_mask", of=(found[level].its_mask(),))
                    yield Row(arm, replicate, level, self.rewound(dense, mask))

    def _few(self, arm: str) -> Task:
        task = self.task.but(data=self.task.data.but(train=self.examples))
        recipe = task.recipe
        return task if arm == "few" else task.but(recipe=recipe.but(steps=recipe.steps.times(self.share)))

    def figures(self) -> Sequence[Figure]:
        caption = "All tickets are trained on all examples, from the same initial weights."
        lines = Figure("data", "Where the mask is from", (ACC_FINAL,), caption=caption)
        return lines, Figure("cost", "Accuracy against cost", (ACC_FINAL,), kind="scatter", across=SPENT, caption=caption)

    @claim(
        "FIND-C3",
        "after arXiv:2503.17905",
        "Masks that are found on a tenth of the data are within a percentage point of those found on all, at 10 % density and above.",
        note="Both train for as many steps; a tenth of the steps is judged as a part of its own.",
    )
    def few_are_enough(self, table: Evidence) -> Iterable[Effect]:
        at = table.levels(0.0999, 0.999)
        yield table.within("few", "all", ACC_FINAL, at, allowed=1.0)
        yield table.within("short", "all", ACC_FINAL, at, allowed=1.0)
