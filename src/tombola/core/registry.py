"""One-line registration of named parts: criteria, models, data sets, actions, tasks, studies."""

import inspect
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar, overload

from tombola.core.errors import TombolaError, unknown
from tombola.core.identity import code_digest, part_name
from tombola.core.loading import one_line
from tombola.core.origins import installed

T = TypeVar("T")

PLUGINS = "tombola"
"""The group of entry points by which a package offers parts: each names a module that registers them when it is imported."""


class Registry(Generic[T]):
    """Names to parts of one kind.

    A part of Tombola's is known by its name. A part of a user's is described as ``name@digest``, by its code (`described`), so
    that an edited one is another, and what was described keeps its meaning when another part takes the name.

    >>> criteria = Registry("criterion")
    >>> @criteria.register
    ... def large_final(initial, final): ...
    >>> list(criteria)
    ['large_final']
    """

    def __init__(self, kind: str, *homes: str, by_name: bool = False) -> None:
        """A registry of what descriptions name.

        Args:
            homes: modules that register Tombola's own parts; they are imported when a name is looked for in vain, or all are.
            by_name: of parts that stand in no description, as what they give does: a task, a study, a data set.
        """
        self.kind, self.by_name = kind, by_name
        self._homes: tuple[str, ...] = homes
        self._parts: dict[str, T] = {}
        self._own: set[str] = set()
        self.handed_over: dict[str, T] = {}
        """Description -> each of the user's parts that was described in this process."""

    def __reduce__(self) -> str:
        """Where a user's code uses a registry, what others register there is no matter."""
        return self.kind

    @overload
    def register(self, part: str) -> Callable[[T], T]: ...
    @overload
    def register(self, part: T) -> T: ...
    def register(self, part: Any) -> Any:
        """Use as ``@registry.register``, or ``@registry.register("name")`` where the name is no identifier."""
        if isinstance(part, str):
            return lambda named: self.add(part, named)
        return self.add(part.__name__, part)

    def add(self, name: str, part: T) -> T:
        """Register `part`. A user's part takes the place of an earlier one of the user's; no other name can be taken twice."""
        own = _by_tombola() and _origin(part)[0].startswith("tombola.")
        if not own:
            self._import_homes()  # a user's part must not take the name of one that comes later
        taken = self._parts.get(name)
        if taken is not None and _origin(taken) != _origin(part) and not (_users(taken) and _users(part)):
            raise TombolaError(f"the {self.kind} {name!r} is registered already, by {_origin(taken)[0]}; choose another name")
        if "@" in name or ":" in name:
            raise TombolaError(f"a {self.kind} cannot be called {name!r}: '@' and ':' say whose code it is; choose another name")
        self._parts[name] = part
        if own:
            self._own.add(name)
        return part

    def described(self, part: str | T) -> str:
        """How descriptions name a part, given by its name or itself: one of Tombola's by its name, a user's by its code too.

        Raises:
            TombolaError: if a user's part cannot be told from others (`tombola.core.identity`).
        """
        if not isinstance(part, str):
            if own := next((name for name in self._own if self._parts[name] is part), None):
                return own
            if part is None or isinstance(part, int | float | list | tuple | dict):
                said = f"{part!r}: give" if type(part) in (type(None), bool, int, float) else f"is given as a {type(part).__name__}; give"
                raise TombolaError(f"{self.kind} {said} a name, or a function or class that returns it{self._given}")
            name, given = part_name(part), part
        elif part in self._own or part not in self._parts:
            return part
        else:
            name, given = part, self._parts[part]
        found = f"{name}@{code_digest(given, f'{self.kind} {name!r}')}"
        self.handed_over[found] = given
        return found

    def code_digest(self, name: str) -> str:
        """Digest of a user's part; "" for Tombola's own."""
        return self.described(name).partition("@")[2]

    def check(self, name: str, *others: str) -> None:
        """Raise for what is neither registered nor among `others`."""
        if "@" not in name and name not in (*others, *self._parts) and name not in self:
            own = "; `--load FILE.py` registers those of your own" if self.by_name else ""
            raise TombolaError(f"{unknown(self.kind, name, [*others, *self])}{own}")

    def __getitem__(self, name: str) -> T:
        """The part that a description names. Nothing is imported for a user's: this process has to have it."""
        if "@" in name:
            return self._described(name)
        if ":" in name:
            raise TombolaError(
                f"{self.kind} {name!r} names a file or module, which is not run for that; give the part itself, or --load it"
            )
        self.check(name)
        if not self.by_name and name not in self._own:
            raise TombolaError(f"{self.kind} {name!r} was registered after it was described; describe it anew")
        return self._parts[name]

    def items(self) -> Iterator[tuple[str, T]]:
        """All that are registered now, by name."""
        return ((name, self._parts[name]) for name in self)

    def _described(self, described: str) -> T:
        """The part of the user's that a description names, if this process has it. Nothing is imported for it."""
        name, _, digest = described.partition("@")
        given = self.handed_over.get(described)
        candidates = [given] if given is not None else [self._parts.get(name), *_named(name)]
        for part in candidates:
            if part is not None and code_digest(part) == digest:
                self.handed_over[described] = part
                return part
        if given is not None:
            raise TombolaError(f"{self.kind} {name!r} has changed since it was described: something that it uses did; describe it anew")
        there = "has other code here than where it was described" if any(candidates) else "is of a user's own code, which is not here"
        raise TombolaError(f"{self.kind} {name!r} {there} ({described}); give the file that holds it, --load FILE.py, or import it first")

    def call(self, name: str, /, *arguments: Any, **options: Any) -> Any:
        """What a registered function gives.

        Raises:
            TombolaError: for an unknown name, for arguments or options that do not fit, and if the function fails.
        """
        function: Any = self[name]
        try:
            inspect.signature(function).bind(*arguments, **options)
        except TypeError as error:
            given = self._given if "positional" in str(error) else ""
            takes = ", ".join(str(one.replace(annotation=one.empty)) for one in inspect.signature(function).parameters.values())
            raise TombolaError(f"{self.kind} {plain(name)!r}: {error}; it takes {takes or 'nothing'}{given}") from None
        with one_line(f"{self.kind} {plain(name)!r}", lambda: self._given if "@" in name else ""):
            return function(*arguments, **options)

    @property
    def _given(self) -> str:
        """What parts of this kind are called with, in words; nothing where they differ in that."""
        self._import_homes()
        needed = {tuple(_positional(self._parts[name])) for name in self._own}
        return f"; it is called with ({', '.join(*needed)})" if len(needed) == 1 and any(needed) else ""

    def users(self) -> dict[str, T]:
        """Name -> part, of those that a user has registered."""
        return {name: part for name, part in self._parts.items() if name not in self._own}

    def __contains__(self, name: object) -> bool:
        if name not in self._parts:
            self._complete()
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        self._complete()
        return iter(sorted(self._parts))

    def _complete(self) -> None:
        """Have everything registered that can be."""
        self._import_homes()
        _load_plugins()

    def _import_homes(self) -> None:
        homes, self._homes = self._homes, ()
        for home in homes:
            import_module(home)


