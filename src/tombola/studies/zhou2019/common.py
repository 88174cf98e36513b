"""What the studies of tickets share: the configuration, the start of a ticket with other values, panels and rows."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from tombola.core.step import Step
from tombola.evaluation.paired import densities, levels_within
from tombola.procedures.run import STORED_NAMES, Action, Run
from tombola.studies.base import Row
from tombola.studies.figure import Figure
from tombola.studies.tickets import ACC_ES, ACC_FINAL, Levels, TicketStudy

if TYPE_CHECKING:
    import pandas as pd

SPARSE = (0.03, 0.06)
"""Densities at which starts of a ticket are compared; the claims are about 4 %."""
SPARSE_NOTE = "Accuracy at early stop, at 3 to 6 %; where rounds pass over that, at the density next to 4 %, from 2 to 8 %."


class Masked(TicketStudy):
    """Iterative pruning, and what the weights under and outside its masks start from."""

    paper = "Zhou et al. 2019"
    scales = {"smoke": {"replicates": 2, "levels": 2}, "small": {"levels": 16}}  # 16 rounds take LeNet to 2.9 %, below all that is judged

    levels: Levels = 24
    """Rounds of pruning after the dense run: the paper's."""
    margin: Annotated[float, Field(ge=0)] | None = None
    """What counts as no difference, in pp; None: 0.2 with 10,000 test examples, 1 with fewer."""


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


def arm_rows(chains: Mapping[str, Sequence[Run]], replicate: int, variant: str = "") -> list[Row]:
    """All levels of each arm."""
    return [Row(arm, replicate, level, run, variant=variant) for arm, chain in chains.items() for level, run in enumerate(chain)]


def sparse_levels(table: "pd.DataFrame") -> list[int]:
    """Levels at 3 to 6 %; where rounds pass over that, the one next to 4 % in ratio, if that is within a factor of two."""
    if found := levels_within(table, *SPARSE):
        return found
    far = {level: abs(math.log2(density / 0.04)) for level, density in densities(table).items() if level > 0}
    nearest = min(far, key=lambda level: far[level], default=0)
    return [nearest] if nearest and far[nearest] <= 1 else []


def accuracy(name: str, title: str, arms: Sequence[str] = (), caption: str = "", both: bool = True) -> Figure:
    """Test accuracy against density, at early stop and (`both`) at the end."""
    said = f"{caption} Early stop: iteration of minimum validation loss.".strip()
    return Figure(name, title, (ACC_ES, ACC_FINAL) if both else (ACC_ES,), arms=tuple(arms), caption=said)
