"""`tombola.search`: a mask that is searched, over weights that are never trained."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.api.session import Session, how_many, mask_of, weights_of
from tombola.core import masks
from tombola.core.masks import Mask
from tombola.core.objective import Objective
from tombola.core.parts import searchers
from tombola.core.task import Rescale, Task, Untrained
from tombola.core.trees import stack
from tombola.evaluation.population import Fitness
from tombola.procedures.measurement import Measurement
from tombola.store.store import Store
from tombola.studies.figure import Figure, Panel
from tombola.studies.shown import Shown, headline_panel, long

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Searched(Shown):
    """The result of a search: arrays over R replicates (leading axis) and K looks on the way."""

    mask: Mask
    """Bool leaves (R, ...): the mask that was best on validation examples."""
    accuracy: np.ndarray
    """(R, K) test accuracy in [0, 1], or another objective's headline, of the best mask so far."""
    density: np.ndarray
    """(R, K) density of the same mask."""
    passes: np.ndarray
    """(R, K) example forward passes that were spent until then."""
    objective: Objective
    """The objective whose headline the accuracy is."""

    def tables(self) -> "dict[str, pd.DataFrame]":
        """`looks`, a row a replicate and look."""
        axes = [("replicate", range(len(self.passes))), ("look", range(self.passes.shape[1]))]
        return {"looks": long(axes, passes=self.passes, accuracy=self.accuracy, density=self.density)}

    def pictures(self) -> "list[tuple[Figure, pd.DataFrame]]":
        """Headline and density of the best mask so far."""
        looks = self.to_pandas()
        rows = looks.assign(x=self.passes.mean(axis=0)[looks.look], share=looks.density)
        panels = (headline_panel(self.objective, "accuracy"), Panel("share", "density of the mask (%)", 100))
        label = "forward passes of examples"
        return [(Figure("search", "The best mask so far", panels, kind="profile", detail="looks", x_label=label), rows)]


def search(
    task: Task,
    searcher: str = "genetic",
    *,
    budget: int,
    batch: int = 256,
    looks: int = 10,
    density: float = 0.5,
    fixed: bool = False,
    fitness: Fitness = "error",
    rescale: Rescale = "none",
    price: float = 0.0,
    values: Untrained = "init",
    replicates: int | None = None,
    seed: int = 0,
    start: Mapping[str, Any] | None = None,
    mask: Mapping[str, Any] | None = None,
    store: Store | Path | str | None = None,
    data_dir: Path | str | None = None,
    **options: Any,
) -> Searched:
    """Search masks over untrained weights without gradients, and count what that costs in passes of single examples.

    In each generation all masks are scored on the same `batch` training examples. At each look the best ones are scored on all validation
    examples, and the best so far is kept. The test set is looked at once, in the end.

    Args:
        searcher: `random`, `flips`, `genetic`, `pbil`, `snes`, `sep_cma_es`, or one of your own; `options` are its own.
        budget: forward passes of single examples. A step of gradient descent on B examples would count as 3 B.
        looks: how many looks there are, at even shares of the budget.
        density: the share of the weights that masks begin with. With `fixed` each layer keeps it throughout.
        fitness: what is lower in a better mask: the `error` (the objective's headline), or the `loss`.
        rescale: the factor on kept weights, as of `tombola.Supermask`.
        price: what a density of 1 costs, added to the fitness: 0.1 gives up one point of error for ten points of density.
        values: the weights under the mask: as they start (`init`), or their signs times the standard deviation of the layer's initialiser
            (`constant`).
        start: weights, leaves (R, ...). If not given, the initial weights.
        mask: bool leaves (R, ...) from which the search begins. If not given, it begins at random.
        store: folder, or `tombola.Store`, where the search is kept; it goes on from there if it was stopped. In memory if not given.

    Raises:
        TombolaError: for a searcher or option that there is not, or where the package evosax is needed and missing.
    """
    session = Session.of(task, store, data_dir, start, mask)
    runs = session.runs(how_many(replicates, start=start, mask=mask), seed, start=start)
    given = [] if mask is None else session.refer(mask_of(mask, session.network), "mask")
    said = {"searcher": searchers.described(searcher), "budget": budget, "options": options, "batch": batch, "looks": looks}
    said |= {"density": density, "fixed": fixed, "fitness": fitness, "rescale": rescale, "price": price, "values": values}
    wanted = [
        Measurement(task=session.task, seed=run.seed, name="searched_mask", of=of, options=said)
        for run, of in zip(runs, (_parents(session, runs, start, given)), strict=True)
    ]
    found = session.measure(wanted)
    shapes = {path: session.network.shapes[path].shape for path in session.network.prunable}
    column = f"test_{task.objective.columns[1]}"
    best = stack([masks.unpack({path: one[f"mask/{path}"] for path in shapes}, shapes) for one in found])
    accuracy, share, passes = (np.stack([one[name] for one in found]) for name in (column, "density", "passes"))
    return Searched(best, accuracy, share, passes, task.objective)


def _parents(session: Session, runs: list[Any], start: Mapping[str, Any] | None, given: list[Any]) -> list[tuple[Any, ...]]:
    """The parents of each replicate's measurement: the weights, and the mask to begin from if one is given."""
    given_start = weights_of("start", start, session.network)
    full = given_start if given_start is not None else stack([session.network.init(run.seed) for run in runs])
    return [(ref, *given[index : index + 1]) for index, ref in enumerate(session.refer(full))]
