"""Writing where the user said: whole files, and one line where that fails."""

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
