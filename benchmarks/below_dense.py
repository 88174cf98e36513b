"""What iterative pruning costs against as many dense trainings: ``below_dense.py [-o FILE.json] [--data-dir MNIST] [--smoke]``.

LeNet-300-100, a fifth of the weights a round, one replica a core, rewound to the start. Each level is timed by itself and
compared with dense trainings of the same length, one before and one after all levels. Without --data-dir the examples are
noise: what a level costs depends on how many weights are left, hardly on which.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from networks import NETWORKS
from setting import CORES, confine
from tombola_loop import task_of

import tombola as tb
from tombola.core.trees import per_replica
from tombola.data.dataset import load
from tombola.procedures.actions import rates_by_path
from tombola.pruning.selection import prune
from tombola.surgery.combine import combine
from tombola.training.cohort import setup


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", metavar="FILE.json", type=Path, help="also write every number as JSON")
    parser.add_argument("--data-dir", metavar="DIR", type=Path, help="folder of MNIST")
    parser.add_argument("--smoke", action="store_true", help="a few short levels; the numbers mean nothing")
    given = parser.parse_args()
    confine(CORES)
    steps, levels = (60, 3) if given.smoke else (3000, 21)
    task = tb.task("lenet-mnist", steps=f"{steps}it", evaluate_every="500it") if given.data_dir else task_of(NETWORKS["lenet"], steps)
    found = {"smoke": given.smoke, "steps": steps, **measured(task, levels, given.data_dir)}
    print(table(found))
    if given.output:
        given.output.write_text(json.dumps(found, indent=1) + "\n")


def measured(task: tb.Task, levels: int, data_dir: Path | None) -> dict[str, Any]:
    """Seconds of each level's training, the dense one being level 0, and of dense ones."""

    def seconds(**how: Any) -> tuple[float, Any]:
        tb.train(task, seed=1, data_dir=data_dir, until="1it", **how)  # compiles, as the same program ends earlier
        began = time.perf_counter()
        run = tb.train(task, seed=1, data_dir=data_dir, **how)
        return time.perf_counter() - began, run

    rates = rates_by_path(setup(task, load(task.data, data_dir)).network, task.rates)
    before, dense = seconds(replicates=CORES)
    rows, last = [{"density": 1.0, "seconds": before}], dense
    for _ in range(1, levels):
        scores = {path: np.abs(last.final[path]) for path in last.mask}
        mask = per_replica(lambda scores, before: prune(scores, before, rates, "layer"), scores, last.mask)
        spent, last = seconds(start=per_replica(combine, mask, dense.initial), mask=mask)
        kept = sum(int(leaf.sum()) for leaf in mask.values()) / sum(leaf.size for leaf in mask.values())
        rows.append({"density": kept, "seconds": spent})
    after, _ = seconds(replicates=CORES)
    whole = sum(row["seconds"] for row in rows)
    return {"levels": rows, "dense_seconds": [before, after], "ratio": whole / (levels * (before + after) / 2)}


def table(found: dict[str, Any]) -> str:
    dense = sum(found["dense_seconds"]) / 2
    lines = [f"LeNet-300-100, {found['steps']} steps a level{' (SMOKE: the numbers mean nothing)' if found['smoke'] else ''}"]
    lines += [f"{row['density']:7.1%} {row['seconds']:7.2f} s {row['seconds'] / dense:6.2f} of dense" for row in found["levels"]]
    met = "met" if found["ratio"] <= 0.5 else "NOT MET"
    return "\n".join([*lines, f"All levels / as many dense trainings: {found['ratio']:.2f} (target: at most 0.5, {met})"])


if __name__ == "__main__":
    sys.exit(main())
