"""What of a finished study is shown, and in which order."""

from tombola.studies.base import Findings, Panel


def arms_of(report: Findings) -> dict[str, str]:
    """Arm to label, in the study's order; arms that only the table has come last, under their own names."""
    return {**report.study.arms, **{arm: arm for arm in report.table.arm.unique() if arm not in report.study.arms}}


def panels_of(report: Findings, main: bool = False) -> list[Panel]:
    """The panels that show the table against density, each metric once; `main`: those of the first figure only."""
    figures = [figure for figure in report.study.figures if figure.kind == "density"]
    panels: dict[str, Panel] = {}
    for figure in figures[:1] if main else figures:
        for panel in figure.panels:
            panels.setdefault(panel.metric, panel)
    return list(panels.values())
