"""The start of a run: kept and pruned values meet here, and nowhere else."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tombola.core.masks import Mask
from tombola.core.trees import Tree


def combine(mask: Mask, kept: Mapping[str, Any], pruned: Mapping[str, Any] | float = 0.0) -> Tree:
    """Start = where(mask, kept, pruned) on the prunable leaves; every other leaf comes from `kept`.

    The training loop holds a weight with mask 0 at its starting value, so what happens to pruned weights (zero,
    frozen at their initial value, ...) is decided by `pruned` alone (Zhou et al. 2019, section 4: mask-0 actions).
    """
    start = {}
    for path, leaf in kept.items():
        leaf = np.asarray(leaf)
        if path in mask:
            other = np.asarray(pruned[path] if isinstance(pruned, Mapping) else pruned, leaf.dtype)
            leaf = np.where(mask[path], leaf, other)
        start[path] = leaf
    return start
