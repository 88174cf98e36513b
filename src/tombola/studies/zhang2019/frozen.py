"""Training with chosen layers left at their random initial values (section 4)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tombola.core.step import Step
from tombola.core.task import Task
from tombola.evaluation.paired import effect_of
from tombola.evaluation.verdict import Verdict
from tombola.models.groups import Unit
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.tickets import margin
from tombola.studies.zhang2019.common import SOURCE, Robust, at_smoke, dense_run, for_noise, layers_of, reset, robust_units, units_of

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("kept", "prunable", "frozen", "trained_parameters", "share_trained", "acc", "train_acc", "second_rise", "chance_acc")
ARMS = {
    "none": "nothing",
    "alone": "one layer",
    "robust": "all robust layers",
    "critical": "all others but the last",
    "hidden": "all but the last",
}
"""What is frozen."""


class Frozen(Robust):
    """Layers that are never trained."""

    unit: Unit = "layer"
    margin: Annotated[float, Field(ge=0)] | None = None
    """What counts as no difference in accuracy, in pp; None: 0.2 with 10,000 test examples, 1 with fewer."""


def _configure(scale: Scale, task: str) -> Frozen:
    found = named_task(task, scale)
    return Frozen(task=found, **for_noise(found), **at_smoke(scale))


@study(
    "zhang2019.frozen",
    answers="What does it cost to leave layers at their random initial values?",
    claims=("LAY-C8",),
    task="fcn-digits",
    configure=_configure,
)
def frozen(config: Frozen) -> Study:
    """Accuracy with single layers, all robust ones, all others, and all but the last frozen."""
    return Study(
        name="zhang2019.frozen",
        config=config,
        cells=tuple(cell(config, "none", replicate) for replicate in range(config.replicates)),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=partial(claims, config),
        arms=ARMS,
        more=partial(more, config),
        details=partial(details, config),
        figures=(
            Figure(
                "frozen",
                "Accuracy with layers left at their initial values",
                (Panel("acc", "test accuracy (%)", 100), Panel("share_trained", "parameters trained (%)", 100)),
                kind="heatmap",
                detail="frozen",
                x_label="frozen",
                caption=f"Layers are classed in the network that is trained whole. {config.said()}",
            ),
        ),
    )


def with_frozen(task: Task, names: tuple[str, ...]) -> Task:
    """The task with layers, blocks or stages left at their initial values."""
    return task.but(recipe=task.recipe.but(frozen=names))


def cell(config: Frozen, arm: str, replicate: int, names: tuple[str, ...] = (), label: str = "") -> Cell:
    """A network trained with layers frozen, and its layers put back."""
    run = dense_run(config, replicate, with_frozen(config.task, names) if names else config.task)
    return Cell(arm, replicate, 0, run, variant=label, measurement=reset(config, run, (Step("0it"),), unit=config.unit))


def _arms(config: Frozen, results: Results) -> list[tuple[str, str, tuple[str, ...]]]:
    """(arm, label, layers that are frozen)."""
    robust = robust_units(config, results, [cell(config, "none", replicate) for replicate in range(config.replicates)], config.unit)
    body = units_of(results, config.task, config.unit)[:-1]
    sets = {
        "robust": [name for name in body if name in robust],
        "critical": [name for name in body if name not in robust],
        "hidden": body,
    }
    chosen = [*(("alone", name, [name]) for name in body), *((arm, arm, names) for arm, names in sets.items() if names)]
    return [(arm, label, layers_of(results, config.task, config.unit, names)) for arm, label, names in chosen]


def more(config: Frozen, results: Results) -> tuple[Cell, ...]:
    """The networks that are trained once the dense ones have said which layers are robust."""
    return tuple(
        cell(config, arm, replicate, names, label) for arm, label, names in _arms(config, results) for replicate in range(config.replicates)
    )


def measure(config: Frozen, cell: Cell, results: Results) -> Row:
    """The columns of one network."""
    assert cell.measurement is not None
    result, found = results[cell.run], results.measured(cell.measurement)
    network_info = results.network_info(cell.run.task)
    sizes = network_info.sizes
    trained = sum(size for path, size in sizes.items() if path in network_info.trained)
    return {
        "kept": result.summary["kept"],
        "prunable": result.summary["prunable"],
        "frozen": " ".join(cell.run.task.recipe.frozen),
        "trained_parameters": trained,
        "share_trained": trained / sum(sizes.values()),
        "acc": result.shown("test"),
        "train_acc": result.shown("train"),
        "second_rise": float(found["error"][1, 0] - found["own_error"]) if len(found["error"]) > 1 else float("nan"),
        "chance_acc": float(cell.run.task.objective.headline_of(found["chance"])),
    }


def details(config: Frozen, results: Results) -> "dict[str, pd.DataFrame]":
    """Accuracy by what is frozen, as one row of a map."""
    import pandas as pd

    cells = [(ARMS["none"], cell(config, "none", replicate)) for replicate in range(config.replicates)]
    for arm, label, names in _arms(config, results):
        shown = label if arm == "alone" else ARMS[arm]
        cells += [(shown, cell(config, arm, replicate, names, label)) for replicate in range(config.replicates)]
    rows = []
    for label, one in cells:
        at = {"variant": "", "arm": "", "level": 0, "density": 1.0, "replicate": one.replicate, "row": label, "column": " "}
        rows.append({**at, **{name: measure(config, one, results)[name] for name in ("acc", "share_trained")}})
    return {"frozen": pd.DataFrame(rows)}


def claims(config: Frozen, table: "pd.DataFrame") -> list[Verdict]:
    """LAY-C8 on the table of the study."""
    allowed = margin(config.task, config.margin)
    acc = {arm: 100 * rows.groupby("replicate").acc.mean() for arm, rows in table.groupby("arm")}
    first = table[(table.arm == "alone") & (table.variant == next(iter(table[table.arm == "alone"].variant), ""))]
    whole = table[table.arm == "none"].set_index("replicate").second_rise
    shift = 100 * (first.set_index("replicate").second_rise - whole)
    kept = list(allowed - (acc["none"] - acc["robust"])) if "robust" in acc else []
    apart = list(acc["robust"] - acc["critical"]) if {"robust", "critical"} <= set(acc) else []
    effects = (
        effect_of(
            f"loss of accuracy with all robust layers frozen below {allowed:g} pp, by",
            "pp",
            kept,
            note="" if kept else "no layer but the last is robust",
        ),
        effect_of("accuracy with the robust layers frozen, above that with the others frozen, by", "pp", apart, decides=False),
        effect_of("rise of the second layer with the first frozen, above that with nothing frozen, by", "pp", list(shift), decides=False),
    )
    sentence = "Robust layers can stay at their random initial values; when the first layer is frozen the second becomes critical."
    return [Verdict("LAY-C8", sentence, f"{SOURCE}, section 4", effects)]
