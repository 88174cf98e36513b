"""JSON and safetensors, written whole or not at all."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tombola.core.files import write_atomically
from tombola.core.trees import Tree

SEAL = "content_sha256"
"""Key of the metadata under which a file says what its content comes to."""


def dump_json(value: Any) -> bytes:
    """JSON, indented, in the given order, with one newline at the end."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")


def dump_tree(tree: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> bytes:
    """A path-named tree as a safetensors file, which PyTorch, NumPy and JAX read alike."""
    from safetensors.numpy import save

    return save({name: np.asarray(leaf, order="C") for name, leaf in tree.items()}, metadata=dict(metadata or {}))


def save_tree(path: Path, tree: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Write a tree with metadata and a seal, as `sealed` makes it."""
    write_atomically(path, sealed(tree, metadata or {}))


def sealed(tree: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file with metadata and a seal: the SHA-256 of both, by which `unsealed` finds damage."""
    there = {name: np.asarray(leaf, order="C") for name, leaf in tree.items()}
    return dump_tree(there, {**metadata, SEAL: _seal(there, metadata)})


def load_tree(path: Path) -> tuple[Tree, dict[str, str]]:
    """(tree, metadata) of what `save_tree` wrote. Raises as `unsealed`, and `OSError` if the file cannot be read."""
    return unsealed(path.read_bytes())


def unsealed(content: bytes) -> tuple[Tree, dict[str, str]]:
    """(tree, metadata) of what `sealed` made.

    Raises:
        SafetensorError: if it is damaged. Files that were written before there was a seal are read without one.
    """
    from safetensors import SafetensorError

    tree = read_tree(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # which was just found sound
    metadata = dict(header.get("__metadata__", {}))
    seal = metadata.pop(SEAL, None)
    if seal is not None and seal != _seal(tree, metadata):
        raise SafetensorError("its content is not what was written")
    return tree, metadata


def _seal(tree: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    found = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tree):
        found.update(repr((name, tree[name].dtype.str, tree[name].shape)).encode())
        found.update(np.ascontiguousarray(tree[name]).data)
    return found.hexdigest()


def read_tree(content: bytes) -> Tree:
    """The tree of a safetensors file, sorted by path: the library's own order changes from process to process."""
    from safetensors.numpy import load

    return dict(sorted(load(content).items()))
