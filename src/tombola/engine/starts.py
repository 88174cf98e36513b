"""A run's mask and start as arrays, made from what the store has of its parents."""

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tombola.core import masks
from tombola.core.masks import Mask
from tombola.core.trees import Tree, finite
from tombola.engine.reading import load_tree
from tombola.engine.resolved import resolved
from tombola.models.network import Network
from tombola.procedures.actions import Context, mask_actions, value_actions
from tombola.procedures.run import Action, Run, RunRef
from tombola.pruning import selection
from tombola.store.store import Store
from tombola.surgery.combine import combine
from tombola.training.activations import on_made_up_examples, on_training_examples
from tombola.training.setup import Setup
from tombola.training.slopes import SLOPES


def materialise(run: Run, store: Store, data_dir: Path | None) -> tuple[Mask, Tree]:
    """(mask, start) of a run whose parents are stored. Raises `Damaged` where one of their files is.

    What is made from a network that diverged is no network either: its start is NaN, so that NaN is all that its rows say; and
    its mask has the right counts alone.
    """
    network = resolved(run.task, data_dir)[0].network
    shapes = _prunable_shapes(network)
    slopes = lambda what, *given, **options: SLOPES[what](run.task, data_dir, *given, **options)  # noqa: E731
    context = Context(network, run.seed, slopes=slopes, recorded=partial(on_training_examples, run.task, data_dir))
    diverged = False

    def act(actions: Any, action: Action, context: Context) -> Any:
        nonlocal diverged
        parents = [load_tree(parent.run, parent.what, store, data_dir) for parent in action.of]
        if any(not finite(tree) for tree in parents) or any(begins_diverged(store, parent) for parent in action.of):
            diverged = True
            stands = zip(parents, action.of, strict=True)
            parents = [tree if parent.what == "mask" else _made_up(parent, network) for tree, parent in stands]
            context = context._replace(slopes=_of_no_network, recorded=_made_up_layers(network))
        return actions.call(action.name, context, *parents, **action.options)

    mask = selection.dense(shapes) if run.mask is None else act(mask_actions, run.mask, context)
    masks.check(mask, shapes)
    context = context._replace(mask=mask)
    kept = network.init(run.seed) if run.kept is None else act(value_actions, run.kept, context)
    pruned = 0.0 if run.pruned is None else act(value_actions, run.pruned, context)
    start = combine(mask, kept, pruned)
    return mask, {path: np.full_like(leaf, np.nan) for path, leaf in start.items()} if diverged else start


def begins_diverged(store: Store, parent: RunRef) -> bool:
    """Whether a parent's mask is that of no network: of a run whose start was not finite."""
    if parent.what != "mask" or not isinstance(parent.run, Run):
        return False
    return bool(np.isnan(store.get(parent.run.digest).metrics()["val_loss"][0]))


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
    context = Context(found.network, 0, mask, _of_no_network, recorded=_made_up_layers(found.network))
    actions.call(action.name, context, *(_made_up(parent, found.network) for parent in action.of), **action.options)


def _made_up_layers(network: Network) -> Callable[..., Any]:
    return lambda seed, weights, *_: on_made_up_examples(network, weights)


def _of_no_network(what: str, seed: int, weights: Tree, *vectors: Tree, **options: Any) -> Tree:
    """Made-up numbers in the shape of what is asked for, that of one example or of all; not negative where it is not."""
    made = {"examples": lambda leaf: leaf[None], "squares": abs, "activity": abs}.get(what, lambda leaf: leaf)
    return {path: made(leaf) for path, leaf in weights.items()}


def _made_up(parent: RunRef, network: Network) -> Tree:
    """A mask that keeps everything, or weights with which a criterion that can be negative is negative."""
    if parent.what == "mask":
        return selection.dense(_prunable_shapes(network))
    value = 1.0 if parent.what == "0it" else -0.5
    return {path: np.full(one.shape, value, one.dtype) for path, one in network.shapes.items()}


def _prunable_shapes(network: Any) -> dict[str, tuple[int, ...]]:
    return {path: network.shapes[path].shape for path in network.prunable}
