"""The folder of caches, and how a file gets to its place whole or not at all."""

import os
import re
import shutil
import socket
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

ABANDONED_SECONDS = 3600.0
"""A draft of another machine, whose processes cannot be seen from here, is left behind if it is so old."""
_DRAFT = re.compile(r"\..*~(?P<host>[^~]*)~(?P<pid>\d{1,9})~[0-9a-f]{8}", re.DOTALL)


def cache_folder() -> Path:
    """``TOMBOLA_CACHE``, else ``XDG_CACHE_HOME/tombola``, else ``~/.cache/tombola``; without a home, or where it cannot be read, a folder
    of temporary files.
    """
    if own := os.environ.get("TOMBOLA_CACHE"):
        return Path(own).expanduser()
    try:
        found = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tombola"
        found.exists()
    except (RuntimeError, PermissionError):  # no HOME, and a user whom the system does not know; another's HOME
        return Path(tempfile.gettempdir()) / f"tombola-{os.getuid()}"
    return found


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the target, then rename: a reader sees the old file or the whole new one. Raises `OSError`.

    A process killed at any moment leaves one of the two, and a draft, which the next write of the same file sweeps away. What a
    power cut may still lose is found by checksum.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent, path.name)
    draft = path.parent / draft_name(path.name)
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def draft_name(name: str) -> str:
    """What a file or folder is called while this process makes it."""
    return f".{name}~{socket.gethostname().replace('~', '-')}~{os.getpid()}~{uuid.uuid4().hex[:8]}"


def sweep(folder: Path, name: str = "") -> None:
    """Take away drafts in a folder, or those of one name, that nobody alive is writing."""
    with suppress(OSError):
        for entry in os.listdir(folder):
            if entry.startswith(f".{name}~" if name else ".") and _left_behind(folder / entry):
                take_away(folder / entry)


def _left_behind(draft: Path) -> bool:
    match = _DRAFT.fullmatch(draft.name)
    if match is None:
        return False  # none of ours
    if match["host"] == socket.gethostname().replace("~", "-"):
        return not running(int(match["pid"]))
    clock = draft.with_name(draft_name("clock"))
    try:
        return now_by(clock) - draft.stat().st_mtime > ABANDONED_SECONDS
    except OSError:
        return False
    finally:
        clock.unlink(missing_ok=True)


def now_by(clock: Path) -> float:
    """What the clock says that dates files beside `clock`, which is touched: that of the machine that has them may be another's."""
    try:
        clock.touch()
        return clock.stat().st_mtime
    except OSError:  # who may only look
        return time.time()


def take_away(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def running(pid: int) -> bool:
    """Whether there is a process of this number on this machine."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
