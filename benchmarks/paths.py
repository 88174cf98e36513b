"""What evaluation along paths takes of an instability analysis, in a process of its own: ``paths.py CORES smoke|full``; JSON on stdout."""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from setting import confine, effort, summary

SETTINGS = ("children=3", "ticket=0")


def main() -> None:
    cores, length = int(sys.argv[1]), sys.argv[2]
    confine(cores)
    spent = effort(length == "smoke")
    if length == "full":
        measured(spent, seed=0)  # compiles
    found = [measured(spent, seed) for seed in range(1, spent.study_repeats + 1)]
    print(json.dumps({name: summary([one[name] for one in found]) for name in found[0]}))


def measured(spent: Any, seed: int) -> dict[str, float]:
    """Seconds of wall time in training and in measurements, per network on a path, and the share of the measurements."""
    from tombola.engine.configuring import resolve
    from tombola.engine.study import run_study
    from tombola.store.store import Store

    settings = (*SETTINGS, *spent.paths)
    study = resolve("frankle2020.instability", task="mnist1d-mlp", replicates=spent.study_replicates, seed=seed, settings=settings)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        run_study(study, store, quiet=True)
        runs, measurements = ([record.json("made") for record in records] for records in (store, store.measurements))
    training = sum(one["seconds"] / one["trained_together"] for one in runs)
    walking = sum(one["seconds"] for one in measurements)
    networks = sum(one["networks"] for one in measurements)
    return {"training": training, "paths": walking, "per_network": walking / networks, "share": walking / (training + walking)}


if __name__ == "__main__":
    main()
