"""Sparse training with a constant number of weights: at each update some are dropped, and as many grow in other places."""

from collections.abc import Mapping
from typing import Literal, get_args

import numpy as np

from tombola.core import masks
from tombola.core.errors import TombolaError, unknown
from tombola.core.masks import Mask
from tombola.core.parts import mask_schedules
from tombola.core.step import Timeline
from tombola.core.trees import Tree
from tombola.training.mask_schedules import MaskUpdates, choosing

Anneal = Literal["constant", "cosine"]


@mask_schedules.register("set")
def sparse_evolution(
    timeline: Timeline,
    kinds: Mapping[str, str],
    *,
    drop: float = 0.3,
    every: str = "100it",
    until: float = 1.0,
    anneal: Anneal = "constant",
    comebacks: bool = False,
) -> MaskUpdates:
    """SET: of each layer's kept weights the smallest share is dropped, and as many grow at random places.

    Options are those of `rigl`; the places are drawn from the run's stream ``mask_schedule/{t}``. The start mask has to be sparse,
    such as the mask action `sparse` makes one.

    Source: Mocanu et al. 2018, algorithm 1. The smallest |w| are dropped here; the paper takes the smallest positive and the
    largest negative weights apart, draws what grows anew, and does so after each epoch (``every="1ep"``).
    """
    return _exchange("set", timeline, False, drop, every, until, anneal, comebacks)


@mask_schedules.register
def rigl(
    timeline: Timeline,
    kinds: Mapping[str, str],
    *,
    drop: float = 0.3,
    every: str = "100it",
    until: float = 0.75,
    anneal: Anneal = "cosine",
    comebacks: bool = False,
) -> MaskUpdates:
    """RigL: of each layer's n kept weights the round(d(t) n) smallest are dropped, and as many grow where |gradient| is largest.

    d(t) = drop (1 + cos(pi t / T)) / 2 (``cosine``), or drop (``constant``); T = round(until * iterations of training).
    What grows starts at 0 with an empty optimiser state. If less than round(d(t) n) is vacant, so much is exchanged. The gradient is
    that of the last batch, of every weight, with the network as its mask has it.

    Args:
        drop: share of a layer's weights, above 0 and up to 1.
        every: the spacing of updates, which are made before iteration T.
        until: T as a share of training, above 0 and up to 1.
        comebacks: whether a weight may grow in the update that drops it; then it too starts at 0. Else only what was masked before does.

    Raises:
        TombolaError: if all weights are kept, so that none can grow.

    Source: Evci et al. 2020, section 3; its candidates for growth are all places that the drop left empty (``comebacks``).
    """
    return _exchange("rigl", timeline, True, drop, every, until, anneal, comebacks)


def _exchange(
    name: str, timeline: Timeline, by_gradient: bool, drop: float, every: str, until: float, anneal: Anneal, comebacks: bool
) -> MaskUpdates:
    for option, value in (("drop", drop), ("until", until)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
            raise TombolaError(f"{name}: {option} = {value!r}; write a share above 0 and up to 1")
    if anneal not in get_args(Anneal):
        raise unknown(f"anneal of {name}", anneal, get_args(Anneal))
    if not isinstance(comebacks, bool):
        raise TombolaError(f"{name}: comebacks = {comebacks!r}; write true or false")
    last = round(until * timeline.total)
    steps = frozenset(t for t in timeline.every(every, 0, last) if 0 < t < last)
    if not steps:
        raise TombolaError(f"{name}: every {every!r} leaves no update before iteration {last}, where updates end; write a shorter spacing")

    def choose(random: np.random.Generator, t: int, weights: Tree, gradient: Tree | None, mask: Mask) -> tuple[Mask, Mask]:
        if all(kept.all() for kept in mask.values()):
            raise TombolaError(
                f"{name}: every weight is kept, so that none can grow; give a sparse start mask, such as by the action 'sparse'"
            )
        share = drop if anneal == "constant" else drop * (1 + np.cos(np.pi * t / last)) / 2
        ties = masks.Ties(random)
        stay: Mask = {}
        new: Mask = {}
        for path, kept in mask.items():
            total = int(np.count_nonzero(kept))
            count = min(round(share * total), total if comebacks else kept.size - total)
            stay |= masks.highest({path: abs(weights[path])}, {path: kept}, total - count, ties)
            vacant = ~stay[path] if comebacks else ~kept
            if gradient is not None:
                grown = masks.highest({path: abs(gradient[path])}, {path: vacant}, count, ties)[path]
            else:
                grown = np.zeros(kept.size, bool)
                grown[ties.random.choice(np.flatnonzero(vacant), count, replace=False, shuffle=False)] = True
                grown = grown.reshape(kept.shape)
            new[path] = stay[path] | grown
        return stay, new

    return choosing(choose, steps, gradient=by_gradient)
