"""Memory after each level of a study, in a process of its own: ``memory.py CORES smoke|full``; JSON on stdout.

Iterative pruning of a network that is wide but trains briefly: weights that were not given back would show at once, in what is in
use. Resident memory is beside it: it holds what the allocator keeps for other arrays, and that differs from process to process.
"""

import json
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

from setting import CORES, confine, effort, memory_in_use, resident_memory

WIDTHS = {"full": (1000, 500), "smoke": (30, 20)}


def main() -> None:
    cores, length = int(sys.argv[1]), sys.argv[2]
    confine(cores)
    from tombola.core.task import Model
    from tombola.engine.configuring import resolve
    from tombola.engine.execute import Engine
    from tombola.engine.study import run_study
    from tombola.store.store import Store

    found: dict[int, tuple[float, float]] = {}
    train = Engine._train

    def train_and_look(engine: Any, digests: Any, layout: Any) -> None:
        train(engine, digests, layout)
        found[max(engine.graph.generation[digest] for digest in digests)] = resident_memory(), memory_in_use()

    Engine._train = train_and_look
    settings = ("reinits=0", "random_masks=0", *effort(length == "smoke").memory)
    model = Model(name="mlp", options={"widths": WIDTHS[length]})
    study = resolve("frankle2019.sparsity", task="digits-mlp", model=model, replicates=CORES, settings=settings)
    with tempfile.TemporaryDirectory() as folder:
        run_study(study, Store(Path(folder)), quiet=True)
    resident, in_use = zip(*found.values(), strict=True)
    print(json.dumps({"resident_mib": resident, "in_use_mib": in_use, "weights_mib": CORES * weights(WIDTHS[length]) * 4 / 2**20}))


def weights(widths: tuple[int, ...]) -> int:
    """Of one replicate."""
    sizes = (64, *widths, 10)
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))


if __name__ == "__main__":
    main()
