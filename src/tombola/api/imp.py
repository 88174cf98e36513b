"""`tombola.imp`: iterative magnitude pruning (Frankle & Carbin 2019, section 2; with rewinding: Frankle et al. 2020, section 3)."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from tombola.studies.figure import Figure, Panel
from tombola.studies.shown import Shown, headline_panel
from tombola.training.watch import stops_of

if TYPE_CHECKING:
    import pandas as pd


class Tickets(Shown, list[Trajectory]):
    """A trajectory for each level of pruning, the dense runs first."""

    def _brief(self) -> Iterator[tuple[str, Any]]:
        yield "task", self[0].task.name
        yield "replicates", len(self[0].runs)
        yield "density", [round(float(level.summary["density"].mean()), 4) for level in self]

    def tables(self) -> "dict[str, pd.DataFrame]":
        """`levels`, a row a level and replicate, and `curves`, a row an evaluation."""
        import pandas as pd

        return {
            name: pd.concat([level.to_pandas(table).assign(level=at) for at, level in enumerate(self)], ignore_index=True)
            for name, table in (("levels", "summary"), ("curves", "curves"))
        }

    def pictures(self) -> "list[tuple[Figure, pd.DataFrame]]":
        """Early stop and headline by density."""
        objective = self[0].task.objective
        panels = (
            Panel("es_step", "early-stopping iteration", log=True),
            headline_panel(objective, f"es_test_{objective.columns[1]}", "test"),
        )
        said = "Accuracy is taken at the early stop, the iteration of minimum validation loss."
        return [(Figure("tickets", "Tickets by density", panels, caption=said), self.to_pandas().assign(arm="ticket"))]


def imp(
    task: Task,
    levels: int | None = None,
    *,
    pruning: Pruning | None = None,
    replicates: int = 8,
    seed: int = 0,
    store: Store | Path | str | None = None,
    data_dir: Path | str | None = None,
    **fields: Any,
) -> Tickets:
    """Iterative magnitude pruning: train the dense networks, then `levels` times prune, rewind and train again.

    Level l trains ``m_l * W_k``: the weights of the dense run at step k = `rewind`, under the mask m_l that l rounds of pruning left. Every
    level trains to the same last step T (Frankle & Carbin 2019, section 2; with k > 0 Frankle et al. 2020, section 3).

    Args:
        levels: how many rounds there are. None: as many as there are `densities`.
        pruning: what a round removes, and by which criterion. Where it names no rates or scope, the task's are taken.
        replicates: R, each from a seed of its own.
        fields: fields of `tombola.Pruning`, one by one, in the place of `pruning`: ``criterion="movement"``, ``rewind="500it"``.
            `fraction` is another name of `rates`. ``rewind="detected"`` is the step at which the recipe's detector found the stable phase
            of the dense networks to begin: the (upper) median over the replicates, so that all have the same k.
        store: folder, or `tombola.Store`, where runs are kept; in memory if not given.

    Returns:
        A list of levels + 1 trajectories of R replicas, the dense ones first, which draws itself. `trajectory.mask` is the mask it
        trained under.

    Raises:
        TombolaError: for a field that `Pruning` does not have, rates of layers that there are not, a step after the end of training, or
            where neither `levels` nor `densities` say how many rounds there are.
    """
    session = Session.of(task, store, data_dir)
    own = seeds(seed, whole("replicates", replicates, 1))
    fields |= {"rewind": _detected(session, own)} if fields.get("rewind") == "detected" else {}
    pruning = pruning_of(pruning, fields).of(task)
    if levels is None and not pruning.densities:
        raise TombolaError("say how many rounds there are, levels=5, or to which densities, densities=[0.5, 0.2, 0.1]")
    count = whole("levels", len(pruning.densities) if levels is None else levels)
    rates_by_path(session.network, pruning.at(task, max(1, count)).rates)  # raises before anything trains
    chains = [imp_runs(session.task, one, count, pruning) for one in own]
    return Tickets(session.train([list(level) for level in zip(*chains, strict=True)], [pruning.rewind, pruning.prune_at]))


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
