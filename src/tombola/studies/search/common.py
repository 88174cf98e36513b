"""What the studies of searched masks share: one budget of example forward passes, its arms, and how a search is measured."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Field

from tombola.core.task import KINDS, Count, Fraction, Rescale, Supermask, Task, Untrained
from tombola.procedures.mask_training import RATES, mask_recipe
from tombola.pruning.pruning import Pruning
from tombola.studies import DENSE, Action, Figure, Measurement, Panel, Run, Share, Step, TombolaError, dense_run, pruned_mask
from tombola.studies.base import Row, Study, Values
from tombola.studies.results import Details, Results
from tombola.studies.testbeds import CLASSES

Searcher = Literal["random", "flips", "genetic", "layered", "pbil", "snes", "sep_cma_es", "seeded", "sparser"]
Gradient = Literal["edge_popup", "bernoulli", "relaxed"]
SEARCHERS: tuple[Searcher, ...] = get_args(Searcher)
GRADIENTS: tuple[Gradient, ...] = get_args(Gradient)
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in SEARCHERS},
    "layered": ("genetic", {"crossover": "layers"}),
    "seeded": ("genetic", {}),
    "sparser": ("genetic", {}),
}
"""Arm -> searcher and its options; the genetic algorithm's are the published ones."""
RESCALE: dict[str, Rescale] = {"edge_popup": "none", "bernoulli": "dynamic", "relaxed": "dynamic"}
ARMS = {
    DENSE: "trained weights",
    "heuristic": "heuristic mask (large final, same sign)",
    "random": "random search",
    "flips": "(1+1) flips",
    "genetic": "genetic",
    "layered": "genetic, crossover in each layer",
    "seeded": "genetic from the heuristic mask",
    "sparser": "genetic, density has a price",
    "pbil": "PBIL",
    "snes": "SNES",
    "sep_cma_es": "Sep-CMA-ES",
    "edge_popup": "edge-popup",
    "bernoulli": "Bernoulli masks",
    "relaxed": "relaxed gates",
}
COLUMNS = ("kept", "passes", "generations", "acc", "validation_acc", "searched_acc", "live_inputs")
ACC = Panel("acc", "test accuracy, untrained weights (%)", 100)
PASSES = "example forward passes"
COUNTED = "A pass is one example through one network; a step of gradient descent on B examples counts as 3 B. Validation is not counted."
MARGIN = 1.0
"""Least difference of accuracy, in pp, that counts between two ways to search."""
TEN_CLASSES = "the sentence is about ten classes"


