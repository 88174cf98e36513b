"""How figures look: one palette, one set of settings, whatever the user's own matplotlib is set to."""

import itertools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.text import Text

INK, PALE = "#262626", "#8c8c8c"
DENSE_LINE: dict[str, Any] = {"color": PALE, "linewidth": 0.8, "linestyle": (0, (6, 3))}
"""The dense network where it is no line of its own."""
STAR: dict[str, Any] = {"marker": "*", "color": PALE, "markerfacecolor": "none", "markersize": 8, "linestyle": "none", "zorder": 4}
"""What the paper found."""


@dataclass(frozen=True)
class Look:
    """Colour, marker and line style: any one of them suffices to know a line, of twelve at most."""

    colour: str
    marker: str
    line: Any


_LOOKS = (
    Look("#0072b2", "o", "-"),
    Look("#e69f00", "s", (0, (5, 1.5))),
    Look("#101010", "^", (0, (1.2, 1.2))),
    Look("#d55e00", "D", (0, (5, 1.5, 1.2, 1.5))),
    Look("#56b4e9", "v", (0, (9, 2))),
    Look("#009e73", "P", (0, (5, 1.5, 1.2, 1.5, 1.2, 1.5))),
    Look("#cc79a7", "X", (0, (2.5, 1.2))),
    Look("#666666", "d", (0, (6, 3))),
    Look("#999933", "<", (0, (1.2, 2.6))),
    Look("#332288", ">", (0, (3, 1, 1, 1, 1, 1, 1, 1))),
    Look("#44aa99", "h", (0, (7, 3))),
    Look("#882255", "p", (0, (9, 1.5, 1.2, 1.5))),
)
"""Okabe & Ito's colours, four of Paul Tol's and a grey, which colour-blind people tell apart, ordered so that the first four differ
in grey too.
"""
_ROLES = (
    ("ticket", "iterative", "rewind", "imp", "kept", "large_final"),
    ("reinit", "magnitude_increase", "fine_tuning"),
    ("random",),
    ("movement", "learned", "one_shot", "freeze", "resample"),
    ("rescaled", "large_init_large_final", "constant"),
    ("signed", "large_init", "untrained"),
    ("edge_popup", "large_final_same_sign"),
    ("dense", "trained", "none", "whole"),
)
"""What arms are called that have the same look in every study: for each look, names of one role or of roles that never meet."""


def looks(arms: Iterable[str]) -> dict[str, Look]:
    """Arm -> its look: that of its role, and what is left over, in order, for the arms without one.

    >>> looks(["mine", "ticket"])["ticket"] == looks(["ticket", "random"])["ticket"]
    True
    """
    names = list(dict.fromkeys(arms))
    found: dict[str, Look] = {}
    for look, role in zip(_LOOKS, _ROLES, strict=False):
        found |= dict.fromkeys([name for name in names if name in role][:1], look)
    again = [replace(look, marker=_LOOKS[(index + turn) % len(_LOOKS)].marker) for turn in range(1, 6) for index, look in enumerate(_LOOKS)]
    free = itertools.cycle([*(look for look in _LOOKS if look not in found.values()), *again])
    return {arm: found[arm] if arm in found else next(free) for arm in names}


def typeset(*texts: "Text") -> None:
    """Symbols of labels as symbols: W_0, log10, sqrt(size), sigma. What holds a dollar is left as it is."""
    for text in texts:
        if "$" not in text.get_text():
            text.set_parse_math(True)
            text.set_text(symbols(text.get_text()))


def symbols(label: str) -> str:
    """A label with its symbols as mathematics; with a dollar, the label itself."""
    for pattern, symbol in () if "$" in label else _SYMBOLS:
        label = re.sub(pattern, symbol, label)
    return label


_SYMBOLS = (
    (r"\b([wW])_(\w)\b", r"$\1_{\2}$"),
    (r"\blog10\b", r"$\\log_{10}$"),
    (r"\bsqrt\((\w+)\)", "\N{SQUARE ROOT}\\1"),  # as mathematics it needs a font that browsers lack
    (r"\bsigma\b", r"$\\sigma$"),
)


def sequence(length: int) -> list[str]:
    """`length` colours from dark to light, for levels from dense to sparse: ordered in grey as well."""
    import matplotlib
    from matplotlib.colors import to_hex

    ramp = matplotlib.colormaps["viridis"]
    return [to_hex(ramp(0.88 * index / max(1, length - 1))) for index in range(length)]


@contextmanager
def styled() -> Iterator[None]:
    """The defaults of matplotlib and ours on top, restored afterwards: a user's matplotlibrc changes no figure."""
    import matplotlib

    with matplotlib.rc_context(fname=Path(__file__).with_name("figures.mplstyle")):
        yield
