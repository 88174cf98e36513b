"""Writing where the user said: whole files, and one line where that fails."""

import re
from collections.abc import Iterable
from pathlib import Path

from tombola.core.errors import TombolaError
from tombola.store.files import write_atomically


def write_file(path: Path, content: bytes) -> Path:
    """Write-then-rename; returns the path. Raises TombolaError where the folder cannot be written to."""
    try:
        write_atomically(path, content)
    except OSError as error:
        reason = error.strerror or error
        raise TombolaError(f"cannot write {str(path)!r}: {reason}; choose a folder that you may write to") from None
    return path


def writable(folder: Path) -> None:
    """Raise TombolaError unless files can be made in `folder`, which is created: to be known before hours of training."""
    write_file(folder / ".writable", b"").unlink()


def safe_names(names: Iterable[str]) -> list[str]:
    """A name of its own for each of some names, fit for a file, a folder and an id: none leads out of a folder.

    >>> safe_names(["../up", "a study", "a study"])
    ['up', 'a-study', 'a-study--2']
    """
    found: list[str] = []
    for name in names:
        base = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip(".-") or "unnamed"
        again = sum(re.sub(r"--\d+$", "", other).lower() == base.lower() for other in found)
        found.append(f"{base}--{again + 1}" if again else base)
    return found
