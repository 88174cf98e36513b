"""One-line registration of named parts: criteria, models, data sets, actions, tasks, studies."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, overload

from tombola.core.errors import TombolaError, unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to parts of one kind.

    >>> criteria = Registry("criterion")
    >>> @criteria.register
    ... def large_final(initial, final): ...
    >>> list(criteria)
    ['large_final']
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, T] = {}

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
        """Register `part`; the same part may come again (a module reloaded), another under a taken name may not."""
        taken = self._parts.get(name)
        if taken is not None and _origin(taken) != _origin(part):
            raise TombolaError(f"the {self.kind} {name!r} is registered already, by {_origin(taken)[0]}; choose another name")
        self._parts[name] = part
        return part

    def __getitem__(self, name: str) -> T:
        if name not in self._parts:
            raise unknown(self.kind, name, self._parts)
        return self._parts[name]

    def call(self, name: str, /, *arguments: Any, **options: Any) -> Any:
        """What a registered function gives. Raises for an unknown name, and for arguments or options that do not fit."""
        function: Any = self[name]
        try:
            inspect.signature(function).bind(*arguments, **options)
        except TypeError as error:
            raise TombolaError(f"{self.kind} {name!r}: {error}; it takes {inspect.signature(function)}") from None
        return function(*arguments, **options)

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._parts))


def _origin(part: Any) -> tuple[str, str]:
    """Module and name of the definition of a function or class, or of the function that a record was made for."""
    part = getattr(part, "build", part)
    return part.__module__, part.__qualname__
