"""What becomes of the weights after a round of pruning: the paper's two strategies (appendix B), and rewinding (Renda et al. 2020)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from tombola.core.task import Recipe, Task
from tombola.studies import Action, Effect, Evidence, Figure, Row, Run, Step, TombolaError, aside, claim, pruned_mask, study
from tombola.studies.frankle2019.common import Pruned
from tombola.studies.tickets import ACC_ES, ACC_FINAL, Several, chain_rows, tickets

Strategy = Literal["reset", "continued", "weight_rewinding", "lr_rewinding", "fine_tuning"]
STRATEGIES: dict[Strategy, str] = {
    "reset": "reset every round",
    "continued": "continue, reset at the end",
    "weight_rewinding": "weight rewinding",
    "lr_rewinding": "learning-rate rewinding",
    "fine_tuning": "fine-tuning",
}
"""Strategy -> its label. After each round, weights go back to those of the study's `rewind` (`reset`; `continued` does so once, with
the masks of `lr_rewinding`), to those of step k (`weight_rewinding`), or stay as they are; the learning rate's schedule goes back with
the weights, begins anew (`lr_rewinding`), or stays at its last rate (`fine_tuning`)."""
RENDA: tuple[tuple[Strategy, Strategy], ...] = (("lr_rewinding", "fine_tuning"), ("weight_rewinding", "fine_tuning"))
"""What Renda et al. 2020 compare, the better first."""


@study(
    "frankle2019.strategies",
    task="mnist1d-mlp",
    answers="After pruning: reset the weights, continue training, rewind weights or learning rate, or fine-tune?",
)
class Strategies(Pruned):
    """Each strategy's network at every level, under masks that the strategy itself found; every round trains for T iterations."""

    strategies: Several[Strategy] = tuple(STRATEGIES)
    """What is done after pruning."""
    late: Step | None = None
    """The step k of weight rewinding. None: a tenth of training."""
    stepped: bool = True
    """Whether all is done a second time with a learning rate that falls to a tenth after half and after three quarters of training, where
    the task's is constant. Without such drops, rewinding the learning rate is the same as fine-tuning."""

    @property
    def arms(self) -> Mapping[str, str]:
        return {arm: STRATEGIES[arm] for arm in self.strategies}

    @property
    def variants(self) -> Mapping[str, str]:
        if "stepped" not in self._tasks():
            return {"given": "schedule as the task has it"}
        return {"given": "constant learning rate", "stepped": "learning rate falls to a tenth after 1/2 and 3/4"}

    def _tasks(self) -> dict[str, Task]:
        if not self.stepped or self.task.recipe.schedule != "constant":
            return {"given": self.task}
        steps = self.task.recipe.steps
        falling = self.task.recipe.but(schedule="stepped", milestones=(steps.times(0.5), steps.times(0.75)))
        return {"given": self.task, "stepped": self.task.but(recipe=falling)}

    def rows(self) -> Iterable[Row]:
        """Strategy by strategy; the dense run stands with the first."""
        for variant, task in self._tasks().items():
            for replicate in range(self.replicates):
                chains = self._chains(replicate, task)
                for arm in self.strategies:
                    yield from chain_rows(arm, replicate, chains[arm], variant, first=0 if arm == self.strategies[0] else 1)

    def _chains(self, replicate: int, task: Task) -> dict[Strategy, list[Run]]:
        late = self.late or task.recipe.steps.times(0.1)
        going_on = self._going_on(replicate, task, task)
        reset = Action(name="rewind", of=(going_on[0].at(self.pruning.rewind),))
        chains: dict[Strategy, list[Run]] = {
            "reset": tickets(self, replicate, task),
            "continued": [going_on[0], *(run.but(kept=reset, begin=self.pruning.rewind, noise={}) for run in going_on[1:])],
            "weight_rewinding": tickets(self, replicate, task, rewind=late),
            "lr_rewinding": going_on,
        }
        if "fine_tuning" in self.strategies:
            chains["fine_tuning"] = self._going_on(replicate, task, task.but(recipe=_at_last_rate(task.recipe)))
        return chains

    def _going_on(self, replicate: int, task: Task, retraining: Task) -> list[Run]:
        """Rounds that go on from the last weights, each with an order of the data of its own."""
        chain = tickets(self, replicate, task)[:1]
        for level in range(1, self.levels + 1):
            mask = pruned_mask(self.pruning, chain[0], chain[-1])
            weights = Action(name="rewind", of=(chain[-1].at("end"),))
            noise = {"data_order": f"round/{level}"}
            chain.append(Run(task=retraining, seed=chain[0].seed, mask=mask, kept=weights, noise=noise))
        return chain

    def figures(self) -> Sequence[Figure]:
        caption = "Every round trains for the whole budget. The paper's appendix B resets or continues; the rest is Renda et al. 2020's."
        return [Figure("strategies", "Pruning strategies", (ACC_ES, ACC_FINAL), caption=caption)]

    @claim(
        "LTH-C6",
        "appendix B",
        "At small density, resetting the weights after every round gives better tickets than continued training with one reset at the end.",
    )
    def reset_every_round(self, table: Evidence) -> Iterable[Effect]:
        for variant in self.variants:
            rows = table.only(variant=variant)
            small = rows.levels(0, 0.105)
            papers = rows.above("reset", "continued", ACC_ES, small)
            yield papers if variant == "given" else aside(papers)
            for better, worse in RENDA:
                if {better, worse} <= set(self.strategies):
                    same = better == "lr_rewinding" and variant == "given" and self.task.recipe.schedule == "constant"
                    note = "the same runs: a constant learning rate has nothing to rewind" if same else "Renda et al. 2020"
                    yield aside(rows.above(better, worse, ACC_ES, small), note)


def _at_last_rate(recipe: Recipe) -> Recipe:
    """The recipe at the learning rate that its schedule ends with."""
    if recipe.schedule == "cosine":
        raise TombolaError("a cosine schedule ends at learning rate 0, which fine-tunes nothing; leave fine_tuning out of `strategies`")
    drops = len(recipe.milestones) if recipe.schedule == "stepped" else 0
    rate = recipe.learning_rate * recipe.decay**drops
    return recipe.but(learning_rate=rate, schedule="constant", milestones=(), warmup="0it")
