"""A run in progress, as its store keeps it; a store in memory keeps none."""

from collections.abc import Callable, Mapping
from importlib.metadata import version

import numpy as np

from tombola.core.trees import Tree
from tombola.store.files import sealed, unsealed
from tombola.store.store import Store
from tombola.training.replica import Checkpoint

_FORM = 4
"""The version of a state's form: 2 since replicas may be stored sparsely, 3 since it is sealed, 4 since the mask is part of it."""


def _versions() -> str:
    return " ".join([*(f"{name}-{version(name)}" for name in ("jax", "optax", "flax")), f"form-{_FORM}"])


def save(store: Store, digest: str, checkpoint: Checkpoint) -> None:
    """Write a run's checkpoint, replacing the one before."""
    tree = {f"state/{index:05d}": leaf for index, leaf in enumerate(checkpoint.state)}
    for kind, trees in (("snapshot", checkpoint.snapshots), ("mask", checkpoint.masks)):
        tree |= {f"{kind}/{step}/{name}": leaf for step, kept in trees.items() for name, leaf in kept.items()}
    tree["rows"] = np.array(checkpoint.rows, np.float64)
    if checkpoint.signals:
        tree |= {"signals": np.array(checkpoint.signals, np.float64)} | {
            f"before/0/{name}": leaf for name, leaf in checkpoint.before.items()
        }
    _write(store, digest, tree, {"iteration": str(checkpoint.iteration)})


def load(store: Store, digest: str) -> Checkpoint | None:
    """The checkpoint; None if there is none, or if other versions of JAX made it (their bits may differ).

    Raises `SafetensorError` or `OSError` where it is damaged.
    """
    tree, metadata = _read(store, digest)
    if not tree:
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


def iteration(store: Store, digest: str, warn: Callable[[str], None]) -> int | None:
    """The iteration of a checkpoint that a run can go on from. One that is damaged is named and taken away: its run begins anew."""
    from safetensors import SafetensorError

    try:
        found = load(store, digest)
    except (SafetensorError, OSError):
        _discard(store, digest, "run", warn)
        return None
    return None if found is None else found.iteration


def save_state(store: Store, digest: str, state: Mapping[str, np.ndarray]) -> None:
    """Write what a measurement knows that goes step by step."""
    _write(store, digest, state, {})


def load_state(store: Store, digest: str, warn: Callable[[str], None]) -> Tree | None:
    """What `save_state` wrote; None where there is none, or other versions of JAX made it. One that is damaged is named and taken away."""
    from safetensors import SafetensorError

    try:
        return _read(store, digest)[0] or None
    except (SafetensorError, OSError):
        _discard(store, digest, "measurement", warn)
        return None


def remove(store: Store, digest: str) -> None:
    """Take a checkpoint away: its run has ended."""
    if (name := store.files.checkpoint(digest)) is not None:
        store.files.erase(name)


def _write(store: Store, digest: str, tree: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    if (name := store.files.checkpoint(digest)) is not None:
        store.files.write(name, sealed(tree, {**metadata, "made": _versions()}))


def _read(store: Store, digest: str) -> tuple[Tree, dict[str, str]]:
    """The tree and metadata of a checkpoint; empty where there is none, or none that these versions of JAX made."""
    name = store.files.checkpoint(digest)
    try:
        tree, metadata = ({}, {}) if name is None else unsealed(store.files.read(name))
    except FileNotFoundError:
        return {}, {}
    return (tree, metadata) if metadata.get("made") == _versions() else ({}, {})


def _discard(store: Store, digest: str, what: str, warn: Callable[[str], None]) -> None:
    warn(f"{store.folder / (store.files.checkpoint(digest) or '')} is damaged; its {what} begins anew")
    remove(store, digest)
