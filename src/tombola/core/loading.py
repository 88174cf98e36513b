"""A user's own files: run for what they register and hold, once for each content."""

import hashlib
import importlib
import inspect
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from tombola.core.errors import TombolaError, unknown


class _Loaded(NamedTuple):
    module: ModuleType
    files: dict[Path, str]
    """The file and those beside it that it imports -> digest of what was run."""


_loaded: dict[Path, _Loaded] = {}


def load_file(path: Path | str) -> ModuleType:
    """Run a user's file, unless it and what it imports from its folder have been run as they are.

    Raises:
        TombolaError: if there is no such file, or it fails, or it ends Python.
    """
    place = Path(path).expanduser().absolute()
    if not os.path.isfile(place):
        raise TombolaError(f"there is no file {str(path)!r} to load in {Path.cwd()}")
    before = _loaded.get(place)
    if before is not None and all(file.is_file() and _digest(file) == digest for file, digest in before.files.items()):
        return before.module
    _forget_neighbours()
    module = ModuleType(f"tombola_user_{hashlib.sha256(bytes(place)).hexdigest()[:8]}_{_digest(place)}")
    module.__file__ = str(place)
    others = set(sys.modules)
    with _as_script(place), failing(str(path)):
        # Not importlib: its bytecode cache goes by time stamp and size, and misses an edit within a second.
        code = compile(place.read_bytes(), str(place), "exec")
        sys.modules[module.__name__] = module
        exec(code, vars(module))
    files = [Path(found) for name in sys.modules.keys() - others if (found := getattr(sys.modules[name], "__file__", None))]
    near = [place, *(file for file in files if file.is_relative_to(place.parent) and "site-packages" not in file.parts)]
    _loaded[place] = _Loaded(module, {file: _digest(file) for file in near})
    return module


def load_files(paths: Iterable[Path | str]) -> None:
    """Run a user's files, for what they register."""
    for path in paths:
        load_file(path)


def load_part(name: str) -> Any:
    """What ``path.py:Name`` or ``package.module:Name`` names."""
    place, _, attribute = name.rpartition(":")
    if not place or not attribute:
        raise TombolaError(f"{name!r} names no part of a file: write path.py:Name or package.module:Name")
    module = load_file(place) if place.endswith(".py") else _import(place)
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is None:
        own = [key for key, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module.__name__]
        raise unknown(f"class of {place}", attribute, own)
    return found


def _import(place: str) -> ModuleType:
    with failing(place):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{place}.".startswith(f"{error.name}."):
                raise
            raise TombolaError(f"there is no module {place!r}; put its folder on PYTHONPATH, or name the file, path.py:{'Name'}") from None


@contextmanager
def failing(place: str) -> Iterator[None]:
    """What goes wrong in a user's file, as one line."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):  # of a parser of arguments
            yield
    except TombolaError:
        raise
    except SystemExit:
        remedy = "put what only a script does under `if __name__ == '__main__':`"
        raise TombolaError(f"{place} ends Python when it is loaded; {remedy}") from None
    except SyntaxError as error:
        raise TombolaError(f"{error.filename or place} has a syntax error in line {error.lineno}: {error.msg}") from error
    except Exception as error:
        raise TombolaError(f"{place} cannot be loaded: {summary(error)}") from error
    sys.stderr.write(said.getvalue())


@contextmanager
def one_line(part: str, remedy: Callable[[], str] = str) -> Iterator[None]:
    """What a part raises, as one line that names the part, and then `remedy()`; a full disk and the like are none of its."""
    try:
        yield
    except (TombolaError, OSError):
        raise
    except Exception as error:
        raise TombolaError(f"{part} fails: {summary(error)}{remedy()}") from error


def summary(error: Exception) -> str:
    """An exception of the user's code as one line."""
    said = next(iter(str(error).strip().splitlines()), "")
    if "nnx.List(" in str(error):  # Flax lists five remedies on as many lines; ours is the one for layers
        said = f"{said.partition(' Consider one of')[0].rstrip('.')}; write nnx.List([...]), or nnx.Dict for a dict"
    return f"{type(error).__name__}: {said}"


@contextmanager
def _as_script(place: Path) -> Iterator[None]:
    """A file finds those in its folder, and no arguments of ours. What it imports later, within functions, it finds as well."""
    folder, arguments = str(place.parent), sys.argv
    sys.path.insert(0, folder)
    sys.argv = [str(place)]
    try:
        yield
    finally:
        sys.argv = arguments
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def _forget_neighbours() -> None:
    """Another file may have one of the same name beside it, or they may have been edited: each file imports its own anew."""
    files = {str(file) for loaded in _loaded.values() for file in loaded.files}
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) in files and not name.startswith("tombola_user_"):
            del sys.modules[name]


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
