"""What training gives back: weights at the requested steps, and metrics over steps, for R replicas."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.core.brief import brief
from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.core.trees import Tree, select, stack
from tombola.engine.reading import load_tree, network_info
from tombola.engine.starts import materialise
from tombola.engine.steps import iteration, last_iteration
from tombola.procedures.run import Run, RunRef
from tombola.store.store import Store
from tombola.studies.figure import Figure, Panel
from tombola.studies.shown import Shown, headline_panel, long

if TYPE_CHECKING:
    import pandas as pd


class Stored(dict[str, Any]):
    """Weights or masks of R runs, leaves (R, ...), that know where they come from: what goes on from them is described by that."""

    def __init__(self, tree: Tree, refs: Sequence[RunRef], store: Store) -> None:
        super().__init__(tree)
        self.refs, self.store = refs, store
        _make_a_tree()

    def __repr__(self) -> str:
        return brief(dict(self))


@cache
def _make_a_tree() -> None:
    """Let JAX map over `Stored` as it does over a dict: what comes out is a dict. A subclass would be a single leaf."""
    from jax.tree_util import DictKey, register_pytree_with_keys

    def flatten(tree: Stored) -> tuple[list[tuple[Any, Any]], tuple[str, ...]]:
        return [(DictKey(path), tree[path]) for path in sorted(tree)], tuple(sorted(tree))

    def unflatten(paths: tuple[str, ...], leaves: Any) -> Any:
        return dict(zip(paths, leaves, strict=True))

    register_pytree_with_keys(Stored, flatten, unflatten)


@dataclass(frozen=True, repr=False)
class Trajectory(Shown):
    """Trajectories of R replicas side by side; every array has the replica axis first."""

    runs: tuple[Run, ...]
    """The description of each replica's run."""
    store: Store = field(repr=False)
    """The store in which the runs are."""
    kept: frozenset[int]
    """Iterations whose weights are stored, the last among them."""
    data_dir: Path | None = field(default=None, repr=False)

    def _brief(self) -> Iterator[tuple[str, Any]]:
        yield from {"runs": len(self.runs), "task": self.task.name, "weights of": [f"{step}it" for step in sorted(self.kept)]}.items()

    def tables(self) -> "dict[str, pd.DataFrame]":
        """`summary`, a row a replicate, and `curves`, a row an evaluation of one."""
        replicas = ("replicate", range(len(self.runs)))
        curves = {name: of for name, of in self.metrics.items() if name != "step"}
        return {
            "summary": long([replicas], seed=np.array(self.seeds, np.uint64), **self.summary),
            "curves": long([replicas, ("step", self.metrics["step"])], **curves),
        }

    def pictures(self) -> "list[tuple[Figure, pd.DataFrame]]":
        """Loss and headline by step."""
        objective = self.task.objective
        panels = (
            Panel("val_loss", "validation loss"),
            headline_panel(objective, f"val_{objective.columns[1]}", "validation"),
            headline_panel(objective, f"test_{objective.columns[1]}"),
        )
        return [(Figure("curves", "Training", panels, kind="curves"), self.to_pandas("curves"))]

    @property
    def task(self) -> Task:
        """What was trained."""
        return self.runs[0].task

    @property
    def seeds(self) -> tuple[int, ...]:
        """(R,) the seed of each replica."""
        return tuple(run.seed for run in self.runs)

    @cached_property
    def mask(self) -> Tree:
        """Bool leaves (R, ...) on the prunable weights: what was kept; of a mask that moves, at the end."""
        tree = stack([load_tree(run, "mask", self.store, self.data_dir) for run in self.runs])
        return Stored(tree, [run.its_mask() for run in self.runs], self.store)

    @cached_property
    def metrics(self) -> Mapping[str, np.ndarray]:
        """`step` (n,) iterations; `val_loss`, `val_acc`, `test_loss`, `test_acc` (R, n): nats, and shares in [0, 1]; NaN where the
        test set was not evaluated. What stands for `acc` with another objective is in its `columns`: `mse`, say.
        """
        found = [self.store.get(run.digest).metrics() for run in self.runs]
        return {**stack(found), "step": found[0]["step"].astype(int)}

    @cached_property
    def summary(self) -> Mapping[str, np.ndarray]:
        """(R,) each: `es_step` (iteration of minimum validation loss), `es_test_loss`, `es_test_acc`, and `train_loss`,
        `train_acc` on the whole training set after the last step; `kept`, `prunable` and `density` of the mask.
        """
        found = [self.store.get(run.digest).json("summary") for run in self.runs]
        numbers = [name for name, value in found[0].items() if value is None or isinstance(value, int | float)]
        return {name: np.array([np.nan if one[name] is None else one[name] for one in found]) for name in numbers}

    @property
    def detected(self) -> np.ndarray:
        """(R,) the iteration at which the recipe's detector found the stable phase to begin; NaN where it did not. Raises without one."""
        self._watched()
        return self.summary["detected"]

    @cached_property
    def signals(self) -> Mapping[str, np.ndarray]:
        """`step` (n,); `probe_loss` and the signal of each of the recipe's detectors by its name, (R, n). Raises without one."""
        self._watched()
        found = [self.store.get(run.digest).signals() for run in self.runs]
        return {**stack(found), "step": found[0]["step"].astype(int)}

    def _watched(self) -> None:
        if self.task.recipe.detect is None:
            raise TombolaError('nothing was asked to detect the stable phase; train with detect="divergence", say')

    @cached_property
    def snapshots(self) -> Mapping[int, Tree]:
        """Iteration -> weights, leaves (R, ...), of the steps that training was asked to keep."""
        return {step: stack([load_tree(run, f"{step}it", self.store, self.data_dir) for run in self.runs]) for step in sorted(self.kept)}

    @cached_property
    def steps_per_epoch(self) -> int:
        """Iterations of an epoch."""
        return network_info(self.store.get(self.runs[0].digest), self.task, self.data_dir).steps_per_epoch

    @property
    def end(self) -> int:
        """The iteration after which training stopped: the end of the recipe, or `until`."""
        return last_iteration(self.runs[0], self.data_dir)

    def at(self, step: "Step | str | int") -> Tree:
        """The weights after `step`, stacked (R, ...). They are there if training was asked to keep that step; the first always are."""
        first, wanted = (iteration(self.runs[0], one, self.data_dir) for one in (self.runs[0].begin, Step(step)))
        if wanted == first and wanted not in self.kept:  # it can be made again from the parents
            return stack([materialise(run, self.store, self.data_dir)[1] for run in self.runs])
        return Stored(self.snapshots[self._iteration(step)], self.refs(step), self.store)

    def mask_at(self, step: "Step | str | int") -> Tree:
        """The mask after `step`, stacked (R, ...); of a mask that moves it is there if training was asked to keep that step."""
        if self.task.recipe.mask_schedule is None:
            return self.mask
        shapes, wanted = {path: leaf.shape[1:] for path, leaf in self.mask.items()}, self._iteration(step)
        return stack([select(self.store.get(run.digest).mask(shapes, wanted), shapes) for run in self.runs])

    def refs(self, step: "Step | str | int") -> list[RunRef]:
        """The same as parents of runs and measurements."""
        self._iteration(step)
        return [run.at(Step(step)) for run in self.runs]

    def _iteration(self, step: "Step | str | int") -> int:
        wanted = iteration(self.runs[0], Step(step), self.data_dir)
        if wanted not in self.kept:
            there = ", ".join(f"{kept}it" for kept in sorted(self.kept)) or "none"
            raise TombolaError(f"no weights of step {str(step)!r} were kept (kept: {there}); train with keep=[{str(step)!r}]")
        return wanted

    @property
    def initial(self) -> Tree:
        """The weights training began from."""
        return self.at(self.runs[0].begin)

    @property
    def final(self) -> Tree:
        """The weights after the last step."""
        return self.at("end")
