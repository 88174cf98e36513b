"""Verbs of several workers on one store: being one, and sending some to a cluster."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tombola.commands.configured import resolved
from tombola.commands.printing import printed
from tombola.store.store import Store


def work(studies: Sequence[str], store: Path, data_dir: Path | None, workers: int, **options: Any) -> None:
    """Be one of several workers on studies, one after the other."""
    from tombola.engine.runners.workers import work_on

    for study in [resolved(name, options, data_dir) for name in studies]:
        work_on(study, Store(store), data_dir, workers)


def submit(
    studies: Sequence[str],
    store: Path,
    data_dir: Path | None,
    json: bool,
    array: int,
    dry_run: bool,
    slurm: bool,
    set_slurm: Sequence[str],
    time: str | None,
    partition: str | None,
    **options: Any,
) -> None:
    """Send workers on studies to a cluster."""
    from tombola.engine.runners.slurm import script, send, settings_of
    from tombola.engine.runners.starting import work_arguments

    for name in studies:
        resolved(name, options, data_dir)  # what is wrong is said here, not in a log
    named = {key: value for key, value in (("time", time), ("partition", partition)) if value is not None}
    logs = (store / "logs").absolute()
    arguments = work_arguments(studies, array, store, data_dir, options)
    text = script(arguments, sys.executable, array, logs, Path.cwd(), {**named, **settings_of(set_slurm)})
    if not json:
        print(text, end="")
    job = None if dry_run else send(text, logs)
    if json:
        return printed({"job": job, "script": text})
    if job is not None:
        workers = f"{array} worker{'s' if array > 1 else ''}"
        print(f"\njob {job} of {workers} is submitted; `tombola status {studies[0]}` with the same options shows who is at what")
