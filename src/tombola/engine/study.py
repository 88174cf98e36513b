"""From a study to its tables: carry its runs out, measure each, judge the claims."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.core.trees import Tree
from tombola.engine import provenance
from tombola.engine.carry_out import Engine
from tombola.engine.graph import Graph, graph
from tombola.engine.probing import carry_out_probes, rehearse_probes
from tombola.engine.progress import Progress, duration
from tombola.engine.starts import resolved, source
from tombola.procedures.probe import Probe
from tombola.procedures.run import Run
from tombola.store.store import Damaged, Record, Store
from tombola.studies.base import COLUMNS, Findings, Result, Results, Study

if TYPE_CHECKING:
    import pandas as pd

    from tombola.training.program import Geometry


def study_graph(study: Study) -> Graph:
    """All runs of a study, with what it and its probes want of each."""
    keep: dict[str, set[Step]] = {run.digest: {Step(step) for step in steps} for run, steps in study.keep.items()}
    parents = [parent for probe in study_probes(study) for parent in probe.parents()]
    for parent in parents:
        if parent.what != "mask":
            keep.setdefault(parent.run.digest, set()).add(Step(parent.what))
    return graph([*(cell.run for cell in study.cells), *(parent.run for parent in parents)], keep)


def study_probes(study: Study) -> list[Probe]:
    """All probes of a study, each once."""
    return list(dict.fromkeys([*(cell.probe for cell in study.cells if cell.probe is not None), *study.probes]))


def labels(study: Study) -> dict[str, str]:
    """Digest -> what the run is called while it trains."""
    return {
        cell.run.digest: f"level {cell.level}, {study.arms.get(cell.arm, cell.arm)}, replicate {cell.replicate}"
        for cell in reversed(study.cells)
    }


def run_study(study: Study, store: Store, data_dir: Path | None = None, quiet: bool = False) -> Findings:
    """Train and evaluate what the store lacks, then measure. Tables are bitwise the same however often that was interrupted."""
    while True:
        progress = Progress(labels(study), quiet=quiet)
        engine = Engine(study_graph(study), store, data_dir, progress)
        rehearse_probes(study_probes(study), data_dir)
        engine.carry_out()
        try:
            carry_out_probes(study_probes(study), store, data_dir, progress)
            results = _results(study, store, data_dir)
            grown = _grown(study, results)
            if grown is None:
                return _findings(study, results, store)
            study = grown
        except Damaged as damage:
            engine.recompute(damage.record, damage.name)


def findings(study: Study, store: Store, data_dir: Path | None = None) -> Findings:
    """The tables of a study whose runs and probes are all in the store. Raises if some are not."""
    results = _results(study, store, data_dir)
    while (grown := _grown(study, results)) is not None:
        study = grown
        results = _results(study, store, data_dir)
    return _findings(study, results, store)


def _findings(study: Study, results: Results, store: Store) -> Findings:
    table = measure(study, results)
    details = study.details(results) if study.details else {}
    if taken := {"table", "curves"} & details.keys():
        raise TombolaError(f"{study.name}: no details table may be called {taken.pop()!r}, as a file of every report is; rename it")
    made = _provenance(study, [store.get(run.digest) for run in results], [store.probes.get(probe.digest) for probe in study_probes(study)])
    return Findings(study, table, _curves(study, results), study.claims(table), made, details)


def _grown(study: Study, results: Results) -> Study | None:
    """The study with the further cells that its results call for; None if it is complete."""
    there = set(study.cells)
    further = tuple(cell for cell in study.more(results) if cell not in there) if study.more else ()
    return replace(study, cells=(*study.cells, *further)) if further else None


def _results(study: Study, store: Store, data_dir: Path | None) -> Results:
    runs, probes = study_graph(study).runs, study_probes(study)
    missing = [digest for digest in runs if digest not in store]
    if missing or any(probe.digest not in store.probes for probe in probes):
        lacking = f"{len(missing)} of {len(runs)} runs are" if missing else f"some of {len(probes)} probes are"
        raise TombolaError(
            f"{study.name}: {lacking} not in store {str(store.folder)!r}; `tombola run {study.name}` with the same options computes them"
        )
    records = {run: store.get(digest) for digest, run in runs.items()}

    @lru_cache(maxsize=8)  # of all runs together: a study may look at thousands
    def weights(run: Run, what: str) -> Tree:
        return source(run, what, store, data_dir)

    @cache
    def probed(probe: Probe) -> Tree:
        return store.probes.get(probe.digest).found()

    def geometry(task: Task) -> "Geometry":
        return resolved(task, data_dir)[0]

    found = {run: _result(run, record, partial(weights, run), data_dir) for run, record in records.items()}
    return Results(found, probed, geometry, frozenset(probes))


def measure(study: Study, results: Results) -> "pd.DataFrame":
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


def _result(run: Run, record: Record, weights: Callable[[str], Tree], data_dir: Path | None) -> Result:
    summary = {name: np.nan if value is None else value for name, value in record.json("summary").items()}
    (found, end), made = resolved(run.task, data_dir), record.json("made")
    begin, seconds = run.begin.iterations(found.steps_per_epoch, end), made["seconds"] / made["trained_together"]
    return Result(record.metrics(), summary, weights, begin, end, seconds)


def _provenance(study: Study, records: list[Record], probes: list[Record]) -> dict[str, str]:
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
        **({"evaluating probes": f"{duration(sum(one.json('made')['seconds'] for one in probes))} of wall time"} if probes else {}),
        "trained": dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}",
        "device": several(one["device"] for one in made),
        **{name: several(one["versions"][name] for one in made) for name in made[0]["versions"]},
        "reported": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "configuration": study.config.digest,
    }


def study_status(study: Study, store: Store, data_dir: Path | None = None) -> dict[str, int]:
    """Runs of a study, as far as its results call for them: in all, done, in progress (a checkpoint or a live claim), missing;
    and its probes, in all and missing.
    """
    while True:
        engine, probes = Engine(study_graph(study), store, data_dir), study_probes(study)
        done = sum(engine.done(digest) for digest in engine.graph.runs)
        unseen = sum(probe.digest not in store.probes for probe in probes)
        complete = done == len(engine.graph.runs) and not unseen
        grown = _grown(study, _results(study, store, data_dir)) if complete else None
        if grown is None:
            break
        study = grown
    busy = sum(not engine.done(digest) and store.in_progress(digest) for digest in engine.graph.runs)
    found = {"runs": len(engine.graph.runs), "done": done, "in progress": busy, "missing": len(engine.graph.runs) - done - busy}
    return {**found, "probes": len(probes), "probes missing": unseen}
