"""`tombola.score` and `tombola.prune`: pruning by hand, on stacked replicas."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tombola.api.trajectory import Trajectory
from tombola.core import masks
from tombola.core.errors import TombolaError, warn
from tombola.core.keys import replicate_seed
from tombola.core.masks import Mask
from tombola.core.trees import Tree, finite, replica, replicas, stack
from tombola.pruning import criteria, selection
from tombola.training.slopes import SLOPES


def score(trajectory: Trajectory, criterion: str | criteria.Criterion = "large_final", *, data_dir: Path | str | None = None) -> Tree:
    """Scores of the prunable weights, leaves (R, ...), from the first and the last weights of a trajectory.

    Args:
        criterion: the name of a registered criterion, or a function (initial, final) -> scores of one leaf. One with a third
            argument `gradient` gets the gradient of the mean loss at the last weights (`training.slopes.mean_gradient`), for which
            data are read; one with `squares`, `examples` or `activity` gets what `training.slopes` says of these.
    """
    name = criteria.criteria.described(criterion)

    def scored(seed: int, first: Tree, last: Tree, mask: Mask) -> Tree:
        return criteria.score_leaves(name, first, last, mask, lambda which: SLOPES[which](trajectory.task, data_dir, seed, last))

    trees = (trajectory.initial, trajectory.final, trajectory.mask)
    found = [scored(seed, *(replica(tree, index) for tree in trees)) for index, seed in enumerate(trajectory.seeds)]
    warn(
        *(
            f"scores of replicate {index} are not finite: it has diverged, or mend the criterion"
            for index, one in enumerate(found)
            if not finite(one)
        )
    )
    return stack(found)


def prune(
    scores: Tree,
    fraction: float | Mapping[str, float],
    scope: selection.Scope = "layer",
    mask: Mask | None = None,
    quiet: bool = False,
    seed: int = 0,
) -> Mask:
    """Remove the `fraction` of the weights still kept whose scores are lowest. Prints what is left of each layer, and warns of empty ones.

    Args:
        scores: leaves (R, ...), from `tombola.score`.
        fraction: one number in [0, 1], or one for each path.
        scope: with "layer" the fraction is taken from each layer, with "global" from all of them together.
        mask: what is kept so far. If not given, everything.
        quiet: prints nothing.
        seed: that of the study: replica r orders equal scores at random, by the streams ``ties/{path}`` of its own seed.

    Returns:
        The new mask, leaves (R, ...) bool, with exactly ``round(fraction * kept)`` fewer weights.

    Raises:
        TombolaError: for a fraction that is not in [0, 1], or a mask of other layers than the scores.
    """
    before = mask if mask is not None else selection.dense({path: np.shape(leaf) for path, leaf in scores.items()})
    rates = dict(fraction) if isinstance(fraction, Mapping) else dict.fromkeys(scores, fraction)
    if before.keys() != scores.keys():
        raise TombolaError(f"mask and scores must cover the same layers; they differ in {sorted(before.keys() ^ scores.keys())[0]!r}")
    left = [
        selection.prune(replica(scores, index), replica(before, index), rates, scope, selection.ties_of(replicate_seed(seed, index)))
        for index in range(replicas(scores))
    ]
    if not quiet:
        print(table(stack(left)))
    empty = [(path, index) for index, one in enumerate(left) for path in selection.emptied(one)]
    warn(*(f"layer {path!r} of replicate {index} is empty: no signal passes through it" for path, index in empty))
    return stack(left)


def table(mask: Mask) -> str:
    """Kept, prunable and density of each layer and of all, averaged over replicas."""
    count = replicas(mask)
    rows = [(path, masks.kept({path: leaf}) / count, leaf.size // count) for path, leaf in mask.items()]
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    width = max(len(row[0]) for row in rows)
    return "\n".join(f"{path:<{width}}  {kept:>12,.0f} / {size:<12,} density {kept / size:.4f}" for path, kept, size in rows)
