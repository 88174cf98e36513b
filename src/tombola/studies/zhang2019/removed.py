"""Why leave ambient layers in? Layers or blocks taken out, against frozen, against trained (section 4)."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.evaluation.paired import effect_of
from tombola.evaluation.verdict import Verdict
from tombola.models.groups import Unit
from tombola.models.tasks import task as named_task
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Scale, Study, study
from tombola.studies.tickets import margin
from tombola.studies.zhang2019.common import SOURCE, Robust, at_smoke, dense_run, for_noise, layers_of, reset, robust_units, units_of

if TYPE_CHECKING:
    import pandas as pd

METRICS = ("kept", "prunable", "parameters", "trained_parameters", "acc", "train_acc", "loss", "operations")
ARMS = {"trained": "whole, trained", "frozen": "left at its initial values", "removed": "taken out"}
TOGETHER = "all robust"


class Removed(Robust):
    """Parts of a network that are trained, left at their initial values, or taken out."""

    unit: Unit = "block"
    """What is taken out: `layer` or `block` (of a network without blocks, its layers); those that give what they take."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """What counts as no difference in accuracy, in pp; None: 0.2 with 10,000 test examples, 1 with fewer."""


def _configure(scale: Scale, task: str) -> Removed:
    found = named_task(task, scale)
    return Removed(task=found, **for_noise(found), **at_smoke(scale))


@study(
    "zhang2019.removed",
    answers="Why does it matter if ambient layers are left in? Can architectures be cheaper for it?",
    claims=("LAY-C8", "LAY-O1"),
    task="fcn-digits",
    configure=_configure,
)
def removed(config: Removed) -> Study:
    """Parts taken out before training, against frozen, against trained, at equal width."""
    if config.unit == "stage":
        raise TombolaError("unit = 'stage', but a stage does not give back what it takes; choose layer or block")
    return Study(
        name="zhang2019.removed",
        config=config,
        cells=tuple(_whole(config, replicate) for replicate in range(config.replicates)),
        metrics=METRICS,
        measure=partial(measure, config),
        claims=partial(claims, config),
        arms=ARMS,
        more=partial(more, config),
        details=partial(details, config),
        figures=(
            Figure(
                "removed",
                "Accuracy, parameters and arithmetic with parts frozen, or taken out",
                (
                    Panel("acc", "test accuracy (%)", 100),
                    Panel("trained_parameters", "parameters trained (thousands)", 1e-3),
                    Panel("operations", "operations of a training step (millions)", 1e-6),
                ),
                kind="heatmap",
                detail="removed",
                x_label="the part is",
                caption="All networks begin from the same initial values, but for what is taken out. Operations are floating-point ones of "
                f"the gradients of one batch. Parts are classed in the network that is trained whole. {config.said()}",
            ),
        ),
    )


def _whole(config: Removed, replicate: int) -> Cell:
    """A network that is trained whole, and its layers put back."""
    run = dense_run(config, replicate)
    return Cell("trained", replicate, 0, run, measurement=reset(config, run, (Step("0it"),), unit=config.unit))


def _parts(config: Removed, results: Results) -> dict[str, tuple[str, ...]]:
    """Label -> the parts that are taken out together: each that can be, and all of those that are robust."""
    robust = robust_units(config, results, [_whole(config, replicate) for replicate in range(config.replicates)], config.unit)
    units = units_of(results, config.task, config.unit)
    able = [name for name in results.setup(config.task).removable if name in units]
    together = tuple(name for name in able if name in robust)
    return {**{name: (name,) for name in able}, **({TOGETHER: together} if len(together) > 1 else {})}


def _compared(config: Removed, results: Results) -> list[Cell]:
    cells = []
    for label, names in _parts(config, results).items():
        layers = layers_of(results, config.task, config.unit, names)
        tasks = {
            "frozen": config.task.but(recipe=config.task.recipe.but(frozen=layers)),
            "removed": config.task.but(model=config.task.model.but(without=names)),
        }
        cells += [
            Cell(arm, replicate, 0, dense_run(config, replicate, task), variant=label)
            for arm, task in tasks.items()
            for replicate in range(config.replicates)
        ]
    return cells


def more(config: Removed, results: Results) -> tuple[Cell, ...]:
    """The networks with parts frozen or taken out, once it is known which parts there are, and which are robust."""
    return tuple(_compared(config, results))


def measure(config: Removed, cell: Cell, results: Results) -> Row:
    """The columns of one network."""
    from tombola.training.cost import step_operations

    result, network_info = results[cell.run], results.network_info(cell.run.task)
    sizes = network_info.sizes
    whole = results[dense_run(config, cell.replicate)]
    acc = result.shown("test")
    return {
        "kept": result.summary["kept"],
        "prunable": result.summary["prunable"],
        "parameters": sum(sizes.values()),
        "trained_parameters": sum(size for path, size in sizes.items() if path in network_info.trained),
        "acc": acc,
        "train_acc": result.shown("train"),
        "loss": config.task.objective.better_is * (whole.shown("test") - acc),
        "operations": step_operations(results.setup(cell.run.task)),
    }


def details(config: Removed, results: Results) -> "dict[str, pd.DataFrame]":
    """Accuracy, parameters and arithmetic by part and by what became of it."""
    import pandas as pd

    rows = []
    for cell in _compared(config, results):
        for arm, shown in (("trained", _whole(config, cell.replicate)), (cell.arm, cell)):
            at = {"variant": "", "arm": "", "level": 0, "density": 1.0, "replicate": cell.replicate, "row": cell.variant, "column": arm}
            found = measure(config, shown, results)
            rows.append({**at, **{name: found[name] for name in ("acc", "trained_parameters", "operations")}})
    columns = ("variant", "arm", "level", "density", "replicate", "row", "column", "acc", "trained_parameters", "operations")
    return {"removed": pd.DataFrame(rows, columns=columns).drop_duplicates(["replicate", "row", "column"])}


def claims(config: Removed, table: "pd.DataFrame") -> list[Verdict]:
    """LAY-C8, of parts that are taken out, and LAY-O1."""
    allowed = margin(config.task, config.margin)
    parts = table[~table.variant.isin(("", TOGETHER))]
    wide = parts.pivot_table(index="replicate", columns="arm", values="acc", aggfunc="mean")
    gap = list(100 * (wide["frozen"] - wide["removed"]).abs()) if {"frozen", "removed"} <= set(wide.columns) else []
    together = table[(table.variant == TOGETHER) & (table.arm == "removed")]
    lost = list(allowed - 100 * together.loss)
    about_equal = effect_of(
        f"accuracy with a part taken out within {allowed:g} pp of that with it frozen, by",
        "pp",
        [allowed - one for one in gap],
        note="" if gap else "no part gives back what it takes",
    )
    cheaper = effect_of(
        f"loss of accuracy with all robust parts taken out below {allowed:g} pp, by",
        "pp",
        lost,
        note="" if lost else "fewer than two parts that can be taken out are robust",
    )
    return [
        Verdict("LAY-C8", "On small images a layer may as well be taken out as frozen.", f"{SOURCE}, section 4", (about_equal,)),
        Verdict("LAY-O1", "Without its robust parts the network learns as well, at fewer parameters.", "open question", (cheaper,)),
    ]
