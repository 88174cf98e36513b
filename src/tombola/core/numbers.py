"""Counts and seeds as they are given: Python's integers, or NumPy's."""

import operator
from typing import Any

from tombola.core.errors import TombolaError, shown


def whole(name: str, value: Any, least: int = 0) -> int:
    """An integer, of whatever kind. Raises for what is none (3.0 is not taken for 3), and for less than `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise TombolaError(f"{name} = {shown(value)}, but a whole number is needed, {least} or more")
    return number
