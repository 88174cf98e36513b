"""How cost grows: wall seconds against replicas, levels, width and steps, beside the work that is done.

    python benchmarks/growth.py [-o benchmarks/growth.png] [--json benchmarks/growth.json] [--smoke]

Exponents are slopes of least squares in log-log over the upper half of each axis. Work is replica-steps times the
floating-point operations of a step; nothing may grow faster than its work. The fastest of three runs counts: the first
of each also compiles. Takes about five minutes on the two cores that it confines itself to.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from growth_figure import draw
from setting import CORES, confine, show

TASK, WIDTH, EVERY = "mnist1d-mlp", 300, 100
TOLERANCE = 0.1
"""What a cost exponent may exceed that of the work by, and count as no larger: the slopes scatter by about as much."""


@dataclass(frozen=True)
class Axis:
    """One thing that is made larger, others being equal."""

    label: str
    values: tuple[int, ...]
    smoke: tuple[int, ...]
    setting: dict[str, int]
    """What the others are: replicas, levels of pruning, width, steps."""


AXES = {
    "replicas": Axis("replicas", (1, 2, 4, 8, 16, 32), (2, 4), {"levels": 1, "width": WIDTH, "steps": 1000}),
    "levels": Axis("levels of pruning", (1, 2, 4, 8, 16, 32), (1, 2), {"replicas": CORES, "width": WIDTH, "steps": 500}),
    "width": Axis(
        "width of two hidden layers (units)", (64, 128, 256, 512, 1024), (150, WIDTH), {"replicas": CORES, "levels": 1, "steps": 200}
    ),
    "steps": Axis("steps", (250, 500, 1000, 2000, 4000, 8000), (100, 200), {"replicas": CORES, "levels": 1, "width": WIDTH}),
}


def main() -> None:
    given = arguments()
    confine(CORES)
    found = {name: grown(name, axis, given.smoke) for name, axis in AXES.items()}
    print(table(found, given.smoke))
    if given.output:
        draw(found, given.output)
    if given.json:
        given.json.write_text(json.dumps({"smoke": given.smoke, "axes": found}, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", metavar="FILE.png", type=Path, help="also draw the figure")
    parser.add_argument("--json", metavar="FILE.json", type=Path, help="also write every number as JSON")
    parser.add_argument("--smoke", action="store_true", help="two small values an axis: shows that it runs; its numbers mean nothing")
    return parser.parse_args()


def grown(name: str, axis: Axis, smoke: bool) -> dict[str, Any]:
    """Cost and work along one axis, and their exponents."""
    values, repeats = (axis.smoke, 1) if smoke else (axis.values, 3)
    settings = [{**axis.setting, "steps": axis.setting.get("steps", 0) if not smoke else 100, name: value} for value in values]
    every = []
    for seed in range(1, repeats + 1):
        show(f"{name} {values[0]} to {values[-1]}, {seed} of {repeats}")
        every.append([cost(one, seed) for one in settings])
    seconds = [min(times) for times in zip(*every, strict=True)]
    done = [work(one) for one in settings]
    return {
        "label": axis.label,
        "setting": axis.setting,
        "values": list(values),
        "seconds": seconds,
        "repeats": [list(times) for times in zip(*every, strict=True)],
        "operations": done,
        "cost_exponent": exponent(values, seconds),
        "work_exponent": exponent(values, done),
    }


def exponent(values: Any, sizes: Any) -> float:
    """Slope of log size over log value in the upper half of the values."""
    import numpy as np

    first = (len(values) - 1) // 2
    return float(np.polyfit(np.log(values[first:]), np.log(sizes[first:]), 1)[0])


def table(found: dict[str, Any], smoke: bool) -> str:
    lines = [
        f"Growth of cost on {TASK}, {CORES} cores{' (SMOKE: the numbers mean nothing)' if smoke else ''}",
        f"{'against':<36} {'from':>6} {'to':>6} {'seconds':>16} {'exponent':>9} {'of work':>8}",
    ]
    for one in found.values():
        seconds = f"{one['seconds'][0]:.2f} to {one['seconds'][-1]:.2f}"
        ends = f"{one['values'][0]:>6} {one['values'][-1]:>6}"
        verdict = "" if one["cost_exponent"] <= one["work_exponent"] + TOLERANCE else "  FASTER THAN ITS WORK"
        exponents = f"{one['cost_exponent']:>9.2f} {one['work_exponent']:>8.2f}"
        lines.append(f"{one['label']:<36} {ends} {seconds:>16} {exponents}{verdict}")
    return "\n".join(lines)


# -- what is timed -----------------------------------------------------------------------------------------------------


def settings_of(one: dict[str, int]) -> tuple[str, ...]:
    widths = f'{{"widths": [{one["width"]}, {one["width"]}]}}'
    times = (f"{name}={EVERY}it" for name in ("evaluate_every", "test_every"))
    return (f"levels={one['levels']}", f"task.model.options={widths}", f"steps={one['steps']}it", *times, "reinits=0", "random_masks=0")


def study_of(one: dict[str, int], seed: int) -> Any:
    from tombola.engine.configuring import resolve

    return resolve("frankle2019.sparsity", task=TASK, replicates=one["replicas"], seed=seed, settings=settings_of(one))


def cost(one: dict[str, int], seed: int) -> float:
    """Wall seconds of iterative pruning: training, evaluation, pruning, store and tables."""
    from tombola.engine.study import run_study
    from tombola.store.store import Store

    study = study_of(one, seed)
    run: Callable[[str], Any] = lambda folder: run_study(study, Store(Path(folder)), quiet=True)  # noqa: E731
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        run(folder)
        return time.perf_counter() - began


def work(one: dict[str, int]) -> float:
    """Floating-point operations of all training steps: replica-steps times those of one step."""
    from tombola.engine.cost import estimate
    from tombola.store.store import Store

    return estimate(study_of(one, seed=1), Store()).floating_point_operations


if __name__ == "__main__":
    sys.exit(main())
