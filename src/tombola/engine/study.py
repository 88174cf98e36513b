"""The way from a study to its tables: carry its runs out, measure each, judge the claims."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tombola.core.errors import TombolaError, unknown
from tombola.core.step import Step
from tombola.engine.damage import discard
from tombola.engine.graph import Graph, graph
from tombola.engine.planned import blaming, drawable, planned
from tombola.engine.progress import Progress
from tombola.engine.reading import done, stored_results
from tombola.engine.study_files import written
from tombola.engine.tables import Measured, curves, made_by, measured_rows, table_of
from tombola.procedures.measurement import Measurement
from tombola.store.places import Place, note
from tombola.store.store import Damaged, Record, Store
from tombola.studies.base import Findings, Row, Study
from tombola.studies.results import Results
from tombola.studies.wording import Wording

if TYPE_CHECKING:
    import pandas as pd

_READ = ("metrics.csv", "summary.json", "made.json")
"""Files of every run from which tables are made."""


class Lacking(TombolaError):
    """The store has not all of a study."""

    def __init__(self, study: Study, store: Store, lacking: str) -> None:
        """`lacking`: what it has not, in words: "12 of 54 runs are"."""
        self.lacking = lacking
        self.nothing_there = lacking.split()[0] == lacking.split()[2]
        remedy = f"`tombola run {study.name}` with the same options computes them"
        super().__init__(f"{study.name}: {lacking} not in store {str(store.folder)!r}; {remedy}")


class Parts(NamedTuple):
    """What a study is made of, and where it is if its store has it. Worked out once: there may be thousands."""

    rows: tuple[Row, ...]
    graph: Graph
    measurements: dict[Measurement, Record]
    runs: dict[str, Record]
    """Digest -> record."""


def parts_of(study: Study, rows: tuple[Row, ...], store: Store, keep: Sequence[str] = ()) -> Parts:
    """The parts of a study with these rows; `keep`: arms whose weights at the end are wanted."""
    measurements, kept = _measurements(study, rows), store.measurements
    found = _graph(study, rows, measurements, keep)
    return Parts(
        rows,
        found,
        {measurement: kept.get(measurement.digest) for measurement in measurements},
        {digest: store.get(digest) for digest in found.runs},
    )


def study_graph(study: Study) -> Graph:
    """All runs of a study, with what it and its measurements want of each."""
    rows = planned(study)
    return _graph(study, rows, _measurements(study, rows))


def study_measurements(study: Study) -> list[Measurement]:
    """All measurements of a study, each once."""
    return _measurements(study, planned(study))


def _graph(study: Study, rows: Sequence[Row], measurements: list[Measurement], keep: Sequence[str] = ()) -> Graph:
    """The graph of runs, with the end weights of the arms in `keep`; those of the first arm are kept where they are trained anyway."""
    steps = {run.digest: [Step(step) for step in steps] for run, steps in study.keep(rows).items()}
    ends: dict[str, set[str]] = {}
    for row in rows:
        ends.setdefault(row.arm, set()).add(row.run.digest)
    for arm in keep:
        if arm not in ends:
            raise unknown("arm", arm, ends)
        steps |= {digest: [*steps.get(digest, ()), Step("end")] for digest in ends[arm]}
    found = graph([row.run for row in rows], steps, measurements)
    found.ends |= next((ends[arm] for arm in study.arms if arm in ends), ends[rows[0].arm])
    return found


def _note(study: Study, found: Parts, store: Store) -> None:
    """Note in the store the places of its runs in the study, if it has some: they are found by these."""
    if not any(record.exists() for record in found.runs.values()):
        return
    places = [Place(row.run.digest, row.variant, row.arm, row.level, row.replicate, row.draw) for row in found.rows]
    without = found.graph.runs.keys() - {place.run for place in places}
    note(store, study.name, study.task.name, study.digest, [*places, *map(Place, sorted(without))], written(study))


def _measurements(study: Study, rows: Sequence[Row]) -> list[Measurement]:
    return list(dict.fromkeys([*(row.measurement for row in rows if row.measurement is not None), *study.measurements()]))


def with_foreseen(study: Study, rows: Sequence[Row]) -> tuple[Graph, list[Measurement]]:
    """All runs and measurements of a study's rows, and of those that may follow from its results."""
    with blaming(study, "foreseen"):
        rows = (*rows, *study.foreseen(rows))
    measurements = _measurements(study, rows)
    return _graph(study, rows, measurements), measurements


def labels(study: Study, rows: Sequence[Row]) -> dict[str, str]:
    """Digest -> what the run is called while it trains."""
    return {row.run.digest: f"level {row.level}, {study.arms.get(row.arm, row.arm)}, replicate {row.replicate}" for row in reversed(rows)}


def run_study(
    study: Study, store: Store, data_dir: Path | None = None, quiet: bool = False, keep: Sequence[str] = (), workers: int = 1
) -> Findings:
    """Train and evaluate what the store lacks, then measure. Tables are bitwise the same however often that was interrupted, and by
    how many processes it was shared.

    Args:
        keep: arms whose weights at the end of training are to be in the store; runs that are there without are trained again.
        workers: processes that share the study, this one among them.
    """
    rows = planned(study)
    while True:
        progress = Progress(labels(study, rows), quiet=quiet)
        try:
            found = parts_of(study, rows, store, keep)
            _note(study, found, store)
            if not _finished(found, store, data_dir):
                from tombola.engine.compute import compute

                compute(found.graph, found.measurements, store, data_dir, progress, workers)
                found = parts_of(study, rows, store, keep)  # records keep what they have read
                _note(study, found, store)
            results = _results(study, found, store, data_dir)
            further = _further(study, rows, results)
            if not further:
                return _findings(study, results, found)
            rows += further
        except Damaged as damage:
            discard(damage.record, damage.name, progress)


