"""Correctness and speed on an accelerator: ``python benchmarks/gpu.py [-o FILE.json] [--smoke]``. `gpu.sh` calls it.

On the platform that JAX takes by default, one device. First the same training as on a CPU, compared; then times. Every
part is written to the JSON as soon as it is measured. `--smoke`: everything once and tiny, on a CPU too.
"""

import argparse
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from networks import NETWORKS, Network
from setting import Timing, summary
from tombola_loop import seconds, seconds_a_step, task_of

import tombola as tb

PAPER = {"trials": 5, "levels": 21, "reinits": 3, "steps": 50_000}
"""Frankle & Carbin 2019, figure 3 on MNIST: each level trains the ticket and three fresh draws under its mask."""
GOAL_SECONDS = 120
CLOSE = 0.02
"""Most that losses (nats) of a CPU and of this device may differ after `agreement_steps`; a wrong sum differs by far more."""


@dataclass(frozen=True)
class Effort:
    agreement_steps: int
    steps: dict[str, int]
    """Network -> steps that are timed."""
    replicas: dict[str, tuple[int, ...]]
    repeats: int
    figure_steps: int


FULL = Effort(
    agreement_steps=20,
    steps={"mlp": 2000, "lenet": 2000, "conv2": 100, "resnet20": 50},
    replicas={"mlp": (1, 8, 32, 128, 512), "lenet": (1, 8, 32, 128, 512), "conv2": (1, 8, 16), "resnet20": (1, 8, 16)},
    repeats=3,
    figure_steps=3000,
)
SMOKE = Effort(
    agreement_steps=3,
    steps={"mlp": 40, "conv2": 2},
    replicas={"mlp": (1, 2), "conv2": (2,)},
    repeats=1,
    figure_steps=20,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", metavar="FILE.json", type=Path, help="write every number as JSON")
    parser.add_argument("--smoke", action="store_true", help="everything once and tiny; the numbers mean nothing")
    parser.add_argument("--losses", metavar="NETWORK", help=argparse.SUPPRESS)  # what the process on the CPU is asked for
    given = parser.parse_args()
    spent = SMOKE if given.smoke else FULL
    small = given.smoke
    if given.losses:
        sys.stdout.buffer.write(pickle.dumps(trained(network(given.losses, small), spent.agreement_steps)))
        return
    results: dict[str, Any] = {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "smoke": small}
    began = time.perf_counter()
    for name, part in parts(spent, small):
        results[name] = part()
        results["seconds"] = round(time.perf_counter() - began, 1)
        print(f"{results['seconds']:6.1f} s  {name}: {json.dumps(results[name])}", flush=True)
        if given.output:
            given.output.write_text(json.dumps(results, indent=1) + "\n")
    off = [name for name, one in results.items() if name.startswith("agreement") and not one["agrees"]]
    if off:
        raise SystemExit(f"not the same training as on a CPU: {', '.join(off)}")


def parts(spent: Effort, small: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
    yield "device", device
    for name in spent.steps:
        yield f"agreement {name}", lambda name=name: agreement(name, spent, small)
    for name, steps in spent.steps.items():
        one = network(name, small)
        if one.convolutional:
            yield f"algorithms {name}", lambda one=one, count=spent.replicas[name][-1]: algorithms(one, count)
        for count in spent.replicas[name]:
            yield f"step {name} {count}", lambda one=one, count=count, steps=steps: step(one, count, steps, spent.repeats)
        lower = replace(one, recipe=one.recipe | {"precision": "tf32"})
        most = spent.replicas[name][-1]
        yield f"step {name} {most} tf32", lambda one=lower, count=most, steps=steps: step(one, count, steps, spent.repeats)
    yield "figure", lambda: figure(network("lenet", small), spent)


def network(name: str, small: bool) -> Network:
    """With little data: a GPU's time is that of steps."""
    one = NETWORKS[name]
    if small and one.convolutional:
        return replace(one, shape=(8, 8, 3), options={"widths": (2, 2, 8, 8)}, batch=4, train=8)
    return replace(one, train=min(one.train, 6_000))


def device() -> dict[str, Any]:
    import jax

    from tombola.engine.provenance import versions
    from tombola.kernels.device import prepare

    prepare()
    return {"platform": jax.default_backend(), "kind": jax.devices()[0].device_kind, "versions": versions()}


# -- the same training -------------------------------------------------------------------------------------------------


def trained(one: Network, steps: int) -> dict[str, np.ndarray]:
    run = tb.train(task_of(one, steps), replicates=3, seed=1)
    return {"losses": run.summary["train_loss"], "initial": _flat(run.initial), "final": _flat(run.final)}


def _flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(tree[path]) for path in sorted(tree)])


def agreement(name: str, spent: Effort, small: bool) -> dict[str, Any]:
    """Three replicas here, twice, and on the CPU of this machine."""
    here, again = (trained(network(name, small), spent.agreement_steps) for _ in range(2))
    command = [sys.executable, __file__, "--losses", name, *(["--smoke"] if small else [])]
    there = pickle.loads(subprocess.run(command, check=True, capture_output=True, env=os.environ | {"JAX_PLATFORMS": "cpu"}).stdout)
    apart = float(np.abs(here["losses"] - there["losses"]).max())
    moved = float(np.abs(there["final"] - there["initial"]).max())
    return {
        "agrees": bool(np.array_equal(here["initial"], there["initial"]) and apart < CLOSE),
        "losses_apart": apart,
        "weights_apart_of_moved": float(np.abs(here["final"] - there["final"]).max()) / moved,
        "bitwise_again": bool(np.array_equal(here["final"], again["final"])),
    }


# -- times -------------------------------------------------------------------------------------------------------------


def step(one: Network, replicas: int, steps: int, repeats: int) -> dict[str, Any]:
    """Seconds a step and replica, and of the first call, which compiles."""
    task = task_of(one)
    first = seconds(task, steps, replicas)
    return {"seconds": summary(seconds_a_step(task, Timing(steps, 2 * steps, repeats), replicas)), "first_call": first}


def algorithms(one: Network, replicas: int) -> dict[str, float]:
    """Seconds for the gradients of one batch of all replicas, by the algorithm of convolutions."""
    from tombola.data.dataset import load
    from tombola.training.cohort import setup
    from tombola.training.convolutions import measured

    task = task_of(one)
    return dict(measured(setup(task, load(task.data, None)), replicas))


def figure(one: Network, spent: Effort) -> dict[str, Any]:
    """The lottery-ticket figure on MNIST from the time of one level: all trials, the ticket and its controls in one cohort."""
    together = PAPER["trials"] * (1 + PAPER["reinits"])
    a_step = step(one, together, spent.figure_steps, spent.repeats)["seconds"]["median"] * together
    whole = a_step * PAPER["steps"] * PAPER["levels"]
    return {"replicas": together, "seconds_a_step": a_step, "seconds_expected": whole, "goal_met": whole <= GOAL_SECONDS}


if __name__ == "__main__":
    main()
