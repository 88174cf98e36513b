"""Where caches live, and how a file gets to its place whole or not at all."""

import os
import tempfile
import uuid
from pathlib import Path


def cache_folder() -> Path:
    """``TOMBOLA_CACHE``, else ``XDG_CACHE_HOME/tombola``, else ``~/.cache/tombola``; without a home a folder of temporary files."""
    own = os.environ.get("TOMBOLA_CACHE")
    try:
        return Path(own).expanduser() if own else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tombola"
    except RuntimeError:  # no HOME, and a user whom the system does not know
        return Path(tempfile.gettempdir()) / f"tombola-{os.getuid()}"


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
