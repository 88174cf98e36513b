"""Masks that are found while weights train: gates beside the weights, against gradual pruning and against a mask before."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from pydantic import Field

from tombola.core.task import MaskSchedule, Supermask, Task
from tombola.procedures.mask_training import mask_recipe
from tombola.studies import Action, Effect, Evidence, Figure, Results, Row, Run, Step, Study, Values, aside, claim, dense_run, study
from tombola.studies.effort import EFFORT, SPENT, efforts
from tombola.studies.search.common import MARGIN
from tombola.studies.tickets import ACC_FINAL, RUN_METRICS, Positive, Share, run_metrics

UNTIL, UPDATES = 0.75, 40
"""The share of training after which gradual pruning leaves its mask, and its updates in the length of a training."""
LEFT = 1 / 4
"""The mean of (1 - t)^3 over 0 to 1: what a cubic schedule keeps on its way of what it takes."""


@study("search.on_the_fly", task="digits-mlp", answers="Can weights and their mask be learnt together?")
class OnTheFly(Study):
    """Networks of the same densities in each layer, found in one training; the l-th level is the l-th density."""

    paper = "Tombola's own question, after Sanh et al. 2020"
    scales = {"smoke": {"replicates": 2, "mask_densities": (0.2,)}}
    columns = (*RUN_METRICS, *EFFORT)
    arms = {
        "gates": "gates beside the weights",
        "gradual": "gradual pruning, equal cost",
        "gradual_steps": "gradual pruning, equal steps",
        "before": "edge-popup mask, then weights",
    }

    mask_densities: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.3, 0.1, 0.03, 0.01)
    """The shares of each layer's weights that are kept."""
    gate_rate: Positive | None = None
    """The learning rate where gates train beside weights. None: the task's."""

    def rows(self) -> Iterable[Row]:
        """The dense network, and each way at each density."""
        for replicate in range(self.replicates):
            dense = dense_run(self, replicate)
            yield Row("gates", replicate, 0, dense)
            for level, density in enumerate(self.mask_densities, 1):
                yield from (Row(arm, replicate, level, self._run(arm, dense, density)) for arm in self.arms)

    def _run(self, arm: str, dense: Run, density: float) -> Run:
        recipe = self.task.recipe
        if arm == "gates":
            return dense.but(task=self.task.but(recipe=mask_recipe(recipe, Supermask(method="gates", density=density), self.gate_rate)))
        if arm == "before":
            half = recipe.steps.times(0.5)
            spec = Supermask(method="edge_popup", density=density)
            learnt = dense.but(task=self.task.but(recipe=mask_recipe(recipe, spec, steps=half)))
            mask = Action(name="learnt_mask", of=(learnt.at("end"),), options={"supermask": spec.model_dump()})
            return dense.but(task=self.task.but(recipe=recipe.but(steps=half)), mask=mask)
        cost = UNTIL * (density + (1 - density) * LEFT) + (1 - UNTIL) * density  # of a step, in those of the dense network
        return dense.but(task=self._gradual(recipe.steps if arm == "gradual_steps" else recipe.steps.times(1 / cost), density))

    def _gradual(self, steps: Step, density: float) -> Task:
        options = {"final": density, "end": str(steps.times(UNTIL)), "every": str(steps.times(1 / UPDATES)), "scope": "layer"}
        return self.task.but(recipe=self.task.recipe.but(steps=steps, mask_schedule=MaskSchedule(name="gradual", options=options)))

    def measure(self, row: Row, results: Results) -> Values:
        """Accuracies and cost; gates have the density of their level, though their run's mask keeps all, and cost what is dense."""
        values: Values = {**run_metrics(row, results), **efforts(row.run, results)}
        length = results[row.run].end / results[dense_run(self, row.replicate)].end  # costs are in trainings of the dense network
        values |= {name: length * values[name] for name in ("finding", "spent")}
        if row.level and row.arm == "gates":
            density = self.mask_densities[row.level - 1]
            values |= {"density": density, "kept": round(density * values["prunable"])}
        return values

    def figures(self) -> Sequence[Figure]:
        said = "Cost is examples times the density of what is computed; gates compute all weights to learn which to keep."
        return (
            Figure("on_the_fly", "Masks found while weights train", (ACC_FINAL,), caption=said),
            Figure("cost", "Accuracy against cost", (ACC_FINAL,), "scatter", across=SPENT, caption=said),
        )

    @claim(
        "SEARCH-C7",
        "I8",
        "At equal cost gates that train beside the weights are as good as gradual pruning at moderate sparsity, and better at extreme.",
        note="Moderate means 10 to 30 % density; as good is to be less than the margin away on either side. Extreme means 3 % and "
        f"less; better counts from {MARGIN:g} pp.",
    )
    def per_cost(self, table: Evidence) -> Iterable[Effect]:
        moderate, extreme = table.levels(0.05, 0.5), table.levels(0, 0.04)
        yield table.within("gates", "gradual", ACC_FINAL, moderate)
        yield table.within("gradual", "gates", ACC_FINAL, moderate)
        yield table.above("gates", "gradual", ACC_FINAL, extreme, least=MARGIN)
        yield aside(table.above("gates", "before", ACC_FINAL, extreme))
