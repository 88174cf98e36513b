"""A network looked at from four sides in a given time: which studies, at which size, and carrying them out until the time is over."""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from tombola.core import interrupts
from tombola.core.errors import TombolaError
from tombola.core.keys import replicate_seed
from tombola.core.spec import digest_of
from tombola.core.step import Step
from tombola.core.task import Recipe, Task
from tombola.data.dataset import examples, load
from tombola.engine.compute import compute
from tombola.engine.configuring import resolve
from tombola.engine.graph import graph
from tombola.engine.progress import Progress
from tombola.engine.resolved import resolved
from tombola.engine.steps import first_iteration, last_iteration
from tombola.engine.study import findings_so_far, run_study, study_graph
from tombola.evaluation.verdict import LEAST_UNITS
from tombola.procedures.run import Run
from tombola.store.files import dump_json
from tombola.store.store import Store
from tombola.studies.base import Findings, Study


class Size(NamedTuple):
    """How large the studies of an audit are."""

    replicates: int
    levels: int
    """Rounds of pruning; a round takes twice what the task's would."""
    share: float
    """The share of the task's training steps that are trained."""
    random_masks: int = 0
    """Random masks at each level, beside fresh initial values."""


SIZES = (
    Size(8, 7, 1.0, 1),
    Size(8, 7, 1.0),
    Size(6, 7, 1.0),
    Size(6, 5, 1.0),
    Size(6, 5, 0.5),
    Size(6, 4, 0.25),
    Size(4, 4, 0.25),
    Size(3, 3, 0.25),
    Size(2, 3, 0.125),
    Size(2, 2, 0.0625),
)
"""The largest that fits is chosen. Six replicates are kept as long as they can be, as with fewer nothing is judged."""
_MEASURING, _SPARE, _REPORT = 0.2, 0.15, 20.0
"""Shares of the time in which it is measured how fast networks train, and that is left for what an estimate does not know; seconds for
the report, a third of the time at most, until its first figures have shown how long they take."""
_CRITERIA = ("large_final_same_sign", "large_final", "magnitude_increase", "movement", "large_init_large_final", "random")
_CHILDREN, _POINTS, _DRAWS, _MASKS = 2, 11, 3, 12
_TRIES, _PROGRAMS = 5, 6
"""Steps that the search for the onset tries beyond the first and the last; programs that are compiled."""


class Pace(NamedTuple):
    """How fast a task's networks train here."""

    step: float
    """Seconds of a step of one replica, where all cores are busy, with its share of evaluations."""
    run: float
    """Seconds that a run takes beside its steps."""
    compiling: float
    """Seconds until a program runs."""


class Plan(NamedTuple):
    """An audit that was sized."""

    size: Size
    studies: tuple[Study, ...]
    pace: Pace | None = None
    """How fast networks were found to train; None: the size was chosen before."""
    seconds: float = 0.0
    """The seconds that the audit is estimated to take if nothing is stored yet."""


class Part(NamedTuple):
    """What a study of an audit came to."""

    study: Study
    findings: Findings | None
    """What there is to show; None: nothing of it can be shown yet."""
    lacks: str
    """How far it is, where the time was over before it was: "12 of 54 runs"; "" if it is complete."""