def _finished(found: Parts, store: Store, data_dir: Path | None) -> bool:
    """Whether nothing is left to compute: then JAX, which takes a second to load, is not asked for, and no network is built.

    Files that `_results` reads are checked there.
    """
    return (
        not lacking(found)
        and all(done(found.graph, digest, store, data_dir) for digest in found.runs)
        and not any(record.damaged(but=_READ) for record in found.runs.values())
    )


def lacking(found: Parts) -> str:
    """What of a study its store lacks, in words; empty if nothing."""
    missing = sum(not record.exists() for record in found.runs.values())
    if missing:
        return f"{missing} of {len(found.runs)} runs are"
    return "" if all(record.exists() for record in found.measurements.values()) else f"some of {len(found.measurements)} measurements are"


def followed(study: Study, store: Store, data_dir: Path | None = None) -> tuple[Parts, Results | None]:
    """The parts of a study, with the further rows that its results so far call for; and its results, if those had to be looked at."""
    rows = planned(study)
    while True:
        found = parts_of(study, rows, store)
        if lacking(found) or type(study).more is Study.more:
            return found, None
        results = _results(study, found, store, data_dir)
        further = _further(study, rows, results)
        if not further:
            return found, results
        rows += further


def findings(study: Study, store: Store, data_dir: Path | None = None) -> Findings:
    """The tables of a study whose runs and measurements are all in the store. Raises if some are not."""
    found, results = followed(study, store, data_dir)
    return _findings(study, results or _results(study, found, store, data_dir), found)


def findings_so_far(study: Study, store: Store, data_dir: Path | None = None) -> tuple[Findings | None, str]:
    """The tables of those rows whose runs and measurements are in the store, and how far that is: "12 of 54 runs".

    None where no row can be measured yet. Tables that need all runs (details) are left out, with the figures that draw them. When all
    is there, these are the study's findings, and the text is "".
    """
    whole, results = followed(study, store, data_dir)
    if not lacking(whole):
        return _findings(study, results or _results(study, whole, store, data_dir), whole), ""
    there = {digest: record for digest, record in whole.runs.items() if record.exists()}
    evaluated = {measurement: record for measurement, record in whole.measurements.items() if record.exists()}
    trained = len(there) == len(whole.runs)
    how_far = f"{len(there)} of {len(whole.runs)} runs" + f" and {len(evaluated)} of {len(whole.measurements)} measurements" * trained
    done_rows = tuple(row for row in whole.rows if row.run.digest in there and (row.measurement is None or row.measurement in evaluated))
    found = Parts(done_rows, Graph({digest: whole.graph.runs[digest] for digest in there}), evaluated, there)
    results = _results(study, found, store, data_dir)
    measured = []
    for row in done_rows:
        with blaming(study, "measure"), suppress(KeyError):  # of a run or measurement that is not there yet
            measured.append((row, study.measure(row, results)))
    if not measured:
        return None, how_far
    of = {row.run: results[row.run] for row, _ in measured}
    return replace(_judged(study, measured, results, [result.made for result in of.values()]), so_far=how_far), how_far


def _findings(study: Study, results: Results, found: Parts) -> Findings:
    measured = measured_rows(study, found.rows, results)
    with blaming(study, "figures"):
        drawn = {figure.detail for figure in study.figures()}
    with blaming(study, "details"):
        details = Wording(study.task, study.learns).frames(study.details(results), drawn)
    if taken := {"table", "curves"} & details.keys():
        raise TombolaError(f"{study.name}: no details table may be called {taken.pop()!r}, as a file of every report is; rename it")
    evaluated = [record.json("made") for record in found.measurements.values()]
    return _judged(study, measured, results, [result.made for result in results.values()], evaluated, details)


def _judged(
    study: Study,
    measured: Measured,
    results: Results,
    trained: Sequence[Any],
    evaluated: Sequence[Any] = (),
    details: "Mapping[str, pd.DataFrame] | None" = None,
) -> Findings:
    """What rows come to. Without `details` the figures that draw them are left out."""
    words, table = Wording(study.task, study.learns), table_of(study, measured, results)
    by_step = curves([row for row, _ in measured], results)
    with blaming(study, "figures"):
        figures = tuple(one for one in words.figures(study.figures()) if details is not None or not one.detail)
    drawable(figures, {"table": table, "curves": by_step, **(details or {})})
    with blaming(study, "claims"):
        verdicts = study.judge(table)
    made = made_by(study, trained, evaluated)
    return Findings(study, words.columns(study.columns), figures, table, by_step, verdicts, made, details or {})


def _further(study: Study, rows: Sequence[Row], results: Results) -> tuple[Row, ...]:
    """The further rows that the results so far call for; none if the study is complete."""
    there = set(rows)
    return tuple(row for row in study.more(rows, results) if row not in there)


def _results(study: Study, parts: Parts, store: Store, data_dir: Path | None) -> Results:
    if less := lacking(parts):
        raise Lacking(study, store, less)
    return stored_results(parts.graph, parts.runs, parts.measurements, store, data_dir)
