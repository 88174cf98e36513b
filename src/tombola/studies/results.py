"""What a study's runs left, and what its measurements found."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tombola.core.errors import TombolaError
from tombola.core.objective import Objective, find_objective
from tombola.core.task import Task
from tombola.procedures.measurement import Measurement
from tombola.procedures.network_info import NetworkInfo
from tombola.procedures.run import Given, Run
from tombola.studies.row import Row

if TYPE_CHECKING:
    from pandas import DataFrame as Frame
    from pandas import Series as Column

    from tombola.training.setup import Setup
else:
    Frame, Column = "pd.DataFrame", "pd.Series"  # pandas is loaded when a table is made
Details = Mapping[str, "Frame | Sequence[Frame] | Sequence[Mapping[str, Any]]"]
"""Name -> a details table: a frame, frames one after the other, or rows."""


@dataclass(frozen=True)
class Result:
    """What a finished run left: columns of its metrics by step, and its summary."""

    metrics: Mapping[str, Any]
    summary: Mapping[str, Any]
    weights: Callable[[str], Mapping[str, Any]]
    """Step, or "mask" -> the run's weights at that step (if the study keeps it), or its mask; of one that moves, "mask@100it" is that
    after a step that is kept."""
    begin: int = 0
    """Iteration at which it began."""
    end: int = 0
    """Iteration at which training ends."""
    seconds: float = float("nan")
    """Wall time of its training, its share of a cohort's. It differs from machine to machine, and from run to run."""
    made: Mapping[str, Any] = field(default_factory=dict)
    """What made it: command, versions, device, date."""
    signals: Mapping[str, Any] = field(default_factory=dict)
    """What detectors saw by step, where the run had some: `step`, `probe_loss`, and the signal of each by its name."""
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

    def of(self, row: Row) -> Mapping[str, Any]:
        """The arrays of a row's measurement by name."""
        assert row.measurement is not None
        return self.measured(row.measurement)

    def where(self, row: Row, **others: Any) -> dict[str, Any]:
        """The place of a row in details tables, with what `others` says instead, and besides."""
        density = self[row.run].summary["density"]
        return {"variant": row.variant, "arm": row.arm, "level": row.level, "density": density, "replicate": row.replicate, **others}

    def __getitem__(self, run: Run | Given) -> Result:
        return self._results[run]  # type: ignore[index]

    def __iter__(self) -> Iterator[Run]:
        return iter(self._results)

    def __len__(self) -> int:
        return len(self._results)
