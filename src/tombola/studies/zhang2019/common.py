"""What the studies of the paper share: layers of dense networks reset, the columns that are measured, classes of layers."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.task import Count, Task
from tombola.models.groups import Unit, groups
from tombola.procedures.measurement import Measurement, Normalisation
from tombola.procedures.run import Run
from tombola.studies.base import Cell, Config, Panel, Result, Results, Row, Scale
from tombola.studies.dense import dense_run as dense_run
from tombola.studies.dense import for_noise as for_noise

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "Zhang et al. 2019"
EPOCHS = (0, 1, 2, 3, 8, 40, 90)
"""The checkpoints of the paper's heat maps, of 100 epochs."""
REINIT, RANDOM = "reinit", "random"
VARIANTS = {REINIT: "re-initialised", RANDOM: "re-randomised"}
Share = Annotated[float, Field(ge=0, le=1)]


class Layers(Config):
    """Layers of trained networks are reset; nothing is trained again."""

    batch_norm: Normalisation = "reset"
    """Normalisation that follows a layer: `reset` with it, affine parameters and statistics; `keep` it as trained; or
    reset, and then `recompute` all statistics over training examples."""
    part: Literal["test", "train"] = "test"
    """On which error layers are judged. Of a task with noisy labels, those of training."""
    train_examples: Count | None = None
    """Training examples on which networks are evaluated, with `part` = train or `batch_norm` = recompute; None: all."""

    @model_validator(mode="after")
    def _has_use_for_training_examples(self) -> Self:
        if self.train_examples is not None and not self.sees_training():
            raise TombolaError(
                f"train_examples = {self.train_examples}, but none are evaluated; give part='train' or batch_norm='recompute' with it"
            )
        return self

    def sees_training(self) -> bool:
        """Whether networks are evaluated on training examples."""
        return self.part == "train" or self.batch_norm == "recompute"

    def options(self, **more: Any) -> dict[str, Any]:
        """Those of a measurement `reset`."""
        return {"batch_norm": self.batch_norm, "part": self.part, "train": self.train_examples, **more}

    def said(self) -> str:
        """What a caption says of how layers were reset."""
        norm = {
            "reset": "normalisation that follows a layer is reset with it",
            "keep": "normalisation stays as trained",
            "recompute": "normalisation is reset with a layer and its statistics computed anew over training examples",
        }[self.batch_norm]
        return f"Nothing is trained again; {norm}."

    def judged(self) -> str:
        """The error's name."""
        return "training error" if self.part == "train" else "test error"


class Robust(Layers):
    """Layers are robust (ambient) or not."""

    robust: Share = 0.01
    """A layer is robust (ambient) if its re-initialisation raises the error by no more than this, ..."""
    deviations: Annotated[float, Field(ge=0)] = 2.0
    """... or by no more than so many standard deviations of the trained networks' error over replicates."""

    def said(self) -> str:
        """How layers were reset, and which are robust."""
        rule = f"{100 * self.robust:g} pp or {self.deviations:g} standard deviations over replicates"
        return f"{super().said()} Robust: the {self.judged()} rises by no more than {rule}."


class Classes(Robust):
    """Layers are robust, critical or between."""

    critical: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A layer is critical if its re-initialisation takes the error so far of the way to chance, at least."""

    def said(self) -> str:
        """How layers were reset, which are robust and which critical."""
        return f"{super().said()} Critical: by {100 * self.critical:g} % of the way to chance or more."


def at_smoke(scale: Scale, **fields: Any) -> dict[str, Any]:
    """Fields of a configuration that make it small, at `smoke` only."""
    return {"replicates": 2, **fields} if scale == "smoke" else {}


def checkpoints(task: Task, given: Sequence[Step]) -> tuple[Step, ...]:
    """The steps tau, each once, from the first, which is 0it, to the last; none given: the paper's epochs, as shares of training.

    Raises for steps partly in epochs and partly in iterations: how they follow each other is not known before the data is.
    """
    if given := tuple(Step(step) for step in given):
        if "0it" not in given:
            raise TombolaError(f"reset_to = {', '.join(given)}: begin with 0it, the initial values, by which layers are classed")
        if all(any(step.order[unit] for step in given if step != "end") for unit in (0, 1)):
            raise TombolaError(f"reset_to = {', '.join(given)}: write all steps in iterations, or all in epochs")
        return tuple(sorted(set(given), key=lambda step: step.order))
    return tuple(dict.fromkeys(_share(task.recipe.steps, epoch / 100) for epoch in EPOCHS))


def _share(steps: Step, share: float) -> Step:
    """A share of training, in whole epochs where it is counted so, at least one unless it is 0."""
    epochs, iterations = steps.order
    if not share:
        return Step("0it")
    return Step(f"{max(1, round(share * epochs))}ep") if epochs and not iterations else steps.times(share)


def reset(config: Layers, run: Run, steps: Iterable[Step], **options: Any) -> Measurement:
    """Layers of a finished run put back to its own weights at `steps`, and to fresh draws."""
    of = (run.at("end"), run.its_mask(), *(run.at(step) for step in steps))
    return Measurement(task=run.task, seed=run.seed, name="reset", of=of, options=config.options(**options))


METRICS = (
    "kept",
    "prunable",
    "draw",
    "step",
    "error",
    "rise",
    "way",
    "loss",
    "loss_rise",
    "validation_rise",
    "rms",
    "max",
    "cosine",
    "own_error",
    "chance",
)
"""`rise` = error - own_error, of the same network whole; `way` = rise / (chance - own_error), the share of the way to chance."""


def rows_of_measurement(result: Result, found: Any, names: Sequence[str], steps: Sequence[int]) -> list[Row]:
    """A row for each unit and what it is reset to: checkpoints first, at `steps`, then draws."""
    rows: list[Row] = []
    own, chance = float(found["own_error"]), float(found["chance"])
    for index, name in enumerate(names):
        for column in range(found["error"].shape[1]):
            draw = column - len(steps)
            error = float(found["error"][index, column])
            rows.append(
                {
                    "variant": REINIT if draw < 0 else RANDOM,
                    "arm": name,
                    "kept": result.summary["kept"],
                    "prunable": result.summary["prunable"],
                    "level": column if draw < 0 else 0,
                    "draw": max(0, draw),
                    "step": steps[column] if draw < 0 else steps[0] if steps else 0,
                    "error": error,
                    "rise": error - own,
                    "way": way(error, own, chance),
                    "loss": float(found["loss"][index, column]),
                    "loss_rise": float(found["loss"][index, column] - found["own_loss"]),
                    "validation_rise": float(found["validation_error"][index, column] - found["own_validation_error"]),
                    **{metric: float(found[metric][index, column]) for metric in ("rms", "max", "cosine")},
                    "own_error": own,
                    "chance": chance,
                }
            )
    return rows


def way(error: float, own: float, chance: float) -> float:
    """The share of the way from the trained network's error to chance; NaN for a network that is no better."""
    return (error - own) / (chance - own) if chance > own else float("nan")


