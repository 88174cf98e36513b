"""The benchmark: Tombola against a plain PyTorch loop and against arithmetic, and what a study's time goes to.

    python benchmarks/bench.py [-o benchmarks/results.json] [--torch-python PATH] [--smoke]

Every part runs in a process of its own, one after the other, so that PyTorch and JAX share neither memory nor threads.
On CPU cores only, two of them at most; the machine should have nothing else to do. Takes about ten minutes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from setting import CORES, NETWORKS, Effort, confine, effort, summary
from table import table

HERE = Path(__file__).parent


def main() -> None:
    given = arguments()
    length = "smoke" if given.smoke else "full"
    confine(CORES)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        results = measure(length, effort(given.smoke), given.torch_python, Path(cache))
    results["seconds"] = time.perf_counter() - began
    print(table(results))
    if given.output:
        given.output.write_text(json.dumps(results, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", metavar="FILE.json", type=Path, help="also write every number as JSON")
    parser.add_argument("--torch-python", metavar="PATH", default=sys.executable, help="a Python that has PyTorch (default: this one)")
    parser.add_argument("--smoke", action="store_true", help="everything once and tiny: shows that it runs; its numbers mean nothing")
    return parser.parse_args()


def measure(length: str, spent: Effort, torch_python: str, cache: Path) -> dict[str, Any]:
    """All results, as they are written to JSON. Times in seconds, memory in MiB."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else CORES
    # GPUs are left out: this compares cores with cores. Compiled programs and generated data live in a fresh cache.
    os.environ |= {"JAX_PLATFORMS": "cpu", "TOMBOLA_CACHE": str(cache)}
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    start = starts(spent.repeats, cache)
    forget_compiled(cache)
    study = part("shares.py", cores, length)
    torch_version = installed_torch(torch_python)
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "smoke": length == "smoke",
        "cores": cores,
        "device": study.pop("device"),
        "versions": study.pop("versions") | ({"torch": torch_version} if torch_version else {}),
        "tombola": part("tombola_loop.py", cores, length, *spent.replicas),
        "tombola_one_core": part("tombola_loop.py", 1, length, 2),
        "torch": torch_times(torch_python, length, spent) if torch_version else None,
        "arithmetic": part("gemm.py", length),
        "study": study,
        "paths": part("paths.py", cores, length),
        "start": start,
    }


def part(script: str, *words: object) -> dict[str, Any]:
    """The JSON that a part of the benchmark prints, run in a process of its own."""
    show(f"{script} {' '.join(map(str, words))}")
    done = subprocess.run([sys.executable, HERE / script, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def show(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


# -- the start ---------------------------------------------------------------------------------------------------------


def starts(repeats: int, cache: Path) -> dict[str, Any]:
    """Seconds from the start of a process to the end of its first training step, and those of --help."""
    first_step = [sys.executable, str(HERE / "first_step.py")]
    show("first_step.py")
    generate = "from tombola.core.task import Data; from tombola.data.dataset import load; load(Data(name='mnist1d'), None)"
    seconds([sys.executable, "-c", generate])  # once a machine: no part of the start
    cold = []
    for _ in range(repeats):
        forget_compiled(cache)
        cold.append(seconds(first_step))
    return {
        "first_step_nothing_compiled": summary(cold),
        "first_step_compiled": summary([seconds(first_step) for _ in range(repeats)]),
        "help": summary([seconds([sys.executable, "-m", "tombola", "--help"]) for _ in range(repeats)]),
    }


def forget_compiled(cache: Path) -> None:
    shutil.rmtree(cache / "xla", ignore_errors=True)


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


# -- PyTorch -----------------------------------------------------------------------------------------------------------


def installed_torch(python: str) -> str | None:
    done = subprocess.run([python, "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def torch_times(python: str, length: str, spent: Effort) -> dict[str, Any]:
    """Network -> "PxT optimiser" (processes x threads) -> wall time per step and replica, one replica a process."""
    layouts = ((1, 1), (1, CORES), (CORES, 1))
    return {
        name: {
            f"{processes}x{threads} {option}": summary(torch_seconds(python, name, length, spent, processes, threads, option))
            for processes, threads in layouts
            for option in spent.adams
        }
        for name in NETWORKS
    }


def torch_seconds(python: str, name: str, length: str, spent: Effort, processes: int, threads: int, option: str) -> list[float]:
    show(f"torch_loop.py {name} {processes} x {threads} {option}")
    command = [python, str(HERE / "torch_loop.py"), name, length, str(threads), option]
    loops = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)]
    # Two threads can lose to one by orders of magnitude where a core is busy: that is soon seen, and need not be waited for.
    steps = max(10, min(spent.torch_steps[name], round(_TORCH_SECONDS / max(answers(loops)))))
    found = []
    for _ in range(spent.repeats):
        began = time.perf_counter()
        for loop in loops:
            print(steps, file=loop.stdin, flush=True)
        answers(loops)
        found.append((time.perf_counter() - began) / (steps * processes))
    for loop in loops:
        loop.communicate()
    return found


_TORCH_SECONDS = 5.0
"""Most that one measurement takes, roughly."""


def answers(loops: list[subprocess.Popen[str]]) -> list[float]:
    """Wait until every process has said its seconds."""
    lines = [loop.stdout.readline() for loop in loops]
    if not all(lines):
        raise SystemExit("torch_loop.py failed; what it said is above")
    return [float(line) for line in lines]


if __name__ == "__main__":
    main()
