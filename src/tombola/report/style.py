"""How figures look: one palette, one set of settings, whatever the user's own matplotlib is set to."""

import itertools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.core.errors import TombolaError

if TYPE_CHECKING:
    from matplotlib.text import Text


@dataclass(frozen=True)
class Style:
    """How large figures are drawn. Their text is 8 pt (ticks 7.5) in a drawing that is `zoom` times smaller than it is to be shown."""

    widths: tuple[float, ...] = (3.9, 6.4, 8.6, 8.6)
    """Inches of a drawing with so many panels side by side; more there are not."""
    zoom: float = 1.0
    exact: bool = False
    """Whether figures have these widths and no others, as columns of a paper ask."""

    def fit(self, inches: float) -> float:
        """The width of a figure that needs so many inches."""
        most = max(self.widths)
        return next((width for width in self.widths if width >= inches), most) if self.exact else min(most, inches)


STYLES = {
    "page": Style(),
    "paper": Style((3.25, 6.75, 6.75), exact=True),
    "talk": Style((3.2, 5.2, 6.25), zoom=1.6, exact=True),
}
"""Styles for a page; for a paper of two columns, one or both of them wide (3.25 and 6.75 inches); for slides, 13 pt on up to 10 inches."""
_TEXT, _PANEL = 8.0, 2.1
"""Points of the text; inches of the narrowest panel."""
_style: ContextVar[Style] = ContextVar("style", default=STYLES["page"])


def style_of(name: str = "page", width: float | None = None, font_size: float | None = None) -> Style:
    """A style by name, or one of one's own.

    Args:
        width: of all figures, in inches as they are shown.
        font_size: of their text, in points as they are shown; None: that of the named style.
    """
    found = STYLES[name]
    zoom = font_size / _TEXT if font_size else found.zoom
    widths = tuple(one * found.zoom / zoom for one in found.widths) if width is None else (width / zoom,)
    if not (0.5 <= zoom <= 5 and _PANEL <= widths[0] <= 30):
        given = ", ".join(f"{words} {one:g}" for words, one in (("width", width), ("font size", font_size)) if one is not None)
        raise TombolaError(
            f"{given}: no panel is readable so; give at least {_PANEL * zoom:.2g} inches at that size of text, and 4 to 40 pt"
        )
    across = max(1, int(widths[0] / _PANEL)) if width is not None else 1
    return Style(widths * across, zoom, exact=found.exact or width is not None)


def now() -> Style:
    """How figures are drawn now."""
    return _style.get()


@contextmanager
def drawn_as(style: Style) -> Iterator[None]:
    """Draw figures in a style."""
    token = _style.set(style)
    try:
        yield
    finally:
        _style.reset(token)


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
