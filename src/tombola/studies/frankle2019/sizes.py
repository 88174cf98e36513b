"""Parents of several sizes, at equal remaining weights (appendix)."""

import itertools
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tombola.core.errors import TombolaError
from tombola.evaluation.paired import by_replicate, effect_over_levels, interpolated
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Scale, Study, study
from tombola.studies.frankle2019.common import ACC_ES, ACC_FINAL, ES, METRICS, SOURCE, measure
from tombola.studies.tickets import Level, PruningConfig, distinct, tickets

if TYPE_CHECKING:
    import pandas as pd


class Sizes(PruningConfig):
    """The same task with smaller and larger parents."""

    parents: Annotated[tuple[dict[str, Any], ...], Field(min_length=2)] = (
        {"widths": [50, 17]},
        {"widths": [100, 33]},
        {"widths": [300, 100]},
        {"widths": [600, 200]},
    )
    """Options of the task's model for each parent, from small to large."""
    rounds: tuple[Level, ...] = (9, 13, 20, 26)
    """Rounds of pruning of each parent: larger ones need more to come down to the same count."""


def _configure(scale: Scale, task: str) -> Sizes:
    found = named_task(task, scale)
    if found.model.name == "mlp":
        parents: dict[str, Any] = {}
    else:
        width = {"resnet": 16}.get(found.model.name, 64)
        parents = {"parents": tuple({"width": width // part} for part in (4, 2, 1)), "rounds": (8, 14, 20)}
    if scale == "smoke":
        given = parents.get("parents", ({"widths": [50, 17]}, {"widths": [100, 33]}))
        parents = {"parents": given[:2], "rounds": (1, 2), "replicates": 2}
    return Sizes(task=found, **parents)


@study(
    "frankle2019.sizes",
    answers="At the same number of remaining weights, does a larger parent give a better ticket?",
    claims=("LTH-C16",),
    task="mnist1d-mlp",
    configure=_configure,
)
def sizes(config: Sizes) -> Study:
    """A chain of tickets for each parent, compared where as many weights remain."""
    if len(config.rounds) != len(config.parents):
        raise TombolaError(f"rounds: {len(config.rounds)} are given for {len(config.parents)} parents; give one number of rounds for each")
    distinct("parents", [_label(options) for options in config.parents])
    cells, labels = [], {}
    for options, rounds in zip(config.parents, config.rounds, strict=True):
        label = _label(options)
        labels[label] = f"parent {label}"
        model = config.task.model.but(options={**config.task.model.options, **options})
        for replicate in range(config.replicates):
            chain = tickets(config, replicate, config.task.but(model=model), levels=rounds)
            cells += [Cell(label, replicate, level, run) for level, run in enumerate(chain)]
    caption = "Iterative pruning from parents of several sizes, against the number of weights that remain."
    return Study(
        name="frankle2019.sizes",
        config=config,
        cells=tuple(cells),
        metrics=METRICS,
        measure=measure,
        claims=claims,
        arms=labels,
        figures=(Figure("sizes", "Parents of several sizes", (ES, ACC_ES, ACC_FINAL), x="kept", caption=caption),),
    )


def _label(options: dict[str, Any]) -> str:
    """300-100 for widths [300, 100]; else name and value."""
    parts = ["-".join(map(str, value)) if isinstance(value, list | tuple) else f"{name} {value}" for name, value in options.items()]
    return " ".join(parts) or "as given"


def claims(table: "pd.DataFrame") -> list[Verdict]:
    """LTH-C16 on the table of the study: neighbours in size, at the smaller one's counts."""
    effects = []
    arms = list(dict.fromkeys(table.arm))
    for smaller, larger in itertools.pairwise(arms):
        gap = 100 * (interpolated(table, "acc_es", larger, smaller, x="kept") - by_replicate(table, "acc_es", smaller))
        gap = gap.drop(columns=0)  # tickets against tickets
        rows = table[table.arm == smaller]
        name = f"{larger} above {smaller}, at the latter's counts"
        effects.append(effect_over_levels(name, "pp", gap.dropna(axis=1), rows))
    sentence = "At the same number of remaining weights, tickets of larger parents are more accurate."
    return [Verdict("LTH-C16", sentence, f"{SOURCE}, appendix", tuple(effects))]
