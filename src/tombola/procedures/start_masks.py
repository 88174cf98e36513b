"""Start masks: mask actions that need no trained network. Sparse at random, and pruned at initialisation."""

from typing import Literal, get_args

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.keys import generator
from tombola.core.masks import Mask
from tombola.core.parts import mask_actions
from tombola.procedures.actions import Context

Densities = Literal["uniform", "er", "erk"]


@mask_actions.register
def sparse(context: Context, *, density: float, densities: Densities = "erk", stream: str = "sparse") -> Mask:
    """A random mask whose layers are as dense as `densities` says: where sparse training starts, and the control of pruning.

    The density of a layer is min(1, e p), with one e for all such that round(density * weights of all layers) are kept in all:

        uniform:  p = 1
        er:       p = (n_in + n_out) / (n_in n_out), its units or channels (Erdos-Renyi)
        erk:      p = (n_in + n_out + k_1 + ...) / (n_in n_out k_1 ...), with the sides of a kernel too

    Counts are exact: each layer's share is rounded, down or up, such that their sum is; and at least 1. The places of a layer are
    drawn from the run's stream ``{stream}/{path}``.

    Source: Mocanu et al. 2018, equation 3 (er); Evci et al. 2020, section 3 (erk).
    """
    if densities not in get_args(Densities):
        raise unknown("densities of sparse", densities, get_args(Densities))
    shapes = {path: context.network.shapes[path].shape for path in context.network.prunable}
    mask = {}
    for path, count in counts(shapes, kept_of(context, "sparse", density), densities).items():
        size = int(np.prod(shapes[path]))
        leaf = np.zeros(size, bool)
        leaf[generator(context.seed, f"{stream}/{path}").choice(size, count, replace=False)] = True
        mask[path] = leaf.reshape(shapes[path])
    return mask


def kept_of(context: Context, name: str, density: float) -> int:
    """How many of all prunable weights a density keeps. Raises for what is none, and where some layer would have to be empty."""
    if isinstance(density, bool) or not isinstance(density, int | float) or not 0 < density <= 1:
        raise TombolaError(f"{name}: density = {density!r}; write a share above 0 and up to 1")
    sizes = [int(np.prod(context.network.shapes[path].shape)) for path in context.network.prunable]
    if (count := round(density * sum(sizes))) < len(sizes):
        raise TombolaError(f"{name}: density {density:g} keeps {count} weights of {len(sizes)} layers, and none may be empty; write more")
    return count


def counts(shapes: dict[str, tuple[int, ...]], total: int, densities: Densities) -> dict[str, int]:
    """Path -> weights that are kept, `total` in all, at least one of each leaf and at most all (`sparse`)."""
    sizes = {path: int(np.prod(shape)) for path, shape in shapes.items()}
    sides = {path: {"uniform": (1,), "er": shape[-2:], "erk": shape}[densities] for path, shape in shapes.items()}
    raw = {path: sum(one) / np.prod(one) for path, one in sides.items()}
    whole: set[str] = set()
    while True:
        free = [path for path in shapes if path not in whole]
        e = (total - sum(sizes[path] for path in whole)) / max(1, sum(raw[path] * sizes[path] for path in free))
        if not (more := {path for path in free if e * raw[path] > 1}):
            break
        whole |= more
    exact = {path: float(sizes[path]) if path in whole else e * raw[path] * sizes[path] for path in shapes}
    found = {path: min(sizes[path], max(1, int(one))) for path, one in exact.items()}
    while (left := total - sum(found.values())) != 0:  # by the largest remainder; from the largest what layers of 1 took too much
        if left > 0:
            found[max((path for path in found if found[path] < sizes[path]), key=lambda path: exact[path] - found[path])] += 1
        else:
            found[max(found, key=lambda path: found[path] - exact[path] if found[path] > 1 else -np.inf)] -= 1
    return found
