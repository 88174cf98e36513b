"""What the studies of the paper share: its name, and tickets beside their re-initialisations."""

from collections.abc import Sequence

from tombola.procedures.run import Run
from tombola.studies.base import Row
from tombola.studies.tickets import TicketStudy, reinitialised


class Pruned(TicketStudy):
    """Iterative magnitude pruning by a number of rounds."""

    paper = "Frankle & Carbin 2019"

    def compared_rows(self, replicate: int, chain: Sequence[Run], compared: Sequence[int], variant: str = "") -> list[Row]:
        """Rows of all tickets of a chain, and of their re-initialisations at the compared levels."""
        rows = [Row("ticket", replicate, level, run, variant=variant) for level, run in enumerate(chain)]
        again = [(level, reinitialised(chain[level], level)) for level in self.within(compared)]
        return rows + [Row("reinit", replicate, level, run, variant=variant) for level, run in again]
