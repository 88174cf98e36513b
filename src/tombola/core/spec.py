"""Typed, frozen descriptions with a canonical form and a hash."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema

from tombola.core.brief import brief
from tombola.core.errors import TombolaError, nearest, shown
from tombola.core.fields import described

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

FORMAT = 1
"""Version of the canonical form. It goes into every digest: change it and no stored run is found any more."""


def _strict(schema: Any) -> Any:
    """A schema of pydantic's that takes for numbers what is given as numbers alone."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(_strict, schema))
    if not isinstance(schema, dict):
        return schema
    found = {name: _strict(one) for name, one in schema.items()}
    return found | {"strict": True} if schema.get("type") in ("int", "float") else found


class _Kind(ModelMetaclass):
    """The metaclass of descriptions: `help`, `dir` and editors see their fields and methods, and nothing of pydantic's."""

    def __dir__(cls) -> list[str]:  # noqa: N805
        own = [kind for kind in cls.__mro__ if not kind.__module__.startswith(("pydantic", "builtins", "abc"))]
        return sorted({name for kind in own for name in vars(kind) if not name.startswith("_") and name != "model_config"})

    @property
    def __doc__(cls) -> str:  # type: ignore[override]  # noqa: N805
        return described(cls, vars(cls).get("__doc__") or "")


class Spec(BaseModel, metaclass=_Kind):
    """A frozen description. Two specs are equal exactly if their canonical forms are.

    Numbers are finite and are what they are said to be: 3.0 is no whole number, True and "3" are no numbers, NumPy's are.

    The canonical form names the class and leaves defaults out: a field added later, with a default, changes no
    digest. (pydantic's ``exclude_defaults`` drops the tag that tells one class from another; this does not.)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)

    labels: ClassVar[frozenset[str]] = frozenset()
    """Fields that only name or advise: left out of the canonical form."""
    forgotten: ClassVar[frozenset[str]] = frozenset()
    """Fields that earlier versions stored and that say nothing now."""
    stored_name: ClassVar[str] = ""
    """What the canonical form calls the class, where that is not its name: a class that was renamed keeps its digests."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**{name: _pythons(value) for name, value in values.items()})
        except ValidationError as error:
            raise TombolaError(f"{type(self).__name__}: {one_line(error, type(self).model_fields)}") from None

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """`help` shows the fields with their defaults; their types, which are long, stand with what they mean."""
        fields = cls.model_fields.items()
        needed = [Parameter(name, Parameter.KEYWORD_ONLY) for name, one in fields if one.is_required()]
        others = [Parameter(name, Parameter.KEYWORD_ONLY, default=one.default) for name, one in fields if not one.is_required()]
        cls.__signature__ = Signature([*needed, *others])

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return _strict(handler(source))

    def canonical(self) -> dict[str, Any]:
        """This spec as JSON values: {"spec": class name, field: value, ...}, fields at their default left out."""
        return dict(self._canonical)

    @cached_property
    def _canonical(self) -> dict[str, Any]:
        """Worked out once: thousands of runs hold one and the same task."""
        changed = {name: _plain(value) for name, value in self._brief() if name not in self.labels}
        return {"spec": self.stored_name or type(self).__name__, **changed}

    def _brief(self) -> Iterator[tuple[str, Any]]:
        """The fields that are not at their defaults."""
        defaults = _defaults(type(self))
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name not in defaults or value != defaults[name]:
                yield name, value

    def __repr__(self) -> str:
        return brief(self)

    __str__ = __repr__

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical form: 16 hex digits, which name the run's folder in a store."""
        return digest_of(self.canonical())

    @classmethod
    def of_canonical(cls, canonical: Mapping[str, Any]) -> Self:
        """The description whose canonical form is stored."""
        return cls(**{name: value for name, value in canonical.items() if name != "spec" and name not in cls.forgotten})

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated again."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**(values | changes))

    def __eq__(self, other: object) -> bool:
        return self is other or (type(self) is type(other) and self.digest == other.digest)

    def __hash__(self) -> int:
        return hash(self.digest)


def digest_of(canonical: Mapping[str, Any]) -> str:
    """The digest of the description that has a canonical form."""
    text = json.dumps({"format": FORMAT, **canonical}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _defaults(kind: type[Spec]) -> dict[str, Any]:
    """Field -> default, of the fields that have one."""
    fields = kind.model_fields
    return {name: one.get_default(call_default_factory=True) for name, one in fields.items() if not one.is_required()}


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.canonical()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if value is not None and not isinstance(value, str | bool | int | float):
        raise TombolaError(f"{shown(value)} is {type(value).__name__}, which no description holds; write numbers, texts, lists or dicts")
    return str(value) if isinstance(value, str) else value


def _pythons(value: Any) -> Any:
    """Scalars of NumPy as Python's, wherever they stand."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {name: _pythons(one) for name, one in value.items()}
    return type(value)(map(_pythons, value)) if type(value) in (list, tuple) else value


def one_line(error: ValidationError, fields: Iterable[str] = ()) -> str:
    """The first complaint of a pydantic error as one line: field, what was given, what is allowed; `fields`: that there are."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = nearest(where, fields)
        return f"there is no field {where!r}" + (
            f"; did you mean {near!r}?" if near else f"; there are {', '.join(fields)}" if fields else ""
        )
    if first["type"] == "missing":
        return f"the field {where!r} is needed"
    reason = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ").replace("a valid integer", "a whole number")
    return (
        f"{where} = {shown(first['input'])}, but it must be {reason}"
        if first["msg"].startswith("Input should be")
        else f"{where}: {reason}".removeprefix(": ")
    )
