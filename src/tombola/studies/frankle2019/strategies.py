"""What a round resets: weights to their initial values each time, once at the end, or not at all (appendix B).

Retraining after pruning has three axes (Renda et al. 2020): when to prune (here always at the end of training), what
weights are reset to, and what the learning-rate schedule is reset to.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.task import Recipe, Task
from tombola.evaluation.paired import difference, effect_over_levels, levels_within
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.imp import pruned_mask
from tombola.procedures.run import Action, Run
from tombola.studies.base import Cell, Figure, Scale, Study, study
from tombola.studies.frankle2019.common import ACC_ES, ACC_FINAL, METRICS, SOURCE, Pruned, measure
from tombola.studies.tickets import distinct, tickets

if TYPE_CHECKING:
    import pandas as pd

Strategy = Literal["reset", "continued", "weight_rewinding", "lr_rewinding", "fine_tuning"]
STRATEGIES: dict[Strategy, str] = {
    "reset": "reset every round",
    "continued": "continue, reset at the end",
    "weight_rewinding": "weight rewinding",
    "lr_rewinding": "learning-rate rewinding",
    "fine_tuning": "fine-tuning",
}
"""Arm -> label. After each round, weights go back to those of the study's `rewind` (`reset`; `continued` does so once, with the
masks of `lr_rewinding`), to those of step k (`weight_rewinding`), or stay as they are; the learning rate's schedule goes back with
the weights, begins anew (`lr_rewinding`), or stays at its last rate (`fine_tuning`)."""


PAIRS: tuple[tuple[Strategy, Strategy], ...] = (
    ("reset", "continued"),
    ("lr_rewinding", "fine_tuning"),
    ("weight_rewinding", "fine_tuning"),
)
"""What is compared: the first as the better. The first pair is the paper's."""


class Strategies(Pruned):
    """Ways to go on after pruning, each for T iterations a round."""

    strategies: Annotated[tuple[Strategy, ...], Field(min_length=1)] = tuple(STRATEGIES)
    late: Step | None = None
    """The step k of weight rewinding; None: a tenth of training."""
    stepped: bool = True
    """Whether to do the same also with a learning rate that falls to a tenth after half and after three quarters of
    training, where the task's is constant: without drops, rewinding the learning rate is fine-tuning."""


def _configure(scale: Scale, task: str) -> Strategies:
    by_scale: dict[str, dict[str, Any]] = {"smoke": {"replicates": 2, "levels": 2}, "small": {}, "paper": {"levels": 20}}
    return Strategies(task=named_task(task, scale), **by_scale[scale])


@study(
    "frankle2019.strategies",
    answers="After pruning: reset the weights, continue training, rewind weights or learning rate, or fine-tune?",
    claims=("LTH-C6",),
    task="mnist1d-mlp",
    configure=_configure,
)
def strategies(config: Strategies) -> Study:
    """Each strategy's network at every level, under masks that the strategy itself found."""
    variants = {"given": "schedule as the task has it"}
    tasks = {"given": config.task}
    if config.stepped and config.task.recipe.schedule == "constant":
        variants = {"given": "constant learning rate", "stepped": "learning rate falls to a tenth after 1/2 and 3/4"}
        tasks["stepped"] = config.task.but(recipe=_stepped(config.task.recipe))
    cells = []
    for variant, task in tasks.items():
        for replicate in range(config.replicates):
            arms = _arms(config, replicate, task)
            cells += [
                Cell(arm, replicate, level, run, variant=variant)
                for arm in config.strategies
                for level, run in enumerate(arms[arm])
                if level or arm == config.strategies[0]
            ]
    return Study(
        name="frankle2019.strategies",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=measure,
        claims=claims,
        arms={arm: STRATEGIES[arm] for arm in config.strategies},
        variants=variants,
        figures=(
            Figure(
                "strategies",
                "Pruning strategies",
                (ACC_ES, ACC_FINAL),
                caption="Every round trains for the whole budget. Reset, continued: the paper's appendix B; the rest: Renda et al. 2020.",
            ),
        ),
    )


def _stepped(recipe: Recipe) -> Recipe:
    return recipe.but(schedule="stepped", milestones=(recipe.steps.times(0.5), recipe.steps.times(0.75)))


def _arms(config: Strategies, replicate: int, task: Task) -> dict[Strategy, list[Run]]:
    distinct("strategies", config.strategies)
    late = config.late or task.recipe.steps.times(0.1)
    going_on = _chain(config, replicate, task, task)
    reset = Action(name="rewind", of=(going_on[0].at(config.pruning.rewind),))
    arms: dict[Strategy, list[Run]] = {
        "reset": tickets(config, replicate, task),
        "continued": [going_on[0], *(run.but(kept=reset, begin=config.pruning.rewind, noise={}) for run in going_on[1:])],
        "weight_rewinding": tickets(config, replicate, task, rewind=late),
        "lr_rewinding": going_on,
    }
    if "fine_tuning" in config.strategies:
        arms["fine_tuning"] = _chain(config, replicate, task, task.but(recipe=_at_last_rate(task.recipe)))
    return arms


def _chain(config: Strategies, replicate: int, task: Task, retraining: Task) -> list[Run]:
    """Rounds that go on from the last weights, each under an order of the data of its own."""
    chain = tickets(config, replicate, task)[:1]
    for level in range(1, config.levels + 1):
        last = chain[-1]
        mask = pruned_mask(config.pruning, chain[0], last)
        weights = Action(name="rewind", of=(last.at("end"),))
        chain.append(Run(task=retraining, seed=last.seed, mask=mask, kept=weights, noise={"data_order": f"round/{level}"}))
    return chain


def _at_last_rate(recipe: Recipe) -> Recipe:
    """The recipe at the learning rate that its schedule ends with."""
    if recipe.schedule == "cosine":
        raise TombolaError("a cosine schedule ends at learning rate 0, which fine-tunes nothing; leave fine_tuning out of `strategies`")
    drops = len(recipe.milestones) if recipe.schedule == "stepped" else 0
    rate = recipe.learning_rate * recipe.decay**drops
    return recipe.but(learning_rate=rate, schedule="constant", milestones=(), warmup="0it")


def claims(table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C6 on the table of the study."""
    effects = []
    for variant in table.variant.unique():
        rows = table[table.variant == variant]
        small, where = levels_within(rows, 0, 0.105), "" if variant == "given" else ", stepped learning rate"
        for better, worse in PAIRS:
            if not {better, worse} <= set(rows.arm):
                continue
            name = f"{STRATEGIES[better]} above {STRATEGIES[worse]}, at 10.5 % or less{where}"
            values = 100 * difference(rows, "acc_es", better, worse, small)
            decides = variant == "given" and better == "reset"
            note = "" if better == "reset" else "Renda et al. 2020, not part of the claim"
            if not values.to_numpy().any():
                note = "the same runs: a constant learning rate has nothing to rewind"
            effects.append(effect_over_levels(name, "pp", values, rows, decides=decides, note=note))
    sentence = "At small density, resetting the weights after every round gives better tickets than continued training with one reset."
    return [Verdict("LTH-C6", sentence, f"{SOURCE}, appendix B", tuple(effects))]
