"""A training step of the autoencoder 784-128-784, against the plain PyTorch loop's best on two cores.

``python benchmarks/autoencoder.py [--smoke] [--output FILE]``: microseconds a step and replica, two replicas at a time, of Tombola and of
each way to run the loop: two processes with a core each, or one replica after the other on both cores; Adam as it is by default, or fused.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from setting import CORES, confine, summary

INPUTS, CODE, BATCH, EXAMPLES = 784, 128, 100, 5000
WAYS = [(threads, fused) for threads in (1, CORES) for fused in (False, True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--torch", nargs=3, metavar=("STEPS", "THREADS", "FUSED"), help="one loop, in this process")
    given = parser.parse_args()
    if given.torch:
        print(torch_loop(*map(int, given.torch)))
        return
    confine(CORES)
    short, long, repeats = (50, 250, 1) if given.smoke else (500, 3500, 5)
    tombola(long)  # compiles
    found = {"tombola": summary([(tombola(long) - tombola(short)) / (CORES * (long - short)) for _ in range(repeats)])}
    for threads, fused in WAYS:
        name = f"PyTorch, {CORES // threads} x {threads} threads{', fused' if fused else ''}"
        found[name] = summary([loops(long - short, threads, fused) for _ in range(repeats)])
    for name, seconds in found.items():
        print(f"{name:36}{1e6 * seconds['median']:8.0f} us ({1e6 * seconds['min']:.0f}-{1e6 * seconds['max']:.0f})")
    best = min(one["median"] for name, one in found.items() if name != "tombola")
    print(f"{best / found['tombola']['median']:.2f} times as fast as the best loop; at least 1 is asked for")
    if given.output:
        given.output.write_text(json.dumps(found, indent=1))


def tombola(steps: int) -> float:
    """Wall time of two replicas' first so many steps, evaluated at the end on next to nothing."""
    import tombola as tb

    inputs = np.random.default_rng(0).random((EXAMPLES + 10, INPUTS), np.float32)
    labels = np.resize(np.arange(10), len(inputs))
    data = tb.from_arrays(inputs, labels, inputs[:10], labels[:10], validation=10)
    recipe = tb.Recipe(steps="1000000it", batch=BATCH, learning_rate=1e-3, evaluate_every="1000000it")
    task = tb.Task(data=data, model=tb.model("autoencoder", widths=[CODE]), recipe=recipe, objective="reconstruction")
    began = time.perf_counter()
    tb.train(task, replicates=CORES, until=f"{steps}it")
    return time.perf_counter() - began


def loops(steps: int, threads: int, fused: bool) -> float:
    """Seconds a step and replica of PyTorch's loop, as many processes at a time as have a core for each of their threads."""
    command = [sys.executable, __file__, "--torch", str(steps), str(threads), str(int(fused))]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(CORES // threads)]
    return max(float(one.communicate()[0]) for one in running) / (steps * len(running))


def torch_loop(steps: int, threads: int, fused: int) -> float:
    """Seconds of the plain loop, after some steps that are not counted."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    network = nn.Sequential(nn.Linear(INPUTS, CODE), nn.ReLU(), nn.Linear(CODE, INPUTS))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, **({"fused": True} if fused else {}))
    inputs = torch.rand(EXAMPLES, INPUTS)

    def epochs(steps: int) -> float:
        began = time.perf_counter()
        for step in range(steps):
            if step % (EXAMPLES // BATCH) == 0:
                order = torch.randperm(EXAMPLES).split(BATCH)
            batch = inputs[order[step % (EXAMPLES // BATCH)]]
            loss = nn.functional.mse_loss(network(batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return time.perf_counter() - began

    epochs(min(steps, 200))
    return epochs(steps)


if __name__ == "__main__":
    main()
