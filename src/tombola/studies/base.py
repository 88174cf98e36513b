"""What a study is: a table of runs, how each is measured, what it claims, what it draws."""

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tombola.core.errors import TombolaError
from tombola.core.objective import Objective, find_objective
from tombola.core.parts import studies as studies
from tombola.core.spec import Spec
from tombola.core.task import Count, Task
from tombola.evaluation.verdict import Verdict
from tombola.procedures.measurement import Measurement
from tombola.procedures.network_info import NetworkInfo
from tombola.procedures.run import Given, Run

if TYPE_CHECKING:
    import pandas as pd

    from tombola.training.setup import Setup

Scale = Literal["smoke", "small", "paper"]


class Config(Spec):
    """The fields every study has."""

    task: Task
    replicates: Count = 8
    seed: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True)
class Cell:
    """One row of a study's table: a run, and where it stands in the study."""

    arm: str
    replicate: int
    level: int
    run: Run
    draw: int = 0
    """Which of several random draws (re-initialisations, random masks) of the same replicate."""
    variant: str = ""
    """The setting of the task, or the layer, that the row is about, where a study has several; arms are compared
    within it, and figures have panels for each."""
    measurement: Measurement | None = None
    """Networks to be evaluated for this row, when its runs have been trained."""


Row = dict[str, Any]
"""Column -> value."""


@dataclass(frozen=True)
class Result:
    """What a finished run left: columns of its metrics by step, and its summary."""

    metrics: Mapping[str, Any]
    summary: Mapping[str, Any]
    weights: Callable[[str], Mapping[str, Any]]
    """Step, or "mask" -> the run's weights at that step (if the study keeps it), or its mask."""
    begin: int = 0
    """Iteration at which it began."""
    end: int = 0
    """Iteration at which training ends."""
    seconds: float = float("nan")
    """Wall time of its training, its share of a cohort's. It differs from machine to machine, and from run to run."""
    made: Mapping[str, Any] = field(default_factory=dict)
    """What made it: command, versions, device, date."""
    objective: Objective = field(default_factory=lambda: find_objective("classification")())

    def shown(self, part: str, at: int = -1) -> float:
        """The headline as curves have it (of classification the accuracy), by which names of columns say `acc`: of `test` or `val` at
        an evaluation, of ``es_test`` or of `train`.
        """
        column = f"{part}_{self.objective.columns[1]}"
        return float(self.summary[column] if column in self.summary else self.metrics[column][at])

    def error(self, part: str) -> float:
        """The headline, lower is better."""
        return float(self.objective.headline_of(self.shown(part)))


def _no_network(task: Task) -> Any:
    raise TombolaError("these results know no networks")


class Results(Mapping[Run, Result]):
    """What a study's runs left, and what its measurements found."""

    def __init__(
        self,
        results: Mapping[Run, Result],
        measured: Callable[[Measurement], Mapping[str, Any]],
        setup: "Callable[[Task], Setup]" = _no_network,
        known: Container[Measurement] = (),
        network_info: Callable[[Task], NetworkInfo] = _no_network,
    ) -> None:
        """`measured` finds the arrays of a measurement by name, `setup` what a task's data make of it (its network, the length of
        an epoch), `network_info` as much of that as needs no JAX; `known` are the measurements there are.
        """
        self._results, self.measured, self.setup, self.known, self.network_info = results, measured, setup, known, network_info

    def __getitem__(self, run: Run | Given) -> Result:
        return self._results[run]  # type: ignore[index]

    def __iter__(self) -> Iterator[Run]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)


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


