"""The detectors of replicas that train together: at which stops they look, what they saw, and when one found the stable phase."""

from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from tombola.core import keys
from tombola.core.errors import TombolaError
from tombola.core.step import Timeline
from tombola.core.task import Detect
from tombola.core.trees import Tree, replica, replicas, stack
from tombola.data.dataset import Dataset
from tombola.data.split import Split
from tombola.training.detectors import Detector, Shadow, Stop, made
from tombola.training.probe import Probe
from tombola.training.replica import Checkpoint, Outcome, Replica
from tombola.training.schedules import learning_rate
from tombola.training.setup import Setup

Signals = tuple[float, ...]
"""The iteration, the probe's loss, and the signal of each detector."""


def detectors_of(spec: Detect, timeline: Timeline) -> dict[str, Detector]:
    """Name without digest -> detector, the one that decides first. Raises for what cannot be."""
    names = [spec.name, *spec.beside]
    if len(set(names)) < len(names):
        raise TombolaError(f"detect: {spec.name!r} and beside = {list(spec.beside)} name a detector twice; name each once")
    found = {name.partition("@")[0]: made(name, timeline, spec.options if name == spec.name else {}) for name in names}
    if len({one.shadow for one in found.values() if one.shadow}) > 1:
        raise TombolaError("detect: two detectors want shadows of different size or horizon; record one of them")
    return found


def stops_of(spec: Detect, timeline: Timeline) -> list[int]:
    """The iterations at which detectors look. Raises for one after the end."""
    if spec.at:
        return sorted({timeline.iteration(step) for step in spec.at} - {0})
    return sorted({max(1, round(timeline.total / 2**power)) for power in range(1, 10)})


def check(found: Setup) -> None:
    """Raise unless the recipe's detectors can look at its training."""
    spec = found.recipe.detect
    if spec is None:
        return
    for field in ("mask_schedule", "supermask"):
        if getattr(found.recipe, field) is not None:
            raise TombolaError(f"detect = {spec.name!r} looks at weights under a constant mask, but there is a {field}; leave one out")
    detectors_of(spec, found.timeline)
    stops_of(spec, found.timeline)


