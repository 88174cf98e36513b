"""Time of a training step in Tombola, in a process of its own: ``tombola_loop.py CORES smoke|full R [R ...]``; JSON on stdout."""

import json
import sys
import time

import numpy as np
from setting import BATCH, CLASSES, LEARNING_RATE, NETWORKS, confine, effort, peak_memory, summary

import tombola as tb


def synthetic(name: str, examples: int) -> tb.Data:
    random = np.random.default_rng(0)
    train, validation, test = examples, BATCH, BATCH
    draw = lambda count: random.standard_normal((count, NETWORKS[name].widths[0]), dtype=np.float32)  # noqa: E731
    labels = lambda count: random.integers(CLASSES, size=count)  # noqa: E731
    pool = train + validation
    return tb.from_arrays(draw(pool), labels(pool), draw(test), labels(test), validation=validation)


def main() -> None:
    cores, spent, replicas = int(sys.argv[1]), effort(sys.argv[2] == "smoke"), [int(count) for count in sys.argv[3:]]
    confine(cores)
    found = {}
    for name, network in NETWORKS.items():
        data = synthetic(name, spent.train[name])
        model = tb.Model(name="mlp", options={"widths": network.widths[1:-1]})
        # Evaluated at the ends only, on next to nothing: what is timed is training.
        end = f"{spent.lengths[name][1]}it"
        recipe = tb.Recipe(steps=end, batch=BATCH, learning_rate=LEARNING_RATE, evaluate_every="1000000it")
        task = tb.Task(data=data, model=model, recipe=recipe)
        found[name] = {str(count): summary(seconds_a_step(task, spent.lengths[name], count, spent.repeats)) for count in replicas}
    print(json.dumps({"seconds_per_step_and_replica": found, "peak_mib": peak_memory()}))


def seconds_a_step(task: tb.Task, lengths: tuple[int, int], replicas: int, repeats: int) -> list[float]:
    """Wall time / (steps x replicas), once a repeat: of two lengths the difference, which starts and transfers drop out of."""
    short, long = lengths

    def seconds(steps: int, seed: int) -> float:
        began = time.perf_counter()
        # The end of the same training, so that both lengths are one compiled program.
        tb.train(task, replicates=replicas, seed=seed, begin=f"{long - steps}it")
        return time.perf_counter() - began

    seconds(short, seed=0)  # compiles
    return [(seconds(long, seed) - seconds(short, seed)) / ((long - short) * replicas) for seed in range(1, repeats + 1)]


if __name__ == "__main__":
    main()
