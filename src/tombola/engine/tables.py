"""The tables of a study whose results are there."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.core.errors import TombolaError, shown
from tombola.engine import provenance
from tombola.engine.planned import blaming, ours
from tombola.engine.progress import duration
from tombola.procedures.run import Run
from tombola.studies.base import COLUMNS, Row, Study, Values
from tombola.studies.results import Result, Results
from tombola.studies.wording import Wording

if TYPE_CHECKING:
    import pandas as pd


Measured = Sequence[tuple[Row, Values | list[Values]]]
"""Rows with what was measured of each: one row of the table, or several."""


def measured_rows(study: Study, rows: Sequence[Row], results: Results) -> Measured:
    """The rows with what the study measures of each."""
    with blaming(study, "measure"):
        return [(row, study.measure(row, results)) for row in rows]


def table_of(study: Study, measured: Measured, results: Results) -> "pd.DataFrame":
    """The study's table."""
    import pandas as pd

    lines, words, known = [], Wording(study.task, study.learns), {*COLUMNS, *study.columns}
    columns, fields = words.columns(study.columns), list[str]()
    told = [name for name in ("kept", "prunable", "draw") if name in study.columns]
    with blaming(study, "varied"):
        varied = [study.varied(row) for row, _ in measured]
    for (row, found), own in zip(measured, varied, strict=True):
        run = results[row.run].summary["density"], row.run.digest
        where = dict(zip(COLUMNS, (study.name, row.run.task.name, row.variant, row.arm, row.replicate, row.level, *run), strict=True))
        where |= {f"sweep {key}" if key in (*COLUMNS, *columns) else key: value for key, value in own.items()}
        fields = list(where)[len(COLUMNS) :]
        where |= {name: row.draw if name == "draw" else results[row.run].summary[name] for name in told}
        for values in found if isinstance(found, list) else [found]:
            if not isinstance(values, Mapping):
                raise TombolaError(
                    f"study {study.name!r}: `measure` returns {shown(values)}; let it return column -> value, or a list of such"
                )
            if (unknown := [name for name in values if name not in known]) and not ours(study):  # ours share what they measure
                raise TombolaError(
                    f"study {study.name!r}: `measure` returns {unknown[0]!r}, which is not among its `columns`; add it there"
                )
            lines.append({**where, **words.values(values)})
    return pd.DataFrame(lines, columns=[*dict.fromkeys([*COLUMNS, *fields, *columns])])


def curves(rows: Sequence[Row], results: Mapping[Run, Result]) -> "pd.DataFrame":
    """Metrics by step of the rows' runs."""
    import pandas as pd

    found = [results[row.run] for row in rows]
    lengths = [len(result.metrics["step"]) for result in found]
    where: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in ("variant", "arm", "replicate", "level", "draw")}
    where["density"] = [result.summary["density"] for result in found]
    # A column at once: a frame for each of thousands of runs takes a second.
    columns = {name: np.repeat(np.array(values, object if isinstance(values[0], str) else None), lengths) for name, values in where.items()}
    names = dict.fromkeys(name for result in found for name in result.metrics if name != "density")  # tasks may learn different things
    whole = list(zip(found, lengths, strict=True))
    metrics = {name: np.concatenate([one.metrics.get(name, np.full(n, np.nan)) for one, n in whole]) for name in names}
    if any("density" in result.metrics for result in found):  # of a mask that moves, by step
        metrics["density"] = np.concatenate([one.metrics.get("density", np.full(n, one.summary["density"])) for one, n in whole])
    if any("detected" in result.summary for result in found):  # by a detector of the stable phase
        metrics["detected"] = np.repeat([result.summary.get("detected", np.nan) for result in found], lengths)
    return pd.DataFrame({**columns, **metrics}).astype({"step": int})


def made_by(study: Study, made: Sequence[Mapping[str, Any]], measurements: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What made a study's runs and measurements, from what is stored with each."""
    several = lambda values: "; ".join(dict.fromkeys(values))  # noqa: E731
    seconds = sum(one["seconds"] / one["trained_together"] for one in made)
    dates = sorted(one["date"] for one in made)
    now, commands = provenance.command(), Counter((one["command"], one["versions"]["tombola"]) for one in made)
    ours = [command for command, _ in commands if study.name in command.split() and "run" in command.split()]
    own = now if now.startswith("tombola run") or not ours else ours[-1]
    others = [f"{count} by tombola {version}: {command}" for (command, version), count in commands.items() if command != own]
    return {
        "command": own,
        **({"reported with": now} if now != own else {}),
        **({"runs of other commands": "; ".join(others[:5] + ["..."] * (len(others) > 5))} if others else {}),
        "task": study.task.name,
        "replicates": str(study.replicates),
        "seed": str(study.seed),
        "runs": str(len(made)),
        "training time": f"{duration(seconds)} of wall time",
        **({"evaluating measurements": f"{duration(sum(one['seconds'] for one in measurements))} of wall time"} if measurements else {}),
        "trained": dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}",
        "device": several(one["device"] for one in made),
        **{name: several(one["versions"][name] for one in made) for name in made[0]["versions"]},
        "reported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "configuration": study.digest,
    }
