"""The benchmark: Tombola against a plain PyTorch loop and against arithmetic, and what a study's time goes to.

    python benchmarks/bench.py [-o benchmarks/results] [--torch-python PATH] [--smoke]

Every part runs in a process of its own, one after the other, so that PyTorch and JAX share neither memory nor threads.
On CPU cores only, two of them at most; the machine should have nothing else to do. Takes about fifteen minutes.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from networks import networks
from plain_loop import installed_torch, torch_times
from setting import CORES, Effort, confine, effort, show, undisturbed
from starts import starts
from table import table

from tombola.engine.provenance import processor

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
        file = given.output / f"{re.sub(r'[^a-z0-9]+', '-', results['processor'].lower())}.json" if given.output.is_dir() else given.output
        file.write_text(json.dumps(results, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "-o", "--output", metavar="PATH", type=Path, help="also write every number as JSON: a file, or a folder that has one a processor"
    )
    parser.add_argument("--torch-python", metavar="PATH", default=sys.executable, help="a Python that has PyTorch (default: this one)")
    parser.add_argument("--smoke", action="store_true", help="everything once and tiny: shows that it runs; its numbers mean nothing")
    return parser.parse_args()


def measure(length: str, spent: Effort, torch_python: str, cache: Path) -> dict[str, Any]:
    """All results, as they are written to JSON. Times in seconds, memory in MiB."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else CORES
    # GPUs are left out: this compares cores with cores. Compiled programs and generated data live in a fresh cache, where numbers count.
    smoke = length == "smoke"
    disturbed: dict[str, float] | None = None if smoke else {}
    os.environ["JAX_PLATFORMS"] = "cpu"
    if not smoke:
        os.environ["TOMBOLA_CACHE"] = str(cache)
        os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)
    part = partial(in_a_process, disturbed)
    names, torch_version = networks(smoke), installed_torch(torch_python)
    parts: dict[str, Callable[[], Any]] = {
        "start": lambda: starts(spent, cache if smoke else cache / "starts"),
        "study": lambda: part("shares.py", cores, length),
        "tombola": lambda: {name: part("tombola_loop.py", cores, length, name) for name in names},
        "tombola_one_core": lambda: {name: part("tombola_loop.py", 1, length, name, 2) for name in spent.one_core},
        "torch": lambda: torch_times(torch_python, length, spent, disturbed) if torch_version else None,
        "arithmetic": lambda: part("gemm.py", length),
        "paths": lambda: part("paths.py", cores, length),
        "memory": lambda: part("memory.py", cores, length),
        "beside": lambda: part("beside.py", length),
    }
    # One at a time, unless the numbers mean nothing anyway.
    with ThreadPoolExecutor(CORES if smoke else 1) as pool:
        found = dict(zip(parts, pool.map(timed, parts.values()), strict=True))
    results = {name: result for name, (result, _) in found.items()}
    check_same_networks(results)
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "smoke": smoke,
        "cores": cores,
        "processor": processor(),
        "disturbed": disturbed or {},
        "device": results["study"].pop("device"),
        "versions": results["study"].pop("versions") | ({"torch": torch_version} if torch_version else {}),
        **results,
        "seconds_of_parts": {name: took for name, (_, took) in found.items()},
    }


def timed(found: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return found(), time.perf_counter() - began


def check_same_networks(results: dict[str, Any]) -> None:
    """Stop if both frameworks did not train networks of one size."""
    for name, found in (results["torch"] or {}).items():
        if found["parameters"] != results["tombola"][name]["parameters"]:
            raise SystemExit(f"{name}: PyTorch's has {found['parameters']} parameters, Tombola's {results['tombola'][name]['parameters']}")


def in_a_process(disturbed: dict[str, float] | None, script: str, *words: object) -> dict[str, Any]:
    """The JSON that a part of the benchmark prints, run in a process of its own; again where other work disturbed it."""
    what = " ".join(map(str, (script, *words)))
    show(what)

    def run() -> dict[str, Any]:
        done = subprocess.run([sys.executable, HERE / script, *map(str, words)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{script} failed:\n{done.stderr}")
        return json.loads(done.stdout)

    return undisturbed(what, disturbed, run)


if __name__ == "__main__":
    main()
