"""What a user's part is: a digest of its code and of all that it reaches, never of a file, a path or a module's name.

A part is a function, a class, or an object made of such. What counts is its code without comments, docstrings and formatting, and
whatever of the user's own code and plain values that reaches: through global names, closures, default arguments, base classes,
decorators and attributes, in whatever module. Of Tombola, the standard library and installed packages the names alone count.
"""

import copyreg
import dataclasses
import enum
import functools
import hashlib
import inspect
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tombola.core.code import code_of, imports_made, names_used, source_of
from tombola.core.errors import TombolaError
from tombola.core.library_objects import array_of, module_of
from tombola.core.origins import findable, imported, installed, release
from tombola.core.outside import is_outside, refusal, taken_from_outside

_ATOMS = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
_DYNAMIC = ("eval", "exec", "globals", "__import__")
_SKIPPED = {
    *("__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__name__", "__wrapped__", "__firstlineno__", "__replace__"),
    *("__static_attributes__", "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__classdictcell__"),
    *("__conditional_annotations__", "__dataclass_params__", "__slotnames__", "_abc_impl", "_pytree__nodes"),
}
"""Attributes of classes and functions that say where they stand, or that Python and Flax make of the others."""


def code_digest(part: Any, name: str = "") -> str:
    """Digest of a user's part: 16 hex digits.

    The same for the same code, wherever it stands; another for another value, helper, base or neighbour that it uses.
    A part of an installed package is its name and the package's version.

    Args:
        name: what the part is called in errors; its own name if not given.

    Raises:
        TombolaError: if it reaches something of which nobody can tell whether it is still the same (an open file, a generator).
    """
    return _Reached(part, name or part_name(part)).digest()


def sources(part: Any) -> list[str]:
    """The texts of the files and cells that hold the user's code that a part reaches, the part's own first."""
    functions = (thing for thing in _Reached(part, part_name(part)).things if isinstance(thing, types.FunctionType))
    own = (source_of(function) for function in functions if not installed(function.__globals__.get("__name__") or ""))
    return [text for text in dict.fromkeys(own) if text]


def part_name(part: Any) -> str:
    """What a part is called: its qualified name, without the function that it was made in."""
    part = part.func if isinstance(part, functools.partial) else part
    return getattr(part, "__qualname__", type(part).__qualname__).rpartition("<locals>.")[2]


_PYDANTIC = ("__pydantic_", "__signature__", "__private_attributes__", "__class_vars__")
"""What pydantic makes of a class; its fields are looked at by themselves."""


class _Reference(int):
    """The place of another thing in `_Reached.things`."""


class _Bag(tuple):
    """Descriptions whose order says nothing."""