_plugins_loaded = False


def _load_plugins() -> None:
    """Import what installed packages offer; one that fails is a warning."""
    global _plugins_loaded
    if _plugins_loaded:
        return
    _plugins_loaded = True
    for entry in entry_points(group=PLUGINS):
        try:
            entry.load()
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "")
            print(f"warning: plug-in {entry.name!r} ({entry.value}) cannot be used: {type(error).__name__}: {reason}", file=sys.stderr)


def _named(name: str) -> Iterator[Any]:
    """What the user's modules, all imported before, hold under a name."""
    for module_name, module in list(sys.modules.items()):
        found: Any = vars(module).get(name.partition(".")[0]) if hasattr(module, "__dict__") and not installed(module_name) else None
        for part in name.split(".")[1:]:
            found = vars(found).get(part) if isinstance(found, type) else None
        if callable(found):
            yield found


def _by_tombola() -> bool:
    """Whether a module of Tombola's registers a part, and not one of the user's."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals["__name__"] == __name__:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__")).startswith("tombola.")


def _positional(part: Any) -> Iterator[str]:
    """The names of the arguments without which a function cannot be called."""
    for name, one in inspect.signature(part).parameters.items() if inspect.isfunction(part) else ():
        if one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD):
            yield name


def plain(described: str) -> str:
    """The name of a part without the digest of its code."""
    return described.partition("@")[0]


def _origin(part: Any) -> tuple[str, str]:
    """Module and name of the definition of a function or class, or of the function that a record was made for."""
    part = getattr(part, "build", part)
    return getattr(part, "__module__", ""), getattr(part, "__qualname__", type(part).__qualname__)


def _users(part: Any) -> bool:
    return not installed(_origin(part)[0])
