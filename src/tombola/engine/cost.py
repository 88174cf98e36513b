"""What a study would cost yet, before anything trains: compilation, training with its evaluations, and measurements."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tombola.core.task import Task
from tombola.data.dataset import examples, load
from tombola.engine.checking import check
from tombola.engine.measuring import rehearsed
from tombola.engine.progress import duration
from tombola.engine.reading import done
from tombola.engine.resolved import program_of, resolved
from tombola.engine.steps import first_iteration, last_iteration
from tombola.engine.study import followed, with_foreseen
from tombola.engine.timings import FIXED, Timings
from tombola.procedures.measurement import Measurement
from tombola.procedures.measurements import Loop
from tombola.procedures.run import Run
from tombola.store.store import Store
from tombola.studies.base import Study
from tombola.studies.sweep import Sweep
from tombola.training.cost import step_operations
from tombola.training.setup import Setup

_RATE = {True: 5e10, False: 2e12}
"""Whether on a CPU -> floating-point operations a second, of a core or of a device, where the store has no timings."""
_STEP, _COMPILING, _MEASUREMENT, _BEGINNING = 2e-5, 3.0, 0.03, 3.0
"""Seconds, where it has none: of a step beside its arithmetic, to compile a program, of a measurement beside its arithmetic; and until
JAX has loaded, which is always added."""


@dataclass(frozen=True)
class Cost:
    """The cost of a study: its size, stored or not; and wall time on this machine of what is not stored."""

    runs: int
    """The number of runs, with those that a search would need at most, if each step that it tries were stable."""
    measurements: int
    replica_steps: int
    floating_point_operations: float
    missing_runs: int
    missing_measurements: int
    training: float
    """Seconds of training, evaluations on the way included."""
    evaluating: float
    """Seconds of measurements."""
    compiling: float
    """Seconds of compiling programs."""
    learnt: bool
    """Whether all seconds come from timings in the store; else from numbers of operations, where it has none."""
    unknown: int
    """Missing measurements that go step by step, as searches and attacks do, and of whose kind the store has none: not in the seconds."""

    @property
    def seconds(self) -> float:
        """All these seconds together, with those that it takes to begin."""
        return self.training + self.evaluating + self.compiling + _BEGINNING * bool(self.missing_runs or self.missing_measurements)


def estimate(study: Study, store: Store, data_dir: Path | None = None) -> Cost:
    """What a study would cost. Raises for what cannot be trained."""
    found, _ = followed(study, store, data_dir)
    graph, measurements = with_foreseen(study, found.rows)
    check(graph, data_dir)
    missing = [run for digest, run in graph.runs.items() if not done(graph, digest, store, data_dir)]
    unmeasured = [one for one in measurements if one.digest not in store.measurements]
    steps = {run: last_iteration(run, data_dir) - first_iteration(run, data_dir) for run in graph.runs.values()}
    clock = _Clock(store, data_dir)
    together = Counter((run.task, graph.generation[run.digest], steps[run]) for run in missing)
    evaluating = [clock.measurement(one) for one in unmeasured]
    return Cost(
        runs=len(graph.runs),
        measurements=len(measurements),
        replica_steps=sum(steps.values()),
        floating_point_operations=sum(length * step_operations(clock.setup(run.task)) for run, length in steps.items()),
        missing_runs=len(missing),
        missing_measurements=len(unmeasured),
        training=sum(clock.at_once(count) * (length * clock.step(task) + FIXED) for (task, _, length), count in together.items()),
        evaluating=sum(one for one in evaluating if one is not None),
        compiling=clock.compiling(missing, unmeasured),
        learnt=clock.learnt,
        unknown=evaluating.count(None),
    )


def told(cost: Cost, study: Study) -> list[str]:
    """How long it takes yet, and what that is made of and rests on: a few lines."""
    if not (cost.missing_runs or cost.missing_measurements):
        return ["time left: all is stored; what is left is the report"]
    parts = {"training": cost.training, "compiling": cost.compiling, "evaluating measurements": cost.evaluating}
    made_of = ", ".join(f"{duration(seconds)} {what}" for what, seconds in parts.items() if seconds >= 0.5)
    rests = (
        "as long as the store's own took here" if cost.learnt else "guessed from operations, where the store has no timings of this machine"
    )
    lines = [f"time left on this machine: about {duration(cost.seconds)} ({made_of or 'JAX loads'}), {rests}"]
    stored = cost.runs - cost.missing_runs, cost.measurements - cost.missing_measurements
    if any(stored):
        lines.append(f"stored already: {stored[0]} of {cost.runs} runs, {stored[1]} of {cost.measurements} measurements")
    if cost.unknown:
        lines.append(f"not in it: {cost.unknown} measurements that go step by step; how long one takes is known once one is stored")
    kind = type(study.first if isinstance(study, Sweep) else study)
    if kind.more is not Study.more:
        counted = "counted at most" if kind.foreseen is not Study.foreseen else "not counted"
        lines.append(f"further runs follow from what is found; they are {counted}")
    return lines


class _Clock:
    """Seconds by the timings of a store; where it has none, by numbers of operations."""

    def __init__(self, store: Store, data_dir: Path | None) -> None:
        import jax

        devices = jax.devices()
        self.cpu, self.devices = devices[0].platform == "cpu", len(devices)
        self.timings, self.data_dir, self.learnt = Timings(store, self.devices if self.cpu else 0), data_dir, True
        self._seen: dict[tuple[Task, str, str], float | None] = {}

    def setup(self, task: Task) -> Setup:
        return resolved(task, self.data_dir)[0]

    def at_once(self, replicas: int) -> int:
        """How often as long as one of them replicas take that can train together: on a CPU each device trains one."""
        return -(-replicas // self.devices) if self.cpu else replicas

    def step(self, task: Task) -> float:
        """The seconds of a step of training, with its share of the evaluations on the way."""
        if timed := self.timings.step(task):
            return timed.seconds
        self.learnt = False
        found, recipe, counts = self.setup(task), task.recipe, self._examples(task)
        validated, tested = (
            (one or recipe.evaluate_every).iterations(found.steps_per_epoch) for one in (recipe.evaluate_every, recipe.test_every)
        )
        evaluated = self._forward(task) * (counts["validation"] / validated + counts["test"] / tested)
        return _STEP + (step_operations(found) + evaluated) / _RATE[self.cpu]

    def measurement(self, measurement: Measurement) -> float | None:
        """The seconds of a measurement; None for one that goes step by step, if the store has none of its kind."""
        if timed := self.timings.measurement(measurement):
            return timed.seconds
        self.learnt = False
        alike = measurement.task, measurement.name, json.dumps(measurement.options, sort_keys=True)
        if alike not in self._seen:
            self._seen[alike] = self._by_operations(measurement)
        return self._seen[alike]

    def _by_operations(self, measurement: Measurement) -> float | None:
        query = rehearsed(measurement, self.data_dir)
        if isinstance(query, Loop):
            return None
        counts = self._examples(measurement.task)
        counts["train"] = query.networks.train or counts["train"]
        seen = query.networks.points * sum(counts[part] for part in query.parts)
        return _MEASUREMENT + seen * self._forward(measurement.task) / _RATE[self.cpu] / self.devices

    def compiling(self, runs: Sequence[Run], measurements: Sequence[Measurement]) -> float:
        """The seconds that it takes to compile every program once."""
        programs = {program_of(run.task, self.data_dir): self.timings.step(run.task) for run in runs}
        others = {(program_of(one.task, self.data_dir), one.name): self.timings.measurement(one) for one in measurements}
        return sum(_COMPILING if timed is None else timed.compiling for timed in (*programs.values(), *others.values()))

    def _examples(self, task: Task) -> dict[str, int]:
        return examples(load(task.data, self.data_dir), task.data)

    def _forward(self, task: Task) -> float:
        """Operations of an example's way through the network: a third of a step's, which goes back too, for weights and for inputs."""
        setup = self.setup(task)
        return step_operations(setup) / setup.objective.gradients / task.recipe.batch / 3
