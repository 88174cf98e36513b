"""How figures look: one palette, one set of settings, whatever the user's own matplotlib is set to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

INK, PALE = "#262626", "#8c8c8c"

_COLOURS = ("#0072b2", "#e69f00", "#101010", "#d55e00", "#56b4e9", "#009e73", "#cc79a7", "#882255", "#999933")
"""Okabe & Ito's colours and two of Paul Tol's, which colour-blind people tell apart, ordered so that the first four
differ in grey too."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<")
_LINES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.2)),
    (0, (5, 1.5, 1.2, 1.5)),
    (0, (9, 2)),
    (0, (5, 1.5, 1.2, 1.5, 1.2, 1.5)),
    (0, (2.5, 1.2)),
    (0, (9, 1.5, 1.2, 1.5)),
    (0, (1.2, 2.6)),
)


@dataclass(frozen=True)
class Look:
    """Colour, marker and line style: any one of them suffices to know a line, of nine at most."""

    colour: str
    marker: str
    line: Any


def look(index: int) -> Look:
    """The look of arm 0, 1, 2, ..."""
    return Look(_COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)], _LINES[index % len(_LINES)])


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

    ours: dict[Any, Any] = {
        "font.size": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "legend.fontsize": 8,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.edgecolor": INK,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dedede",
        "grid.linewidth": 0.5,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.minor.width": 0.4,
        "ytick.minor.width": 0.4,
        "lines.linewidth": 1.3,
        "lines.markersize": 3.6,
        "legend.frameon": False,
        "legend.handlelength": 3.2,
        "legend.columnspacing": 1.2,
        "svg.fonttype": "none",  # text stays text: it can be searched, and read aloud
        "svg.hashsalt": "tombola",  # ids that do not change from run to run
        "pdf.fonttype": 42,  # fonts embedded as TrueType, which journals ask for
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(ours)
        yield
