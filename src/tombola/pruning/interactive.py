"""`tombola.score` and `tombola.prune`: pruning by hand, on stacked replicas."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tombola.core import masks
from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.trees import Tree, per_replica, replicas, select
from tombola.pruning import criteria, selection
from tombola.training.trajectory import Trajectory


def score(trajectory: Trajectory, criterion: str | Callable[[Any, Any], Any] = "large_final") -> Tree:
    """Scores of the prunable weights, leaves (R, ...), from the first and last weights of a trajectory.

    Args:
        criterion: the name of a registered criterion, or a function (initial, final) -> scores of one leaf.
    """
    name = "" if callable(criterion) else criteria.criteria.described(criterion)
    first, last = (select(tree, trajectory.mask) for tree in (trajectory.initial, trajectory.final))

    def scored(one: Tree, other: Tree, kept: Mask) -> Tree:
        if callable(criterion):
            return {path: criterion(one[path], other[path]) for path in one}
        return {path: criteria.scores(name, one[path], other[path], kept[path]) for path in one}

    return per_replica(scored, first, last, trajectory.mask)


def prune(
    scores: Tree,
    fraction: float | Mapping[str, float],
    scope: selection.Scope = "layer",
    mask: Mask | None = None,
    quiet: bool = False,
) -> Mask:
    """Remove the lowest-scored `fraction` of the weights that are still kept; says what is left of each layer.

    Args:
        scores: leaves (R, ...), from `score`.
        fraction: one number in [0, 1], or one a path.
        scope: "layer": the fraction is taken from each layer; "global": from all of them together.
        mask: what is kept so far; everything if not given.

    Returns:
        The new mask, leaves (R, ...) bool, with exactly ``round(fraction * kept)`` fewer weights.
    """
    before = mask if mask is not None else selection.dense({path: np.shape(leaf) for path, leaf in scores.items()})
    rates = dict(fraction) if isinstance(fraction, Mapping) else selection.uniform_rates(scores, fraction)
    if before.keys() != scores.keys():
        raise TombolaError(f"mask and scores must cover the same layers; they differ in {sorted(before.keys() ^ scores.keys())[0]!r}")
    after = per_replica(lambda one, kept: selection.prune(one, kept, rates, scope), scores, before)
    if not quiet:
        print(table(after))
    return after


def table(mask: Mask) -> str:
    """Kept, prunable and density of each layer and of all, averaged over replicas; empty layers are pointed out."""
    count = replicas(mask)
    rows = [(path, masks.kept({path: leaf}) / count, leaf.size // count) for path, leaf in mask.items()]
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    width = max(len(row[0]) for row in rows)
    lines = [f"{path:<{width}}  {kept:>12,.0f} / {size:<12,} density {kept / size:.4f}" for path, kept, size in rows]
    empty = [path for path, leaf in mask.items() if not leaf.reshape(count, -1).any(axis=1).all()]
    return "\n".join(lines + [f"warning: layer {path!r} is empty: no signal passes through it" for path in empty])
