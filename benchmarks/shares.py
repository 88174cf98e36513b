"""What the time of a study goes to, in a process of its own: ``shares.py CORES smoke|full``; JSON on stdout.

The product has no hooks for this: its functions are wrapped from here. A wrapped function waits for what it started on
the devices, so that the time of a computation goes to the part that asked for it. Training and the evaluations on its way
are one call: evaluation is what that call takes longer than the same without them, made right before or after it, by turns.
Stores are deleted when all is measured: while files were deleted in the last half minute, Linux's ext4 takes up to ten times
as long to create others.
"""

import io
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from setting import confine, effort, peak_memory, summary

PARTS = ("training", "evaluation", "store", "progress", "starts and masks", "replica set-up", "tables and claims", "rest")


class Clock:
    """Seconds by part; a part called from within another is taken out of that one."""

    def __init__(self) -> None:
        self.on = False
        self.seconds: Counter[str] = Counter()
        self._open: list[str] = []
        self._since = 0.0

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def enter(self, part: str) -> None:
        self._charge()
        self._open.append(part)

    def leave(self) -> None:
        self._charge()
        self._open.pop()

    def wrap(self, owner: Any, name: str, part: str, wait_for: Callable[[Any], Any] = lambda self: None) -> None:
        """Let `owner.name` count as `part`; `wait_for` its first argument's arrays."""
        import jax

        original = getattr(owner, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            if not self.on:
                return original(*args, **kwargs)
            self.enter(part)
            try:
                result = original(*args, **kwargs)
                jax.block_until_ready(wait_for(args[0]) if args else None)
                return result
            finally:
                self.leave()

        setattr(owner, name, timed)


class Terminal(io.StringIO):
    """Lets the progress line be drawn as often as for a person who watches."""

    def isatty(self) -> bool:
        return True


def main() -> None:
    cores, length = int(sys.argv[1]), sys.argv[2]
    confine(cores)
    spent = effort(length == "smoke")
    clock = instrumented()
    from tombola.core.task import Data
    from tombola.data.dataset import load
    from tombola.engine.provenance import device, versions

    load(Data(name="mnist1d"), None)  # generated once a machine: no part of a study
    steady, plain = [], []
    with tempfile.TemporaryDirectory() as stores:
        cold = measured(clock, spent, Path(stores, "cold"), seed=0)
        for seed in range(1, 2 * spent.study_repeats + 1, 2):
            steady.append(measured(clock, spent, Path(stores, f"{seed}"), seed))
            plain.append(measured(clock, spent, Path(stores, f"{seed + 1}"), seed + 1, instrument=False)["wall"])
    walls = summary([one["wall"] for one in steady])
    print(
        json.dumps(
            {
                "replica_steps": steady[0]["replica_steps"],
                "cold": cold,
                "wall_seconds": walls,
                "wall_seconds_not_instrumented": summary(plain),
                "compile_share_of_cold": max(0.0, 1 - walls["median"] / cold["wall"]),
                "seconds": {part: summary([one["parts"][part] for one in steady]) for part in PARTS},
                "share": {part: summary([one["parts"][part] / one["wall"] for one in steady]) for part in PARTS},
                "overhead_share": summary([overhead(one) for one in steady]),
                "peak_mib": peak_memory(),
                "device": device(),
                "versions": versions(),
            }
        )
    )


def overhead(one: dict[str, Any]) -> float:
    """What the specification bounds: evaluation, store and progress together, as a share of the run."""
    return sum(one["parts"][part] for part in ("evaluation", "store", "progress")) / one["wall"]


def instrumented() -> Clock:
    from tombola.engine import study
    from tombola.engine.execute import Engine
    from tombola.engine.progress import Progress
    from tombola.store.store import Record, Store
    from tombola.training.replica_batch import ReplicaBatch

    clock = Clock()
    clock.wrap(ReplicaBatch, "__init__", "replica set-up", lambda wave: (wave.state, wave.fixed))
    apart(clock, ReplicaBatch)
    clock.wrap(ReplicaBatch, "_advance", "training", lambda wave: wave.state)
    clock.wrap(ReplicaBatch, "_outcomes", "evaluation")
    clock.wrap(Engine, "_member", "starts and masks")
    clock.wrap(study, "_findings", "tables and claims")
    for owner, names in (
        (Engine, ("_put",)),
        (Store, ("prepare", "claim", "release", "__contains__", "remove", "put")),
        (Record, ("json", "metrics", "steps", "weights", "mask")),
    ):
        for name in names:
            clock.wrap(owner, name, "store")
    for name in ("start", "training", "advance", "remaining", "warn", "__enter__", "__exit__"):
        clock.wrap(Progress, name, "progress")
    return clock


def apart(clock: Clock, wave: type) -> None:
    """Let a call of many stops count as training by what the same call takes without evaluations, else as evaluation."""
    import jax

    from tombola.training.program import NOTHING

    original, turn = wave._in_one_call, count()  # type: ignore[attr-defined]

    def seconds(one: Any, stops: list[int], what: list[int]) -> tuple[float, Any]:
        began = time.perf_counter()
        columns = original(one, stops, what)
        jax.block_until_ready(one.state)
        return time.perf_counter() - began, columns

    def without(one: Any, stops: list[int], state: Any) -> float:
        one.state, after = state, one.state
        took, _ = seconds(one, stops, [NOTHING] * len(stops))
        one.state = after
        return took

    def timed(one: Any, stops: list[int], what: list[int]) -> Any:
        if not clock.on:
            return original(one, stops, what)
        clock.enter("aside")
        copy = jax.block_until_ready(jax.tree.map(lambda leaf: leaf.copy(), one.state))
        if next(turn) % 2:
            bare = without(one, stops, copy)
            whole, columns = seconds(one, stops, what)
        else:
            whole, columns = seconds(one, stops, what)
            bare = without(one, stops, copy)
        clock.leave()
        clock.seconds["aside"] -= whole
        clock.seconds["training"] += bare
        clock.seconds["evaluation"] += whole - bare
        return columns

    wave._in_one_call = timed  # type: ignore[attr-defined]


def measured(clock: Clock, spent: Any, store: Path, seed: int, instrument: bool = True) -> dict[str, Any]:
    """One study in a fresh store: its wall time, and the seconds of each part."""
    from tombola.engine.configuring import resolve
    from tombola.engine.study import run_study, study_graph
    from tombola.store.store import Store

    study = resolve("frankle2019.sparsity", replicates=spent.study_replicates, seed=seed, settings=spent.study)
    steps = study.task.recipe.steps.iterations(steps_per_epoch=1)
    clock.seconds.clear()
    clock.on = instrument
    stderr, sys.stderr = sys.stderr, Terminal()
    try:
        began = time.perf_counter()
        clock.enter("rest")
        run_study(study, Store(store))
        clock.leave()
        wall = time.perf_counter() - began - clock.seconds["aside"]
    finally:
        sys.stderr = stderr
        clock.on = False
    return {
        "wall": wall,
        "replica_steps": steps * len(study_graph(study).runs),
        "parts": {part: clock.seconds[part] for part in PARTS},
    }


if __name__ == "__main__":
    main()
