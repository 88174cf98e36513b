"""Are later copies stable because of where they begin, or because less training is left? (section 4, appendix)"""

from functools import partial
from typing import TYPE_CHECKING

from tombola.evaluation.paired import by_replicate, effect_over_levels
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Results, Scale, Study, study
from tombola.studies.frankle2020.common import (
    ACCURACY,
    METRICS,
    OF_INITIAL,
    SOURCE,
    Instability,
    at_smoke,
    dense_run,
    for_noise,
    from_step,
    instability_panel,
    measure,
    pair_cells,
    stable_levels,
    steps_of,
)

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "no unstable phase that ends at a k that was run"
ARMS = {"remaining": "from k to the end", "whole": "a whole training from W_k"}


class RemainingTime(Instability):
    """Children that train on to the end, and children that train as long as the whole."""


def _configure(scale: Scale, task: str) -> RemainingTime:
    found = named_task(task, scale)
    return RemainingTime(task=found, **for_noise(found), **at_smoke(scale, children=2, k=("0it", "1it")))


@study(
    "frankle2020.remaining_time",
    answers="Are copies made later stable because of their weights, or because less training is left?",
    claims=("LMC-C4",),
    task="digits-noise-mlp",
    configure=_configure,
)
def remaining_time(config: RemainingTime) -> Study:
    """Instability of children of W_k that train for T - k iterations, and of others that train for T, their schedule begun anew."""
    cells: list[Cell] = []
    for replicate in range(config.replicates):
        dense = dense_run(config, replicate)
        for level, k in enumerate(steps_of(config.k, config.task)):
            on = from_step(dense, k)
            cells += pair_cells(config, "remaining", replicate, level, on, dense)
            cells += pair_cells(config, "whole", replicate, level, on.but(begin="0it"), dense)
    return Study(
        name="frankle2020.remaining_time",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=partial(measured, config),
        claims=partial(claims, config),
        arms=ARMS,
        levels="steps",
        figures=(
            Figure(
                "remaining_time",
                "Instability when training goes on to its end, or begins anew, from W_k",
                (instability_panel(config), OF_INITIAL, ACCURACY),
                x="step",
                caption=config.said(),
            ),
        ),
    )


def measured(config: RemainingTime, cell: Cell, results: Results) -> dict[str, float]:
    """The columns of a pair; the step is that of W_k, also where training begins anew from it."""
    row = measure(config, cell, results)
    if cell.arm == "remaining":
        return row
    assert cell.run.kept is not None
    goes_on = results[cell.run.but(begin=cell.run.kept.of[0].what)]
    return {**row, "step": goes_on.begin, "share": goes_on.begin / goes_on.end}


def claims(config: RemainingTime, table: "pd.DataFrame") -> list[Verdict]:
    """LMC-C4 on the table of the study."""
    levels = stable_levels(table, "remaining", config.stable)
    levels = [] if 0 in levels else levels  # never unstable: nothing to explain
    whole, remaining = (by_replicate(table, "instability", arm) for arm in ("whole", "remaining"))
    effects = (
        effect_over_levels(
            f"instability of a whole training below {100 * config.stable:g} pp, by",
            "pp",
            100 * (config.stable - whole[levels]),
            table,
            note="at every k from which on the remaining training is stable" if levels else NOTHING,
            along="step",
        ),
        effect_over_levels(
            "instability of a whole training, less that of the remaining one",
            "pp",
            100 * (whole - remaining).iloc[:, 1:],
            table,
            decides=False,
            along="step",
        ),
    )
    sentence = "It is the weights at k, not the time that is left: children that train for the whole length from W_k are as stable."
    return [Verdict("LMC-C4", sentence, f"{SOURCE}, appendix", effects)]