class Searched(Study):
    """A study in which masks are searched over weights that are never trained."""

    paper = "Tombola's own question, after Altmann et al. 2024"

    @property
    def columns(self) -> tuple[str, ...]:
        return COLUMNS

    @property
    def arms(self) -> Mapping[str, str]:
        return ARMS

    budget: Annotated[int, Field(ge=1000)] = 10_000_000
    """The cost of each arm, in forward passes of single examples."""
    batch: Count = 256
    """How many training examples all masks of a generation are scored on."""
    gradient_batch: Count = 64
    """The examples in a step of those methods that follow gradients."""
    looks: Annotated[int, Field(ge=1, le=50)] = 10
    """How often, at even distances along the budget, the best mask so far is chosen on validation examples."""
    mask_density: Share = 0.5
    """The share of the weights that masks begin with."""
    fixed: bool = False
    """Whether masks that are searched without gradients keep the density `mask_density` in each layer throughout."""
    values: Untrained = "init"
    """The weights under the masks: initial ones (`init`), or signed constants (`constant`)."""
    price: Fraction = 0.1
    """How much error a density of 1 counts for, in the arm whose density has a price."""

    def searching(self, arm: str, replicate: int, task: Task | None = None) -> Measurement:
        """The search of an arm; one that begins from the heuristic mask has that less to spend which the dense run has cost."""
        dense = dense_run(self, replicate, task)
        searcher, options = METHODS[arm]
        budget = self.budget - (self._cost(dense.task) if arm == "seeded" else 0)
        if budget < 1:
            raise TombolaError(
                f"budget = {self.budget}, but the dense run that the heuristic mask is made from costs {self.budget - budget}; raise it"
            )
        asked = {"searcher": searcher, "budget": budget, "options": options, "batch": self.batch, "looks": self.looks}
        asked |= {"density": self.mask_density, "fixed": self.fixed, "values": self.values}
        asked |= {"price": self.price} if arm == "sparser" else {}
        of = (dense.at("0it"), *((self.heuristic(replicate).its_mask(),) if arm == "seeded" else ()))
        return Measurement(task=dense.task, seed=dense.seed, name="searched_mask", of=of, options=asked)

    def _cost(self, task: Task) -> int:
        """Passes of the dense run: three for each example of each step."""
        epochs, iterations = task.recipe.steps.order
        if epochs:
            raise TombolaError(f"the dense run's steps are {task.recipe.steps}; write them in iterations, so that its passes are counted")
        return 3 * task.recipe.batch * iterations

    def heuristic(self, replicate: int) -> Run:
        """A step under the one-shot mask of the dense run: the largest final weights of those that kept their sign."""
        dense = dense_run(self, replicate)
        pruning = Pruning(criterion="large_final_same_sign", rates=dict.fromkeys(KINDS, 1 - self.mask_density))
        return dense.but(mask=pruned_mask(pruning, dense, dense), until=Step("1it"))

    def judged_by_hand(self, replicate: int) -> Measurement:
        """What the heuristic mask is worth without training."""
        dense = dense_run(self, replicate)
        options = Pruning(criterion="large_final_same_sign", rates=dict.fromkeys(KINDS, 1 - self.mask_density)).options(self.task) | {
            "rounds": 1
        }
        of = dense.at("0it"), dense.at("end")
        return Measurement(task=dense.task, seed=dense.seed, name="heuristic_supermasks", of=of, options=options)

    def learning(self, arm: Gradient, replicate: int, task: Task | None = None) -> Run:
        """The run that learns a mask by gradients, for the same budget."""
        task, steps = task or self.task, self.gradient_steps()[-1]
        every = Step(f"{max(1, steps // 10)}it")
        spec = Supermask(method=arm, density=self.mask_density, rescale=RESCALE[arm])
        recipe = mask_recipe(task.recipe, spec, RATES[arm], Step(f"{steps}it"), self.gradient_batch).but(
            evaluate_every=every, test_every=every
        )
        kept = Action(name="signed_constant", options={"keep_sign": True}) if self.values == "constant" else None
        return dense_run(self, replicate, task.but(recipe=recipe)).but(kept=kept)

    def gradient_steps(self) -> list[int]:
        """Iterations at the looks, as far as the budget reaches."""
        last = max(self.looks, self.budget // (3 * self.gradient_batch))
        return [round(last * place / self.looks) for place in range(1, self.looks + 1)]

    def seen(self, run: Run) -> Measurement:
        """The masks of a run that learns by gradients, at the looks."""
        spec = run.task.recipe.supermask
        assert spec is not None
        plain = run.task.but(recipe=run.task.recipe.but(supermask=None))
        looks = tuple(run.at("end" if place == self.looks else f"{step}it") for place, step in enumerate(self.gradient_steps(), 1))
        options = {"supermask": spec.model_dump(), "samples": 1}
        return Measurement(task=plain, seed=run.seed, name="learnt_supermask", of=looks, options=options)

    def row(self, arm: str, replicate: int, task: Task | None = None, **place: Any) -> Row:
        """A row for an arm of `ARMS`."""
        place = {"level": 0, **place}
        if gradient := next((one for one in GRADIENTS if one == arm), None):
            run = self.learning(gradient, replicate, task)
            return Row(arm, replicate, run=run, measurement=self.seen(run), **place)
        dense = dense_run(self, replicate, task)
        found = {DENSE: None, "heuristic": self.judged_by_hand(replicate)} if arm in (DENSE, "heuristic") else {}
        return Row(arm, replicate, run=dense, measurement=found[arm] if found else self.searching(arm, replicate, task), **place)

    def way(self, row: Row, results: Results) -> list[Values]:
        """What an arm's mask is worth at each look, the last at the end of its budget."""
        found, column = results.of(row), self.task.objective.columns[1]
        headline = self.task.objective.headline_of
        spent = self._cost(row.run.task) if row.arm == "seeded" else 0
        if row.arm in GRADIENTS:
            passes = 3 * self.gradient_batch * np.array(self.gradient_steps())
            columns = {"passes": passes, "acc": found[f"threshold_{column}"], "density": found["threshold_density"]}
            return [{name: float(values[place]) for name, values in columns.items()} for place in range(self.looks)]
        columns = {"passes": found["passes"] + spent, "acc": found[f"test_{column}"], "density": found["density"]}
        columns |= {"generations": found["generations"], "searched_acc": headline(found["searched_error"])}
        price = self.price * found["density"] if row.arm == "sparser" else 0
        columns["validation_acc"] = headline(found["validation_error"] - price)
        return [{name: float(values[place]) for name, values in columns.items()} for place in range(self.looks)]

    def measure(self, row: Row, results: Results) -> Values | list[Values]:
        """The mask at the end of the budget; of trained weights and of the heuristic mask what they are worth."""
        counted = {"kept": results[row.run].summary["prunable"]}
        if row.measurement is None:
            return {**counted, "acc": results[row.run].shown("test"), "passes": self._cost(row.run.task)}
        if row.arm == "heuristic":
            found = results.of(row)
            values = found[f"{self.values}_{self.task.objective.columns[1]}"]
            last = {"passes": self._cost(row.run.task), "acc": float(values[1]), "density": float(found["density"][1])}
            return {**last, "kept": round(last["density"] * counted["kept"])}
        last = self.way(row, results)[-1]
        if row.arm not in GRADIENTS:
            last["live_inputs"] = float(results.of(row)["live_inputs"])
        return {**last, "kept": round(last["density"] * counted["kept"])}

    def ten_classes(self) -> str:
        """Why sentences about ten classes are not about the task."""
        return "" if CLASSES.get(self.task.data.name) == 10 else TEN_CLASSES

    @classmethod
    def settings_of(cls, scale: str) -> Mapping[str, Any]:
        """Fields at a scale that all have in common."""
        return {"smoke": {"replicates": 2, "budget": 12_000, "batch": 60, "looks": 2}}.get(scale, {})


class Ways(Searched):
    """One in which the way of each search is shown."""

    def details(self, results: Results) -> Details:
        """Accuracy against what the search has cost, of rows that have a way."""
        rows = [row for row in self.rows() if row.measurement is not None and row.arm != "heuristic"]
        ways = [(row, one) for row in rows for one in self.way(row, results)]
        return {"way": [results.where(row, density=one["density"], x=one["passes"], value=one["acc"]) for row, one in ways]}

    def budget_figure(self, arms: Sequence[str] = ()) -> Figure:
        """Accuracy against budget, all searchers in one figure."""
        title, panel = "Accuracy of searched masks against what the search has cost", Panel("value", ACC.label, 100)
        return Figure("budget", title, (panel,), "profile", x_label=PASSES, detail="way", arms=tuple(arms), caption=COUNTED)
