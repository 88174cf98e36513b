"""Tombola's own source as a digest: what was kept by other code is made anew."""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path


@cache
def source_digest(*packages: str) -> str:
    """SHA-256 of all of Tombola's files of source, and of the versions of the named packages."""
    root = Path(__file__).parents[1]
    found = hashlib.sha256(repr([version(name) for name in packages]).encode())
    for path in sorted([*root.rglob("*.py"), *root.rglob("*.mplstyle")]):
        found.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return found.hexdigest()
