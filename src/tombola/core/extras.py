"""Packages that only some of what Tombola does needs."""

import importlib
from types import ModuleType

from tombola.core.errors import TombolaError


def extra(module: str, name: str) -> ModuleType:
    """A module of the extra `tombola[name]`. Raises in one line if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise TombolaError(f"{name} needs the module {module!r} ({error}); install it with pip install 'tombola[{name}]'") from None
