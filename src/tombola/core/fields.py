"""What the fields of a description mean: the docstrings beside them, and what their types allow."""

import ast
import inspect
import textwrap
import types
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from tombola.core.errors import shown
from tombola.core.registry import Registry
from tombola.core.step import Step


class FieldHelp(NamedTuple):
    """A field in words."""

    meaning: str
    """The docstring beside it, in one line; "" if it has none."""
    allowed: str
    """What it may be: "a whole number, at least 1", "layer, global, row or column"."""


@cache
def help_of(kind: Any) -> dict[str, FieldHelp]:
    """Field -> what it means, of a class of descriptions and those that it derives from."""
    said: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        said |= docstrings(base) if "__pydantic_fields__" in vars(base) and base.__module__.partition(".")[0] != "pydantic" else {}
    return {
        name: FieldHelp(" ".join(said.get(name, "").split()), allowed(field.annotation, field.metadata))
        for name, field in kind.model_fields.items()
    }


def described(kind: Any, doc: str) -> str:
    """The docstring of a class of descriptions, with its fields."""
    lines = []
    for name, field in help_of(kind).items():
        info = kind.model_fields[name]
        default = "" if info.is_required() else f" Default: {shown(info.get_default(call_default_factory=True))}."
        text = f"{' '.join([f'{name}:', *([field.meaning] if field.meaning else [])])} It is {field.allowed}.{default}"
        lines.append(textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="        "))
    return "\n".join([inspect.cleandoc(doc), "", "Fields:", *lines]) if lines else inspect.cleandoc(doc)


@cache
def docstrings(kind: type) -> dict[str, str]:
    """Field -> the string that stands below it in the class; none where the source is not to be had."""
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}
    found, before = {}, ""
    for node in tree.body if isinstance(tree, ast.ClassDef) else ():
        if before and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            found[before] = node.value.value
        before = node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else ""
    return found


def allowed(kind: Any, metadata: Any = ()) -> str:
    """What a type allows, in words.

    >>> allowed(Literal["layer", "global", "row"]), allowed(tuple[Step, ...])
    ('layer, global or row', 'a list, each entry a step such as 500it or 2ep')
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return allowed(parts[0], parts[1:])
    if registry := next((one for one in map(_registry, metadata) if one is not None), None):
        return f"{_either([*registry])}, or one of your own"
    if origin is Literal:
        return _either([str(one) for one in parts])
    if origin in (Union, types.UnionType):
        return _either([allowed(one) for one in parts if one is not type(None)] + ["null"] * (type(None) in parts))
    if origin in (tuple, list):
        return f"a list, each entry {allowed(parts[0])}" if parts and parts[0] is not Any else "a list"
    if origin is dict or kind is dict:
        return "a table of names and values" if not parts or parts[1] is Any else f"a table from names to values, each {allowed(parts[1])}"
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Step: "a step such as 500it or 2ep"}
    bounds = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = [f"{words} {getattr(one, name):g}" for one in _limits(metadata) for name, words in bounds.items() if _has(one, name)]
    return ", ".join([names.get(kind, "a table"), *limits])


def _has(one: Any, name: str) -> bool:
    return isinstance(getattr(one, name, None), int | float)


def _limits(metadata: Any) -> list[Any]:
    """Bounds, also those within a `Field`."""
    return [bound for one in metadata for bound in (getattr(one, "metadata", None) or [one])]


def _registry(one: Any) -> "Registry[Any] | None":
    """The registry whose names a field takes."""
    owner = getattr(getattr(one, "func", None), "__self__", one)
    return owner if isinstance(owner, Registry) else None


def _either(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
