"""The plain PyTorch loop, driven from here: processes x threads, implementations of the optimiser, layouts of images."""

import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Any

from networks import NETWORKS, networks
from setting import CORES, Effort, show, summary, undisturbed

LOOP = Path(__file__).parent / "torch_loop.py"
WAYS = ((1, 1), (1, CORES), (CORES, 1))
"""Processes x threads."""


def installed_torch(python: str) -> str | None:
    done = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def torch_times(python: str, length: str, spent: Effort, disturbed: dict[str, float] | None) -> dict[str, Any]:
    """Network -> its number of parameters, and "PxT option" -> wall time per step and replica, one replica a process."""
    return {name: network_times(python, name, length, spent, disturbed) for name in networks(length == "smoke")}


def network_times(python: str, name: str, length: str, spent: Effort, disturbed: dict[str, float] | None) -> dict[str, Any]:
    parameters, found = 0, {}
    for processes, threads in WAYS:
        what = f"torch_loop.py {name} {length} {processes} x {threads}"
        show(what)
        way = partial(way_times, [python, str(LOOP), name, length, str(threads)], processes, name, spent)
        parameters, times = undisturbed(what, disturbed, way)
        found |= {f"{processes}x{threads} {option}": time for option, time in times.items()}
    return {"parameters": parameters, "seconds_per_step_and_replica": found}


def way_times(command: list[str], processes: int, name: str, spent: Effort) -> tuple[int, dict[str, Any]]:
    """Number of parameters; option -> times, of so many processes at once."""
    loops = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    parameters = round(max(answers(loops)))
    times = {option: summary(measured(loops, name, option, spent)) for option in NETWORKS[name].torch}
    for loop in loops:
        loop.communicate()
    return parameters, times


def measured(loops: list[subprocess.Popen[str]], name: str, option: str, spent: Effort) -> list[float]:
    """Seconds per step and replica, once a repeat."""

    def train(steps: int) -> float:
        for loop in loops:
            print(option, steps, file=loop.stdin, flush=True)
        return max(answers(loops))

    # Two threads can lose to one by orders of magnitude where a core is busy: that is soon seen, and need not be waited for.
    first = 2 if NETWORKS[name].convolutional else 20
    train(first)
    steps = max(first, round(spent.torch_seconds / (train(first) / first)))
    found = []
    for _ in range(spent.torch_repeats):
        began = time.perf_counter()
        train(steps)
        found.append((time.perf_counter() - began) / (steps * len(loops)))
    return found


def answers(loops: list[subprocess.Popen[str]]) -> list[float]:
    """Wait until every process has said its number."""
    lines = [loop.stdout.readline() for loop in loops]
    if not all(lines):
        raise SystemExit("torch_loop.py failed; what it said is above")
    return [float(line) for line in lines]
