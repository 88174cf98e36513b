"""Many workers on one store, simulated: what they ask of its file system, and how long they are idle.

The queue, the order of runs, claims and records are Tombola's own, on a folder of this machine; only time is simulated, and training
is waiting. `python benchmarks/workers.py --workers 100 --chains 500 --levels 20`
"""

import argparse
import copy
import heapq
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import cache

import tombola as tb
from tombola.engine import order as order_of_runs
from tombola.engine.graph import graph
from tombola.engine.order import Order
from tombola.engine.queue import Queue
from tombola.procedures.imp import imp_runs
from tombola.store.disk import STALE_SECONDS
from tombola.store.store import Store

CALLS = ("open", "os.listdir", "os.mkdir", "os.rmdir", "os.rename", "os.remove", "os.utime")
ORDERS = {"chains first, side by side at the end": order_of_runs._CHAINS, "chains first": 0, "side by side": float("inf")}


class Counted:
    """Calls of the file system, by their names."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        sys.addaudithook(lambda event, _: self.calls.update([event]) if event in CALLS else None)
        stat = os.stat
        os.stat = lambda *given, **options: self.calls.update(["os.stat"]) or stat(*given, **options)


def worker(folder: str, order: Order, seconds: dict[str, float], busy: list[float]) -> Iterator[float]:
    """What `Engine` does, with a yield for each time that it trains or sleeps."""
    store = Store(folder)
    done = lambda digest: digest in store and store.get(digest).steps() is not None  # noqa: E731
    queue = Queue(store, seconds, done)
    while queue.missing:
        ready = order.ready(queue.missing)
        free = sorted(queue.free(ready), key=order.key(queue.missing))
        if free and queue.confirm(order.parents[free[0]]):
            for digest in queue.claim(free[:1]):
                if not done(digest):
                    for _ in range(int(seconds[digest] / STALE_SECONDS * 5)):
                        store.renew([digest])
                    busy[0] += seconds[digest]
                    yield seconds[digest]
                    store.put(digest, {"spec.json": b"{}"}, {})
            store.release(free[:1])
        elif not free:
            for pause in queue.pauses(ready):
                busy[1] += 1
                yield pause
        queue.look()


def simulate(workers: int, runs: dict[str, float], order: Order, counted: Counted) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Store(folder).prepare()
        counted.calls.clear()
        busy, began, now = [0.0, 0.0], time.monotonic(), 0.0
        events = []
        for index in range(workers):
            own = copy.copy(order)
            own._chance = cache(lambda digest: random.random())
            events.append((random.uniform(0, 10), index, worker(folder, own, runs, busy)))
        heapq.heapify(events)
        last = 0.0
        at_half: float | None = None
        while events:
            now, index, one = heapq.heappop(events)
            pause = next(one, None)
            if pause is not None:
                heapq.heappush(events, (now + pause, index, one))
                last = max(last, now + pause)
            if at_half is None and 2 * len(os.listdir(folder)) > len(runs):
                at_half = now
        hours, calls = last / 3600, counted.calls
        print(f"  {hours:.2f} h, idle {1 - busy[0] / workers / last:.2%}, pauses {busy[1]:.0f}, took {time.monotonic() - began:.0f} s")
        each = "  ".join(f"{name.removeprefix('os.')} {count / last:.2f}" for name, count in sorted(calls.items()))
        print(f"  calls a second, all workers together: {sum(calls.values()) / last:.1f} ({each})")
        print(f"  calls a run: {sum(calls.values()) / len(runs):.1f}, stat {calls['os.stat'] / len(runs):.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("workers", 100), ("chains", 500), ("levels", 20), ("seconds", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    task, drawn, counted = tb.task("mnist1d-mlp", steps="100it"), random.Random(0), Counted()
    found = graph(
        [run for seed in range(given.chains) for run in imp_runs(task, seed, given.levels - 1, rates={"dense": 0.2, "output": 0.1})]
    )
    runs = {digest: given.seconds * drawn.lognormvariate(0, 0.3) for digest in found.runs}
    for name, chains in ORDERS.items():
        random.seed(0)
        order_of_runs._CHAINS = chains
        print(f"{given.workers} workers, {len(runs)} runs in {given.chains} chains of about {given.seconds} s a run, {name}:")
        simulate(given.workers, runs, Order(found, dict.fromkeys(runs, 100), given.workers), counted)


if __name__ == "__main__":
    main()
