"""Figures as data: what a report draws, whoever draws it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Known:
    """A value that the paper gives for the same network and data: drawn as a star."""

    value: float
    """The value in the table's unit."""
    label: str = ""
    """What the paper says there."""
    x: float = 0.0
    """The place on the x axis, in the table's unit ..."""
    cell: tuple[str, str] = ("", "")
    """... or in which row and column of a heat map."""
    beside_dense: bool = False
    """The value is what the dense network's is multiplied by, on a log axis, or what is added to it."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes: a column of what the figure shows, against its x axis."""

    metric: str
    label: str
    """Axis label with unit, e.g. "test accuracy at early stop (%)"."""
    scale: float = 1.0
    """Factor from the table's value to the axis (100 for per cent)."""
    log: bool = False
    threshold: float | None = None
    """A value, in the table's unit, that a thin line marks: what counts as stable, or as equal."""
    ticks: tuple[str, ...] = ()
    """What 0, 1, 2, ... on the axis stand for, where the values are places in a list."""
    paper: tuple[Known, ...] = ()
    """What the paper found, where it is known for the task."""

    @property
    def quantity(self) -> str:
        """What is shown: the label without its unit."""
        return self.label.rpartition(" (")[0] if self.label.endswith(")") else self.label

    @property
    def unit(self) -> str:
        """The unit of differences: "pp" where the label has "%"."""
        inside = self.label.rpartition("(")[2].rstrip(")") if self.label.endswith(")") else ""
        return "pp" if inside == "%" else inside


@dataclass(frozen=True)
class Figure:
    """A figure as data: panels side by side, one line an arm; panels for each variant that the study has."""

    name: str
    """File name stem, e.g. "accuracy"."""
    title: str
    panels: tuple[Panel, ...]
    kind: Literal["density", "curves", "profile", "image", "scatter", "surface", "heatmap", "journeys"] = "density"
    """`density`: table rows against density, log axis from dense to sparse. `curves`: metrics over iterations at
    `levels`. `profile`: `value` against `x` of the details table `detail`, at `levels`. `image`: `value` by `row` and
    `column` of `detail`, one image a level. `scatter`: the panels against `across`, one point a row of the table (draws
    averaged). `surface`: contours of `value` over `x` and `y` of `detail`, with the named networks on it. `heatmap`: the
    panels by `row` (a layer) and `column` of `detail`, a number in each cell, one map a variant and arm. `journeys`: two
    panels of `detail`: `value` over `x` of single weights, by `weight`; and where `weight` is -1, `value` with `low` and `high`."""
    x: Literal["density", "kept", "level", "step", "parameters"] = "density"
    """What the x axis of kind `density` shows; `kept` is the number of remaining weights, `level` what the study's levels
    count (rounds of pruning, steps k, layers reset, widths), `step` the iteration k that the table's column `step` says,
    `parameters` the size of the whole network that its column `parameters` says, on an axis from small to large."""
    across: Panel | None = None
    """The metric on the x axis of kind `scatter`."""
    x_label: str = ""
    """Axis label with unit, of all kinds but those; of kind `density` in place of what `x` is called, if given."""
    y_label: str = ""
    """Label of the y axis with unit, of kinds `image` and `heatmap`."""
    span: tuple[float, float] | None = None
    """What the ends of both axes of kind `image` stand for; None: they count inputs."""
    minus: str = ""
    """An arm that kind `density` takes from each of the others, by replicate, variant and level; it is not shown itself."""
    detail: str = ""
    """The study's details table that kinds `profile`, `image`, `surface`, `heatmap` and `journeys` draw."""
    arms: tuple[str, ...] = ()
    """The arms that are shown; none named: all."""
    variants: tuple[str, ...] = ()
    """The variants that are shown; none named: all."""
    levels: tuple[int, ...] = ()
    caption: str = ""
    compared: bool | Literal["levels"] = False
    """Whether a table of several settings has a line each setting and a panel an arm; else it has a panel a setting. Of kind `scatter`,
    "levels": what tells markers apart is their level, not their arm."""
