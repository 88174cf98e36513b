"""A run in progress on disk."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tombola.store.files import load_tree, save_tree
from tombola.training.replica import Checkpoint

_FORM = 4
"""Of a state: 2 since replicas may be stored sparsely, 3 since it is sealed, 4 since the mask is part of it."""


def _versions() -> str:
    return " ".join([*(f"{name}-{version(name)}" for name in ("jax", "optax", "flax")), f"form-{_FORM}"])


def save(path: Path | None, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, replacing the one before."""
    assert path is not None
    tree = {f"state/{index:05d}": leaf for index, leaf in enumerate(checkpoint.state)}
    for kind, trees in (("snapshot", checkpoint.snapshots), ("mask", checkpoint.masks)):
        tree |= {f"{kind}/{step}/{name}": leaf for step, kept in trees.items() for name, leaf in kept.items()}
    tree["rows"] = np.array(checkpoint.rows, np.float64)
    if checkpoint.signals:
        tree |= {"signals": np.array(checkpoint.signals, np.float64)} | {
            f"before/0/{name}": leaf for name, leaf in checkpoint.before.items()
        }
    save_tree(path, tree, {"iteration": str(checkpoint.iteration), "made": _versions()})


def load(path: Path | None) -> Checkpoint | None:
    """The checkpoint; None if there is none, or if other versions of JAX made it (their bits may differ).

    Raises `SafetensorError` or `OSError` where it is damaged.
    """
    if path is None or not path.exists():
        return None
    tree, metadata = load_tree(path)
    if metadata.get("made") != _versions():
        return None
    kept: dict[str, dict[int, dict[str, np.ndarray]]] = {"snapshot": {}, "mask": {}, "before": {}}
    for name, leaf in tree.items():
        kind, _, rest = name.partition("/")
        if kind in kept:
            step, path_in_tree = rest.split("/", 1)
            kept[kind].setdefault(int(step), {})[path_in_tree] = leaf
    state = tuple(tree[name] for name in sorted(tree) if name.startswith("state/"))
    rows, signals = (tuple(tuple(float(value) for value in row) for row in tree.get(name, ())) for name in ("rows", "signals"))
    return Checkpoint(int(metadata["iteration"]), state, rows, kept["snapshot"], kept["mask"], signals, kept["before"].get(0, {}))


def iteration(path: Path | None, warn: Callable[[str], None]) -> int | None:
    """Where a checkpoint stands that a run can go on from. One that is damaged is named and taken away: its run begins anew."""
    from safetensors import SafetensorError

    try:
        found = load(path)
    except (SafetensorError, OSError):
        warn(f"{path} is damaged; its run begins anew")
        remove(path)
        return None
    return None if found is None else found.iteration


def save_state(path: Path | None, state: Mapping[str, np.ndarray]) -> None:
    """Write what a measurement knows that goes step by step; nothing where the store is in memory."""
    if path is not None:
        save_tree(path, state, {"made": _versions()})


def load_state(path: Path | None, warn: Callable[[str], None]) -> dict[str, np.ndarray] | None:
    """It again; None where there is none, or where other versions of JAX made it. One that is damaged is named and taken away."""
    from safetensors import SafetensorError

    if path is None or not path.exists():
        return None
    try:
        tree, metadata = load_tree(path)
    except (SafetensorError, OSError):
        warn(f"{path} is damaged; its measurement begins anew")
        remove(path)
        return None
    return tree if metadata.get("made") == _versions() else None


def remove(path: Path | None) -> None:
    """Take a checkpoint away: its run has ended."""
    if path is not None:
        path.unlink(missing_ok=True)
