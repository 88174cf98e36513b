"""What a finished study has to show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tombola.evaluation.verdict import Verdict
from tombola.studies.base import Panel, Study

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Report:
    """A study, what it measured, what that says of its claims, and where it comes from."""

    study: Study
    table: "pd.DataFrame"
    """One row per arm, replicate, level and draw: study, task, arm, replicate, level, density, then the study's
    metrics. Columns `kept` and `prunable`, where there are any, are shown beside the density."""
    curves: "pd.DataFrame"
    """One row per arm, replicate, level, draw and step: density and metrics; NaN where nothing was measured."""
    verdicts: list[Verdict]
    provenance: Mapping[str, str]
    """Printed as it comes: command, device, versions, ..."""


def arms_of(report: Report) -> dict[str, str]:
    """Arm to label, in the study's order; arms that only the table has come last, under their own names."""
    return {**report.study.arms, **{arm: arm for arm in report.table.arm.unique() if arm not in report.study.arms}}


def panels_of(report: Report, main: bool = False) -> list[Panel]:
    """The panels that show the table against density, each metric once; `main`: those of the first figure only."""
    figures = [figure for figure in report.study.figures if figure.kind == "density"]
    panels: dict[str, Panel] = {}
    for figure in figures[:1] if main else figures:
        for panel in figure.panels:
            panels.setdefault(panel.metric, panel)
    return list(panels.values())
