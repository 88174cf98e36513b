"""Time of a training step in Tombola, in a process of its own: ``tombola_loop.py CORES smoke|full NETWORK [R]``; JSON on stdout.

Without R, every number of replicas that the benchmark has for the network, from few to many: peak memory so far is that of each.
"""

import json
import sys
import time

import numpy as np
from networks import CLASSES, Network, networks
from setting import CORES, Timing, confine, effort, peak_memory, summary

import tombola as tb


def task_of(network: Network, steps: int = 1_000_000, seed: int = 0) -> tb.Task:
    """The network's task on noise. Evaluated at the ends only, on next to nothing: what is timed is training."""
    random = np.random.default_rng(seed)
    validation = test = 10
    draw = lambda count: random.standard_normal((count, *network.shape), dtype=np.float32)  # noqa: E731
    labels = lambda count: np.resize(np.arange(CLASSES), count)  # noqa: E731
    pool = network.train + validation
    data = tb.from_arrays(draw(pool), labels(pool), draw(test), labels(test), validation=validation)
    recipe = tb.Recipe(steps=f"{steps}it", batch=network.batch, evaluate_every="1000000it", **network.recipe)
    return tb.Task(data=data, model=tb.Model(name=network.model, options=network.options), recipe=recipe)


def parameters(task: tb.Task) -> int:
    """Weights that train: kernels, biases and affine parameters of normalisation."""
    from tombola.data.dataset import load
    from tombola.training.cohort import setup

    network = setup(task, load(task.data, None)).network
    return sum(int(np.prod(network.shapes[path].shape)) for path in network.trainable)


def seconds_a_step(task: tb.Task, timing: Timing, replicas: int) -> list[float]:
    """Wall time / (steps x replicas), once a repeat: of two lengths the difference, which starts and transfers drop out of.

    The program is compiled before: see `seconds`.
    """
    steps = (timing.long - timing.short) * replicas
    return [
        (seconds(task, timing.long, replicas, seed) - seconds(task, timing.short, replicas, seed)) / steps
        for seed in range(1, timing.repeats + 1)
    ]


def seconds(task: tb.Task, steps: int, replicas: int, seed: int = 0) -> float:
    """Wall time of the first so many steps. The length is no part of the recipe: all lengths are one compiled program."""
    began = time.perf_counter()
    tb.train(task, replicates=replicas, seed=seed, until=f"{steps}it")
    return time.perf_counter() - began


def main() -> None:
    cores, smoke, name = int(sys.argv[1]), sys.argv[2] == "smoke", sys.argv[3]
    spent = effort(smoke)
    confine(cores)
    timings = {int(count): spent.one_core[name] for count in sys.argv[4:]} or spent.timings[name]
    task = task_of(networks(smoke)[name])
    found, memory = {}, {}
    for replicas, timing in timings.items():
        # Compiles, and gets the memory that is kept: on CPUs one wave is as many as there are cores.
        seconds(task, timing.long, min(replicas, CORES))
        found[replicas] = summary(seconds_a_step(task, timing, replicas))
        memory[replicas] = peak_memory()
    print(json.dumps({"seconds_per_step_and_replica": found, "peak_mib": memory, "parameters": parameters(task)}))


if __name__ == "__main__":
    main()
