"""From a study to its tables: carry its runs out, measure each, judge the claims."""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.trees import Tree
from tombola.engine import provenance
from tombola.engine.carry_out import Engine
from tombola.engine.graph import Graph, graph
from tombola.engine.progress import Progress, duration
from tombola.engine.starts import source
from tombola.procedures.run import Run
from tombola.store.store import Damaged, Record, Store
from tombola.studies.base import COLUMNS, Findings, Result, Study

if TYPE_CHECKING:
    import pandas as pd


def study_graph(study: Study) -> Graph:
    """All runs of a study, with what it wants of each."""
    return graph([cell.run for cell in study.cells], {run.digest: [Step(step) for step in steps] for run, steps in study.keep.items()})


def labels(study: Study) -> dict[str, str]:
    """Digest -> what the run is called while it trains."""
    return {
        cell.run.digest: f"level {cell.level}, {study.arms.get(cell.arm, cell.arm)}, replicate {cell.replicate}"
        for cell in reversed(study.cells)
    }


def run_study(study: Study, store: Store, data_dir: Path | None = None, quiet: bool = False) -> Findings:
    """Train what the store lacks, then measure. Tables are bitwise the same however often that was interrupted."""
    engine = Engine(study_graph(study), store, data_dir, Progress(labels(study), quiet=quiet))
    while True:
        engine.carry_out()
        try:
            return findings(study, store, data_dir)
        except Damaged as damage:
            engine.recompute(damage.record, damage.name)


def findings(study: Study, store: Store, data_dir: Path | None = None) -> Findings:
    """The tables of a study whose runs are all in the store. Raises if some are not."""
    runs = study_graph(study).runs
    missing = [digest for digest in runs if digest not in store]
    if missing:
        raise TombolaError(
            f"{study.name}: {len(missing)} of {len(runs)} runs are not in store {str(store.folder)!r}; "
            f"`tombola run {study.name}` with the same options trains them"
        )
    records = {run: store.get(digest) for digest, run in runs.items()}

    @lru_cache(maxsize=8)  # of all runs together: a study may look at thousands
    def weights(run: Run, what: str) -> Tree:
        return source(run, what, store, data_dir)

    results = {run: _result(record, partial(weights, run)) for run, record in records.items()}
    table = measure(study, results)
    details = study.details(results) if study.details else {}
    made = _provenance(study, list(records.values()))
    return Findings(study, table, _curves(study, results), study.claims(table), made, details)


def measure(study: Study, results: Mapping[Run, Result]) -> "pd.DataFrame":
    """The study's table."""
    import pandas as pd

    rows = []
    for cell in study.cells:
        where = (study.name, cell.run.task.name, cell.variant, cell.arm, cell.replicate, cell.level, results[cell.run].summary["density"])
        found = study.measure(cell, results)
        for row in found if isinstance(found, list) else [found]:
            rows.append({**dict(zip(COLUMNS, where, strict=True)), **row})
    return pd.DataFrame(rows, columns=[*COLUMNS, *study.metrics])


def _curves(study: Study, results: Mapping[Run, Result]) -> "pd.DataFrame":
    import pandas as pd

    frames = []
    for cell in study.cells:
        metrics = results[cell.run].metrics
        where = {"variant": cell.variant, "arm": cell.arm, "replicate": cell.replicate, "level": cell.level, "draw": cell.draw}
        frames.append(pd.DataFrame({**where, "density": results[cell.run].summary["density"], **metrics}))
    curves = pd.concat(frames, ignore_index=True)
    return curves.astype({"step": int})


def _result(record: Record, weights: Callable[[str], Tree]) -> Result:
    summary = {name: np.nan if value is None else value for name, value in record.json("summary").items()}

    return Result(record.metrics(), summary, weights)


def _provenance(study: Study, records: list[Record]) -> dict[str, str]:
    made = [record.json("made") for record in records]
    several = lambda values: "; ".join(dict.fromkeys(values))  # noqa: E731
    seconds = sum(one["seconds"] / one["trained_together"] for one in made)
    dates = sorted(one["date"] for one in made)
    commands = list(dict.fromkeys(one["command"] for one in made))
    return {
        "command": "\n".join(commands[:3] + ["..."] * (len(commands) > 3)),
        "reported with": provenance.command(),
        "task": study.config.task.name,
        "replicates": str(study.config.replicates),
        "seed": str(study.config.seed),
        "runs": str(len(records)),
        "training time": f"{duration(seconds)} of wall time",
        "trained": dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}",
        "device": several(one["device"] for one in made),
        **{name: several(one["versions"][name] for one in made) for name in made[0]["versions"]},
        "reported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "configuration": study.config.digest,
    }


def study_status(study: Study, store: Store, data_dir: Path | None = None) -> dict[str, int]:
    """Runs of a study: in all, done, in progress (a checkpoint or a live claim), missing."""
    engine = Engine(study_graph(study), store, data_dir)
    done = sum(engine.done(digest) for digest in engine.graph.runs)
    busy = sum(not engine.done(digest) and store.in_progress(digest) for digest in engine.graph.runs)
    return {"runs": len(engine.graph.runs), "done": done, "in progress": busy, "missing": len(engine.graph.runs) - done - busy}
