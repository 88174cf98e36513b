"""When a replica trains a network in sparse storage: where its mask leaves so little that sparse products cost less than dense ones."""

import math

import numpy as np

from tombola.core.masks import Mask
from tombola.core.trees import Tree
from tombola.kernels.sparse import available
from tombola.models.sparse_storage import Sizes, stored
from tombola.training.mask_schedules import mask_updates
from tombola.training.setup import Setup

SPARSE = 0.55
"""Largest share of a kernel's weights at which sparse products and the moments of what is stored are worth it (benchmarks/NOTES.md)."""
SMALLEST = 5_000
"""Fewest weights of a kernel in sparse storage: the products of smaller ones cost less than calling another program."""
WORTHWHILE = 2e10
"""Floating-point operations that sparse storage has to save a run: some tenths of a second, as a program takes to compile."""


def may_be_sparse(found: Setup, steps: int) -> bool:
    """Whether training for so many steps is long enough for any mask to be worth it: if not, none need be made to see."""
    return _operations(found, sum(math.prod(found.network.shapes[path].shape) for path in _candidates(found))) * steps >= WORTHWHILE


def sparse_sizes(found: Setup, steps: int, start: Tree, mask: Mask) -> Sizes:
    """The kernels of a replica that are stored sparsely when it trains for so many steps, and the room that each is given.

    Room is a power of two, so that neighbouring levels share a program. It follows from the replica alone, never from who
    shares its cohort.
    """
    sizes, saved = [], 0.0
    for path in _candidates(found):
        places = stored(start[path], mask[path])
        if found.recipe.mask_schedule and (places & ~mask[path]).any():
            continue  # where a mask moves, what it leaves out is 0
        count = int(np.count_nonzero(places))
        if count <= SPARSE * places.size:
            sizes.append((path, 2 ** math.ceil(math.log2(max(count, 1)))))
            saved += _operations(found, places.size - count / SPARSE) * steps
    return tuple(sizes) if saved >= WORTHWHILE and available() else ()


def _candidates(found: Setup) -> list[str]:
    if found.recipe.precision != "float32" or found.recipe.detect:
        return []  # sparse products know no other precision; detectors look at whole weights
    if (updates := mask_updates(found)) and not (updates.choose and updates.no_more):
        return []
    network = found.network
    return sorted(path for path in network.linear.intersection(network.prunable) if math.prod(network.shapes[path].shape) >= SMALLEST)


def _operations(found: Setup, weights: float) -> float:
    """The operations that one step takes with so many weights: two for each example, forward and for either gradient."""
    return 6.0 * found.recipe.batch * weights
