"""Detectors: when does the unstable phase of training end? Each is a signal that is read at stops, and a level.

A detector is a registered function ``(timeline, **options)`` that returns a `Detector`: a function of what is at hand at a stop, of
one replica, and of nothing that has to be trained beside it but a shadow. A user's own file adds one:

    @tb.detectors.register
    def small_gradient(timeline):
        return tb.Detector(lambda stop: float(np.linalg.norm(stop.flat(stop.probe.gradient(stop.weights)))), level=0.1)

What is published, and what is ours: Frankle et al. 2020 compare networks with their own children; all signals here need none.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.parts import detectors as detectors
from tombola.core.step import Timeline
from tombola.core.task import Recipe
from tombola.core.trees import Tree
from tombola.training.probe import Probe


class Stop(NamedTuple):
    """What is at hand at a stop, of one replica; trees have NumPy arrays."""

    t: int
    """Iterations since the start of training."""
    weights: Tree
    before: Tree
    """The weights at the stop before; at the first one, those at which the run began."""
    first: Tree
    """The weights at which the run began."""
    mask: Mask
    trained: tuple[str, ...]
    """The leaves that training updates."""
    probe: Probe
    loss: float
    """The loss of the probe."""
    lowest: float
    """The lowest of that at earlier stops; infinite at the first."""
    rate: float
    """The learning rate of the next iteration."""
    recipe: Recipe
    shadow: Tree
    """Weights of a copy that was moved a little, `horizon` iterations ago, and trained on with the same batches, augmentation and
    dropout; empty where no detector asks for it."""
    moved: float
    """2-norm of that move."""
    horizon: int
    memo: dict[Any, Any]
    """What several detectors have in common is worked out once."""

    def flat(self, tree: Mapping[str, Any]) -> np.ndarray:
        """A tree of the leaves that train as one vector; 0 where the mask is."""
        leaves = (np.where(self.mask.get(path, True), tree[path], 0) for path in self.trained)
        return np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in leaves])


class Shadow(NamedTuple):
    """A copy of a replica that is moved a little and trained on with the same noise."""

    size: float
    """2-norm of the move, as a share of the weights'."""
    horizon: float
    """How long it trains, as a share of training; at the most since the stop before."""

    def iterations(self, total: int, since: int) -> int:
        """How long that is at a stop so many iterations after the one before."""
        return max(1, min(round(self.horizon * total), since))


class Detector(NamedTuple):
    """A signal, and the level beyond which the stable phase has begun."""

    signal: Callable[[Stop], float]
    level: float
    """The level by default. Tombola's own are read off one testbed (`digits-noise-mlp`, whose onset lies at 188 to 375 of 1,500
    iterations), at the default stops; the study `phases.detectors` calibrates levels, and the side, on settings of another task."""
    falls: bool = True
    """Whether the signal has to be at the level or below it; else at it or above it."""
    shadow: Shadow | None = None

    def fires(self, signal: float, level: float | None = None) -> bool:
        """Whether a signal is beyond the level, or beyond another that is given; NaN is not."""
        level = self.level if level is None else level
        return signal <= level if self.falls else signal >= level


def made(name: str, timeline: Timeline, options: Mapping[str, Any]) -> Detector:
    """A registered detector. Raises for a name, or options, that cannot be."""
    found = detectors.call(name, timeline, **options)
    if not isinstance(found, Detector):
        raise TombolaError(f"detector {name.partition('@')[0]!r} must return tb.Detector(signal, level), not {type(found).__name__}")
    return found


def norm(vector: np.ndarray) -> float:
    """2-norm. Not by BLAS, whose threads cost more than sums of this size, and wait for each other on a busy machine."""
    return float(np.sqrt(np.einsum("i,i->", vector, vector)))


def cosine_of(one: np.ndarray, other: np.ndarray) -> float:
    """<a, b> / (|a| |b|); NaN where one of them is 0."""
    norms = norm(one) * norm(other)
    return float(np.einsum("i,i->", one, other)) / norms if norms else float("nan")


