"""Iterative magnitude pruning (Frankle & Carbin 2019, section 2; with rewinding: Frankle et al. 2020, section 3)."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.core.errors import TombolaError, unknown
from tombola.core.step import Step
from tombola.core.task import KINDS, Task
from tombola.core.trees import per_replica
from tombola.procedures.run import Action, Run
from tombola.pruning import selection
from tombola.pruning.criteria import code_digest, scores
from tombola.pruning.structured import Norm, Structure, check_structure

if TYPE_CHECKING:
    from tombola.training.trajectory import Trajectory


def imp(
    task: Task,
    levels: int,
    *,
    fraction: float | Mapping[str, float] | None = None,
    rewind: Step | str = "0it",
    criterion: str = "large_final",
    scope: selection.Scope = "layer",
    structure: Structure = "weights",
    norm: Norm = "l2",
    prune_at: Step | str = "end",
    replicates: int = 8,
    seed: int = 0,
    data_dir: Path | str | None = None,
) -> "list[Trajectory]":
    """Train, prune, rewind, repeat: the dense run and `levels` levels of winning tickets, R replicates each.

    Level l starts from ``m_l * W_k``: the weights of the dense run at step k = `rewind`, under the mask left after l
    rounds; every level trains to the same last step T.

    Args:
        fraction: the share of its remaining weights that a round takes: one number for all layers, or by kind of
            layer; the task's own rates if not given.
        structure: "weights", or "units": whole units and channels, by the `norm` of their weights' scores.
        prune_at: the step whose weights the criterion takes as final ones; each level still trains to the end.

    Returns:
        levels + 1 trajectories; `trajectory.mask` is the mask it trained under.
    """
    from tombola.data.dataset import load  # what describes a chain of runs (below) needs no JAX, and no data
    from tombola.procedures.actions import prune_round, rates_by_path
    from tombola.surgery.combine import combine
    from tombola.training.cohort import setup
    from tombola.training.train import train

    if levels < 0:
        raise TombolaError(f"levels = {levels}: rounds of pruning, 0 or more, are needed")
    check_structure(structure, norm)
    shares = _rates(task, fraction)
    network = setup(task, load(task.data, data_dir)).network
    rates = rates_by_path(network, shares)
    dense = train(task, replicates, seed, keep=[rewind, prune_at], data_dir=data_dir)
    trajectories = [dense]
    for _ in range(levels):
        last = trajectories[-1]
        mask = per_replica(
            lambda first, final, before: prune_round(
                network,
                {path: scores(criterion, first[path], final[path], kept) for path, kept in before.items()},
                before,
                rates,
                scope,
                structure,
                norm,
            ),
            {path: dense.initial[path] for path in last.mask},
            {path: last.at(prune_at)[path] for path in last.mask},
            last.mask,
        )
        start = per_replica(combine, mask, dense.at(rewind))
        trajectories.append(train(task, seed=seed, start=start, mask=mask, begin=rewind, keep=[prune_at], data_dir=data_dir))
    return trajectories


def imp_runs(
    task: Task,
    seed: int,
    levels: int,
    *,
    rates: Mapping[str, float],
    rewind: Step | str = "0it",
    criterion: str = "large_final",
    scope: selection.Scope = "layer",
    structure: Structure = "weights",
    norm: Norm = "l2",
    prune_at: Step | str = "end",
) -> list[Run]:
    """The same as a chain of run descriptions for one replicate: level 0 is the dense run."""
    options = prune_options(rates, criterion, scope, structure, norm)
    chain = [Run(task=task, seed=seed)]
    for _ in range(levels):
        last = chain[-1]
        mask = pruned_mask(chain[0], last, options, prune_at)
        chain.append(Run(task=task, seed=seed, mask=mask, kept=Action(name="rewind", of=(chain[0].at(rewind),)), begin=Step(rewind)))
    return chain


def pruned_mask(dense: Run, last: Run, options: Mapping[str, Any], prune_at: Step | str) -> Action:
    """The mask of a round that scores the weights of `last` at a step against the initial ones."""
    return Action(name="prune", of=(dense.at("0it"), last.at(prune_at), last.its_mask()), options=dict(options))


def prune_options(rates: Mapping[str, float], criterion: str, scope: str, structure: str, norm: str) -> dict[str, Any]:
    """The options of the mask action `prune`; what is at its default is left out where it came later than stored runs."""
    options: dict[str, Any] = {"rates": dict(rates), "criterion": criterion, "scope": scope}
    if own := code_digest(criterion):
        options["source"] = own
    if structure != "weights":
        options |= {"structure": structure, "norm": norm}
    return options


def _rates(task: Task, fraction: float | Mapping[str, float] | None) -> dict[str, float]:
    if fraction is None:
        return task.rates
    if isinstance(fraction, Mapping):
        for kind in fraction:
            if kind not in KINDS:
                raise unknown("kind of layer", kind, KINDS)
        return {**task.rates, **fraction}
    if not 0 <= fraction <= 1:
        raise TombolaError(f"fraction = {fraction}: the share of the remaining weights that a round prunes is from 0 to 1")
    return dict.fromkeys(task.rates, fraction)
