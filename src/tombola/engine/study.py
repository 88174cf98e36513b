"""From a study to its tables: carry its runs out, measure each, judge the claims."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.core.trees import Tree
from tombola.engine import provenance
from tombola.engine.damage import discard
from tombola.engine.graph import Graph, graph
from tombola.engine.horizon import iteration, last_iteration
from tombola.engine.outlines import outline
from tombola.engine.progress import Progress, duration
from tombola.engine.reading import done, source
from tombola.procedures.probe import Probe
from tombola.procedures.run import Run
from tombola.store.store import Damaged, Record, Store
from tombola.studies.base import COLUMNS, Findings, Result, Results, Study

if TYPE_CHECKING:
    import pandas as pd

    from tombola.training.geometry import Geometry

_READ = ("metrics.csv", "summary.json", "made.json")
"""Files of every run from which tables are made."""


class _Parts(NamedTuple):
    """What a study is made of, and where it is if its store has it. Worked out once: there may be thousands."""

    graph: Graph
    probes: dict[Probe, Record]
    runs: dict[str, Record]
    """Digest -> record."""


def _parts(study: Study, store: Store) -> _Parts:
    probes, kept = study_probes(study), store.probes
    found = _graph(study, probes)
    return _Parts(found, {probe: kept.get(probe.digest) for probe in probes}, {digest: store.get(digest) for digest in found.runs})


def study_graph(study: Study) -> Graph:
    """All runs of a study, with what it and its probes want of each."""
    return _graph(study, study_probes(study))


def _graph(study: Study, probes: list[Probe]) -> Graph:
    keep: dict[str, set[Step]] = {run.digest: {Step(step) for step in steps} for run, steps in study.keep.items()}
    parents = [parent for probe in probes for parent in probe.parents()]
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
        try:
            found = _parts(study, store)
            if not _finished(found, store, data_dir):
                _compute(found, store, data_dir, progress)
                found = _parts(study, store)  # records keep what they have read
            results = _results(study, found, store, data_dir)
            grown = _grown(study, results)
            if grown is None:
                return _findings(study, results, found)
            study = grown
        except Damaged as damage:
            discard(damage.record, damage.name, progress)


def _finished(found: _Parts, store: Store, data_dir: Path | None) -> bool:
    """Whether nothing is left to compute: then JAX, which takes a second to load, is not asked for, and no network is built.

    Files that `_results` reads are checked there.
    """
    return (
        not _lacking(found)
        and all(done(found.graph, digest, store, data_dir) for digest in found.runs)
        and not any(record.damaged(but=_READ) for record in found.runs.values())
    )


def _lacking(found: _Parts) -> str:
    """What of a study its store lacks, in words; empty if nothing."""
    missing = sum(not record.exists() for record in found.runs.values())
    if missing:
        return f"{missing} of {len(found.runs)} runs are"
    return "" if all(record.exists() for record in found.probes.values()) else f"some of {len(found.probes)} probes are"


def _compute(found: _Parts, store: Store, data_dir: Path | None, progress: Progress) -> None:
    from tombola.engine.carry_out import Engine
    from tombola.engine.probing import carry_out_probes, rehearse_probes

    engine = Engine(found.graph, store, data_dir, progress)
    rehearse_probes(found.probes, data_dir)
    engine.carry_out()
    carry_out_probes(found.probes, store, data_dir, progress)


def findings(study: Study, store: Store, data_dir: Path | None = None) -> Findings:
    """The tables of a study whose runs and probes are all in the store. Raises if some are not."""
    while True:
        found = _parts(study, store)
        results = _results(study, found, store, data_dir)
        grown = _grown(study, results)
        if grown is None:
            return _findings(study, results, found)
        study = grown


def _findings(study: Study, results: Results, found: _Parts) -> Findings:
    table = measure(study, results)
    details = study.details(results) if study.details else {}
    if taken := {"table", "curves"} & details.keys():
        raise TombolaError(f"{study.name}: no details table may be called {taken.pop()!r}, as a file of every report is; rename it")
    made = _provenance(study, [result.made for result in results.values()], [record.json("made") for record in found.probes.values()])
    return Findings(study, table, _curves(study, results), study.claims(table), made, details)


def _grown(study: Study, results: Results) -> Study | None:
    """The study with the further cells that its results call for; None if it is complete."""
    if study.more is None:
        return None
    there = set(study.cells)
    further = tuple(cell for cell in study.more(results) if cell not in there)
    return replace(study, cells=(*study.cells, *further)) if further else None


def _results(study: Study, parts: _Parts, store: Store, data_dir: Path | None) -> Results:
    if lacking := _lacking(parts):
        raise TombolaError(
            f"{study.name}: {lacking} not in store {str(store.folder)!r}; `tombola run {study.name}` with the same options computes them"
        )

    @lru_cache(maxsize=8)  # of all runs together: a study may look at thousands
    def weights(run: Run, what: str) -> Tree:
        return source(run, what, store, data_dir)

    @cache
    def probed(probe: Probe) -> Tree:
        return parts.probes[probe].found()

    def geometry(task: Task) -> "Geometry":
        from tombola.engine.resolved import resolved

        return resolved(task, data_dir)[0]

    found = {run: _result(run, parts.runs[digest], partial(weights, run), data_dir) for digest, run in parts.graph.runs.items()}
    return Results(found, probed, geometry, parts.probes.keys(), partial(outline, data_dir=data_dir))


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

    found = [results[cell.run] for cell in study.cells]
    lengths = [len(result.metrics["step"]) for result in found]
    where: dict[str, list[Any]] = {
        name: [getattr(cell, name) for cell in study.cells] for name in ("variant", "arm", "replicate", "level", "draw")
    }
    where["density"] = [result.summary["density"] for result in found]
    # A column at once: a frame for each of thousands of runs takes a second.
    columns = {name: np.repeat(np.array(values, object if isinstance(values[0], str) else None), lengths) for name, values in where.items()}
    metrics = {name: np.concatenate([result.metrics[name] for result in found]) for name in found[0].metrics}
    return pd.DataFrame({**columns, **metrics}).astype({"step": int})


def _result(run: Run, record: Record, weights: Callable[[str], Tree], data_dir: Path | None) -> Result:
    summary = {name: np.nan if value is None else value for name, value in record.json("summary").items()}
    made, begin, end = record.json("made"), iteration(run.task, run.begin, data_dir), last_iteration(run.task, data_dir)
    return Result(record.metrics(), summary, weights, begin, end, made["seconds"] / made["trained_together"], made)


def _provenance(study: Study, made: Sequence[Mapping[str, Any]], probes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
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
        "runs": str(len(made)),
        "training time": f"{duration(seconds)} of wall time",
        **({"evaluating probes": f"{duration(sum(one['seconds'] for one in probes))} of wall time"} if probes else {}),
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
        found = _parts(study, store)
        finished = {digest for digest in found.runs if done(found.graph, digest, store, data_dir)}
        unseen = sum(not record.exists() for record in found.probes.values())
        complete = len(finished) == len(found.runs) and not unseen
        grown = _grown(study, _results(study, found, store, data_dir)) if complete else None
        if grown is None:
            break
        study = grown
    busy = sum(digest not in finished and store.in_progress(digest) for digest in found.runs)
    runs = {"runs": len(found.runs), "done": len(finished), "in progress": busy, "missing": len(found.runs) - len(finished) - busy}
    return {**runs, "probes": len(found.probes), "probes missing": unseen}
