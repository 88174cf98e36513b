"""Signs or magnitudes: what of a ticket's initial values makes it win, over density, optimiser and depth (after section 3)."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tombola.core.errors import TombolaError
from tombola.core.task import Count, Task
from tombola.evaluation.paired import difference, effect_over_levels
from tombola.evaluation.verdict import Verdict
from tombola.models.tasks import task as named_task
from tombola.procedures.run import Run
from tombola.studies.base import Scale, Study, study
from tombola.studies.frankle2019.common import METRICS, measure
from tombola.studies.frankle2019.optimizers import Setting
from tombola.studies.tickets import distinct, margin, tickets
from tombola.studies.zhou2019.common import SPARSE_NOTE, Masked, accuracy, at_scale, drawn, rows, sparse_levels, under

if TYPE_CHECKING:
    import pandas as pd

ARMS = {"both": "signs and magnitudes", "signs": "signs only", "magnitudes": "magnitudes only", "neither": "neither"}
OWN = Setting()
MOMENTUM = Setting(recipe={"optimizer": "momentum", "learning_rate": 0.03})
ADAM = Setting(recipe={"optimizer": "adam", "learning_rate": 1.2e-3})


class Signs(Masked):
    """Tickets of which signs or magnitudes are drawn anew, in several settings."""

    settings: Annotated[tuple[Setting, ...], Field(min_length=1)] = (OWN, MOMENTUM)
    """Optimisers, at the depth of the task."""
    depths: tuple[Count, ...] = ()
    """Hidden layers of further fully connected networks, at the recipe of the task: as wide as the task's own layers, the last
    of them repeated."""


def _configure(scale: Scale, task: str) -> Signs:
    found = named_task(task, scale)
    other = ADAM if found.recipe.optimizer == "momentum" else MOMENTUM
    depths = [depth for depth in (1, 3) if depth != len(_widths(found))] if found.model.name == "mlp" else []
    return Signs(task=found, settings=(OWN, other), depths=tuple(depths), **at_scale(scale))


@study(
    "zhou2019.signs",
    answers="Do signs or magnitudes make a ticket win, and does that hold over density, optimiser and depth?",
    claims=("ZHOU-O1", "ZHOU-O2"),
    task="mnist1d-mlp",
    configure=_configure,
)
def signs(config: Signs) -> Study:
    """Under the ticket's mask: its own weights; its signs under drawn magnitudes; its magnitudes under drawn signs; a draw."""
    if config.depths and config.task.model.name != "mlp":
        raise TombolaError(
            f"depths = {list(config.depths)}: only of the model 'mlp', not {config.task.model.name!r}; leave them out: --set depths=[]"
        )
    distinct("settings", [setting.label(config.task) for setting in config.settings])
    distinct("depths", config.depths)
    variants = dict(_variants(config))
    return Study(
        name="zhou2019.signs",
        config=config,
        cells=tuple(
            cell
            for label, task in variants.items()
            for replicate in range(config.replicates)
            for cell in rows(tuple(ARMS), replicate, partial(_chain, config, task, replicate), label)
        ),
        metrics=METRICS,
        measure=measure,
        claims=partial(claims, margin(config.task, config.margin)),
        arms=ARMS,
        variants={label: label for label in variants},
        figures=(accuracy("signs", "Signs and magnitudes of tickets", caption="Under the masks of the rewound tickets.", both=False),),
    )


def _variants(config: Signs) -> Iterator[tuple[str, Task]]:
    """Label and task of each setting and depth."""
    for setting in config.settings:
        yield setting.label(config.task), setting.of(config.task)
    for depth in config.depths:
        own = _widths(config.task)
        widths = [*own, *own[-1:] * depth][:depth]
        options = {**config.task.model.options, "widths": widths}
        label = f"{depth} hidden {'layer' if depth == 1 else 'layers'}: {'-'.join(map(str, widths))}"
        yield label, config.task.but(model=config.task.model.but(options=options))


def _widths(task: Task) -> list[int]:
    return list(task.model.options.get("widths", (300, 100)))


def _chain(config: Signs, task: Task, replicate: int, arm: str) -> list[Run]:
    chain = tickets(config, replicate, task)
    if arm == "both":
        return chain
    return [chain[0], *(_start(config, chain[0], ticket, arm, level) for level, ticket in enumerate(chain[1:], 1))]


def _start(config: Signs, dense: Run, ticket: Run, arm: str, level: int) -> Run:
    name = "random_signs" if arm == "magnitudes" else "reinit"
    kept = drawn(name, dense, config.pruning.rewind, level, keep_sign=arm == "signs")
    return under(ticket, kept)


def claims(allowed: float, table: "pd.DataFrame") -> list[Verdict]:
    """The open questions, each to hold in all settings."""
    above, near = [], []
    for variant in table.variant.unique():
        rows_of = table[table.variant == variant]
        levels = sparse_levels(rows_of)
        gap = 100 * difference(rows_of, "acc_es", "signs", "magnitudes", levels)
        lost = 100 * difference(rows_of, "acc_es", "both", "signs", levels)
        above.append(effect_over_levels(f"signs only above magnitudes only: {variant}", "pp", gap, rows_of))
        near.append(effect_over_levels(f"signs only less than {allowed:g} pp below both, by: {variant}", "pp", allowed - lost, rows_of))
    note = f"{SPARSE_NOTE} In every setting."
    return [
        Verdict("ZHOU-O1", "A ticket's signs are worth more than its magnitudes.", "open question", tuple(above), note),
        Verdict("ZHOU-O2", "With its signs alone a ticket is as good as with both.", "open question", tuple(near), note),
    ]
