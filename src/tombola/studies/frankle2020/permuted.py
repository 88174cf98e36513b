"""Is the barrier one of permutation? Units of one network are matched with the other's before the path is walked."""

from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tombola.evaluation.paired import by_replicate, effect_of
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.run import Action, Run
from tombola.studies.base import Cell, Figure, Scale, Study, study
from tombola.studies.frankle2020.common import (
    ACCURACY,
    DISTANCE,
    METRICS,
    Children,
    at_smoke,
    children_of,
    dense_run,
    for_noise,
    instability_panel,
    measure,
    path_between,
)
from tombola.studies.tickets import distinct

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "Ainsworth et al. 2023; Entezari et al. 2022"
ARMS = {
    "same": "same initialisation",
    "same_matched": "same initialisation, units matched",
    "other": "other initialisation",
    "other_matched": "other initialisation, units matched",
}


class Permuted(Children):
    """Barriers before and after weight matching, between networks of the same initialisation and of others, over sizes."""

    sizes: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)] = ({},)
    """Options of the model, such as {"widths": [200, 100]}, one a size; {} is the task's own."""


def _configure(scale: Scale, task: str) -> Permuted:
    found = named_task(task, scale)
    widths = found.model.options.get("widths") if found.model.name == "mlp" else None
    sizes = {"sizes": ({}, *({"widths": [factor * width for width in widths]} for factor in (2, 4)))} if widths else {}
    return Permuted(task=found, **{**for_noise(found), **sizes, **at_smoke(scale, children=2)})


@study(
    "frankle2020.permuted",
    answers="Does the barrier between networks vanish when their units are matched?",
    claims=("LMC-O4",),
    task="digits-mlp",
    configure=_configure,
)
def permuted(config: Permuted) -> Study:
    """Paths between networks of equal data and other SGD noise, before and after weight matching."""
    distinct("sizes", config.sizes)
    cells: list[Cell] = []
    for replicate in range(config.replicates):
        for level, options in enumerate(config.sizes):
            task = config.task.but(model=config.task.model.but(options={**config.task.model.options, **options}))
            dense = dense_run(config.but(task=task), replicate)
            for arm, networks in _networks(config, dense).items():
                for draw, (first, second) in enumerate(combinations(networks, 2)):
                    plain, matched = (path_between(config, first, second, dense, **more) for more in ({}, {"matched": True}))
                    cells.append(Cell(arm, replicate, level, first, draw, measurement=plain))
                    cells.append(Cell(f"{arm}_matched", replicate, level, first, draw, measurement=matched))
    return Study(
        name="frankle2020.permuted",
        config=config,
        cells=tuple(cells),
        metrics=tuple(name for name in METRICS if not name.startswith(("since_", "of_"))),
        measure=partial(measure, config),
        claims=partial(claims, config),
        arms=ARMS,
        figures=(
            Figure(
                "permuted",
                "Before and after weight matching",
                (instability_panel(config), DISTANCE, ACCURACY),
                x="kept",
                caption=config.said(),
            ),
        ),
    )


def _networks(config: Permuted, dense: Run) -> dict[str, list[Run]]:
    """Arm -> runs on the same training set under SGD noise of their own."""
    same = children_of(dense, config)
    fresh = [run.but(kept=Action(name="reinit", options={"stream": f"reinit/{index}"})) for index, run in enumerate(same)]
    return {"same": same, "other": fresh}


def claims(config: Permuted, table: "pd.DataFrame") -> list[Verdict]:
    """LMC-O4 on the table of the study."""
    last = len(config.sizes) - 1
    matched, other = (100 * by_replicate(table, "instability", arm)[last] for arm in ("other_matched", "other"))
    apart = other.mean() >= 100 * config.stable
    note = "" if apart else "no barrier before matching, so that there is none to remove"
    effects = (
        effect_of(
            f"barrier after matching below {100 * config.stable:g} pp, by", "pp", 100 * config.stable - matched if apart else [], note=note
        ),
        effect_of("barrier before matching, less that after", "pp", other - matched if apart else [], note=note),
    )
    sentence = "Networks of different initialisations are linearly connected once their units are matched."
    return [Verdict("LMC-O4", sentence, SOURCE, effects, "Judged at the last size.")]
