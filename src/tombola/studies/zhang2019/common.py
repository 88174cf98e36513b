"""What the studies of the paper share: layers of dense networks reset, the columns that are measured, classes of layers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from tombola.core.task import Count, Task
from tombola.models.groups import Unit, groups
from tombola.procedures.measurement import Measurement, Normalisation
from tombola.studies import Figure, Frame, Panel, Results, Row, Run, Scale, Step, Study, TombolaError, Values
from tombola.studies.claims import about
from tombola.studies.dense import for_noise
from tombola.studies.testbeds import NEAR_CHANCE, margin

EPOCHS = (0, 1, 2, 3, 8, 40, 90)
"""The checkpoints of the paper's heat maps, of 100 epochs."""
INITIAL = Step("0it")
REINIT, RANDOM = "reinit", "random"
ALIKE = 0.5
"""Rank correlation from which on one thing is said to follow another; the paper gives no number."""
Share = Annotated[float, Field(ge=0, le=1)]
RMS = Panel("rms", "2-norm moved / sqrt(size)")
COLUMNS = (
    "kept", "prunable", "draw", "step", "error", "rise", "way", "loss", "loss_rise", "validation_rise",
    "rms", "max", "cosine", "own_error", "chance",
)  # fmt: skip
"""`rise` = error - own_error, of the same network whole; `way` = rise / (chance - own_error), the share of the way to chance."""


class Layers(Study):
    """Layers of trained networks are reset; nothing is trained again."""

    paper = "Zhang et al. 2019"

    batch_norm: Normalisation = "reset"
    """What becomes of the normalisation that follows a layer. `reset`: affine parameters and statistics are put back with the layer;
    `keep`: they stay as trained; `recompute`: they are put back, and then all statistics are computed anew over training examples."""
    part: Literal["test", "train"] = "test"
    """Whether layers are judged by the error on training or on test data. On a task with noisy labels it is that on training data."""
    train_examples: Count | None = None
    """How many training examples networks are evaluated on, where `part` is train or `batch_norm` is recompute. None: all."""

    @classmethod
    def at(cls, scale: Scale, task: Task) -> Mapping[str, Any]:
        return {**for_noise(task), **super().at(scale, task)}

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

    def reset(self, run: Run, steps: Iterable[Step] = (INITIAL,), **options: Any) -> Measurement:
        """Layers of a finished run put back to its own weights at `steps`, and to fresh draws."""
        of = (run.at("end"), run.its_mask(), *(run.at(step) for step in steps))
        options = {"batch_norm": self.batch_norm, "part": self.part, "train": self.train_examples, **options}
        return Measurement(task=run.task, seed=run.seed, name="reset", of=of, options=options)

    def reset_values(self, row: Row, results: Results, names: Sequence[str], column: int = 0) -> list[Values]:
        """What a row's measurement says of each unit (or set of units) in one column: a step, or a fresh draw."""
        found = results.of(row)
        own, chance = float(found["own_error"]), float(found["chance"])
        values = list[Values]()
        for place, name in enumerate(names):
            error = float(found["error"][place, column])
            rises = {"error": error, "rise": error - own, "way": (error - own) / (chance - own) if chance > own else float("nan")}
            for other in ("loss", "validation_error"):
                rises[f"{other.removesuffix('_error')}_rise"] = float(found[other][place, column] - found[f"own_{other}"])
            moved = {metric: float(found[metric][place, column]) for metric in ("loss", "rms", "max", "cosine")}
            values.append({"arm": name, "own_error": own, "chance": chance, **rises, **moved})
        return values

    def frame(self, rows: Iterable[Row], results: Results) -> Frame:
        """What `measure` finds of rows, with the place of each in the table."""
        import pandas as pd

        found: list[Values] = []
        for row in rows:
            values = self.measure(row, results)
            found += [results.where(row, **one) for one in (values if isinstance(values, list) else [values])]
        return pd.DataFrame(found)

    @property
    def judged(self) -> str:
        """The name of the error on which layers are judged."""
        return "training error" if self.part == "train" else "test error"

    @property
    def error(self) -> Panel:
        """The panel of the judged error."""
        return Panel("error", f"{self.judged} (%)", 100)

    @property
    def rise(self) -> Panel:
        """The panel of how much a reset raises the judged error."""
        return Panel("rise", f"rise of the {self.judged} (pp)", 100)

    @property
    def caption(self) -> str:
        """How layers were reset."""
        norm = {
            "reset": "the normalisation that follows a layer is reset with it",
            "keep": "normalisation stays as trained",
            "recompute": "normalisation is reset with a layer and its statistics are computed anew over training examples",
        }[self.batch_norm]
        return f"Nothing is trained after a reset; {norm}."

    def heat_map(self, name: str, title: str, *panels: Panel, across: str, said: str = "") -> Figure:
        """A map of the details table that is called as the figure is; `across` is what its columns are."""
        return Figure(name, title, panels, "heatmap", detail=name, x_label=across, caption=f"{said} {self.caption}".lstrip())