def units_of(results: Results, task: Task, unit: Unit = "layer") -> list[str]:
    """The names of a task's layers, blocks or stages, in forward order."""
    return list(groups(results.network_info(task).layers, unit))


def iterations(results: Results, run: Run, steps: Iterable[Step]) -> list[int]:
    """The iterations that steps of a run stand for."""
    return [step.iterations(results.network_info(run.task).steps_per_epoch, results[run].end) for step in steps]


def layers_of(results: Results, task: Task, unit: Unit, names: Sequence[str]) -> tuple[str, ...]:
    """The names of the layers that make up some units."""
    named = groups(results.network_info(task).layers, unit)
    return tuple(layer.name for name in names for layer in named[name])


def limit(config: Robust, own_errors: Sequence[float]) -> float:
    """By how much an error may rise for a layer to be robust: max(robust, deviations * SD of the trained networks' errors)."""
    spread = float(np.std(own_errors, ddof=1)) if len(own_errors) > 1 else 0.0
    return max(config.robust, config.deviations * spread)


def limit_in(config: Robust, rows: "pd.DataFrame") -> float:
    """The same of the trained networks of a table's replicates."""
    return limit(config, list(rows.groupby("replicate").own_error.first()))


def classes(config: Classes, table: "pd.DataFrame") -> dict[str, str]:
    """Layer -> "robust", "critical" or "between", by its mean rise over replicates when it is put back to the first step."""
    return classes_in(config, table[(table.variant == REINIT) & (table.level == table.level.min())])


def classes_in(config: Classes, rows: "pd.DataFrame") -> dict[str, str]:
    """The same from rows of one step, each of which says `replicate`, `arm` (the layer), `rise`, `way` and `own_error`."""
    way, robust = rows.groupby("arm", sort=False).way.mean(), robust_in(config, rows)
    return {arm: "robust" if arm in robust else "critical" if share >= config.critical else "between" for arm, share in way.items()}


def robust_in(config: Robust, rows: "pd.DataFrame") -> list[str]:
    """The layers that are robust, from the same rows, in their order."""
    mean, allowed = rows.groupby("arm", sort=False).rise.mean(), limit_in(config, rows)
    return [arm for arm, rise in mean.items() if rise <= allowed]


def robust_units(config: Robust, results: Results, cells: Sequence[Cell], unit: Unit) -> list[str]:
    """The units that are robust, from dense networks whose units are put back to one step by the cells' measurements."""
    import pandas as pd

    names = units_of(results, config.task, unit)
    rows = [
        {"replicate": cell.replicate, **row}
        for cell in cells
        if cell.measurement is not None
        for row in rows_of_measurement(results[cell.run], results.measured(cell.measurement), names, [0])
    ]
    return robust_in(config, pd.DataFrame(rows))


def by_layer(table: "pd.DataFrame", metric: str, variant: str = REINIT, level: int = 0) -> "pd.DataFrame":
    """Replicates (rows) x layers (columns, forward order) of a metric; draws are averaged."""
    rows = table[(table.variant == variant) & (table.level == level)]
    wide = rows.pivot_table(index="replicate", columns="arm", values=metric, aggfunc="mean", dropna=False)
    return wide[[arm for arm in rows.arm.unique() if arm in wide.columns]]


def error_panel(config: Layers) -> Panel:
    """The judged error."""
    return Panel("error", f"{config.judged()} (%)", 100)


RMS = Panel("rms", "2-norm moved / sqrt(size)")
