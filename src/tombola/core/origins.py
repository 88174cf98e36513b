"""Whose code it is: the user's own, or that of Tombola, the standard library or an installed package."""

import importlib
import importlib.util
import site
import sys
import sysconfig
import types
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Any


@cache
def _roots() -> tuple[str, ...]:
    """Folders of the standard library and of installed packages."""
    paths = sysconfig.get_paths()
    found = {*(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")), *site.getsitepackages()}
    return tuple(f"{path}/" for path in [*found, site.getusersitepackages()])


def installed(name: str) -> bool:
    """Whether a module is Tombola's, the standard library's or an installed package's, and not the user's own."""
    top = name.partition(".")[0]
    if top in ("tombola", "builtins", "__main__"):
        return top != "__main__"
    file = getattr(sys.modules.get(name), "__file__", None)
    if name not in sys.modules:
        try:
            found = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return False
        file = found.origin if found and found.has_location else None
    if file is None:
        return top in sys.stdlib_module_names
    return file.startswith(_roots()) or "site-packages" in file or "dist-packages" in file


def findable(part: Any, module: str) -> bool:
    """Whether a module holds a part under its name. The name of what a function, or `type`, has made says nothing."""
    found: Any = sys.modules.get(module)
    for name in part.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is part


_distributions = cache(packages_distributions)
"""Reads the list of files of every installed package: half a second."""


def release(module: str) -> list[str]:
    """Name and version of the installed package of a module; empty for Tombola and the standard library."""
    top = module.partition(".")[0]
    if top == "tombola" or top in sys.stdlib_module_names:
        return []  # asking for all installed packages takes half a second, and this is asked for every run that is stored
    found = []
    for name in [] if top == "tombola" or top in sys.stdlib_module_names else sorted(set(_distributions().get(top, ()))):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return found


def imported(name: str) -> types.ModuleType | None:
    """A module of the user's that a function imports; None where it cannot be, as then the function fails, too."""
    try:
        return importlib.import_module(name)
    except Exception:
        return None
