"""What a user brings to a command: files with parts, a network, data."""

from typing import Any

from tombola.core.loading import load_files
from tombola.core.task import Data, Model
from tombola.data.from_files import from_file
from tombola.models.custom import from_class


def bring(options: dict[str, Any]) -> tuple[Model | None, Data | None]:
    """The user's own network and data, of the options ``--load``, ``--model``, ``--data`` and ``--image-size``, which are taken out."""
    load_files(options.pop("load"))
    name, path, size = (options.pop(key, None) for key in ("model", "data", "image_size"))
    return None if name is None else from_class(name), None if path is None else from_file(path, size=size)
