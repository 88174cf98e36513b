"""What the studies of the paper share: tickets beside their re-initialisations, and arms compared where their levels differ."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from tombola.evaluation.paired import interpolated
from tombola.studies import Evidence, Known, Panel, Row, Run, Task
from tombola.studies.testbeds import network_of
from tombola.studies.tickets import ACC_ES, ES, Level, PruningStudy, TicketStudy, chain_rows, reinitialised

ARMS = {"ticket": "winning ticket", "reinit": "same mask, fresh init"}
CONVS = ("conv2", "conv4", "conv6")
_SOONER = {"fc": (0.62, 0.211), "conv2": (1 / 3.5, 0.088), "conv4": (1 / 3.5, 0.092), "conv6": (1 / 2.5, 0.151)}
_BETTER = {"fc": (0.003, 0.135), "conv2": (0.034, 0.046), "conv4": (0.035, 0.111), "conv6": (0.033, 0.264)}
"""What the paper reports of its tickets, with the density: the early stop as a share of the dense network's, and the accuracy above it."""


class OfPaper(PruningStudy):
    """A study of the paper's: networks pruned by the final magnitude of single weights, which are reset to their initial values."""

    paper = "Frankle & Carbin 2019"

    margin: Annotated[float, Field(ge=0)] | None = None
    """Percentage points of accuracy that count as no difference. None: 0.2 with 10,000 test examples, else 1."""

    def departure(self) -> str:
        own = self.pruning.but(rates={}, scope=None).canonical()
        changed = ", ".join(f"{name} = {value}" for name, value in own.items() if name != "spec")
        paper = "the claim is about single weights pruned by final magnitude and reset to the initial ones"
        return f"{paper}; here {changed}" if changed else ""


class Pruned(OfPaper, TicketStudy):
    """Iterative pruning by a number of rounds."""

    scales = {"smoke": {"replicates": 2, "levels": 2}, "paper": {"levels": 20}}


class Compared(Pruned):
    """Tickets, and at some of their levels the same masks over a fresh initialisation."""

    compared: tuple[Level, ...] = tuple(range(1, 61))
    """Levels at which tickets are also re-initialised; those beyond `levels` do not count."""

    @property
    def arms(self) -> Mapping[str, str]:
        return ARMS

    def compared_rows(self, replicate: int, chain: Sequence[Run], variant: str = "") -> Iterable[Row]:
        """Rows of all tickets of a chain, and of their re-initialisations at the compared levels."""
        yield from chain_rows("ticket", replicate, chain, variant)
        for level in self.within(self.compared):
            yield Row("reinit", replicate, level, reinitialised(chain[level], level), variant=variant)


def at_points_of(table: Evidence, arm: str, onto: str, x: str = "density") -> Evidence:
    """Two arms that pass through different points of `x`, the first interpolated at those points of the second that it reaches.

    Accuracies, and whether early stops are censored, are interpolated by replicate, linearly in log `x`. The table is returned as it
    is if one of the arms was not run.
    """
    import pandas as pd

    rows = table.table[table.table.arm == onto]
    if rows.empty or not (table.table.arm == arm).any():
        return table
    moved = rows.copy()
    moved["arm"] = arm
    for column in ("acc_es", "acc_final", "es_censored"):
        found = interpolated(table.table, column, arm, onto, x)
        moved[column] = [found.loc[place] for place in zip(rows.replicate, rows.level, strict=True)]
    reached = moved.acc_es.notna().groupby(moved.level).transform("all")
    return Evidence(table.study, pd.concat([rows, moved[reached]]), table.variant)


def early_stop(task: Task) -> tuple[Panel, Panel]:
    """The early stop and the accuracy there, with what the paper found for the same network and data."""
    network = network_of(task)
    if not network:
        return ES, ACC_ES
    (share, soonest), (gain, best) = _SOONER[network], _BETTER[network]
    sooner = Known(share, f"{1 / share:.3g} times sooner than the dense network", soonest, beside_dense=True)
    better = Known(gain, f"{100 * gain:.2g} pp above the dense network", best, beside_dense=True)
    return replace(ES, paper=(sooner,)), replace(ACC_ES, paper=(better,))
