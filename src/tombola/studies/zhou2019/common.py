"""What the studies of the paper share: arms that are chains of tickets, the start of a ticket with other values, densities, panels."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from tombola.evaluation.paired import densities, levels_within
from tombola.procedures.run import STORED_NAMES, Action, Run
from tombola.studies import ACC_ES, ACC_FINAL, Figure, Frame, Levels, Panel, Row, Step, TicketStudy, chain_rows

PAPER = "Zhou et al. 2019"
ACC = Panel("acc", "test accuracy (%)", 100)
VALUES = {"init": "initial values", "constant": "signed constant"}
"""Variant of the studies of supermasks to what the weights under the mask are."""
SPARSE = (0.03, 0.06)
"""Densities at which starts of a ticket are compared; the claims are about 4 %."""
SPARSE_NOTE = "Judged at 3 to 6 % density; where rounds pass over that, at the density next to 4 %, from 2 to 8 %."


class Chains(TicketStudy):
    """Arms each of which is a chain of networks, one for each round of pruning."""

    paper = PAPER
    scales = {"smoke": {"replicates": 2, "levels": 2}, "small": {"levels": 16}}  # 16 rounds take LeNet to 2.9 %, below all that is judged

    levels: Levels = 24
    """Rounds of pruning after the dense run, as many as in the paper."""

    def chains(self, replicate: int) -> Mapping[str, Sequence[Run]]:
        """Arm to its networks, the dense one first."""
        raise NotImplementedError

    def rows(self) -> Iterable[Row]:
        """The rows of all levels of each arm."""
        for replicate in range(self.replicates):
            for arm, chain in self.chains(replicate).items():
                yield from chain_rows(arm, replicate, chain)


class Masked(Chains):
    """Iterative pruning, and what the weights under and outside its masks start from."""

    margin: Annotated[float, Field(ge=0)] | None = None
    """Percentage points of accuracy that count as no difference. None: 0.2 with 10,000 test examples, else 1."""


def values(name: str, dense: Run, rewind: Step, **options: Any) -> Action:
    """A value action on W_k; on theta_0, which it then finds by itself, if k = 0."""
    return Action(name=name, of=() if rewind == "0it" else (dense.at(rewind),), options=options)


def drawn(name: str, dense: Run, rewind: Step, level: int, keep_sign: bool = False) -> Action:
    """Values that are drawn for a level. With and without `keep_sign` the draw is the same."""
    sign = {"keep_sign": True} if keep_sign else {}
    return values(name, dense, rewind, stream=f"{STORED_NAMES.get(name, name)}/{level}/0", **sign)


def under(ticket: Run, kept: Action) -> Run:
    """The ticket's mask over other values; it trains from the ticket's step to the end, as the ticket does."""
    return ticket.but(mask=Action(name="parent_mask", of=(ticket.its_mask(),)), kept=kept)


def sparse_levels(table: Frame) -> list[int]:
    """Levels at 3 to 6 %; where rounds pass over that, the one next to 4 % in ratio, if that is within a factor of two."""
    if found := levels_within(table, *SPARSE):
        return found
    far = {level: abs(math.log2(density / 0.04)) for level, density in densities(table).items() if level > 0}
    nearest = min(far, key=lambda level: far[level], default=0)
    return [nearest] if nearest and far[nearest] <= 1 else []


def best(rows: Frame, by: str) -> Frame:
    """Replicate -> the row, of those of an arm, that does best on validation examples: in column `by`."""
    return rows.sort_values(by, ascending=False, kind="stable").groupby("replicate").head(1).set_index("replicate").sort_index()


def accuracy(name: str, title: str, arms: Sequence[str] = (), caption: str = "", both: bool = True) -> Figure:
    """Test accuracy against density, at early stop and (`both`) at the end."""
    said = f"{caption} The early stop is the iteration of minimum validation loss.".strip()
    return Figure(name, title, (ACC_ES, ACC_FINAL) if both else (ACC_ES,), arms=tuple(arms), caption=said)
