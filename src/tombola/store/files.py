"""JSON and safetensors, written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tombola.core.files import write_atomically
from tombola.core.trees import Tree


def dump_json(value: Any) -> bytes:
    """Indented, in the given order, one newline at the end."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def dump_tree(tree: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> bytes:
    """A path-named tree as a safetensors file, which PyTorch, NumPy and JAX read alike."""
    from safetensors.numpy import save

    return save({name: np.asarray(leaf, order="C") for name, leaf in tree.items()}, metadata=dict(metadata or {}))


def save_tree(path: Path, tree: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write what `dump_tree` makes of a tree."""
    write_atomically(path, dump_tree(tree, metadata))


def load_tree(path: Path) -> Tree:
    """The inverse of `save_tree`."""
    return read_tree(path.read_bytes())


def read_tree(content: bytes) -> Tree:
    """The tree of a safetensors file, sorted by path: the library's own order changes from process to process."""
    from safetensors.numpy import load

    return dict(sorted(load(content).items()))
