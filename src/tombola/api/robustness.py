"""`tombola.robustness`: which layers of a trained network matter? (Zhang, Bengio & Singer 2019, section 3)"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tombola.api.session import Session
from tombola.api.trajectory import Trajectory
from tombola.core.errors import TombolaError, warn
from tombola.core.numbers import whole
from tombola.core.objective import Objective
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.evaluation.barrier import at_chance
from tombola.models.groups import Unit, groups
from tombola.procedures.measurement import Measurement, Normalisation
from tombola.store.store import Store
from tombola.studies.figure import Figure, Panel
from tombola.studies.shown import Shown, long

if TYPE_CHECKING:
    import pandas as pd

RANDOM = "random"


@dataclass(frozen=True, eq=False, repr=False)
class Robustness(Shown):
    """Test errors of R networks with one of G units reset, to each of C things."""

    units: tuple[str, ...]
    """G names, in forward order."""
    reset_to: tuple[str, ...]
    """C: steps, or ``random``."""
    error: np.ndarray
    """(R, G, C) share of misclassified test examples, in [0, 1]; of ``random`` the mean over draws."""
    loss: np.ndarray
    """(R, G, C) mean cross-entropy in nats."""
    own_error: np.ndarray
    """(R,) test errors of the networks as they were trained."""
    distance: np.ndarray
    """(R, G, C): 2-norm of what moved over sqrt(its size)."""
    chance: np.ndarray
    """(R,) the error of the best constant answer."""
    objective: Objective
    """The objective whose headline the error is."""

    @property
    def rise(self) -> np.ndarray:
        """(R, G, C): by how much the reset raises the error, in percentage points or in the headline's unit."""
        return self.objective.headline.factor * (self.error - self.own_error[:, None, None])

    def table(self) -> "pd.DataFrame":
        """The rise in percentage points, averaged over replicas: units by what they are reset to."""
        import pandas as pd

        return pd.DataFrame(self.rise.mean(axis=0), index=pd.Index(self.units, name="unit"), columns=list(self.reset_to))

    glance = "rises"

    def tables(self) -> "dict[str, pd.DataFrame]":
        """`resets`, a row a replicate, unit and what it is reset to, and `rises`, as `table` gives them."""
        axes = [("replicate", range(len(self.own_error))), ("unit", self.units), ("reset_to", self.reset_to)]
        return {"resets": long(axes, error=self.error, rise=self.rise, loss=self.loss, distance=self.distance), "rises": self.table()}

    def pictures(self) -> "list[tuple[Figure, pd.DataFrame]]":
        """The rise of the error, units by what they are reset to."""
        shown = self.objective.headline
        unit = f" ({shown.difference})" if shown.difference else ""
        panel = Panel("rise", f"rise of the test {shown.title}{unit}")
        rows = self.to_pandas().rename(columns={"unit": "row", "reset_to": "column"})
        figure = Figure("robustness", "What a reset does to each unit", (panel,), kind="heatmap", detail="resets", x_label="reset to")
        return [(figure, rows)]


def robustness(
    task: Task,
    trained: Trajectory,
    reset_to: Sequence[Step | str] = ("0it", RANDOM),
    *,
    unit: Unit = "layer",
    draws: int = 10,
    batch_norm: Normalisation = "reset",
    store: Store | Path | str | None = None,
    data_dir: Path | str | None = None,
) -> Robustness:
    """Put one layer after the other of trained networks back to an earlier value, or draw it anew, and measure the test error.

    Nothing is trained again (Zhang, Bengio & Singer 2019, section 3). Re-initialisation is ``theta_T^(d) <- theta_0^(d)`` of layer d, or
    its value at a later step; re-randomisation is a fresh draw of the layer.

    Args:
        trained: R networks, with the weights of every step in `reset_to` kept (`keep` of `tombola.train`).
        reset_to: steps, and ``"random"`` for a fresh draw from the layer's own initialiser.
        unit: what is put back together: a `layer` (with its bias and the normalisation that follows), a `block`, or a `stage`.
        draws: how many fresh draws ``random`` is averaged over.
        batch_norm: what becomes of normalisation: it is `reset` with its layer; it is left as trained (`keep`); or it is reset, and all
            statistics are computed anew over training examples (`recompute`).
        store: folder, or `tombola.Store`, where what is found is kept. If not given, the store of `trained`.

    Raises:
        TombolaError: for a step whose weights were not kept, nothing to reset to, or an unknown unit or policy.
    """
    wanted = [str(Step(step)) if step != RANDOM else RANDOM for step in reset_to]
    if len(set(wanted)) < len(wanted) or not wanted:
        raise TombolaError(f'reset_to = {wanted}: name steps and "random", at least one, and each once')
    if RANDOM in wanted and whole("draws", draws) < 1:
        raise TombolaError(f'draws = {draws}, but "random" needs at least 1')
    steps = [step for step in wanted if step != RANDOM]
    session = Session.of(task, store, data_dir, trained)
    masks = [run.its_mask() for run in trained.runs]
    parents = list(zip(trained.refs("end"), masks, *(trained.refs(step) for step in steps), strict=True))
    session.bring((ref for own in parents for ref in own), trained.store)
    options = {"batch_norm": batch_norm, "part": "test", "train": None, "unit": unit, "draws": draws if RANDOM in wanted else 0}
    found = session.measure(
        [
            Measurement(task=session.task, seed=one, name="reset", of=own, options=options)
            for one, own in zip(trained.seeds, parents, strict=True)
        ]
    )
    places = {step: slice(place, place + 1) for place, step in enumerate(steps)} | {RANDOM: slice(len(steps), None)}

    def gathered(name: str) -> np.ndarray:
        """(R, G, C), draws averaged."""
        return np.stack([np.stack([one[name][:, places[step]].mean(axis=1) for step in wanted], axis=1) for one in found])

    own, chance = (np.array([one[name] for one in found]) for name in ("own_error", "chance"))
    if (lost := at_chance(own, chance, task.objective)).any():
        warn(f"{lost.sum()} of {lost.size} networks are at chance before any layer is reset: from there no error can rise")
    return Robustness(
        units=tuple(groups(session.network.layers, unit)),
        reset_to=tuple(wanted),
        error=gathered("error"),
        loss=gathered("loss"),
        own_error=own,
        distance=gathered("rms"),
        chance=chance,
        objective=task.objective,
    )
