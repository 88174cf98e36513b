"""Iterative magnitude pruning (Frankle & Carbin 2019, section 2; with rewinding: Frankle et al. 2020, section 3)."""

from collections.abc import Mapping
from typing import Any

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.procedures.run import Action, Run
from tombola.pruning.pruning import Pruning


def imp_runs(task: Task, seed: int, levels: int, pruning: Pruning | None = None, **fields: Any) -> list[Run]:
    """A chain of runs for one replicate: level 0 is the dense run, level l starts from ``m_l * W_k``."""
    return imp_chain(Run(task=task, seed=seed), levels, pruning_of(pruning, fields))


def imp_chain(dense: Run, levels: int, pruning: Pruning) -> list[Run]:
    """The same from a dense run, whatever it starts from, and under its own SGD noise."""
    chain, back = [dense], Action(name="rewind", of=(dense.at(pruning.rewind),))
    for level in range(1, levels + 1):
        mask = pruned_mask(pruning.at(dense.task, level), dense, chain[-1])
        chain.append(dense.but(mask=mask, kept=back, begin=pruning.rewind))
    return chain


def pruned_mask(pruning: Pruning, dense: Run, last: Run, first: Step | str = "0it") -> Action:
    """The mask of a round that scores the weights of `last` against those of `dense` at the step `first`."""
    return Action(name="prune", of=(dense.at(first), last.at(pruning.prune_at), last.its_mask()), options=pruning.options(dense.task))


def pruning_of(pruning: Pruning | None, fields: Mapping[str, Any]) -> Pruning:
    """One value from a whole one, or from its fields; `fraction` is another name of `rates`."""
    named = {"rates" if name == "fraction" else name: value for name, value in fields.items() if value is not None}
    if pruning is not None and named:
        raise TombolaError(f"pruning is given whole, and {', '.join(named)} beside it; put that into it: pruning.but(...)")
    return pruning or Pruning(**named)
