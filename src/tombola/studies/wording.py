"""Studies are written in the words of classification; on a task with another objective they say its own."""

import re
from collections.abc import Container, Sequence
from dataclasses import replace

from tombola.core.objective import Objective, find_objective
from tombola.core.task import Task
from tombola.studies.base import Values
from tombola.studies.figure import Figure, Panel
from tombola.studies.results import Details, Frame
from tombola.studies.shown import framed


class Wording:
    """Columns, labels and units of a study on its task; on what it `learns` they stay as they are written."""

    def __init__(self, task: Task, learns: Sequence[str] = ("classification",)) -> None:
        self.objective = task.objective
        self.as_written = self.objective.headline in [find_objective(name)().headline for name in learns]

    def columns(self, names: Sequence[str]) -> tuple[str, ...]:
        """Columns of the table by their names on this task."""
        return tuple(names) if self.as_written else tuple(_column(name, self.objective) for name in names)

    def values(self, found: Values) -> Values:
        """A row's."""
        return found if self.as_written else {_column(name, self.objective): value for name, value in found.items()}

    def frames(self, details: Details, drawn: Container[str]) -> dict[str, Frame]:
        """Details tables, some of which are drawn."""
        called = (lambda one: one) if self.as_written else (lambda one: _column(one, self.objective))
        return {name: frame.rename(columns=called) for name, frame in framed(details, drawn).items()}

    def figures(self, found: Sequence[Figure]) -> tuple[Figure, ...]:
        """Figures, without those by class where there are no classes."""
        if self.as_written:
            return tuple(found)
        return tuple(_figure(figure, self.objective) for figure in found if figure.detail != "classes" or self.objective.by_class)


def _column(name: str, objective: Objective) -> str:
    """``acc_es`` -> ``mse_es``."""
    return "_".join(objective.columns[1] if part == "acc" else part for part in name.split("_"))


def _said(text: str, objective: Objective) -> str:
    title, accuracy = objective.headline.title, objective.headline.in_curves
    if not objective.by_class:
        text = text.replace("predictions that differ", f"{title} between predictions")
    text = re.sub(r"(?<!squared )(?<!absolute )\berror", title, text.replace("accuracy", accuracy))
    return text.replace("Accuracy", accuracy.capitalize())


def _panel(panel: Panel, objective: Objective) -> Panel:
    if objective.by_class and ("(nats)" in panel.label or "predictions that differ" in panel.label):
        return panel
    if "(nats)" in panel.label:  # of the loss
        return replace(panel, label=panel.label.removesuffix(" (nats)"))
    if not re.search(r"accuracy|error|barrier|predictions that differ", panel.label):
        return replace(panel, metric=_column(panel.metric, objective))
    shown, threshold = objective.headline, panel.threshold if objective.by_class else None
    label = panel.label if objective.by_class else re.sub(r" \((%|pp)\)", f" ({shown.unit})" if shown.unit else "", panel.label)
    return replace(panel, metric=_column(panel.metric, objective), label=_said(label, objective), scale=shown.factor, threshold=threshold)


def _figure(figure: Figure, objective: Objective) -> Figure:
    panels = tuple(_panel(panel, objective) for panel in figure.panels)
    across = figure.across and _panel(figure.across, objective)
    return replace(figure, title=_said(figure.title, objective), caption=_said(figure.caption, objective), panels=panels, across=across)
