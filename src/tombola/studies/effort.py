"""What it cost to have a network: iterations, examples times density, and wall time, of its own training and of all that made it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tombola.core.step import Step
from tombola.procedures.run import Action, Given, Run, RunRef
from tombola.studies.figure import Panel
from tombola.studies.results import Results

EFFORT = ("finding", "spent", "iterations", "seconds")
"""Columns: `Effort` of what came before the row's own training, and of all with it."""
SPENT = Panel("spent", "cost, finding and training (dense trainings)", log=True)
_LOOKS = {"snip": 1, "optimal_brain_damage": 1, "optimal_brain_surgeon": 1, "activity": 0.5, "grasp": 3, "synflow": 0, "brain_surgery": 1}
"""Criterion or action -> passes over its examples, in those of a training step; SynFlow sees one example of ones a round."""
_EXAMPLES = {"optimal_brain_surgeon": 1000, "brain_surgery": 1000}


class Effort(NamedTuple):
    """The effort of one training or of several."""

    iterations: float
    examples: float
    """Examples that were trained on, each times the density of the mask then: what a machine that skips pruned weights would do."""
    seconds: float
    """Wall time, the share of a cohort's. It differs from machine to machine, and from run to run."""

    def plus(self, other: "Effort") -> "Effort":
        """The effort of both together."""
        return Effort(*(one + two for one, two in zip(self, other, strict=True)))


def needed(run: Run, results: Results, until: Mapping[Run, int] | None = None) -> dict[Run, int]:
    """Each run that had to be trained before `run` could begin -> the iteration up to which.

    Weights at a step need training up to it, a mask that moves needs it all, a constant mask only what made it.

    Args:
        until: iterations beyond which a run was not needed after all, whatever was kept of it.
    """
    found: dict[Run, int] = {}

    def visit(parent: RunRef) -> None:
        one, what = parent.run, parent.what
        if isinstance(one, Given):
            return
        result, recipe = results[one], one.task.recipe
        moves = recipe.mask_schedule is not None
        if what == "mask" and not moves:
            for source in one.mask.of if one.mask else ():
                visit(source)
            return
        per_epoch = results.network_info(one.task).steps_per_epoch if "ep" in what else 1
        step = result.end if what == "mask" else Step(what).iterations(per_epoch, result.end)
        step = min(step, (until or {}).get(one, step))
        if step > found.get(one, result.begin):
            found[one] = step
        for source in one.parents():
            visit(source)

    for parent in run.parents():
        visit(parent)
    return found


def effort(run: Run, results: Results, until: int | None = None) -> Effort:
    """The effort of a run's training alone, up to an iteration; and of the passes over examples that its mask and start ask for.

    The density between two evaluations is the mean of theirs. A schedule that grows by gradients needs that of every weight at its updates.
    """
    result, recipe = results[run], run.task.recipe
    end = result.end if until is None else until
    steps = np.clip(np.asarray(result.metrics["step"], float), None, end)
    density = np.asarray(result.metrics.get("density", np.full(len(steps), result.summary["density"])), float)
    trained = float(np.sum(np.diff(steps) * (density[1:] + density[:-1]) / 2)) * recipe.batch
    if recipe.mask_schedule is not None and recipe.mask_schedule.name == "rigl":
        options = recipe.mask_schedule.options
        every = Step(options.get("every", "100it")).iterations(results.network_info(run.task).steps_per_epoch)
        updates = (min(end, options.get("until", 0.75) * result.end) - 1) // every
        trained += updates * recipe.batch * (1 - result.summary["density"])
    share = (end - result.begin) / max(1, result.end - result.begin)
    return Effort(end - result.begin, trained + sum(map(_looked_at, (run.mask, run.kept))), share * result.seconds)


def _looked_at(action: Action | None) -> float:
    """Examples that an action passes over, each as much as one of a training step."""
    if action is None:
        return 0.0
    name = str(action.options.get("criterion", action.name))
    return _LOOKS.get(name, 0) * float(action.options.get("size") or _EXAMPLES.get(name, 512))


def efforts(run: Run, results: Results, until: Mapping[Run, int] | None = None) -> dict[str, float]:
    """The columns `EFFORT`; `finding` and `spent` are in trainings of the dense network of the run's task."""
    before = Effort(0, 0, 0)
    for one, step in needed(run, results, until).items():
        before = before.plus(effort(one, results, step))
    own = effort(run, results)
    dense = results[run].end * run.task.recipe.batch
    whole = before.plus(own)
    # What the mask itself asked for is part of finding it, though the run's own.
    looked = sum(map(_looked_at, (run.mask, run.kept)))
    return {
        "finding": (before.examples + looked) / dense,
        "spent": whole.examples / dense,
        "iterations": whole.iterations,
        "seconds": whole.seconds,
    }
