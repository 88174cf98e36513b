"""Studies are written in the words of classification; on a task with another objective they say its own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tombola.core.objective import Objective, find_objective
from tombola.evaluation.verdict import Verdict
from tombola.studies.base import Cell, Figure, Panel, Results, Row, Study

if TYPE_CHECKING:
    import pandas as pd


def worded(study: Study, claim_ids: Sequence[str]) -> Study:
    """The study with columns, labels and units of its task's objective, and without figures by class where there are no classes.

    Its claims are about accuracy, so under another headline none is judged.
    """
    objective, written = study.config.task.objective, find_objective("classification")()
    if objective.headline == written.headline:
        return study

    def measure(cell: Cell, results: Results) -> "Row | list[Row]":
        found = study.measure(cell, results)
        return [_renamed(row, objective) for row in found] if isinstance(found, list) else _renamed(found, objective)

    def details(results: Results) -> "dict[str, pd.DataFrame]":
        assert study.details is not None
        return {name: frame.rename(columns=lambda one: _column(one, objective)) for name, frame in study.details(results).items()}

    def claims(table: "pd.DataFrame") -> list[Verdict]:
        note = f"This claim is about classification; the task learns {objective.name}, so it is not judged."
        return [Verdict(claim, note, study.name, ()) for claim in claim_ids]

    return replace(
        study,
        metrics=tuple(_column(name, objective) for name in study.metrics),
        measure=measure,
        details=study.details and details,
        claims=claims,
        figures=tuple(_figure(figure, objective) for figure in study.figures if figure.detail != "classes"),
    )


def _column(name: str, objective: Objective) -> str:
    """``acc_es`` -> ``mse_es``."""
    return "_".join(objective.columns[1] if part == "acc" else part for part in name.split("_"))


def _renamed(row: Mapping[str, Any], objective: Objective) -> Row:
    return {_column(name, objective): value for name, value in row.items()}


def _said(text: str, objective: Objective) -> str:
    title = objective.headline.title
    text = text.replace("predictions that differ", f"{title} between predictions")
    return re.sub(r"accuracy|(?<!squared )(?<!absolute )\berror", title, text).replace("Accuracy", title.capitalize())


def _panel(panel: Panel, objective: Objective) -> Panel:
    if "(nats)" in panel.label:  # of the loss
        return replace(panel, label=panel.label.removesuffix(" (nats)"))
    if not re.search(r"accuracy|error|barrier|predictions that differ", panel.label):
        return replace(panel, metric=_column(panel.metric, objective))
    shown = objective.headline
    label = re.sub(r" \((%|pp)\)", f" ({shown.unit})" if shown.unit else "", panel.label)
    return replace(panel, metric=_column(panel.metric, objective), label=_said(label, objective), scale=shown.factor, threshold=None)


def _figure(figure: Figure, objective: Objective) -> Figure:
    panels = tuple(_panel(panel, objective) for panel in figure.panels)
    across = figure.across and _panel(figure.across, objective)
    return replace(figure, title=_said(figure.title, objective), caption=_said(figure.caption, objective), panels=panels, across=across)
