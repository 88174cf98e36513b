"""The one kind of error a user may see."""

from collections.abc import Iterable
from difflib import get_close_matches


class TombolaError(ValueError):
    """A mistake that the user can mend: one line with what was given, what is allowed and the remedy."""


def unknown(kind: str, given: object, allowed: Iterable[str]) -> TombolaError:
    """The error for a name that is not registered: the nearest name first, then all of them."""
    names = sorted(allowed)
    near = get_close_matches(str(given), names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return TombolaError(f"unknown {kind} {given!r}: {hint}one of {', '.join(names) or '(none registered)'}")


class TombolaWarning(UserWarning):
    """Something that is not a mistake, but makes a result worth less: a diverged network, an empty layer."""
