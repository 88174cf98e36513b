"""`tombola.imp`: iterative magnitude pruning (Frankle & Carbin 2019, section 2; with rewinding: Frankle et al. 2020, section 3)."""

from pathlib import Path
from typing import Any

from tombola.api.session import Session, seeds
from tombola.api.trajectory import Trajectory
from tombola.core.numbers import whole
from tombola.core.task import Task
from tombola.procedures.actions import rates_by_path
from tombola.procedures.imp import imp_runs, pruning_of
from tombola.pruning.pruning import Pruning
from tombola.store.store import Store


def imp(
    task: Task,
    levels: int,
    *,
    pruning: Pruning | None = None,
    replicates: int = 8,
    seed: int = 0,
    store: Store | Path | str | None = None,
    data_dir: Path | str | None = None,
    **fields: Any,
) -> list[Trajectory]:
    """Train, prune, rewind, repeat: the dense run and `levels` levels of winning tickets, R replicates each.

    Level l starts from ``m_l * W_k``: the weights of the dense run at step k = `rewind`, under the mask left after l
    rounds; every level trains to the same last step T.

    Args:
        pruning: rates, criterion, scope, ...; the task's own rates and scope where it names none.
        fields: of `Pruning`, one by one, instead: ``criterion="movement"``, ``rewind="500it"``; `fraction` is another name of
            `rates`.
        store: folder, or `tombola.Store`, where runs are kept; in memory if not given.

    Returns:
        levels + 1 trajectories; `trajectory.mask` is the mask it trained under.
    """
    pruning, session, count = pruning_of(pruning, fields).of(task), Session.of(task, store, data_dir), whole("levels", levels)
    rates_by_path(session.network, pruning.rates)  # raises before anything trains
    chains = [imp_runs(session.task, one, count, pruning) for one in seeds(seed, whole("replicates", replicates, 1))]
    return session.train([list(level) for level in zip(*chains, strict=True)], [pruning.rewind, pruning.prune_at])