class _Reached:
    """All that is reached from one part: a graph whose nodes are functions, classes, containers, instances and modules."""

    def __init__(self, part: Any, name: str) -> None:
        self.things: list[Any] = []  # kept alive: the addresses below stay theirs
        self._name = name
        self._places: dict[int, int] = {}
        self._routes: list[str] = []
        self._told: list[Any] = []
        self._taken: list[tuple[int, str]] = []
        self._attributes: set[str] = set()
        self._additional: dict[int, str] = {}  # methods that only one who reads that attribute calls: neither Python nor a base
        self._value(part, name)
        while len(self._told) < len(self.things):
            place = len(self._told)
            self._told.append(self._tell(self.things[place], self._routes[place]))
        for function, taken in self._taken:
            if function not in self._additional or self._additional[function] in self._attributes:
                raise refusal(name, taken)

    def digest(self) -> str:
        """Equal exactly for graphs that look alike from the part, whether two equal things in them are one object or not.

        Nodes are told apart by what they refer to until that tells no more apart; then each kind of node is written down once, in
        the order in which they are met.
        """
        kinds, known = [""] * len(self._told), 0
        while len(set(kinds)) > known:
            known = len(set(kinds))
            kinds = [hashlib.sha256(_written(one, kinds).encode()).hexdigest() for one in self._told]
        met, numbers = [0], {kinds[0]: 0}
        for place in met:
            for further in _references(self._told[place], kinds):
                if kinds[further] not in numbers:
                    numbers[kinds[further]] = len(met)
                    met.append(further)
        names = [f"#{numbers[kind]}" for kind in kinds]
        return hashlib.sha256("\n".join(_written(self._told[place], names) for place in met).encode()).hexdigest()[:16]

    def _value(self, thing: Any, route: str) -> Any:
        """A plain value as it is, anything else as a reference."""
        if type(thing) in _ATOMS:
            return f"{type(thing).__name__} {thing!r}"
        if id(thing) not in self._places:
            self._places[id(thing)] = len(self.things)
            self.things.append(thing)
            self._routes.append(route)
        return _Reference(self._places[id(thing)])

    def _values(self, things: Iterable[Any], route: str) -> tuple[Any, ...]:
        return tuple(self._value(thing, route) for thing in things)

    def _named(self, things: Mapping[str, Any], route: str) -> tuple[Any, ...]:
        return tuple((name, self._value(thing, f"{route}.{name}")) for name, thing in sorted(things.items()) if name not in _SKIPPED)

    def _tell(self, thing: Any, route: str) -> Any:
        """One node: text, tuples, and references to other nodes."""
        kind = type(thing)
        if is_outside(thing):
            raise refusal(self._name, f"it uses {route}")
        if kind in (tuple, list):
            return kind.__name__, *self._values(thing, route)
        if kind in (set, frozenset):
            return kind.__name__, _Bag(self._values(thing, route))
        if kind in (dict, types.MappingProxyType):
            return "dict", *((self._value(key, route), self._value(value, f"{route}[{key!r}]")) for key, value in thing.items())
        if (array := array_of(thing)) is not None:
            return array if isinstance(array, tuple) else ("objects", array.shape, *self._values(array.flat, route))
        if isinstance(thing, types.ModuleType):
            own = {name: one for name, one in vars(thing).items() if not name.startswith("__")}
            return ("module", thing.__name__) if installed(thing.__name__) else ("own module", self._named(own, route))
        if isinstance(thing, types.FunctionType):
            return self._function(thing, route)
        if isinstance(thing, type):
            return self._class(thing, route)
        if isinstance(thing, enum.Enum):
            return "enum", self._value(kind, route), thing.name
        if isinstance(thing, types.MethodType | types.BuiltinFunctionType):
            return "method", thing.__name__, *self._values((getattr(thing, "__func__", None), thing.__self__), route)
        if isinstance(thing, staticmethod | classmethod):
            return kind.__name__, self._value(thing.__func__, route)
        if isinstance(thing, property):
            return "property", *self._values((thing.fget, thing.fset, thing.fdel), route)
        if inspect.ismemberdescriptor(thing) or inspect.isgetsetdescriptor(thing):
            return "slot", thing.__name__
        return self._instance(thing, route)

    def _installed(self, part: Any, module: str) -> tuple[str, ...]:
        """Where a part of an installed package stands; its version too where it is what is asked for."""
        return "installed", module, part.__qualname__, *(release(module) if part is self.things[0] else ())

    def _function(self, function: types.FunctionType, route: str) -> Any:
        module = function.__globals__.get("__name__") or ""  # of a wrapper, `__module__` is that of what it wraps
        if installed(module) and findable(function, module):
            return self._installed(function, module)
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        closure = {name: content for name, cell in cells for content in _content(cell)}
        if not installed(module):
            taken, attributes = taken_from_outside(function, closure)
            self._taken += [(id(function), f"{route} uses {one}") for one in taken]
            self._attributes |= attributes
        values = (
            self._named(closure, route),
            *self._values((function.__defaults__, function.__kwdefaults__), route),
            self._named({name: one for name, one in vars(function).items() if not name.startswith("_")}, route),
        )
        if installed(module):
            return *self._installed(function, module), *values
        return "function", code_of(function), tuple(self._globals(function, route)), *values

    def _globals(self, function: types.FunctionType, route: str) -> Iterator[tuple[str, Any]]:
        """What a function's global names stand for; of a module of the user's, that which is taken of it alone."""
        scope = function.__globals__
        for name, *attributes in names_used(function.__code__):
            if name in scope:
                yield self._attribute(scope[name], [name], attributes)
            elif name in _DYNAMIC:
                raise TombolaError(
                    f"{self._name} cannot be told from others: {route} calls {name}(), which may do anything; write out what it does"
                )
        for module, names in imports_made(function):
            if not installed(module) and (found := imported(module)):
                yield from (self._attribute(found, [module], [one] if one else []) for one in names or [""])

    def _attribute(self, thing: Any, used: list[str], further: list[str]) -> tuple[str, Any]:
        while further and isinstance(thing, types.ModuleType) and not installed(thing.__name__):
            thing = getattr(thing, further[0], None)
            used, further = [*used, further[0]], further[1:]
        return ".".join(used), self._value(thing, ".".join(used))

    def _class(self, cls: type, route: str) -> Any:
        if installed(cls.__module__) and findable(cls, cls.__module__):
            return self._installed(cls, cls.__module__)
        above = self._value(type(cls), route), self._values(cls.__bases__, route)
        if isinstance(cls, enum.EnumMeta):
            own = {name: one for name, one in vars(cls).items() if inspect.isroutine(one) and not installed(one.__module__ or "builtins")}
            members: Mapping[str, Any] = cls.__members__
            values = {name: one.value for name, one in members.items()}
            return "enum class", cls.__name__, above, self._named(values, route), self._named(own, route)
        content = {name: one for name, one in vars(cls).items() if not _of_dataclass(one) and not name.startswith(_PYDANTIC)}
        for name, field in vars(cls).get("__pydantic_fields__", {}).items():
            content[f"{name}="] = (field.is_required() or field.default_factory, None if field.is_required() else field.get_default())
        for name, one in vars(cls).items():
            if not name.startswith("__") and not hasattr(super(cls, cls), name):
                self._additional[id(getattr(one, "__func__", one))] = name
        return "class", cls.__name__, above, self._named(content, route), _annotations(cls)

    def _instance(self, thing: Any, route: str) -> Any:
        kind = type(thing)
        if isinstance(thing, dataclasses.Field):
            content = (thing.name, thing.default, thing.default_factory, thing.init, thing.kw_only, thing.metadata)
            return "field", *self._values(content, route)
        if hasattr(kind, "_pytree__is_pytree"):  # what Flax makes holds arrays that change
            raise self._refused(thing, route)
        if (held := module_of(thing)) is not None:
            return "torch module", self._value(kind, route), self._named(held, route)
        if hasattr(thing, "__wrapped__"):
            attributes = {name: one for name, one in getattr(thing, "__dict__", {}).items() if not name.startswith("_")}
            return "wrapped", kind.__qualname__, self._value(thing.__wrapped__, route), self._named(attributes, route)
        made = _reduced(thing)
        if made is None:
            raise self._refused(thing, route)
        if isinstance(made, str):
            return "named", kind.__module__, made
        parts = [list(one) if isinstance(one, Iterator) else one for one in made]
        return "object", self._value(kind, route), *self._values(parts, route)

    def _refused(self, thing: Any, route: str) -> TombolaError:
        kind = type(thing)
        return TombolaError(
            f"{self._name} cannot be told from others: it uses {route}, an object of {kind.__module__}.{kind.__qualname__}, which may hold "
            f"or become anything; make it inside {self._name}, from options that are numbers, text, arrays, functions or classes"
        )