class Robust(Layers):
    """Layers are robust (ambient) or not."""

    robust: Share | None = None
    """A layer is robust (ambient) if its re-initialisation raises the error by no more than this. None: 0.002, which is 0.2 pp, with 10,000
    test examples, and 0.01 with fewer."""
    deviations: Annotated[float, Field(ge=0)] = 2.0
    """How many standard deviations of the trained networks' error over replicates the error may rise instead, if that is more."""

    @property
    def caption(self) -> str:
        rule = f"{100 * self.threshold:g} pp or {self.deviations:g} standard deviations over replicates"
        return f"{super().caption} A layer is robust if the {self.judged} rises by no more than {rule}."

    @property
    def threshold(self) -> float:
        """How much the error of a robust layer may rise, whatever the replicates differ by."""
        return margin(self.task) / 100 if self.robust is None else self.robust

    def limit(self, own_errors: Sequence[float]) -> float:
        """How much an error may rise for a layer to be robust: max(threshold, deviations * SD of the trained networks' errors)."""
        spread = float(np.std(own_errors, ddof=1)) if len(own_errors) > 1 else 0.0
        return max(self.threshold, self.deviations * spread)

    def limit_in(self, rows: Frame) -> float:
        """The same of the trained networks of a table's replicates."""
        return self.limit(list(rows.groupby("replicate").own_error.first()))

    def robust_in(self, rows: Frame) -> list[str]:
        """The layers that are robust by their mean rise over replicates, in their order, from rows of one step."""
        mean, allowed = rows.groupby("arm", sort=False).rise.mean(), self.limit_in(rows)
        return [arm for arm, rise in mean.items() if rise <= allowed]

    def robust_units(self, results: Results, rows: Iterable[Row], unit: Unit) -> list[str]:
        """The units that are robust, from rows of dense networks whose units are put back to one step."""
        import pandas as pd

        names = units_of(results, self.task, unit)
        found = [{"replicate": row.replicate, **one} for row in rows for one in self.reset_values(row, results, names)]
        return self.robust_in(pd.DataFrame(found))

    def no_room(self, rows: Frame) -> str:
        """Why it says nothing here that a layer is robust: the network's whole error is no more than what a robust layer may add."""
        own, allowed = 100 * rows.own_error.mean(), 100 * self.limit_in(rows)
        said = f"no room: an error of {own:.2g} % is no more than the {allowed:.2g} pp by which a robust layer may raise it"
        return said if own <= allowed else ""


class Classes(Robust):
    """Layers are robust, critical or between."""

    critical: Annotated[float, Field(gt=0, le=1)] = 0.5
    """A layer is critical if its re-initialisation takes the error at least this share of the way to chance."""

    @property
    def caption(self) -> str:
        return f"{super().caption} It is critical if that rises at least {100 * self.critical:g} % of the way to chance."

    def classes(self, rows: Frame) -> dict[str, str]:
        """Layer -> "robust", "critical" or "between", by its means over replicates, from rows of one step, each of which says
        `replicate`, `arm` (the layer), `rise`, `way` and `own_error`.
        """
        way, robust = rows.groupby("arm", sort=False).way.mean(), self.robust_in(rows)
        return {arm: "robust" if arm in robust else "critical" if share >= self.critical else "between" for arm, share in way.items()}


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
        return INITIAL
    return Step(f"{max(1, round(share * epochs))}ep") if epochs and not iterations else steps.times(share)


def units_of(results: Results, task: Task, unit: Unit = "layer") -> list[str]:
    """The names of a task's layers, blocks or stages, in forward order."""
    return list(groups(results.network_info(task).layers, unit))


def layers_of(results: Results, task: Task, unit: Unit, names: Sequence[str]) -> tuple[str, ...]:
    """The names of the layers that make up some units."""
    named = groups(results.network_info(task).layers, unit)
    return tuple(layer.name for name in names for layer in named[name])


def by_layer(table: Frame, metric: str, variant: str = REINIT, level: int = 0) -> Frame:
    """Replicates (rows) x layers (columns, forward order) of a metric; draws are averaged."""
    rows = table[(table.variant == variant) & (table.level == level)]
    wide = rows.pivot_table(index="replicate", columns="arm", values=metric, aggfunc="mean", dropna=False)
    return wide[[arm for arm in rows.arm.unique() if arm in wide.columns]]


def near_chance(rows: Frame) -> str:
    """Why nothing is judged of networks that have learnt next to nothing; "" if they have learnt."""
    own, chance = rows.own_error.mean(), rows.chance.mean()
    return f"the trained network is near chance: its error is {100 * own:.1f} %" if chance - own < NEAR_CHANCE * chance else ""


fully_connected = about("fully connected networks (mlp)", "mlp")
"""Why a sentence about fully connected networks is not about a study's network."""
