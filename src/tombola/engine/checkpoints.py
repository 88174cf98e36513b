"""A run in progress on disk."""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np

from tombola.store.files import save_tree
from tombola.training.replica import Checkpoint

_FORM = 2
"""Of a state: 2 since replicas may be stored sparsely."""


def _versions() -> str:
    return " ".join([*(f"{name}-{version(name)}" for name in ("jax", "optax", "flax")), f"form-{_FORM}"])


def save(path: Path | None, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, replacing the one before."""
    assert path is not None
    tree = {f"state/{index:05d}": leaf for index, leaf in enumerate(checkpoint.state)}
    for step, weights in checkpoint.snapshots.items():
        tree |= {f"snapshot/{step}/{name}": leaf for name, leaf in weights.items()}
    tree["rows"] = np.array(checkpoint.rows, np.float64)
    save_tree(path, tree, {"iteration": str(checkpoint.iteration), "made": _versions()})


def load(path: Path | None) -> Checkpoint | None:
    """The checkpoint, or None if there is none, it is damaged, or other versions of JAX made it (their bits may differ)."""
    from safetensors import SafetensorError, safe_open

    if path is None or not path.exists():
        return None
    try:
        with safe_open(path, "np") as file:
            metadata = file.metadata()
            tree = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError, json.JSONDecodeError):
        return None
    if metadata.get("made") != _versions():
        return None
    snapshots: dict[int, dict[str, np.ndarray]] = {}
    for name, leaf in tree.items():
        if name.startswith("snapshot/"):
            step, path_in_tree = name.removeprefix("snapshot/").split("/", 1)
            snapshots.setdefault(int(step), {})[path_in_tree] = leaf
    state = tuple(tree[name] for name in sorted(tree) if name.startswith("state/"))
    rows = tuple(tuple(float(value) for value in row) for row in tree["rows"])
    return Checkpoint(int(metadata["iteration"]), state, rows, snapshots)


def remove(path: Path | None) -> None:
    """Take a checkpoint away: its run has ended."""
    if path is not None:
        path.unlink(missing_ok=True)


def iteration(path: Path | None) -> int | None:
    """Where the checkpoint stands, without reading its weights."""
    from safetensors import SafetensorError, safe_open

    if path is None or not path.exists():
        return None
    try:
        with safe_open(path, "np") as file:
            return int(file.metadata()["iteration"]) if file.metadata().get("made") == _versions() else None
    except (SafetensorError, OSError):
        return None
