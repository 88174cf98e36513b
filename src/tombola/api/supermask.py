"""`tombola.supermask`: learn which weights of an untrained network to keep (Zhou et al. 2019, section 5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from tombola.api.session import Session, a_task, arrays, how_many, weights_of
from tombola.api.trajectory import Trajectory
from tombola.core.errors import TombolaError, unknown
from tombola.core.masks import Mask
from tombola.core.numbers import whole
from tombola.core.step import Step
from tombola.core.task import Supermask, Task, Untrained
from tombola.core.trees import Tree, replica, stack
from tombola.procedures.compressed import plain as masked_off
from tombola.procedures.mask_training import mask_recipe
from tombola.procedures.measurement import Measurement
from tombola.procedures.run import Action, RunRef
from tombola.store.store import Store
from tombola.studies.figure import Figure
from tombola.studies.shown import Shown, as_arms, headline_panel, long

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Supermasks(Shown):
    """R networks whose weights were never trained, and the masks that were."""

    mask: Mask
    """Bool leaves (R, ...) on the prunable weights: what the scores come to."""
    weights: Tree
    """Leaves (R, ...) of the plain network under that mask, w b r; fit to be a start for `tombola.train`."""
    density: np.ndarray
    """(R,) the share of the weights that a drawn mask keeps on average."""
    accuracy: np.ndarray
    """(R,) test accuracy in [0, 1], or another objective's headline, the mean over drawn masks."""
    expected_accuracy: np.ndarray
    """(R,) of the network with expected weights."""
    threshold_accuracy: np.ndarray
    """(R,) of `weights`."""
    trajectory: Trajectory
    """How the scores trained: leaves ``{path}.score`` beside the weights, which stay at their start."""

    def tables(self) -> "dict[str, pd.DataFrame]":
        """`masks`, a row a replicate, its columns called after the objective's headline; and `curves` of the scores' training."""
        objective = self.trajectory.task.objective
        headline = "accuracy" if objective.headline.complement else objective.columns[1]
        names = ("density", "accuracy", "expected_accuracy", "threshold_accuracy")
        numbers = {name.replace("accuracy", headline): getattr(self, name) for name in names}
        return {"masks": long([("replicate", range(len(self.density)))], **numbers), "curves": self.trajectory.to_pandas("curves")}

    def pictures(self) -> "list[tuple[Figure, pd.DataFrame]]":
        """What networks come to whose mask is drawn, expected or the most probable one; and how the scores trained."""
        ways = dict(zip(("drawn masks", "expected weights", "most probable mask"), list(self.to_pandas())[-3:], strict=True))
        panel = headline_panel(self.trajectory.task.objective, "headline")
        return [
            (Figure("masks", "What masks are worth", (panel,)), as_arms(self.to_pandas(), "headline", ways)),
            *self.trajectory.pictures(),
        ]


def supermask(
    task: Task,
    spec: Supermask | None = None,
    *,
    values: Untrained = "constant",
    steps: Step | str | None = None,
    batch: int | None = None,
    learning_rate: float | None = None,
    samples: int = 10,
    replicates: int | None = None,
    seed: int = 0,
    start: Mapping[str, Any] | None = None,
    mask: Mapping[str, Any] | None = None,
    store: Store | Path | str | None = None,
    data_dir: Path | str | None = None,
) -> Supermasks:
    """Learn masks over weights that stay untrained (Zhou et al. 2019, section 5).

    With the default method a weight w_i is there with probability sigmoid(s_i), the scores s are trained, and the gradient passes to them
    as if nothing had been drawn. Kept weights are multiplied by r (`tombola.Supermask.rescale`).

    Args:
        spec: how scores become a mask. If not given, Bernoulli masks with dynamic rescaling.
        values: the weights under the mask: as they start (`init`), or their signs times the standard deviation of the layer's
            initialiser (`constant`).
        steps, batch: length and batch of the scores' training. If not given, the task's.
        learning_rate: that of the scores. If not given, 100; 0.1 for `edge_popup` and `signed`; the task's own for `gates`.
        samples: how many masks are drawn at the end, over which the accuracy is averaged.
        start: weights, leaves (R, ...), such as ``dense.final``. If not given, the initial weights.
        mask: bool leaves (R, ...): weights that are pruned from the beginning. They are 0 and stay so; `density` and rescaling count them
            as their scores say.
        store: folder, or `tombola.Store`, where runs are kept; in memory if not given.

    Raises:
        TombolaError: for `values` that are neither, or for a start or a mask that does not fit the network.
    """
    if values not in get_args(Untrained):
        raise unknown("kind of values", values, get_args(Untrained))
    if whole("samples", samples) < 1:
        raise TombolaError(f"samples = {samples}: a mean over at least 1 drawn mask is needed")
    spec = spec or Supermask(rescale="dynamic")
    recipe = mask_recipe(a_task(task).recipe, spec, learning_rate, steps, batch)
    session = Session.of(task.but(recipe=recipe), store, data_dir, start, mask)
    start = None if start is None else arrays("start", start)
    runs = session.runs(how_many(replicates, start=start, mask=mask), seed, mask=mask)
    of: list[tuple[RunRef, ...]] = [()] * len(runs)
    if start is not None:  # scores are drawn, as they are where there is none
        network = session.network
        full = stack([{**network.init(run.seed), **replica(start, index)} for index, run in enumerate(runs)])
        of = [(ref,) for ref in session.refer(weights_of("start", full, network))]
    if values == "constant":
        runs = [
            run.but(kept=Action(name="signed_constant", of=own, options={"keep_sign": True})) for run, own in zip(runs, of, strict=True)
        ]
    elif start is not None:
        runs = [run.but(kept=Action(name="rewind", of=own)) for run, own in zip(runs, of, strict=True)]
    plain = session.task.but(recipe=recipe.but(supermask=None))
    options = {"supermask": spec.model_dump(), "samples": samples}
    looks = [Measurement(task=plain, seed=run.seed, name="learnt_supermask", of=(run.at("end"),), options=options) for run in runs]
    (trained,) = session.train([runs], measurements=looks)
    seen = session.found(looks)
    bare = [masked_off(spec, replica(trained.final, index), replica(trained.mask, index)) for index in range(len(runs))]
    column = task.objective.columns[1]
    return Supermasks(
        mask=stack([kept for _, kept, _ in bare]),
        weights=stack([weights for weights, _, _ in bare]),
        density=np.array([one["density"][-1] for one in seen]),
        accuracy=np.array([one[f"sampled_{column}"].mean() for one in seen]),
        expected_accuracy=np.array([one[f"expected_{column}"][-1] for one in seen]),
        threshold_accuracy=np.array([one[f"threshold_{column}"][-1] for one in seen]),
        trajectory=trained,
    )
