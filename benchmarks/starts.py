"""What a process takes that does little: its first training step, --help, a finished study that is run again."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from setting import Effort, show, summary

FIRST_STEP = [sys.executable, str(Path(__file__).parent / "first_step.py")]
TOMBOLA = [sys.executable, "-m", "tombola"]


def starts(spent: Effort, cache: Path) -> dict[str, Any]:
    """Seconds from the start of a process: to the end of its first training step; of --help; of a study that is all stored.

    `cache` has nothing in it yet.
    """
    show("first_step.py")
    seconds = partial(seconds_of, os.environ | {"TOMBOLA_CACHE": str(cache)})  # its own, as compiled programs are deleted
    generate = "from tombola.core.task import Data; from tombola.data.dataset import load; load(Data(name='mnist1d'), None)"
    seconds([sys.executable, "-c", generate])  # once a machine: no part of the start
    cold = []
    for repeat in range(spent.repeats):
        if repeat > 0:
            forget_compiled(cache)
        cold.append(seconds(FIRST_STEP))
    show("tombola run, twice")
    finished = [*TOMBOLA, "run", "frankle2019.sparsity", "--store", str(cache / "runs"), *spent.rerun]
    first = seconds(finished)
    runs = len(list((cache / "runs").glob("*/manifest.json")))
    return {
        "first_step_nothing_compiled": summary(cold),
        "first_step_compiled": summary([seconds(FIRST_STEP) for _ in range(spent.repeats)]),
        "help": summary([seconds([*TOMBOLA, "--help"]) for _ in range(spent.repeats)]),
        "finished_study": {"runs": runs, "first": first, "again": summary([seconds(finished) for _ in range(spent.repeats)])},
    }


def forget_compiled(cache: Path) -> None:
    shutil.rmtree(cache / "xla", ignore_errors=True)


def seconds_of(environment: Mapping[str, str], command: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return time.perf_counter() - began
