"""Learning rates, optimisers and initialisation scales (appendix)."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tombola.core.spec import Spec
from tombola.core.task import Task
from tombola.evaluation.paired import by_replicate, difference, effect_over_levels, levels_within
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Figure, Scale, Study, study
from tombola.studies.frankle2019.common import ACC_ES, METRICS, SOURCE, Pruned, compared_cells, measure
from tombola.studies.tickets import Level, distinct, tickets

if TYPE_CHECKING:
    import pandas as pd


class Setting(Spec):
    """Changes to a task: fields of its recipe, and a factor on its initial weights."""

    recipe: dict[str, Any] = {}
    gain: float = Field(default=1.0, gt=0, allow_inf_nan=False)

    def of(self, task: Task) -> Task:
        """The task so changed."""
        return task.but(recipe=task.recipe.but(**self.recipe), model=task.model.but(gain=task.model.gain * self.gain))

    def label(self, task: Task) -> str:
        """Such as: adam, rate 0.0012, batch 30, init x 2."""
        recipe = self.of(task).recipe
        others = [f"{name} {value}" for name, value in self.recipe.items() if name not in ("optimizer", "learning_rate")]
        gain = [f"init x {self.gain:g}"] if self.gain != 1 else []
        return ", ".join([recipe.optimizer, f"rate {recipe.learning_rate:g}", *others, *gain])


ADAM = tuple(Setting(recipe={"optimizer": "adam", "learning_rate": rate}) for rate in (2.5e-5, 2e-4, 1.2e-3, 6.4e-3))
OTHERS = (
    Setting(recipe={"optimizer": "sgd", "learning_rate": 0.1}),
    Setting(recipe={"optimizer": "momentum", "learning_rate": 0.03}),
    Setting(gain=0.5),
    Setting(gain=2.0),
)


class Optimizers(Pruned):
    """Winning tickets under other recipes and initialisation scales."""

    settings: Annotated[tuple[Setting, ...], Field(min_length=1)] = ADAM + OTHERS
    compared: tuple[Level, ...] = (7, 10, 13)
    """Levels at which tickets are also re-initialised."""


def _configure(scale: Scale, task: str) -> Optimizers:
    by_scale: dict[str, dict[str, Any]] = {
        "smoke": {"replicates": 2, "levels": 2, "settings": (ADAM[2], OTHERS[0]), "compared": (2,)},
        "small": {"replicates": 6},
        "paper": {"levels": 20, "compared": (5, 7, 10, 13, 15, 18)},
    }
    return Optimizers(task=named_task(task, scale), **by_scale[scale])


@study(
    "frankle2019.optimizers",
    answers="Does the pattern hold for other learning rates, optimisers and initialisation scales?",
    claims=("LTH-C14",),
    task="mnist1d-mlp",
    configure=_configure,
)
def optimizers(config: Optimizers) -> Study:
    """Tickets and their re-initialisations, each setting from its own dense network."""
    distinct("settings", [setting.label(config.task) for setting in config.settings])
    cells, labels = [], {}
    for setting in config.settings:
        label = setting.label(config.task)
        labels[label] = label
        for replicate in range(config.replicates):
            chain = tickets(config, replicate, setting.of(config.task))
            cells += compared_cells(config, replicate, chain, config.compared, variant=label)
    caption = "Winning tickets and the same masks re-initialised, for each setting; early stop by validation loss."
    return Study(
        name="frankle2019.optimizers",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=measure,
        claims=claims,
        arms={"ticket": "winning ticket", "reinit": "same mask, fresh init"},
        variants=labels,
        figures=(Figure("optimizers", "Learning rates, optimisers, initialisation scales", (ACC_ES,), caption=caption),),
    )


def claims(table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C14 on the table of the study: judged on the learning rates of Adam, shown for the rest."""
    effects = []
    for variant in table.variant.unique():
        rows = table[table.variant == variant]
        values = 100 * difference(rows, "acc_es", "ticket", "reinit", levels_within(rows, 0, 0.22))
        dense = 100 * by_replicate(rows, "acc_es", "ticket")[0].mean()
        adam = variant.startswith("adam, ") and "init" not in variant
        name = f"ticket above re-init, at 22 % or less: {variant}"
        effects.append(effect_over_levels(name, "pp", values, rows, decides=adam, note=f"the dense network reaches {dense:.1f} %"))
    sentence = "Winning tickets beat their re-initialisations at every learning rate of Adam from 2.5e-5 to 6.4e-3."
    return [Verdict("LTH-C14", sentence, f"{SOURCE}, appendix", tuple(effects))]
