"""A model's options, checked against the signature of its factory."""

import inspect
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError, unknown
from tombola.core.parts import given_options
from tombola.core.spec import one_line

SIGNATURE = "(shape, classes, *, rngs, **options)"
"""How the class (or function) of a network is called; it returns an ``nnx.Module``."""


def check_options(name: str, factory: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the factory's annotations want them (a list becomes a tuple).

    Raises for an option that the factory does not have, for a value that its annotation excludes, and for a factory
    that takes neither ``(data, *, rngs, **options)`` nor ``(shape, classes, *, rngs, **options)``.
    """
    parameters, options = _parameters(factory), given_options(options)
    places = 1 if _takes_data(parameters) else 2
    known = [part.name for part in parameters.values() if part.kind in (part.KEYWORD_ONLY, part.POSITIONAL_OR_KEYWORD)]
    takes_any = any(part.kind is part.VAR_KEYWORD for part in parameters.values())
    signature = inspect.Signature(list(parameters.values()))
    try:
        signature.bind(*range(places), rngs=None, **{option: value for option, value in options.items() if takes_any or option in known})
    except TypeError as error:
        hint = "`data`, a DataInfo, may stand for shape and classes"
        raise TombolaError(f"model {name!r} must take {SIGNATURE}, but it takes {signature}: {error}; {hint}") from None
    if not takes_any:
        for option in options.keys() - known:
            if not (own := set(known[places:]) - {"rngs"}):
                raise TombolaError(f"unknown option of {name} {option!r}: it takes none; leave it out, or give it an argument {option}")
            raise unknown(f"option of {name}", option, own)
    return {option: _checked(name, option, value, parameters.get(option)) for option, value in options.items()}


def arguments(factory: Callable[..., Any], data: DataInfo) -> tuple[Any, ...]:
    """What a factory is given in order: (data,), or (shape, number of outputs)."""
    return (data,) if _takes_data(_parameters(factory)) else (data.shape, prod(data.outputs))


def _takes_data(parameters: Mapping[str, inspect.Parameter]) -> bool:
    first = next(iter(parameters.values()), None)
    return first is not None and (first.name == "data" or first.annotation in (DataInfo, "DataInfo"))


def _parameters(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    if not inspect.isclass(factory):
        return dict(inspect.signature(factory).parameters)
    # The metaclass of nnx modules hides a class's own signature behind (*args, **kwargs).
    parameters = dict(inspect.signature(factory.__init__).parameters)
    parameters.pop(next(iter(parameters)))
    return parameters


def _checked(name: str, option: str, value: Any, parameter: inspect.Parameter | None) -> Any:
    annotation = parameter.annotation if parameter else inspect.Parameter.empty
    if annotation is inspect.Parameter.empty or isinstance(annotation, str):
        return value
    try:
        adapter = TypeAdapter(annotation)
    except PydanticUserError:  # a user's annotation that is not about plain values
        return value
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        where = "." if error.errors()[0]["loc"] else ""
        raise TombolaError(f"model {name!r}: option {option}{where}{one_line(error)}") from None
