"""`tombola.imp`: iterative magnitude pruning (Frankle & Carbin 2019, section 2; with rewinding: Frankle et al. 2020, section 3)."""

from pathlib import Path
from typing import Any

import numpy as np

from tombola.api.session import Session, seeds
from tombola.api.trajectory import Trajectory
from tombola.core.errors import TombolaError
from tombola.core.numbers import whole
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.engine.resolved import resolved
from tombola.procedures.actions import rates_by_path
from tombola.procedures.imp import imp_runs, pruning_of
from tombola.procedures.run import Run
from tombola.pruning.pruning import Pruning
from tombola.store.store import Store
from tombola.training.watch import stops_of


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
            `rates`. ``rewind="detected"``: the step at which the recipe's detector found the stable phase of the dense network
            to begin, the (upper) median over the replicates, so that all have one k.
        store: folder, or `tombola.Store`, where runs are kept; in memory if not given.

    Returns:
        levels + 1 trajectories; `trajectory.mask` is the mask it trained under.
    """
    session, count = Session.of(task, store, data_dir), whole("levels", levels)
    own = seeds(seed, whole("replicates", replicates, 1))
    fields |= {"rewind": _detected(session, own)} if fields.get("rewind") == "detected" else {}
    pruning = pruning_of(pruning, fields).of(task)
    rates_by_path(session.network, pruning.rates)  # raises before anything trains
    chains = [imp_runs(session.task, one, count, pruning) for one in own]
    return session.train([list(level) for level in zip(*chains, strict=True)], [pruning.rewind, pruning.prune_at])


def _detected(session: Session, own: list[int]) -> Step:
    """The step at which the dense networks of some seeds are found to be stable, with their weights kept there."""
    spec = session.task.recipe.detect
    if spec is None:
        raise TombolaError(
            'rewind = "detected", but the recipe has no detector; give a task with one: tb.task(..., detect="divergence"), say'
        )
    stops = stops_of(spec, resolved(session.task, session.data_dir)[0].timeline)
    (dense,) = session.train([[Run(task=session.task, seed=one) for one in own]], stops)
    if never := int(np.isnan(dense.detected).sum()):
        raise TombolaError(
            f'rewind = "detected", but {spec.name!r} did not find {never} of {len(own)} networks to become stable; '
            "give a step, or the detector another level"
        )
    return Step(int(np.sort(dense.detected)[len(own) // 2]))
