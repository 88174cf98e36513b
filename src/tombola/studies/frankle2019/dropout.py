"""Dropout with iterative pruning (section 3, figure 6)."""

from collections.abc import Iterable, Mapping, Sequence

from tombola.studies import DENSE, Effect, Evidence, Figure, Row, Task, TombolaError, claim, study
from tombola.studies.claims import about
from tombola.studies.frankle2019.common import CONVS, Compared
from tombola.studies.tickets import ACC_ES, ACC_FINAL, ES, Level, Positive, Share, tickets

RATES = {"conv2": 3e-4, "conv4": 2e-4, "conv6": 2e-4}
"""Learning rates with dropout (section 3)."""


@study("frankle2019.dropout", task="mnist1d-mlp", answers="Do winning tickets and dropout help each other?")
class Dropout(Compared):
    """The same chain of tickets with dropout, trained longer, and without. The claim is about Conv-2, Conv-4 and Conv-6
    (``--task conv2-cifar10``); other networks show an analogue.
    """

    scales = {
        "smoke": {"replicates": 2, "levels": 2, "compared": (2,)},
        "small": {"replicates": 6},
        "paper": {"levels": 20, "compared": tuple(range(1, 21))},
    }

    dropout: Share = 0.5
    """The share of the units that dropout switches off."""
    longer: Positive = 3.0
    """How many times as long networks with dropout train."""
    rate: Positive | None = None
    """The learning rate with dropout. None: the paper's for Conv-2/4/6, the task's own for other networks."""
    compared: tuple[Level, ...] = (4, 7, 10, 13)
    """Levels at which tickets are also re-initialised."""

    @property
    def variants(self) -> Mapping[str, str]:
        return {"plain": "no dropout", "dropout": f"dropout {self.dropout:g}, {self.longer:g} times the iterations"}

    def rows(self) -> Iterable[Row]:
        """The tickets without dropout, then those with it."""
        if self.task.model.options.get("dropout"):
            raise TombolaError("the task's network has dropout already; start from one without, and set the study's own `dropout`")
        for variant, task in (("plain", self.task), ("dropout", self._with_dropout())):
            for replicate in range(self.replicates):
                yield from self.compared_rows(replicate, tickets(self, replicate, task), variant)

    def _with_dropout(self) -> Task:
        model, recipe = self.task.model, self.task.recipe
        rate = self.rate or RATES.get(model.name, recipe.learning_rate)
        longer = {"steps": recipe.steps.times(self.longer), "milestones": tuple(step.times(self.longer) for step in recipe.milestones)}
        return self.task.but(
            model=model.but(options={**model.options, "dropout": self.dropout}),
            recipe=recipe.but(learning_rate=rate, warmup=recipe.warmup.times(self.longer), **longer),
        )

    def figures(self) -> Sequence[Figure]:
        caption = "Compare the paper's figure 6."
        return [Figure("dropout", "Winning tickets with and without dropout", (ES, ACC_ES, ACC_FINAL), caption=caption)]

    @claim(
        "LTH-C19",
        "section 3, figure 6",
        "In Conv-2, Conv-4 and Conv-6 dropout raises the dense network's accuracy, and iterative pruning with dropout raises it further: "
        "it finds winning tickets, which are more accurate than their re-initialisations.",
        about=about("Conv-2, Conv-4 and Conv-6", *CONVS),
    )
    def they_add_up(self, table: Evidence) -> Iterable[Effect]:
        dropped = table.only(variant="dropout")
        dense = table.only(level=0, arm="ticket")
        dense = Evidence(self, dense.table.assign(arm=dense.table.variant))
        paper = "the paper: +2.1, +3.0 and +2.4 pp for Conv-2, 4 and 6"
        yield dense.above("dropout", "plain", ACC_ES, [0], name="dense networks: accuracy with dropout above that without", note=paper)
        paper = "the paper: up to +2.3, +4.6 and +4.7 pp"
        yield dropped.above("ticket", DENSE, ACC_ES, dropped.levels(0.1, 0.55), note=paper)
        yield dropped.above("ticket", "reinit", ACC_ES, dropped.levels(0, 0.22))
