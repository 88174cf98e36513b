"""Workers that are jobs of Slurm: one array of identical tasks, by Slurm's own tools."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tombola.core.errors import TombolaError, shown

_NOTICE_SECONDS = 60
"""Seconds before the end of its time at which a worker is told to stop."""


def settings_of(given: Sequence[str]) -> dict[str, str]:
    """Options of ``sbatch`` that were given as ``KEY=VALUE``. Raises for what is none."""
    found = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not re.fullmatch(r"[a-z][a-z0-9-]*", key) or not value.isprintable():
            raise TombolaError(f"--set-slurm {shown(one)}: write KEY=VALUE with a long option of sbatch, such as cpus-per-task=4")
        if key == "array":
            raise TombolaError("--set-slurm array=...: --array N says how many workers there are")
        found[key] = value
    return found


def script(arguments: Sequence[str], python: str, array: int, logs: Path, folder: Path, settings: Mapping[str, str]) -> str:
    """An array job of `array` identical workers.

    A task that is preempted or loses its node is put back into the queue, and goes on writing the same log. ``exec`` leaves no shell
    between Slurm and the worker, so that the worker hears its signals.
    """
    options = {
        "job-name": f"tombola-{next((one for one in arguments[1:] if not one.startswith('-')), 'work')}",
        "array": f"0-{array - 1}",
        "requeue": "",
        "open-mode": "append",
        "output": f"{str(logs).replace('%', '%%')}/slurm-%A_%a.log",
        "chdir": str(folder),
        "signal": f"B:TERM@{_NOTICE_SECONDS}",
        **settings,
    }
    lines = [f"#SBATCH --{key}{'=' if value else ''}{shlex.quote(value) if value else ''}" for key, value in options.items()]
    return "\n".join(["#!/bin/sh", *lines, f"exec {shlex.join([python, '-m', 'tombola', *arguments])}", ""])


def send(text: str, logs: Path) -> str:
    """Hand a job to Slurm; its number. Raises in one line with what Slurm says."""
    if shutil.which("sbatch") is None:
        raise TombolaError("there is no `sbatch` here; submit from a machine of a Slurm cluster, or print the job with --dry-run")
    logs.mkdir(parents=True, exist_ok=True)  # Slurm makes none, and would end the job without a word
    done = subprocess.run(["sbatch", "--parsable"], input=text, capture_output=True, text=True)
    if done.returncode:
        raise TombolaError(f"Slurm refused the job: {done.stderr.strip() or 'it does not say why'}")
    return done.stdout.strip().split(";")[0]
