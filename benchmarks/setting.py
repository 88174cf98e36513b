"""What the parts of the benchmark agree on: lengths, cores, and how a repeated number is kept."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

CORES = 2
"""What the targets are stated for; on a larger machine the benchmark confines itself to so many."""


@dataclass(frozen=True)
class Timing:
    """Two lengths of training (steps), whose difference is timed, and how often."""

    short: int
    long: int
    repeats: int


@dataclass(frozen=True)
class Effort:
    """How long the benchmark measures."""

    repeats: int
    """Of what is not said otherwise."""
    timings: dict[str, dict[int, Timing]]
    """Network -> replicas -> what is timed."""
    one_core: dict[str, Timing]
    """The same for R = 2 on one core."""
    torch_seconds: float
    """Roughly, of one measurement of the PyTorch loop."""
    torch_repeats: int
    study: tuple[str, ...]
    """Settings of `frankle2019.sparsity`."""
    study_replicates: int
    study_repeats: int
    paths: tuple[str, ...]
    """Settings of `frankle2020.instability`."""
    rerun: tuple[str, ...]
    """Options of the finished study that is run again."""
    memory: tuple[str, ...]
    """Settings of the study whose memory is watched."""


# The data order of an epoch is drawn in 1 ms at most, and the lengths of the dense networks differ by 750 steps or more.
# Convolutional networks may be stepped one by one or in small chunks: lengths 8 steps apart differ by whole ones. The first step of
# all takes up to half as long again.
FULL = Effort(
    repeats=5,
    timings={
        "mlp": {1: Timing(1000, 5000, 5), 2: Timing(1000, 5000, 5), 8: Timing(1000, 4000, 3), 32: Timing(500, 2000, 1)},
        "lenet": {1: Timing(500, 2500, 5), 2: Timing(500, 2500, 5), 8: Timing(500, 2000, 2), 32: Timing(250, 1000, 1)},
        "conv2": {1: Timing(2, 10, 3), 2: Timing(2, 10, 3), 8: Timing(2, 10, 2), 32: Timing(2, 10, 1)},
        "resnet20": {1: Timing(2, 10, 3), 2: Timing(2, 10, 3), 8: Timing(2, 10, 2), 32: Timing(2, 10, 1)},
    },
    one_core={
        "mlp": Timing(1000, 4000, 5),
        "lenet": Timing(500, 2000, 5),
        "conv2": Timing(2, 10, 3),
        "resnet20": Timing(2, 10, 3),
    },
    torch_seconds=0.8,
    torch_repeats=3,
    study=("levels=3",),
    study_replicates=2,
    study_repeats=5,
    paths=('k=["0it","300it"]',),
    # As many runs, and as many evaluations of each, as the study has at its default scale; only they are short.
    rerun=("--set", "steps=60it", "--set", "evaluate_every=2it", "--set", "test_every=10it"),
    memory=("levels=21", "steps=20it", "evaluate_every=10it", "test_every=20it"),
)
SMOKE = Effort(
    repeats=1,
    timings={
        "mlp": {2: Timing(20, 1020, 1)},
        "lenet": {2: Timing(20, 220, 1)},
        "conv2": {2: Timing(1, 5, 1)},
    },
    one_core={"mlp": Timing(20, 520, 1)},
    torch_seconds=0.01,
    torch_repeats=1,
    study=("levels=1", "steps=100it", "evaluate_every=50it", "test_every=100it"),
    study_replicates=2,
    study_repeats=1,
    paths=('k=["0it"]', "steps=100it", "points=3"),
    rerun=("--scale", "smoke", "--replicates", "1", "--set", "levels=1", "--set", "steps=20it"),
    memory=("levels=3", "steps=4it", "evaluate_every=2it", "test_every=4it"),
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


def show(what: str) -> None:
    print(f"... {what}", file=sys.stderr, flush=True)


def peak_memory() -> float:
    """Largest resident size of this process so far, MiB."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def resident_memory() -> float:
    """Resident size of this process now, MiB; where the system does not tell, the largest so far."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return peak_memory()


def memory_in_use() -> float:
    """What this process has asked of the C library's allocator and not given back, MiB; where it does not tell, resident memory."""
    from tombola.kernels.device import allocated

    found = allocated()
    return resident_memory() if found is None else (found.uordblks + found.hblkhd) / 2**20
