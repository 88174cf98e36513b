"""What the parts of the benchmark agree on: networks, recipe, lengths, cores, and how a repeated number is kept."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

BATCH, LEARNING_RATE, CLASSES = 60, 1.2e-3, 10
CORES = 2
"""What the targets are stated for; on a larger machine the benchmark confines itself to so many."""


@dataclass(frozen=True)
class Network:
    """A fully connected network with ReLU, and the size of the data that it is timed on."""

    title: str
    widths: tuple[int, ...]
    train: int
    """Training examples."""
    target: float
    """How many times faster than PyTorch at its best the specification asks for, on two cores."""

    @property
    def products(self) -> list[tuple[str, int, int, int]]:
        """(kind, m, k, n) of the matrix products (m, k) @ (k, n) of one step: forward, weight and input gradients."""
        found = []
        for layer, (inputs, outputs) in enumerate(zip(self.widths[:-1], self.widths[1:], strict=True)):
            found += [("x @ W", BATCH, inputs, outputs), ("x.T @ d", inputs, BATCH, outputs)]
            if layer > 0:  # nobody asks for the gradient of the data
                found.append(("d @ W.T", BATCH, outputs, inputs))
        return found


NETWORKS = {
    "mlp": Network("MLP 40-300-100-10", (40, 300, 100, 10), train=4_000, target=3.0),
    "lenet": Network("LeNet-300-100", (784, 300, 100, 10), train=55_000, target=2.0),
}


@dataclass(frozen=True)
class Effort:
    """How long the benchmark measures."""

    repeats: int
    replicas: tuple[int, ...]
    lengths: dict[str, tuple[int, int]]
    """Two lengths of training (steps), whose difference is timed; the shorter is the end of the longer."""
    torch_steps: dict[str, int]
    adams: tuple[str, ...]
    """PyTorch's implementations of Adam."""
    train: dict[str, int]
    """Training examples."""
    study: tuple[str, ...]
    """Settings of `frankle2019.sparsity`."""
    paths: tuple[str, ...]
    """Settings of `frankle2020.instability`."""
    study_replicates: int


# Chunks have 1000 steps, and data order is drawn for whole epochs ahead: 2000 steps apart, the two lengths differ by as
# many draws of it as any 2000 steps of a long training hold.
FULL = Effort(
    repeats=5,
    replicas=(1, 2, 8),
    lengths={"mlp": (1000, 5000), "lenet": (1000, 3000)},
    torch_steps={"mlp": 2000, "lenet": 1000},
    adams=("default", "foreach", "fused"),
    train={name: network.train for name, network in NETWORKS.items()},
    study=("levels=3", "steps=1000it", "evaluate_every=100it", "test_every=500it"),
    paths=('k=["0it","300it"]',),
    study_replicates=4,
)
SMOKE = Effort(
    repeats=1,
    replicas=(2,),
    lengths={"mlp": (20, 1020), "lenet": (20, 320)},
    torch_steps={"mlp": 10, "lenet": 10},
    adams=("default",),
    train={"mlp": 4_000, "lenet": 3_000},
    study=("levels=1", "steps=100it", "evaluate_every=50it", "test_every=100it"),
    paths=('k=["0it"]', "steps=100it", "points=3"),
    study_replicates=2,
)


def effort(smoke: bool) -> Effort:
    return SMOKE if smoke else FULL


def summary(values: Sequence[float]) -> dict[str, Any]:
    """A repeated measurement: median and range, with what they are of."""
    return {"median": median(values), "min": min(values), "max": max(values), "repeats": list(values)}


def confine(cores: int) -> None:
    """Keep this process, and those it starts, to the first so many of its cores; before JAX counts them."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])


def peak_memory() -> float:
    """Largest resident size of this process so far, MiB."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
