"""Where caches live, and how a file gets to its place whole or not at all."""

import os
import uuid
from pathlib import Path


def cache_folder() -> Path:
    """``TOMBOLA_CACHE``, else ``XDG_CACHE_HOME/tombola``, else ``~/.cache/tombola``."""
    if own := os.environ.get("TOMBOLA_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tombola"


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the target, then rename: a reader sees the old file or the whole new one. Raises `OSError`.

    A process killed at any moment leaves one of the two. What a power cut may still lose is found by checksum.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
