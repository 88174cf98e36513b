"""The folders in which data files are looked for."""

import os
from pathlib import Path

from tombola.core.files import cache_folder


def data_folder(folder: Path | str | None = None) -> Path:
    """The folder of data files: `folder` if given, else ``TOMBOLA_DATA``, else ``data`` in the user's cache."""
    chosen = folder or os.environ.get("TOMBOLA_DATA")
    return Path(chosen).expanduser() if chosen else cache_folder() / "data"