def _written(told: Any, names: list[str]) -> str:
    if isinstance(told, _Reference):
        return names[told]
    if isinstance(told, tuple):
        parts = [_written(one, names) for one in told]
        return f"({','.join(sorted(parts) if isinstance(told, _Bag) else parts)})"
    return repr(told)


def _references(told: Any, kinds: list[str]) -> Iterator[int]:
    if isinstance(told, _Reference):
        yield told
    elif isinstance(told, tuple):
        for one in sorted(told, key=lambda one: _written(one, kinds)) if isinstance(told, _Bag) else told:
            yield from _references(one, kinds)


def _content(cell: Any) -> tuple[Any, ...]:
    try:
        return (cell.cell_contents,)
    except ValueError:  # not filled yet
        return ()


def _of_dataclass(member: Any) -> bool:
    """Whether `dataclass` has written it, from the fields that are looked at."""
    return isinstance(member, types.FunctionType) and member.__code__.co_qualname.startswith("__create_fn__.<locals>.")


def _annotations(cls: type) -> tuple[tuple[str, str], ...]:
    try:
        found = inspect.get_annotations(cls)
    except Exception:  # one that names what is not there
        return ()
    return tuple((name, getattr(one, "__qualname__", str(one).replace(f"{cls.__module__}.", ""))) for name, one in found.items())


def _reduced(thing: Any) -> Any:
    """What an object is made of, as `copy` has it; None where its attributes do not say it all."""
    kind = type(thing)
    plain = all(getattr(kind, name) is getattr(object, name) for name in ("__reduce_ex__", "__reduce__", "__getstate__"))
    top = kind.__module__.partition(".")[0]
    if not plain and not (installed(kind.__module__) and (top == "tombola" or top in sys.stdlib_module_names)):
        return None
    try:
        return copyreg.dispatch_table[kind](thing) if kind in copyreg.dispatch_table else thing.__reduce_ex__(4)
    except Exception:
        return None
