"""The plain PyTorch loop, in a process of its own: ``torch_loop.py NETWORK smoke|full THREADS OPTIMISER``.

Warms up and says how many seconds a step took; then, for each number of steps that it reads, it trains one replica so
far and says how long that took. Processes that are told to go at the same moment train at the same time.
"""

import sys
import time
from collections.abc import Iterator
from itertools import islice, pairwise

import torch
from setting import BATCH, CLASSES, LEARNING_RATE, NETWORKS, effort
from torch import nn

OPTIONS = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}


def main() -> None:
    name, length, threads, option = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    spent = effort(length == "smoke")
    widths = NETWORKS[name].widths
    layers = [layer for inputs, outputs in pairwise(widths) for layer in (nn.Linear(inputs, outputs), nn.ReLU())]
    network = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, **OPTIONS[option])
    order = batches(spent.train[name])
    inputs, labels = torch.randn(spent.train[name], widths[0]), torch.randint(CLASSES, (spent.train[name],))

    def train(steps: int) -> float:
        began = time.perf_counter()
        for batch in islice(order, steps):
            loss = nn.functional.cross_entropy(network(inputs[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return time.perf_counter() - began

    train(20)
    print(train(20) / 20, flush=True)
    for steps in sys.stdin:
        print(train(int(steps)), flush=True)


def batches(examples: int) -> Iterator[torch.Tensor]:
    """Shuffled indices, epoch after epoch, whole batches only."""
    whole = examples // BATCH * BATCH
    while True:
        yield from torch.randperm(examples)[:whole].split(BATCH)


if __name__ == "__main__":
    main()
