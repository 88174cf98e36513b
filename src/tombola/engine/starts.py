"""A run's mask and start as arrays, made from what the store has of its parents."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tombola.core import masks
from tombola.core.masks import Mask
from tombola.core.trees import Tree
from tombola.engine.reading import load_tree
from tombola.engine.resolved import resolved
from tombola.procedures.actions import Context, mask_actions, value_actions
from tombola.procedures.run import Action, Run
from tombola.pruning import selection
from tombola.store.store import Store
from tombola.surgery.combine import combine
from tombola.training.setup import Setup


def materialise(run: Run, store: Store, data_dir: Path | None) -> tuple[Mask, Tree]:
    """(mask, start) of a run whose parents are stored. Raises `Damaged` where one of their files is."""
    network = resolved(run.task, data_dir)[0].network
    shapes = _prunable_shapes(network)
    context = Context(network, run.seed)

    def act(actions: Any, action: Action, context: Context) -> Any:
        parents = [load_tree(parent.run, parent.what, store, data_dir) for parent in action.of]
        return actions.call(action.name, context, *parents, **action.options)

    mask = selection.dense(shapes) if run.mask is None else act(mask_actions, run.mask, context)
    masks.check(mask, shapes)
    context = context._replace(mask=mask)
    kept = network.init(run.seed) if run.kept is None else act(value_actions, run.kept, context)
    pruned = 0.0 if run.pruned is None else act(value_actions, run.pruned, context)
    return mask, combine(mask, kept, pruned)


def rehearse(runs: Iterable[Run], data_dir: Path | None) -> None:
    """Call each kind of action once, on made-up numbers: what is wrong with a name, an option or a parent shows before training."""
    seen = set()
    for run in runs:
        found, _ = resolved(run.task, data_dir)
        for actions, action in ((mask_actions, run.mask), (value_actions, run.kept), (value_actions, run.pruned)):
            if action is None:
                continue
            options = {name: value for name, value in action.options.items() if name != "stream"}
            key = (found, action.name, tuple(parent.what == "mask" for parent in action.of), json.dumps(options, sort_keys=True))
            if key not in seen:
                seen.add(key)
                _rehearse(actions, action, found)


def _rehearse(actions: Any, action: Action, found: Setup) -> None:
    mask = selection.dense(_prunable_shapes(found.network))

    def parent(what: str) -> Tree:
        """Numbers with which a criterion that can be negative is negative."""
        value = 1.0 if what == "0it" else -0.5
        return mask if what == "mask" else {path: np.full(one.shape, value, one.dtype) for path, one in found.network.shapes.items()}

    parents = [parent(source.what) for source in action.of]
    actions.call(action.name, Context(found.network, 0, mask), *parents, **action.options)


def _prunable_shapes(network: Any) -> dict[str, tuple[int, ...]]:
    return {path: network.shapes[path].shape for path in network.prunable}
