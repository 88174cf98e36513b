"""What the time of a study goes to, in a process of its own: ``shares.py CORES smoke|full``; JSON on stdout.

The product has no hooks for this: its functions are wrapped from here. A wrapped function waits for what it started on
the devices, so that the time of a computation goes to the part that asked for it. Training and the evaluations on its way
are one call: evaluation is what that call takes longer than in the same study without them, run right after.
"""

import io
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from setting import confine, effort, peak_memory, summary

PARTS = ("training", "evaluation", "store", "progress", "starts and masks", "wave set-up", "tables and claims", "rest")


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
    cold = measured(clock, spent, seed=0)
    steady, plain = [], []
    for seed in range(1, 2 * spent.study_repeats + 1, 2):
        whole, bare = measured(clock, spent, seed), measured(clock, spent, seed, evaluate=False)
        on_the_way = whole["parts"]["training"] - bare["parts"]["training"]
        whole["parts"]["training"] -= on_the_way
        whole["parts"]["evaluation"] += on_the_way
        steady.append(whole)
        plain.append(measured(clock, spent, seed + 1, instrument=False)["wall"])
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
    from tombola.engine.carry_out import Engine
    from tombola.engine.progress import Progress
    from tombola.store.store import Record, Store
    from tombola.training.wave import Wave

    clock = Clock()
    clock.wrap(Wave, "__init__", "wave set-up", lambda wave: (wave.state, wave.fixed))
    clock.wrap(Wave, "_advance", "training", lambda wave: wave.state)
    clock.wrap(Wave, "_outcomes", "evaluation")
    clock.wrap(Engine, "_member", "starts and masks")
    clock.wrap(study, "findings", "tables and claims")
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


@contextmanager
def without_evaluations() -> Iterator[None]:
    """Dense networks, which train several stops in one call, pass them without evaluation."""
    from tombola.training.program import NOTHING
    from tombola.training.wave import Wave

    original = Wave._in_one_call
    Wave._in_one_call = lambda wave, stops, what: original(wave, stops, [NOTHING for _ in what])  # type: ignore[method-assign]
    try:
        yield
    finally:
        Wave._in_one_call = original  # type: ignore[method-assign]


def measured(clock: Clock, spent: Any, seed: int, instrument: bool = True, evaluate: bool = True) -> dict[str, Any]:
    """One study in a fresh store: its wall time, and the seconds of each part; of evaluation, those after training alone."""
    from tombola.engine.configuring import resolve
    from tombola.engine.study import run_study, study_graph
    from tombola.store.store import Store
    from tombola.studies import frankle2019  # noqa: F401 (registers the study)

    study = resolve("frankle2019.sparsity", replicates=spent.study_replicates, seed=seed, settings=spent.study)
    steps = study.config.task.recipe.steps.iterations(steps_per_epoch=1)
    clock.seconds.clear()
    clock.on = instrument
    stderr, sys.stderr = sys.stderr, Terminal()
    try:
        with tempfile.TemporaryDirectory() as folder, nullcontext() if evaluate else without_evaluations():
            began = time.perf_counter()
            clock.enter("rest")
            run_study(study, Store(Path(folder)))
            clock.leave()
            wall = time.perf_counter() - began
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