@dataclass(frozen=True)
class Figure:
    """A figure as data: panels side by side, one line an arm; panels for each variant that the study has."""

    name: str
    """File name stem, e.g. "accuracy"."""
    title: str
    panels: tuple[Panel, ...]
    kind: Literal["density", "curves", "profile", "image", "scatter", "surface", "heatmap"] = "density"
    """`density`: table rows against density, log axis from dense to sparse. `curves`: metrics over iterations at
    `levels`. `profile`: `value` against `x` of the details table `detail`, at `levels`. `image`: `value` by `row` and
    `column` of `detail`, one image a level. `scatter`: the panels against `across`, one point a row of the table (draws
    averaged). `surface`: contours of `value` over `x` and `y` of `detail`, with the named networks on it. `heatmap`: the
    panels by `row` (a layer) and `column` of `detail`, a number in each cell, one map a variant and arm."""
    x: Literal["density", "kept", "level", "step", "parameters"] = "density"
    """Of kind `density`: what the axis shows; `kept` is the number of remaining weights, `level` what the study's levels
    count (rounds of pruning, steps k, layers reset, widths), `step` the iteration k that the table's column `step` says,
    `parameters` the size of the whole network that its column `parameters` says, on an axis from small to large."""
    across: Panel | None = None
    """Of kind `scatter`: the metric on the x axis."""
    x_label: str = ""
    """Axis label with unit, of kinds `profile` and `heatmap`; of kind `density` in place of what `x` is called, if given."""
    detail: str = ""
    """Of kinds `profile`, `image`, `surface` and `heatmap`: which of the study's details tables."""
    arms: tuple[str, ...] = ()
    """Those that are shown; none named: all."""
    variants: tuple[str, ...] = ()
    """Likewise."""
    levels: tuple[int, ...] = ()
    caption: str = ""


@dataclass(frozen=True)
class Study:
    """A resolved study: everything that is needed to carry it out and to report it."""

    name: str
    config: Config
    cells: tuple[Cell, ...]
    metrics: tuple[str, ...]
    """Columns that `measure` fills, in the table's order."""
    measure: Callable[[Cell, Results], "Row | list[Row]"]
    """(cell, results of all runs) -> the metrics of one row; or several rows, or none, each of which may also say its
    own `variant` and `arm` (a layer and a group of its weights, say)."""
    claims: Callable[["pd.DataFrame"], list[Verdict]]
    figures: tuple[Figure, ...]
    keep: Mapping[Run, tuple[str, ...]] = field(default_factory=dict)
    """Steps whose weights `measure` reads, beside those that other runs start from."""
    arms: Mapping[str, str] = field(default_factory=dict)
    """Arm to what a legend calls it."""
    variants: Mapping[str, str] = field(default_factory=dict)
    """Variant to what a panel's title calls it."""
    levels: Literal["rounds", "steps", "layers", "widths"] = "rounds"
    """What `level` counts: rounds of pruning; places in a list of steps k, which column `step` of the table holds; layers
    that are reset together; or places in a list of widths, which its column `width` holds."""
    details: Callable[[Results], dict[str, "pd.DataFrame"]] | None = None
    """Results of all runs -> further tables by name, for figures that the table cannot draw. A profile's columns are
    variant, arm, level, density, replicate, x, value; an image's arm, level, density, row, column, value; a surface's
    variant, arm, level, density, x, y, value, and network: "" on the grid, else the name of the network that is there; a
    heat map's variant, arm, level, density, replicate, row, column (both strings, shown in the order in which they first
    come), one for each panel, and, if rows are classed, mark: "critical", say, the same in all of a row's cells."""
    measurements: tuple[Measurement, ...] = ()
    """Those that only `details` reads; cells bring their own."""
    more: Callable[[Results], tuple[Cell, ...]] | None = None
    """Results so far -> further cells that they call for; none when the study is complete. For studies that search."""


COLUMNS = ("study", "task", "variant", "arm", "replicate", "level", "density")
"""What every study's table begins with."""


@dataclass(frozen=True)
class Findings:
    """A study that was carried out."""

    study: Study
    table: "pd.DataFrame"
    """One row per variant, arm, replicate, level and draw: `COLUMNS`, then the study's metrics."""
    curves: "pd.DataFrame"
    """Metrics by step of the same runs."""
    verdicts: list[Verdict]
    provenance: dict[str, str]
    details: Mapping[str, "pd.DataFrame"] = field(default_factory=dict)


@dataclass(frozen=True)
class StudyKind:
    """A registered study: its name, what it answers, its configuration at a scale, and how it is built from one."""

    name: str
    answers: str
    claim_ids: tuple[str, ...]
    default_task: str
    configure: Callable[[Scale, str], Config]
    build: Callable[[Any], Study]


def study(
    name: str, *, answers: str, claims: tuple[str, ...], task: str, configure: Callable[[Scale, str], Config]
) -> Callable[[Callable[[Any], Study]], Callable[[Any], Study]]:
    """Register the function under it, (configuration) -> `Study`, as a study."""

    def register(build: Callable[[Any], Study]) -> Callable[[Any], Study]:
        studies.add(name, StudyKind(name, answers, claims, task, configure, build))
        return build

    return register
