"""What the parts of the benchmark agree on: lengths, cores, and how a repeated number is kept."""

import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

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


T = TypeVar("T")
DISTURBED, AGAIN = 0.05, 2
"""Share of this machine's cores that other work may have; how often what it had more of is measured again."""


def undisturbed(what: str, shares: dict[str, float] | None, measure: Callable[[], T]) -> T:
    """What `measure` finds while other work has the least of the cores; its share goes to `shares`, where it can be told. None: at once."""
    if shares is None:
        return measure()
    tries = []
    while not tries or (tries[-1][0] > DISTURBED and len(tries) <= AGAIN):
        if tries:
            show(f"other work had {tries[-1][0]:.0%} of the cores: {what} again")
        before, began = _of_others(), time.perf_counter()
        found = measure()
        tries.append(((_of_others() - before) / ((time.perf_counter() - began) * (os.cpu_count() or 1)), found))
    shares[what], found = min(tries, key=lambda one: one[0])
    return found


def _of_others() -> float:
    """Seconds of all cores that went to anything but this process and what it started and waited for; 0 where it cannot be told."""
    try:
        user, nice, system, _, _, *interrupts = map(int, Path("/proc/stat").read_text().split()[1:9])
    except OSError:
        return 0.0
    own = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK") - own


def peak_memory() -> float:
    """Largest resident size of this process so far, MiB."""
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
