"""Dense networks, and tickets of one density beside them, against k; two studies look at these."""

from collections.abc import Sequence
from typing import Any

from tombola.core.step import Step
from tombola.core.task import Task
from tombola.studies.base import Cell, Scale
from tombola.studies.frankle2020.common import EXTREME, ONE_SHOT, Rounds, Sparse, at_smoke, dense_run, for_noise, from_step, pair_cells
from tombola.studies.tickets import tickets


class Beside(Sparse):
    """Children of dense networks, and of tickets of one density."""

    ticket: Rounds = 7
    """Rounds of pruning after which a ticket is looked at beside (20 % a round: 21 % density after 7); 0: no ticket."""


def beside_fields(scale: Scale, task: Task) -> dict[str, Any]:
    """The fields of a `Beside` at a scale; the paper's own density where it has the task."""
    ticket = {"ticket": EXTREME[task.name]} if task.name in EXTREME else {}
    smoke = at_smoke(scale, children=2, k=("0it", "1it"), ticket=1)
    return {"task": task, **for_noise(task), **ONE_SHOT.get(task.name, {}), **ticket, **smoke}


def beside_cells(config: Beside, steps: Sequence[Step]) -> list[Cell]:
    """A row for each pair of children of the dense network and of the ticket, at each step k, whose place is the level."""
    cells: list[Cell] = []
    for replicate in range(config.replicates):
        dense = dense_run(config, replicate)
        for level, k in enumerate(steps):
            cells += pair_cells(config, "dense", replicate, level, from_step(dense, k), dense)
            if config.ticket:
                ticket = tickets(config, replicate, levels=config.ticket, rewind=k)[-1]
                cells += pair_cells(config, "ticket", replicate, level, ticket, dense)
    return cells


def beside_arms(config: Beside) -> dict[str, str]:
    """Arm to label."""
    return {"dense": "dense network", "ticket": f"ticket after {config.ticket} rounds"}
