"""Workers that were started elsewhere: followed until they end, and who of them is at what."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tombola.core.errors import TombolaError
from tombola.engine.planned import planned
from tombola.engine.progress import Progress
from tombola.engine.study import labels, parts_of, run_study, study_graph
from tombola.store.store import Store
from tombola.studies.base import Study

_LOOK_SECONDS = 2.0


class Workers(Protocol):
    """Workers that were started."""

    count: int

    def running(self) -> int:
        """How many have not ended."""

    def failures(self) -> list[str]:
        """The workers that ended without having done their work: which, and why."""

    def stop(self) -> None:
        """Tell them to stop, and wait until they have kept what they did and given back what they claimed."""


def work_on(study: Study, store: Store, data_dir: Path | None, workers: int) -> None:
    """Be one of several workers on a study: train and evaluate what the store lacks, until nothing is left to do."""
    from tombola.engine.compute import compute

    if type(study).more is not Study.more:  # what is left to do depends on what was found
        run_study(study, store, data_dir, workers=workers)
        return
    parts = parts_of(study, planned(study), store)
    compute(parts.graph, parts.measurements, store, data_dir, Progress(labels(study, parts.rows)), workers)


def follow(workers: Workers, study: Study, store: Store) -> None:
    """Show how far a study is until its workers end. One that ends well has left nothing to do; raises if there is none."""
    wanted, progress = study_graph(study).runs, Progress()

    def left() -> list[str]:
        there = set(store.files.names())
        return [digest for digest in wanted if digest not in there]

    progress.start(dict.fromkeys(left(), 1))
    progress.sharing(workers.count)
    try:
        with progress:
            while workers.running():
                time.sleep(_LOOK_SECONDS)
                progress.remaining(left())
            failures = workers.failures()
            if len(failures) == workers.count:
                raise TombolaError(f"{failures[0]}; mend that, and the same command goes on")
    except BaseException:
        workers.stop()
        raise
    for failure in failures:
        progress.warn(f"{failure}; the others did its work")


def at_work(study: Study, store: Store) -> dict[str, list[str]]:
    """Who works on a store, "host:process", and on what; what is not of the study's first rows is told by its digest."""
    parts = parts_of(study, planned(study), store)
    runs = {digest: f"run {digest}" for digest in parts.runs} | labels(study, parts.rows)
    kept = {one.digest: f"measurement {one.name} {one.digest}" for one in parts.measurements}
    found: dict[str, list[str]] = {}
    for files, names, kind in ((store.files, runs, "run"), (store.measurements.files, kept, "measurement")):
        for digest, holder in files.holders(files.work().claimed).items():
            found.setdefault(holder, []).append(names.get(digest, f"{kind} {digest}"))
    return {holder: sorted(what) for holder, what in sorted(found.items())}


def last_line(log: Path) -> str:
    """The last line that a worker said."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1].removeprefix("tombola: ") if lines else "it said nothing"


def failed(codes: Sequence[int | None], logs: Sequence[Path]) -> list[str]:
    """What to say of workers by their exit codes, None of one that is lost, and what they wrote."""
    how = lambda code: "was lost" if code is None else f"was ended by signal {-code}" if code < 0 else "failed"  # noqa: E731
    return [
        f"worker {index} of {len(codes)} {how(code)} ({last_line(log)}; see {log})"
        for index, (code, log) in enumerate(zip(codes, logs, strict=True), 1)
        if code != 0
    ]