def studies_at(task: Task, size: Size, seed: int, data_dir: Path | None) -> tuple[Study, ...]:
    """Layers, masks, stability and tickets: the cheapest first, as all share their dense runs."""
    own = task.but(recipe=_shortened(task, size.share, data_dir))
    rates = {kind: min(0.5, 2 * rate) for kind, rate in task.rates.items()}
    part = "train" if task.data.label_noise else "test"
    settings = {
        "zhang2019.robustness": {"part": part, "draws": _DRAWS},
        "zhou2019.supermask": {"criteria": _CRITERIA, "levels": _MASKS, "pictured": (_MASKS // 3,)},
        "frankle2020.onset": {"part": part, "children": _CHILDREN, "points": _POINTS},
        "frankle2019.sparsity": {"levels": size.levels, "random_masks": size.random_masks, "pruning.rates": rates},
    }
    return tuple(
        resolve(name, task=own, data_dir=data_dir, replicates=size.replicates, seed=seed, settings=[*given.items()])
        for name, given in settings.items()
    )


def _shortened(task: Task, share: float, data_dir: Path | None) -> Recipe:
    """The recipe with every step of its own in iterations, times a share; at least twenty evaluations are left."""
    recipe = task.recipe
    if share == 1:
        return recipe
    found, total = resolved(task, data_dir)

    def scaled(step: Step) -> Step:
        iterations = step.iterations(found.steps_per_epoch, total)
        return Step(max(1, round(share * iterations)) if iterations else 0)

    steps = scaled(recipe.steps)
    every = min(recipe.evaluate_every.iterations(found.steps_per_epoch), max(1, steps.iterations(1) // 20))
    return recipe.but(
        steps=steps,
        milestones=tuple(map(scaled, recipe.milestones)),
        warmup=scaled(recipe.warmup),
        evaluate_every=Step(every),
        test_every=None,
    )


def pace(task: Task, data_dir: Path | None, seconds: float = math.inf) -> Pace:
    """How fast networks train, by short runs of as many replicas as an audit has, not kept; longer ones are begun for so many seconds."""
    _, total = resolved(task, data_dir)
    ends = time.monotonic() + seconds

    def taken(steps: int, seed: int) -> float:
        interrupts.check()
        runs = [Run(task=task, seed=replicate_seed(seed, place), until=Step(steps)) for place in range(LEAST_UNITS)]
        began = time.monotonic()
        compute(graph(runs), (), Store(), data_dir, Progress(quiet=True))
        return time.monotonic() - began

    few = max(1, min(20, total // 2))
    first, again = taken(few, 0), taken(few, 1)
    for many in [*(steps for steps in (5 * few, 25 * few, 125 * few) if steps < total), total]:
        longer = taken(many, many)
        if longer > 2 * again + 0.2 or many == total or time.monotonic() + 5 * longer > ends:
            break
    step = max(longer - again, 1e-3 * longer) / (many - few) / LEAST_UNITS
    return Pace(step, again / LEAST_UNITS, max(0.0, first - again))


def plan(task: Task, seconds: float, seed: int, data_dir: Path | None) -> Plan:
    """The largest size that an estimate says to fit into the seconds that are left; the smallest where none does."""
    began = time.monotonic()
    speed = pace(task, data_dir, _MEASURING * seconds)
    left = seconds - (time.monotonic() - began)
    for size in SIZES:
        interrupts.check()
        studies = studies_at(task, size, seed, data_dir)
        needed = estimated(studies, speed, data_dir)
        if needed <= (1 - _SPARE) * (left - report_time(left)):
            break
    return Plan(size, studies, speed, needed)


def report_time(seconds: float) -> float:
    """How much of the time is left for the report."""
    return min(_REPORT, seconds / 3)


def estimated(studies: Sequence[Study], speed: Pace, data_dir: Path | None) -> float:
    """Seconds of all runs together, each once, and of evaluations: an example costs a third of what it costs to train on."""
    task, replicates = studies[0].task, studies[0].replicates
    runs = dict(chain.from_iterable(study_graph(study).runs.items() for study in studies))
    setup, total = resolved(task, data_dir)
    tried = replicates * _CHILDREN * _TRIES
    steps = sum(last_iteration(run, data_dir) - first_iteration(run, data_dir) for run in runs.values()) + tried * total
    of_part = examples(load(task.data, data_dir), task.data)
    held_out = of_part["validation"] + of_part["test"]
    layers = len(setup.network.layers) * (7 + _DRAWS) * held_out
    masks = len(_CRITERIA) * (_MASKS + 1) * 2 * held_out
    paths = math.comb(_CHILDREN, 2) * (_TRIES + 2) * (_POINTS + 1) * sum(of_part.values())
    evaluated = replicates * (layers + masks + paths)
    return speed.step * (steps + evaluated / task.recipe.batch / 3) + speed.run * (len(runs) + tried) + _PROGRAMS * speed.compiling


def carry_out(
    studies: Sequence[Study], store: Store, data_dir: Path | None, ends: float, show: Callable[[list[Part]], None], quiet: bool = False
) -> None:
    """The studies in turn, and after each the report of all so far, until the time is over; what is begun then has checkpoints, from
    which the same goes on.

    Args:
        ends: when it is over, a moment of `time.monotonic`; before it as long is left as figures that are to come take.
        show: writes the report. Where the time is over before all figures are drawn, the others are left out.
    """
    figures = [len(study.figures()) for study in studies]
    parts, drawing = list[Part](), report_time(ends - time.monotonic()) / sum(figures)
    while left := studies[len(parts) :]:
        try:
            with interrupts.until(ends - drawing * sum(figures[-len(left) :])):
                interrupts.check()
                parts.append(Part(left[0], run_study(left[0], store, data_dir, quiet), ""))
        except interrupts.OutOfTime:
            parts += [_so_far(study, store, data_dir) for study in left]
        began = time.monotonic()
        with interrupts.until(ends):
            show(parts)
        drawing = (time.monotonic() - began) / figures[len(parts) - 1]


def _so_far(study: Study, store: Store, data_dir: Path | None) -> Part:
    with suppress(TombolaError):  # of a study that searches: what is there calls for further runs
        return Part(study, *findings_so_far(study, store, data_dir))
    return Part(study, None, "a part of its runs")


def planned(task: Task, seconds: float, ends: float, seed: int, store: Store, data_dir: Path | None) -> Plan:
    """The plan of before where the same was asked then, so that it goes on; else one for the time that is left, which is kept.

    Args:
        seconds: that were given, by which the question is known again.
        ends: when they are over, a moment of `time.monotonic`.
    """
    name = f"audits/{digest_of({'task': task.digest, 'seconds': seconds, 'seed': seed})}.json"
    with suppress(OSError, ValueError, TypeError):
        size = Size(**json.loads(store.files.read(name)))
        return Plan(size, studies_at(task, size, seed, data_dir))
    found = plan(task, ends - time.monotonic(), seed, data_dir)
    store.prepare()
    store.files.write(name, dump_json(found.size._asdict()))
    return found
