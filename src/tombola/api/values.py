"""`tombola.values`: what weights start from, by the value actions of the studies."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tombola.api.session import Session, seeds
from tombola.core.errors import TombolaError, warn
from tombola.core.masks import Mask
from tombola.core.task import Task
from tombola.core.trees import Tree, finite, replica, replicas, stack
from tombola.procedures.actions import Context, value_actions
from tombola.procedures.run import Action


def values(
    action: str,
    task: Task,
    *parents: Mapping[str, Any],
    mask: Mask | None = None,
    replicates: int | None = None,
    seed: int = 0,
    data_dir: Path | str | None = None,
    **options: Any,
) -> Tree:
    """Values for the kept or the pruned weights of R networks, to be put together by `tombola.combine`.

    Args:
        action: a registered value action: ``reinit``, ``permute``, ``signed_constant``, ``random_signs``, ``zero_moved``, ...
        parents: weights that it works on, leaves (R, ...), such as ``dense.at("0it"), dense.final`` of ``zero_moved``; of most
            actions none means the initial weights.
        mask: leaves (R, ...); which weights are kept, for actions that ask.
        replicates: R where neither parents nor mask say it; 1 if not given.
        seed: of the study: replicate r draws from the streams of its own seed, as `tombola.train` does.
        options: of the action: ``stream="reinit/1"`` names a draw, ``keep_sign=True`` keeps the signs of the parent.

    Returns:
        leaves (R, ...) of all weights.

    Raises:
        TombolaError: for an unknown action, options that it does not have, or trees of another network or another R.

    Source: Zhou et al. 2019, sections 3 and 4 (mask-1 and mask-0 actions).
    """
    network = Session.of(task, None, data_dir).network
    trees = [*parents, *([] if mask is None else [mask])]
    counts = {replicas(tree) for tree in trees} | ({replicates} if replicates is not None else set()) or {1}
    if len(counts) > 1:
        raise TombolaError(f"parents, mask and replicates are of {' and '.join(map(str, sorted(counts)))} networks; give as many of each")
    for tree, shapes in [(tree, network.shapes) for tree in parents] + ([(mask, network.prunable)] if mask is not None else []):
        wrong = [path for path in shapes if path not in tree or tree[path].shape[1:] != network.shapes[path].shape]
        if wrong:
            raise TombolaError(f"{wrong[0]} is missing, or not of shape (R, {', '.join(map(str, network.shapes[wrong[0]].shape))})")
    own = seeds(seed, counts.pop())
    found = [
        value_actions.call(
            Action(name=action).name,
            Context(network, one, None if mask is None else replica(mask, index)),
            *(replica(tree, index) for tree in parents),
            **options,
        )
        for index, one in enumerate(own)
    ]
    warn(
        *(
            f"values for replicate {index} are not finite: those of its parents are not"
            for index, one in enumerate(found)
            if not finite(one)
        )
    )
    return stack(found)
