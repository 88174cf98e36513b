"""The data dictionary: what each column of a report's tables holds."""

import re
from typing import TYPE_CHECKING

from tombola.report.result import plain
from tombola.studies.base import Findings
from tombola.studies.columns import MEANINGS, OF_DETAILS
from tombola.studies.figure import Panel
from tombola.studies.wording import Wording

if TYPE_CHECKING:
    import pandas as pd


def dictionary(report: Findings) -> "pd.DataFrame":
    """Columns file, column, unit and meaning, a row for each column of each table."""
    import pandas as pd

    panels = {panel.metric: panel for figure in report.figures for panel in (*figure.panels, figure.across) if panel is not None}
    own = {Wording(report.study.task, report.study.learns).columns([name])[0]: said for name, said in MEANINGS.items()}
    own |= dict.fromkeys(getattr(report.study, "swept", ()), ("", "field of the configuration that differs between settings"))
    frames = {"table": report.table, "curves": report.curves, **report.details}
    rows = []
    for file, frame in frames.items():
        known = {} if file == "curves" else {name: _of_panel(panel) for name, panel in panels.items()}
        known = {**own, **known, **({"table": report.study.meanings, "curves": _of_curves(report)}.get(file, OF_DETAILS))}
        for name in frame.columns:
            unit, meaning = known.get(name, ("", "of this study's own making"))
            rows.append((f"{file}.csv", str(name), unit, plain(meaning)))
    return pd.DataFrame(rows, columns=["file", "column", "unit", "meaning"])


def _of_panel(panel: Panel) -> tuple[str, str]:
    """Unit and meaning of what a panel shows, by the label of its axis; the table has it before it is scaled."""
    match = re.fullmatch(r"(.*?)(?: \(([^()]*)\))?", panel.label)
    meaning, unit = (match[1], match[2] or "") if match else (panel.label, "")
    return ("share, of 1" if unit in ("%", "pp") else unit) if panel.scale == 100 else unit, meaning


def _of_curves(report: Findings) -> dict[str, tuple[str, str]]:
    """What is measured by step, in the words of the objective."""
    objective = report.study.task.objective
    measured = [(one.in_curves, one.unit) for one in objective.measured.values()]
    parts = {"val": "on the validation set", "test": "on the test set; nan where it was not tested"}
    found = {
        f"{part}_{name}": ("share, of 1" if unit == "%" else unit, f"{title} {where}")
        for part, where in parts.items()
        for name, (title, unit) in zip(objective.columns, [("loss", ""), *measured], strict=True)
    }
    return {**MEANINGS, "step": ("iterations", "iteration of training"), **found}
