"""One row of a study's table."""

from dataclasses import dataclass

from tombola.procedures.measurement import Measurement
from tombola.procedures.run import Run


@dataclass(frozen=True)
class Row:
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

    @property
    def place(self) -> int:
        """Which of the networks that its measurement looks at is the row's own."""
        assert self.measurement is not None
        return [parent.run for parent in self.measurement.of].index(self.run)
