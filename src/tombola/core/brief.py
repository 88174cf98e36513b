"""What a value is, in one line: the `repr` of descriptions and results, however much they hold."""

import reprlib
from typing import Any

MOST = 800
"""Characters of a `repr`, at most."""


class _Brief(reprlib.Repr):
    """Arrays and tables by their size, long texts and collections by their beginning, and nothing deeper than a few levels: a run has
    parents, which have parents.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother, self.maxdict = 4, 60, 100, 8
        self.maxtuple = self.maxlist = self.maxset = self.maxfrozenset = 6

    def repr1(self, x: Any, level: int) -> str:
        if hasattr(type(x), "_brief"):
            fields = ", ".join(f"{name}={self.repr1(value, level - 1)}" for name, value in x._brief()) if level > 0 else "..."
            return f"{type(x).__name__}({fields})"
        if getattr(x, "shape", ()) and hasattr(x, "dtype"):
            return f"{x.dtype}{list(x.shape)}"
        if hasattr(x, "columns") and hasattr(x, "iloc"):
            return f"<table, {len(x)} rows x {len(x.columns)} columns>"
        return super().repr1(x, level)


def brief(value: Any) -> str:
    """The `repr` of a value, of `MOST` characters at most. One that has a method `_brief` is its name with the fields that this gives.

    >>> brief(list(range(100)))
    '[0, 1, 2, 3, 4, 5, ...]'
    """
    text = _Brief().repr(value)
    return text if len(text) <= MOST else f"{text[: MOST - 4]} ..."
