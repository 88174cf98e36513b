"""Dropout with iterative pruning (section 3, figure 6)."""

from typing import TYPE_CHECKING, Any

from tombola.core.errors import TombolaError
from tombola.core.task import Task
from tombola.evaluation.paired import by_replicate, difference, effect_over_levels, levels_within
from tombola.evaluation.verdict import Effect, Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Figure, Scale, Study, study
from tombola.studies.frankle2019.common import ACC_ES, ACC_FINAL, ES, METRICS, SOURCE, Pruned, against_dense, compared_cells, measure
from tombola.studies.tickets import Level, Positive, Share, tickets

if TYPE_CHECKING:
    import pandas as pd

RATES = {"conv2": 3e-4, "conv4": 2e-4, "conv6": 2e-4}
"""Learning rates with dropout (section 3)."""


class Dropout(Pruned):
    """Winning tickets with and without dropout."""

    dropout: Share = 0.5
    """Share of the units that are switched off."""
    longer: Positive = 3.0
    """Networks with dropout train so many times as long."""
    rate: Positive | None = None
    """Learning rate with dropout; None: the paper's for Conv-2/4/6, the task's own for others."""
    compared: tuple[Level, ...] = (4, 7, 10, 13)
    """Levels at which tickets are also re-initialised."""


def _configure(scale: Scale, task: str) -> Dropout:
    by_scale: dict[str, dict[str, Any]] = {
        "smoke": {"replicates": 2, "levels": 2, "compared": (2,)},
        "small": {"replicates": 6},
        "paper": {"levels": 20, "compared": tuple(range(1, 21))},
    }
    return Dropout(task=named_task(task, scale), **by_scale[scale])


@study(
    "frankle2019.dropout",
    answers="Do winning tickets and dropout help each other?",
    claims=("LTH-C19",),
    task="mnist1d-mlp",
    configure=_configure,
)
def dropout(config: Dropout) -> Study:
    """The same chain of tickets with dropout, trained longer, and without."""
    if config.task.model.options.get("dropout"):
        raise TombolaError("the task's network has dropout already; start from one without, and set the study's own `dropout`")
    cells = []
    for variant, task in (("plain", config.task), ("dropout", _with_dropout(config))):
        for replicate in range(config.replicates):
            chain = tickets(config, replicate, task)
            cells += compared_cells(config, replicate, chain, config.compared, variant)
    return Study(
        name="frankle2019.dropout",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=measure,
        claims=claims,
        arms={"ticket": "winning ticket", "reinit": "same mask, fresh init"},
        variants={"plain": "no dropout", "dropout": f"dropout {config.dropout:g}, {config.longer:g} times the iterations"},
        figures=(
            Figure("dropout", "Winning tickets with and without dropout", (ES, ACC_ES, ACC_FINAL), caption="As the paper's figure 6."),
        ),
    )


def _with_dropout(config: Dropout) -> Task:
    model, recipe = config.task.model, config.task.recipe
    rate = config.rate or RATES.get(model.name, recipe.learning_rate)
    longer = {"steps": recipe.steps.times(config.longer), "milestones": tuple(step.times(config.longer) for step in recipe.milestones)}
    return config.task.but(
        model=model.but(options={**model.options, "dropout": config.dropout}),
        recipe=recipe.but(learning_rate=rate, warmup=recipe.warmup.times(config.longer), **longer),
    )


def claims(table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C19 on the table of the study."""
    by_variant = {variant: table[table.variant == variant] for variant in ("plain", "dropout")}
    dense = {variant: 100 * by_replicate(rows, "acc_es", "ticket")[[0]] for variant, rows in by_variant.items()}
    with_dropout = by_variant["dropout"]
    levels = levels_within(with_dropout, 0.1, 0.55)
    hill = against_dense(100 * by_replicate(with_dropout, "acc_es", "ticket"), levels, lambda whole, sparse: sparse - whole)
    wins = 100 * difference(with_dropout, "acc_es", "ticket", "reinit", levels_within(with_dropout, 0, 0.22))
    effects: tuple[Effect, ...] = (
        effect_over_levels(
            "dense network: dropout above none",
            "pp",
            dense["dropout"] - dense["plain"],
            table,
            note="the paper: +2.1, +3.0, +2.4 pp for Conv-2, 4, 6",
        ),
        effect_over_levels(
            "tickets with dropout above the dense network with dropout, at 55 to 10 %",
            "pp",
            hill,
            with_dropout,
            note="the paper: up to +2.3, +4.6, +4.7 pp",
        ),
        effect_over_levels("with dropout, ticket above re-init, at 22 % or less", "pp", wins, with_dropout, decides=False),
    )
    sentence = "Dropout raises the dense network's accuracy, and winning tickets with dropout raise it further."
    return [Verdict("LTH-C19", sentence, f"{SOURCE}, section 3, figure 6", effects)]
