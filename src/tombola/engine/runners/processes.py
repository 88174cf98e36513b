"""Workers that are processes of this machine."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tombola.engine.runners.workers import failed
from tombola.kernels.device import CORES, cores

_PATIENCE = 20.0
"""Seconds that a process which was told to stop may take."""


class Processes:
    """Workers that share the cores evenly; each writes what it says into a file of its own."""

    def __init__(self, command: Sequence[str], count: int, logs: Path) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self.count, self._logs = count, [logs / f"worker-{index}.log" for index in range(1, count + 1)]
        share = os.environ | {CORES: str(max(1, cores() // count))}
        self._processes = [begin(command, log, share) for log in self._logs]

    def running(self) -> int:
        """How many have not ended."""
        return sum(process.poll() is None for process in self._processes)

    def failures(self) -> list[str]:
        """The workers that ended without having done their work: which, and why."""
        return failed([process.poll() for process in self._processes], self._logs)

    def stop(self) -> None:
        """Tell them to stop, and wait until they have kept what they did and given back what they claimed."""
        end(self._processes)


def begin(command: Sequence[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """One worker. What a terminal sends to a command (Ctrl-C) does not reach it: who began it passes that on, once."""
    with log.open("ab") as file:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment, start_new_session=os.name == "posix"
        )


def end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Tell workers to stop, and wait; one that does not in time is killed, which loses what it did since its last checkpoint."""
    for process in processes:
        process.terminate()
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
        process.kill()
        process.wait()
