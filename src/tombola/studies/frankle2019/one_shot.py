"""One-shot against iterative pruning (section 2, figure 4; appendix)."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tombola.evaluation.paired import by_replicate, difference, effect_over_levels, levels_within
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Scale, Study, study
from tombola.studies.frankle2019.common import (
    ACC_ES,
    ACC_FINAL,
    ES,
    METRICS,
    SOURCE,
    Pruned,
    against_dense,
    at_once,
    censoring,
    measure,
    reaches_sooner,
    stops_sooner,
)
from tombola.studies.tickets import reinitialised, tickets

if TYPE_CHECKING:
    import pandas as pd


class OneShot(Pruned):
    """Tickets found by pruning once, beside those found round by round."""

    reinits: Annotated[int, Field(ge=0)] = 1
    """Fresh random initialisations of each one-shot mask."""


def _configure(scale: Scale, task: str) -> OneShot:
    by_scale: dict[str, dict[str, Any]] = {
        "smoke": {"replicates": 2, "levels": 2},
        "small": {},
        "paper": {"levels": 20, "reinits": 3},
    }
    return OneShot(task=named_task(task, scale), **by_scale[scale])


@study(
    "frankle2019.one_shot",
    answers="Does pruning once find winning tickets too, and how much smaller are those found round by round?",
    claims=("LTH-C5",),
    task="mnist1d-mlp",
    configure=_configure,
)
def one_shot(config: OneShot) -> Study:
    """At every level: the iterative ticket, the ticket of one round that takes as much, and the latter's re-initialisation."""
    cells = []
    for replicate in range(config.replicates):
        chain = tickets(config, replicate)
        cells += [Cell("iterative", replicate, level, run) for level, run in enumerate(chain)]
        for level, iterative in enumerate(chain[1:], start=1):
            ticket = iterative.but(mask=at_once(config.pruning, chain[0], level))
            cells.append(Cell("one_shot", replicate, level, ticket))
            cells += [Cell("reinit", replicate, level, reinitialised(ticket, level, draw), draw) for draw in range(config.reinits)]
    caption = "One-shot: one round from the dense network to the level's density. As the paper's figure 4."
    return Study(
        name="frankle2019.one_shot",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=measure,
        claims=claims,
        arms={"iterative": "iterative ticket", "one_shot": "one-shot ticket", "reinit": "one-shot mask, fresh init"},
        figures=(Figure("one_shot", "One-shot and iterative pruning", (ES, ACC_ES, ACC_FINAL), caption=caption),),
    )


def claims(table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C5 on the table of the study."""
    accuracy = 100 * by_replicate(table, "acc_es", "one_shot")
    accuracy[0] = 100 * by_replicate(table, "acc_es", "iterative")[0]
    moderate, wide, small = levels_within(table, 0.17, 0.68), levels_within(table, 0.051, 0.96), levels_within(table, 0, 0.105)
    sooner = stops_sooner(table, "one_shot", moderate, dense="iterative")
    better = against_dense(accuracy, wide, lambda dense, sparse: sparse - dense)
    wins = 100 * difference(table, "acc_es", "one_shot", "reinit", small)
    iterative = 100 * difference(table, "acc_es", "iterative", "one_shot", small)
    effects = (
        effect_over_levels("one-shot ticket stops sooner than dense, at 67.5 to 17.6 %", "log2 ratio", sooner, table),
        reaches_sooner(table, "one_shot", moderate, dense="iterative"),
        effect_over_levels("one-shot ticket more accurate than dense, at 95 to 5.17 %", "pp", better, table),
        effect_over_levels("iterative above one-shot ticket, at 10.5 % or less", "pp", iterative, table),
        effect_over_levels(
            "one-shot ticket above its re-initialisation, at 10.5 % or less",
            "pp",
            wins,
            table,
            decides=False,
            note="not part of the claim: it tells whether the one-shot tickets win by their initialisation",
        ),
    )
    sentence = "One-shot pruning finds winning tickets too; iterative pruning finds better ones at small density."
    return [Verdict("LTH-C5", sentence, f"{SOURCE}, section 2, figure 4", effects, censoring(table, "one_shot"))]
