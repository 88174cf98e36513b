"""The one kind of error a user may see."""

import sys
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


class TombolaError(ValueError):
    """A mistake that the user can mend: one line with what was given, what is allowed and the remedy."""


def shown(value: Any) -> str:
    """What was given, as far as one line holds it."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:76]} ..."


def unknown(kind: str, given: object, allowed: Iterable[str]) -> TombolaError:
    """The error for a name that is not registered: the nearest name first, then all of them."""
    names = sorted(allowed)
    near = get_close_matches(str(given)[:80], names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return TombolaError(f"unknown {kind} {shown(given)}: {hint}one of {', '.join(names) or '(none registered)'}")


class TombolaWarning(UserWarning):
    """Something that is not a mistake, but makes a result worth less: a diverged network, an empty layer, one at chance."""


def warn(*lines: str) -> None:
    """One warning of Python's for all that there is to say, at the line of the user's that called; none for nothing."""
    found = list(dict.fromkeys(lines))
    if not found:
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("tombola."):
        frame, level = frame.f_back, level + 1
    more = f"; and {len(found) - 3} more like these" if len(found) > 3 else ""
    warnings.warn("; ".join(found[:3]) + more, TombolaWarning, stacklevel=level)
