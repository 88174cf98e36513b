"""What code takes from outside of itself, which no digest tells: files, the environment, the command line, the clock, chance."""

import builtins
import os
import random
import re
import sys
from collections import ChainMap
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from types import FunctionType, ModuleType
from typing import Any

from tombola.core.code import chains, imports_bound
from tombola.core.errors import TombolaError
from tombola.core.origins import installed

_GIVES = re.compile(
    r"(?!tombola|jax\._src)[\w.]+:(open|open_\w+|load|load_file|loadtxt|loadmat|genfromtxt|fromfile|memmap|imread|read_\w+|urlopen|urlretrieve)"
    r"|(os|posix|nt):(environb?|getenvb?|listdir|scandir|walk|popen|urandom|getcwd|getpid|cpu_count)|sys:(argv|modules|stdin)"
    r"|builtins:input|importlib:import_module|glob:i?glob|(subprocess|secrets|requests(\.api)?):.*|uuid:uuid[14]|time:(time|time_ns)"
    r"|\w+:(date|datetime)\.(now|today|utcnow)|pathlib[\w.]*:Path\w*\.cwd"
)
"""As ``module:name``, what gives something else although no code has changed."""
_METHODS = {"read_text", "read_bytes", "iterdir", "rglob"}
"""Of paths, wherever these come from; ``open`` is one of them where the function names a path."""
_MISSING = object()
"""What a module gives that is not imported yet."""


def is_outside(thing: Any) -> bool:
    """Whether an object is, or gives when it is called, what comes from outside of all code."""
    if any(thing is one for one in (os.environ, sys.argv, sys.modules, sys.stdin, _MISSING)):
        return True
    if not callable(thing) or isinstance(thing, ModuleType):
        return False
    module = getattr(thing, "__module__", None)
    return _draws(thing) or ((module is None or installed(str(module))) and _gives(module, getattr(thing, "__qualname__", "")))


def refusal(part: str, what: str) -> TombolaError:
    """What is said of a part that takes something from outside."""
    return TombolaError(
        f"{part} cannot be told from others: {what}, which may give something else while the code stays the same; read it outside of "
        f"functions and classes and use that value, or make it an option of {part}"
    )


def taken_from_outside(function: FunctionType, closure: Mapping[str, Any]) -> tuple[list[str], set[str]]:
    """What a function takes from outside, as it calls that, and the names of all attributes that it reads of what may be the user's own.

    Args:
        closure: what its free variables are.
    """
    local = dict(closure)
    for name, (module, taken) in imports_bound(function.__code__).items():
        local[name] = list(_things({name: sys.modules.get(module) or ModuleType(module)}, [name, *taken]))[-1]
    scopes: dict[str, Mapping[str, Any]] = {"global": ChainMap(function.__globals__, vars(builtins)), "local": local}
    used, found, attributes, paths = chains(function.__code__), set[str](), set[str](), False
    seeded = any(names[-1] == "seed" for _, *names in used)
    for kind, *names in used:
        things = list(_things(scopes.get(kind, {}), names))
        found |= {".".join(names[: place + 1]) for place, one in enumerate(things) if is_outside(one) and not (seeded and _draws(one))}
        paths = paths or any(isinstance(one, PurePath) or (isinstance(one, type) and issubclass(one, PurePath)) for one in things)
        if not (things and isinstance(things[0], ModuleType) and installed(things[0].__name__)):
            attributes.update(names[1:] if kind else names)
    return sorted(found | (attributes & (_METHODS | {"open"} if paths else _METHODS))), attributes


def _gives(module: Any, name: str) -> bool:
    return _GIVES.fullmatch(f"{module}:{name}") is not None


def _draws(thing: Any) -> bool:
    """Whether a function draws from the one state that `random` and `numpy.random` keep for all."""
    state = getattr(thing, "__self__", None)
    states = (getattr(random, "_inst", None), getattr(sys.modules.get("numpy.random.mtrand"), "_rand", None))
    return state is not None and any(state is one for one in states)


def _things(scope: Mapping[str, Any], names: list[str]) -> Iterator[Any]:
    """What a name is, and then the attributes that are read of it, as far as modules and classes hold them. Nothing is imported for it."""
    thing = scope.get(names[0])
    yield thing
    for name in names[1:]:
        if isinstance(thing, ModuleType):
            thing = vars(thing).get(name, _MISSING if installed(thing.__name__) and _gives(thing.__name__, name) else None)
        else:
            thing = getattr(thing, name, None) if isinstance(thing, type) else None
        yield thing