class Watch:
    """What the detectors of a batch of replicas see. All of it follows from the weights at stops."""

    def __init__(self, spec: Detect, found: Setup, dataset: Dataset, members: Sequence[Replica], splits: Sequence[Split]) -> None:
        self.spec, self.found, self.replicas = spec, found, members
        self.detectors = detectors_of(spec, found.timeline)
        begin = min(one.begin for one in members)
        stops = [stop for stop in stops_of(spec, found.timeline) if stop > begin]
        self.shadow: Shadow | None = next((one.shadow for one in self.detectors.values() if one.shadow), None)
        gaps = {stop: stop - before for before, stop in zip([begin, *stops], stops, strict=False)}
        self.horizons = {stop: self.shadow.iterations(found.timeline.total, gap) if self.shadow else 0 for stop, gap in gaps.items()}
        """Stop at which detectors look -> iterations that its shadow has trained."""
        self.begins = {stop - horizon: stop for stop, horizon in self.horizons.items() if horizon}
        """Iteration at which the shadow of a stop begins -> that stop."""
        self.probes = [Probe(found, dataset, own, one.seed) for one, own in zip(members, splits, strict=False)]
        self.trained = tuple(path for path in found.network.shapes if path in found.trained)
        self.signals: list[list[Signals]] = [list(one.resume.signals) if one.resume else [] for one in members]
        self.before = [(one.resume.before if one.resume else None) or one.start for one in members]
        self.moved = [0.0] * len(members)
        self.rate = learning_rate(found.recipe, found.timeline)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns of `signals`."""
        return ("step", "probe_loss", *self.detectors)

    def shadows(self, stop: int, weights: Tree) -> Tree:
        """Stacked weights with those of each replica moved a little: its shadow, where it begins, which is looked at at `stop`."""
        last = len(self.replicas) - 1
        found = [self._move(stop, min(place, last), replica(weights, place)) for place in range(replicas(weights))]
        self.moved = [apart for _, apart in found]
        return stack([tree for tree, _ in found])

    def _move(self, stop: int, index: int, weights: Tree) -> tuple[Tree, float]:
        assert self.shadow is not None
        one, random = self.replicas[index], keys.generator(self.replicas[index].seed, f"detect/{stop}")
        move = {path: one.mask.get(path, np.True_) * random.standard_normal(weights[path].shape) for path in self.trained}
        norms = [np.sqrt(sum(np.sum(np.square(tree[path], dtype=np.float64)) for path in self.trained)) for tree in (weights, move)]
        factor = self.shadow.size * norms[0] / norms[1] if norms[1] else 0.0
        moved = {path: (weights[path] + factor * move[path]).astype(weights[path].dtype) for path in self.trained}
        apart = np.sqrt(sum(np.sum(np.square(moved[path].astype(np.float64) - weights[path])) for path in self.trained))
        return {**weights, **moved}, float(apart)

    def look_at_all(self, t: int, weights: Tree, shadow: Tree | None, rates: np.ndarray) -> list[int]:
        """Read every signal of every replica that trains at a stop; those for which the stable phase is found to begin there."""
        training = [index for index, one in enumerate(self.replicas) if t > one.begin]
        return [
            index
            for index in training
            if self._look(t, index, replica(weights, index), replica(shadow, index) if shadow else None, float(rates[index]))
        ]

    def _look(self, t: int, index: int, weights: Tree, shadow: Tree | None, rate: float) -> bool:
        """All are NaN while the network is no better than the best constant answer, or no network any more: what is dead looks stable."""
        probe, own, rows = self.probes[index], self.replicas[index], self.signals[index]
        was, (loss, headline) = self.detected(index), probe.scores(weights)
        stop = Stop(
            t=t,
            weights=weights,
            before=self.before[index],
            first=own.start,
            mask=own.mask,
            trained=self.trained,
            probe=probe,
            loss=loss,
            lowest=min((row[1] for row in rows), default=np.inf),
            rate=float(self.rate(rate, min(t, self.found.timeline.total - 1))),
            recipe=self.found.recipe,
            shadow=shadow or {},
            moved=self.moved[index],
            horizon=self.horizons[t],
            memo={},
        )
        alive = headline < probe.chance

        def read(name: str, detector: Detector) -> float:
            if not alive or (detector.shadow and shadow is None):
                return float("nan")
            try:
                return float(detector.signal(stop))
            except Exception as error:
                raise TombolaError(f"detector {name!r} fails at iteration {t}: {type(error).__name__}: {error}") from error

        rows.append((float(t), loss, *(read(name, one) for name, one in self.detectors.items())))
        self.before[index] = weights
        return was is None and self.detected(index) is not None

    def detected(self, index: int) -> int | None:
        """The first stop at which the deciding detector fired; None: it has not yet."""
        decides = next(iter(self.detectors.values()))
        return next((int(row[0]) for row in self.signals[index] if decides.fires(row[2], self.spec.level)), None)

    def said(self) -> list[str]:
        """What the progress line says, if anything: "stable phase from 375it", and of how many replicas."""
        found = [step for step in map(self.detected, range(len(self.replicas))) if step is not None]
        several = f" ({len(found)} of {len(self.replicas)})" if len(self.replicas) > 1 else ""
        return [f"stable phase from {max(found)}it{several}"] if found else []

    def found_by_now(self) -> list[int]:
        """The replicas whose stable phase has been found to begin."""
        return [index for index in range(len(self.replicas)) if self.detected(index) is not None]


copied = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))
"""A tree in memory of its own, in one call."""


def noted(watch: Watch | None, checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Checkpoints with what it takes to go on watching."""
    if watch is None:
        return list(checkpoints)
    parts = zip(checkpoints, watch.signals, watch.before, strict=True)
    return [replace(one, signals=tuple(rows), before=before) for one, rows, before in parts]


def told(watch: Watch | None, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Outcomes with the signals, and `detected` in the summary: NaN if the stable phase was not found to begin."""
    if watch is None:
        return list(outcomes)
    steps = [watch.detected(index) for index in range(len(outcomes))]
    parts = zip(outcomes, watch.signals, [np.nan if step is None else float(step) for step in steps], strict=True)
    return [
        replace(one, summary={**one.summary, "detected": step}, signals=tuple(rows), signal_names=watch.names) for one, rows, step in parts
    ]
