"""Iterative magnitude pruning (Frankle & Carbin 2019, section 2; with rewinding: Frankle et al. 2020, section 3)."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.core.trees import per_replica, replica, stack
from tombola.procedures.run import Action, Run
from tombola.pruning.pruning import Pruning

if TYPE_CHECKING:
    from tombola.training.trajectory import Trajectory


def imp(
    task: Task,
    levels: int,
    *,
    pruning: Pruning | None = None,
    replicates: int = 8,
    seed: int = 0,
    data_dir: Path | str | None = None,
    **fields: Any,
) -> "list[Trajectory]":
    """Train, prune, rewind, repeat: the dense run and `levels` levels of winning tickets, R replicates each.

    Level l starts from ``m_l * W_k``: the weights of the dense run at step k = `rewind`, under the mask left after l
    rounds; every level trains to the same last step T.

    Args:
        pruning: rates, criterion, scope, ...; the task's own rates and scope where it names none.
        fields: of `Pruning`, one by one, instead: ``criterion="movement"``, ``rewind="500it"``; `fraction` is another name of
            `rates`.

    Returns:
        levels + 1 trajectories; `trajectory.mask` is the mask it trained under.
    """
    from tombola.data.dataset import load  # what describes a chain of runs (below) needs no JAX, and no data
    from tombola.procedures.actions import Context, mask_actions, rates_by_path
    from tombola.surgery.combine import combine
    from tombola.training.cohort import setup
    from tombola.training.slopes import mean_gradient
    from tombola.training.train import train

    if levels < 0:
        raise TombolaError(f"levels = {levels}: rounds of pruning, 0 or more, are needed")
    pruning = _given(pruning, fields).of(task)
    network = setup(task, load(task.data, data_dir)).network
    rates_by_path(network, pruning.rates)  # raises before anything trains
    options, slopes = pruning.options(task), partial(mean_gradient, task, data_dir)
    dense = train(task, replicates, seed, keep=[pruning.rewind, pruning.prune_at], data_dir=data_dir)
    trajectories = [dense]
    for _ in range(levels):
        last = trajectories[-1]
        trees = (dense.initial, last.at(pruning.prune_at), last.mask)
        mask = stack(
            [
                mask_actions.call("prune", Context(network, one, slopes=slopes), *(replica(tree, index) for tree in trees), **options)
                for index, one in enumerate(dense.seeds)
            ]
        )
        start, begin = per_replica(combine, mask, dense.at(pruning.rewind)), pruning.rewind
        trajectories.append(train(task, seed=seed, start=start, mask=mask, begin=begin, keep=[pruning.prune_at], data_dir=data_dir))
    return trajectories


def imp_runs(task: Task, seed: int, levels: int, pruning: Pruning | None = None, **fields: Any) -> list[Run]:
    """The same as a chain of run descriptions for one replicate: level 0 is the dense run."""
    pruning = _given(pruning, fields)
    dense = Run(task=task, seed=seed)
    chain, back = [dense], Action(name="rewind", of=(dense.at(pruning.rewind),))
    for _ in range(levels):
        chain.append(dense.but(mask=pruned_mask(pruning, dense, chain[-1]), kept=back, begin=pruning.rewind))
    return chain


def pruned_mask(pruning: Pruning, dense: Run, last: Run, first: Step | str = "0it") -> Action:
    """The mask of a round that scores the weights of `last` against those of `dense` at the step `first`."""
    return Action(name="prune", of=(dense.at(first), last.at(pruning.prune_at), last.its_mask()), options=pruning.options(dense.task))


def _given(pruning: Pruning | None, fields: Mapping[str, Any]) -> Pruning:
    """One value from a whole one, or from its fields; `fraction` is another name of `rates`."""
    named = {"rates" if name == "fraction" else name: value for name, value in fields.items() if value is not None}
    if pruning is not None and named:
        raise TombolaError(f"pruning is given whole, and {', '.join(named)} beside it; put that into it: pruning.but(...)")
    return pruning or Pruning(**named)