@detectors.register
def divergence(timeline: Timeline, *, horizon: float = 1 / 150, size: float = 1e-4) -> Detector:
    """Growth of a small difference over a short horizon: log2(|w' - w| / |w'_0 - w_0|) / H doublings an iteration.

    w' began H iterations ago with a move of `size` times the norm of the weights in a random direction of those that train and are
    kept (stream ``detect/{t}``), and the same optimiser's state; since then it had the same batches, augmentation and dropout.

    Args:
        horizon: H as a share of training; at most since the stop before, at least 1.
        size: of the move. At 0 there is no difference, and the signal is the distance, which is 0.

    Source: ours; Lyapunov exponents of training, after the butterfly effect of Altintas et al. 2025.
    """
    for option, value in (("horizon", horizon), ("size", size)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not (0 <= value <= 1) or (option == "horizon" and not value):
            raise TombolaError(f"divergence: {option} = {value!r}; write a share of up to 1{' and above 0' if option == 'horizon' else ''}")

    def signal(stop: Stop) -> float:
        apart = norm(stop.flat(stop.shadow) - stop.flat(stop.weights))
        if not stop.moved or not apart:
            return apart if not stop.moved else float("-inf")
        return float(np.log2(apart / stop.moved)) / stop.horizon

    return Detector(signal, level=0.05, shadow=Shadow(size, horizon))


@detectors.register
def sign_changes(timeline: Timeline) -> Detector:
    """Share of the kept prunable weights whose sign is another than at the stop before."""

    def signal(stop: Stop) -> float:
        changed = [(np.sign(stop.weights[path]) != np.sign(stop.before[path]))[kept] for path, kept in stop.mask.items()]
        return float(np.mean(np.concatenate(changed)))

    return Detector(signal, level=0.05, falls=False)


@detectors.register
def cosine(timeline: Timeline) -> Detector:
    """Cosine of the way since the stop before and the whole way since the run began: 1 where it goes straight on."""

    def signal(stop: Stop) -> float:
        here = stop.flat(stop.weights)
        return cosine_of(here - stop.flat(stop.before), here - stop.flat(stop.first))

    return Detector(signal, level=0.5)


@detectors.register
def mask_distance(timeline: Timeline, *, density: float = 0.2) -> Detector:
    """Hamming distance of the masks that magnitude would make here and at the stop before, over that of random masks: 1 is chance.

    Args:
        density: of the masks, layer by layer; random ones of density d differ in 2 d (1 - d) of their places.
    """
    if isinstance(density, bool) or not isinstance(density, int | float) or not 0 < density < 1:
        raise TombolaError(f"mask_distance: density = {density!r}; write a share between 0 and 1")

    def largest(leaf: np.ndarray, kept: np.ndarray) -> np.ndarray:
        sizes, found = abs(leaf[kept]), np.zeros(int(kept.sum()), bool)
        count = round(density * sizes.size)
        found[np.argpartition(sizes, sizes.size - count)[sizes.size - count :] if count else []] = True
        return found

    def signal(stop: Stop) -> float:
        differ = chance = 0.0
        for path, kept in stop.mask.items():
            here, before = largest(stop.weights[path], kept), largest(stop.before[path], kept)
            differ += float(np.sum(here != before))
            chance += 2 * float(here.sum()) * (1 - here.sum() / max(1, here.size))
        return differ / chance if chance else float("nan")

    return Detector(signal, level=0.18, falls=False)


@detectors.register
def barrier(timeline: Timeline) -> Detector:
    """Highest rise of the probe's loss above the straight line between here and the stop before, at 1/4, 1/2 and 3/4 of the way; nats.

    Above 0 where a way leads over a ridge.
    """

    def signal(stop: Stop) -> float:
        before, _ = stop.probe.scores(stop.before)
        return max(
            stop.probe.scores(_between(stop.before, stop.weights, a))[0] - (1 - a) * before - a * stop.loss for a in (0.25, 0.5, 0.75)
        )

    return Detector(signal, level=0.0)


def _between(first: Tree, last: Tree, a: float) -> Tree:
    return {path: ((1 - a) * leaf + a * last[path]).astype(leaf.dtype) for path, leaf in first.items()}


@detectors.register
def loss_spike(timeline: Timeline) -> Detector:
    """The probe's loss over the lowest at an earlier stop: above 1 after a spike; NaN at the first stop."""
    return Detector(lambda stop: stop.loss / stop.lowest if np.isfinite(stop.lowest) else float("nan"), level=1.0)


@detectors.register
def fixed_loss(timeline: Timeline) -> Detector:
    """The training loss of the probe, in nats: a rule that any detector has to beat."""
    return Detector(lambda stop: stop.loss, level=1.4)


@detectors.register
def fixed_step(timeline: Timeline) -> Detector:
    """The iteration: a rule that any detector has to beat."""
    return Detector(lambda stop: float(stop.t), level=250.0, falls=False)


@detectors.register
def fixed_share(timeline: Timeline) -> Detector:
    """The share of training that is over: a rule that any detector has to beat."""
    return Detector(lambda stop: stop.t / timeline.total, level=1 / 6, falls=False)
