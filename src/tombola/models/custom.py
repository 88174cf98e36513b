"""Networks of the user's own: ``path.py:Class``, ``package.module:Class``, or a class handed over in Python.

Loads neither JAX nor a user's code before a network is built; only `resolve` does.
"""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from tombola.core.errors import TombolaError, unknown
from tombola.core.task import Model

SIGNATURE = "(shape, classes, *, rngs, **options)"
"""How the class (or function) of a network is called; it returns an ``nnx.Module``."""

_imported: dict[str, str] = {}
"""Module -> digest of its file when it was first imported here: an edited one would still run its old code."""
_handed_over: dict[tuple[str, str], Callable[..., Any]] = {}
"""(name, source) -> class. A class of ``__main__`` or of a notebook can be found in no other way."""


def identify(name: str) -> dict[str, Any]:
    """Fields of `Model` for a name: {"name": ..., "source": digest of the file, "" for a registered network}."""
    if ":" not in name:
        return {"name": name, "source": ""}
    place, _ = _split(name)
    return {"name": name, "source": _digest(_file(place).read_bytes())}


def from_class(factory: Callable[..., Any], *, initializer: str = "own", **options: Any) -> Model:
    """The `Model` of a class ``(shape, classes, *, rngs, **options) -> nnx.Module``, and its options.

    Its weights are drawn as the module itself draws them (`initializer` ``own``), unless another initialiser is named.

    Another process finds the class again only if it stands in a module or file that can be imported there.
    """
    name = f"{factory.__module__}:{factory.__qualname__}"
    source = _digest(_source(factory).encode())
    _handed_over[name, source] = factory
    return Model(name=name, options=options, initializer=initializer, source=source)


def resolve(name: str, source: str = "") -> Callable[..., Any]:
    """The factory of a name. `source`, where given, must be the digest of what is found (the file or the class)."""
    if (name, source) in _handed_over:
        return _handed_over[name, source]
    if ":" not in name:
        return _registered(name)
    place, attribute = _split(name)
    file = _file(place)
    content = file.read_bytes()
    module = _run(file, content) if place.endswith(".py") else _import(place, _digest(content))
    factory = _attribute(module, attribute, name)
    if source not in ("", _digest(content)) and source != _digest(_source(factory).encode()):
        raise TombolaError(f"model {name!r}: its source has changed since it was described; restore it, or describe it anew")
    return factory


def _registered(name: str) -> Callable[..., Any]:
    for room in ("mlp", "conv", "vgg", "resnet"):
        importlib.import_module(f"tombola.models.{room}")
    from tombola.models.registry import models

    if name not in models:
        raise unknown("model", name, [*models, "path.py:Class", "package.module:Class"])
    return models[name]


def _split(name: str) -> tuple[str, str]:
    place, _, attribute = name.rpartition(":")
    if not place or not attribute:
        raise TombolaError(f"model {name!r}: write path.py:Class or package.module:Class")
    return place, attribute


def _file(place: str) -> Path:
    """The file of ``path.py`` or ``package.module``; a module is not run for that, but its parent packages are."""
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise TombolaError(f"model: there is no file {place!r} in {Path.cwd()}")
        return Path(place)
    if place == "__main__":
        raise TombolaError("model: no other process knows a class of __main__; put it into a file and name that, path.py:Class")
    try:
        found = importlib.util.find_spec(place)
    except ModuleNotFoundError:
        found = None
    except Exception as error:
        raise _broken(place, error) from error
    if found is None or not found.origin or not Path(found.origin).is_file():
        raise TombolaError(f"model: there is no module {place!r}; put its folder on PYTHONPATH, or name the file, path.py:Class")
    return Path(found.origin)


def _run(file: Path, content: bytes) -> ModuleType:
    """The module of a file, once for each content: an edited file is another module."""
    name = f"tombola_user_{_digest(str(file.resolve()).encode() + content)}"
    if name not in sys.modules:
        module = ModuleType(name)
        module.__file__ = str(file)
        sys.modules[name] = module
        try:
            # Not importlib: its bytecode cache goes by time stamp and size, and misses an edit within a second.
            exec(compile(content, str(file), "exec"), module.__dict__)
        except Exception as error:
            del sys.modules[name]
            raise _broken(str(file), error) from error
    return sys.modules[name]


def _import(place: str, digest: str) -> ModuleType:
    if _imported.setdefault(place, digest) != digest:
        raise TombolaError(f"model: {place} was edited after its import; start Python anew, or name the file, path.py:Class")
    try:
        return importlib.import_module(place)
    except Exception as error:
        del _imported[place]
        raise _broken(place, error) from error


def _broken(place: str, error: Exception) -> TombolaError:
    if isinstance(error, SyntaxError):
        return TombolaError(f"model: {place} has a syntax error in line {error.lineno}: {error.msg}")
    return TombolaError(f"model: {place} cannot be imported: {summary(error)}")


def summary(error: Exception) -> str:
    """An exception of the user's code as one line."""
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"


def _attribute(module: ModuleType, attribute: str, name: str) -> Callable[..., Any]:
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if callable(found):
        return found
    own = [key for key, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module.__name__]
    raise unknown(f"class of {name.rpartition(':')[0]}", attribute, own)


def _source(factory: Callable[..., Any]) -> str:
    """Source text of a class; of its methods where Python knows only those (a class made in a notebook)."""
    try:
        return inspect.getsource(factory)
    except (OSError, TypeError):
        methods = [value for value in vars(factory).values() if inspect.isfunction(value)]
    try:
        return "".join(inspect.getsource(method) for method in methods)
    except (OSError, TypeError):
        hint = "put it into a file and name that, path.py:Class"
        raise TombolaError(f"model {factory.__qualname__}: its source cannot be read; {hint}") from None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def load_file(path: Path) -> ModuleType:
    """Run a user's file for what it registers: criteria, actions, models, tasks, studies."""
    if not path.is_file():
        raise TombolaError(f"there is no file {str(path)!r} to load")
    return _run(path, path.read_bytes())
