"""Learning rates, optimisers and initialisation scales (appendix)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field

from tombola.studies import DENSE, Effect, Evidence, Figure, Row, Setting, aside, claim, study
from tombola.studies.frankle2019.common import Compared
from tombola.studies.tickets import ACC_ES, TO_1P1, Level, distinct, tickets

LEAST, MOST = 2.5e-5, 6.4e-3
"""Learning rates of Adam between which the paper finds winning tickets."""
ADAM = tuple(Setting(recipe={"optimizer": "adam", "learning_rate": rate}) for rate in (LEAST, 2e-4, 1.2e-3, MOST))
OTHERS = (
    Setting(recipe={"optimizer": "sgd", "learning_rate": 0.1}),
    Setting(recipe={"optimizer": "momentum", "learning_rate": 0.03}),
    Setting(gain=0.5),
    Setting(gain=2.0),
)


@study(
    "frankle2019.optimizers",
    task="mnist1d-mlp",
    answers="Does the pattern hold for other learning rates, optimisers and initialisation scales?",
)
class Optimizers(Compared):
    """Tickets and their re-initialisations, each setting from its own dense network."""

    scales = {
        "smoke": {"replicates": 2, "levels": 2, "settings": (ADAM[2], OTHERS[0]), "compared": (2,)},
        "small": {"replicates": 6},
        "paper": {"levels": 20, "compared": (5, 7, 10, 13, 15, 18)},
    }

    settings: Annotated[tuple[Setting, ...], Field(min_length=1)] = ADAM + OTHERS
    """The optimisers that are compared, with their learning rates."""
    compared: tuple[Level, ...] = (7, 10, 13)
    """Levels at which tickets are also re-initialised."""

    @property
    def variants(self) -> Mapping[str, str]:
        return {setting.label(self.task): setting.label(self.task) for setting in self.settings}

    def rows(self) -> Iterable[Row]:
        """The rows, setting by setting."""
        distinct("settings", [setting.label(self.task) for setting in self.settings])
        for setting in self.settings:
            for replicate in range(self.replicates):
                chain = tickets(self, replicate, setting.of(self.task))
                yield from self.compared_rows(replicate, chain, setting.label(self.task))

    def figures(self) -> Sequence[Figure]:
        caption = "Each setting has its winning tickets, and the same masks re-initialised."
        return [Figure("optimizers", "Learning rates, optimisers, initialisation scales", (ACC_ES,), caption=caption)]

    @claim(
        "LTH-C14",
        "appendix",
        "At every learning rate of Adam from 2.5e-5 to 6.4e-3 there are winning tickets: they match the dense network's accuracy, and "
        "their re-initialisations learn slower and are less accurate.",
        note="At 22 to 3.5 % density: the paper's tickets match the dense network down to there. Speed is told at 1.1 times the dense "
        "minimum of validation loss: at the least rate 1.5 times that is more than the loss of networks that have not trained. "
        "Both were set after the first results, as was the part that tickets have to match.",
    )
    def at_every_rate(self, table: Evidence) -> Iterable[Effect]:
        for setting in self.settings:
            rows = table.only(variant=setting.label(self.task))
            at = rows.levels(0.035, 0.22)
            for effect in (
                rows.within("ticket", DENSE, ACC_ES, at),
                rows.sooner("ticket", "reinit", at, TO_1P1),
                rows.above("ticket", "reinit", ACC_ES, at),
            ):
                yield effect if self._is_of_paper(setting) else aside(effect)
        run = [setting.of(self.task).recipe.learning_rate for setting in self.settings if self._is_of_paper(setting)]
        for end in LEAST, MOST:
            if end not in run:
                yield table.effect(f"the same at rate {end:g}", "pp", [], lacks=f"Adam at rate {end:g} was not run")

    def _is_of_paper(self, setting: Setting) -> bool:
        recipe = setting.of(self.task).recipe
        only_rate = setting.gain == 1 and set(setting.recipe) <= {"optimizer", "learning_rate"}
        return only_rate and recipe.optimizer == "adam" and LEAST <= recipe.learning_rate <= MOST
