"""Masks that move: at stops between the steps of training, a registered schedule makes a new mask of the one there is.

A mask schedule is a registered function ``(timeline, kinds, **options)`` that returns `MaskUpdates`; `kinds` tells of each leaf
whose mask may move what kind of layer it is in. A user's own file adds one:

    @tb.mask_schedules.register
    def halving(timeline, kinds, *, every="100it"):
        def update(random, t, weights, gradient, moments, mask):
            medians = {path: np.median(abs(weights[path][kept])) for path, kept in mask.items()}
            return weights, moments, {path: kept & (abs(weights[path]) >= medians[path]) for path, kept in mask.items()}

        return tb.MaskUpdates(update, timeline.every(every))
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from tombola.core import keys, masks
from tombola.core.errors import TombolaError, shown, unknown
from tombola.core.loading import one_line
from tombola.core.masks import Mask
from tombola.core.parts import mask_schedules as mask_schedules
from tombola.core.registry import plain
from tombola.core.step import Timeline
from tombola.core.task import KINDS
from tombola.core.trees import Tree
from tombola.training.optimizers import held
from tombola.training.setup import Setup


class MaskUpdates(NamedTuple):
    """When and how a mask moves."""

    update: Callable[..., tuple[Tree, Any, Mask]]
    """(random, t, weights, gradient, moments, mask) -> (weights, moments, mask), of one replica, as NumPy arrays.

    random: a `numpy.random.Generator` of the run's stream ``mask_schedule/{t}``. moments: the optimiser's state. mask: of the
    prunable leaves that train. A weight that is taken becomes 0, whatever is returned, and the optimiser's state of it;
    one that comes back starts from what is returned, which is 0 if nothing else is said, with an empty state."""
    steps: Collection[int]
    """The iterations at which it is called: after that iteration's step, before the network is evaluated there. It is not called
    at the iteration a run begins at, nor before that."""
    gradient: bool = False
    """Whether `gradient` is wanted: path -> gradient of the loss on the last batch that was trained on, of every leaf that
    trains, also where the mask is 0. Else it is None."""
    choose: Callable[..., tuple[Mask, Mask]] | None = None
    """(random, t, weights, gradient, mask) -> (stay, mask), of the leaves of the mask alone: if given, it is called in the place of
    `update`. What does not stay is 0, its optimiser's state with it, on the device: half the cost, as little else leaves it."""
    no_more: bool = False
    """Whether no leaf ever has more weights than before. A sparse network then trains in sparse storage, if there is `choose`."""


def choosing(choose: Callable[..., tuple[Mask, Mask]], steps: Collection[int], gradient: bool = False) -> MaskUpdates:
    """Mask updates that say what stays and what the mask is, no leaf with more weights than before, and nothing else."""

    def update(random: np.random.Generator, t: int, weights: Tree, slope: Tree | None, moments: Any, mask: Mask) -> tuple[Tree, Any, Mask]:
        stay, new = choose(random, t, weights, slope, mask)
        after = {path: np.where(stay[path], weights[path], 0) for path in mask}
        return after, held(moments, {path: stay[path] & new[path] for path in new}, np.where), new

    return MaskUpdates(update, steps, gradient, choose, no_more=True)


def mask_updates(setup: Setup) -> MaskUpdates | None:
    """What the recipe's mask schedule does; None if the mask stays. Raises for a schedule, or options, that cannot be."""
    spec = setup.recipe.mask_schedule
    if spec is None:
        return None
    name = plain(spec.name)
    if not (kinds := setup.moving):
        raise TombolaError(f"mask schedule {name!r}: no prunable weight trains, so that no mask can move; leave it out")
    found = mask_schedules.call(spec.name, setup.timeline, kinds, **spec.options)
    if not isinstance(found, MaskUpdates):
        raise TombolaError(f"mask schedule {name!r} must return tb.MaskUpdates(update, steps), not {type(found).__name__}")
    if late := [step for step in found.steps if step > setup.timeline.total]:
        end = setup.timeline.total
        raise TombolaError(
            f"mask schedule {name!r}: its step {max(late)} lies after the end of training at {end}; choose steps up to {end}"
        )
    return found


def updated(
    setup: Setup, updates: MaskUpdates, seed: int, t: int, weights: Tree, moments: Any, mask: Mask, gradient: Tree | None
) -> tuple[Tree, Any, Mask]:
    """(weights, moments, mask) of one replica after an update, by the rule: what is taken is 0, and its optimiser's state with it."""
    moving = setup.moving
    whole, mask = mask, {path: leaf for path, leaf in mask.items() if path in moving}
    name, (after, state, new) = _called(setup, updates.update, seed, t, weights, gradient, moments, mask)
    if len({jax.tree.structure(state), jax.tree.structure(moments)}) > 1:
        raise TombolaError(f"mask schedule {name!r} returns other moments than it is given; return these where it changes none")
    masks.check(new, {path: leaf.shape for path, leaf in mask.items()})
    for path, kept in new.items():
        if path not in after or np.shape(after[path]) != kept.shape:
            raise TombolaError(f"mask schedule {name!r} must return the weights {path!r} in the shape {kept.shape} that they have")
    taken = {path: mask[path] & ~kept for path, kept in new.items()}
    changed = {path: np.where(taken[path], 0, after[path]).astype(weights[path].dtype) for path in new}
    return {**weights, **changed}, held(state, {path: mask[path] & new[path] for path in new}, np.where), {**whole, **new}


def chosen(setup: Setup, updates: MaskUpdates, seed: int, t: int, weights: Tree, mask: Mask, gradient: Tree | None) -> tuple[Mask, Mask]:
    """(stay, mask) of one replica after an update, by `MaskUpdates.choose`; all of the leaves whose mask may move."""
    assert updates.choose is not None
    name, (stay, new) = _called(setup, updates.choose, seed, t, weights, gradient, mask)
    for one in (stay, new):
        masks.check(one, {path: leaf.shape for path, leaf in mask.items()})
    if updates.no_more and (more := [path for path in mask if np.count_nonzero(new[path]) > np.count_nonzero(mask[path])]):
        raise TombolaError(f"mask schedule {name!r} keeps more of {more[0]!r} at iteration {t} than before; leave out its no_more=True")
    return stay, new


def _called(setup: Setup, function: Callable[..., Any], seed: int, t: int, *given: Any) -> tuple[str, Any]:
    """The schedule's name, and what a function of its says at iteration t. What is wrong with it is one line."""
    assert setup.recipe.mask_schedule is not None
    name = plain(setup.recipe.mask_schedule.name)
    with one_line(f"mask schedule {name!r} at iteration {t}"):
        found = function(keys.generator(seed, f"mask_schedule/{t}"), t, *given)
    wanted = "(weights, moments, mask)" if len(given) == 4 else "(stay, mask)"
    if (
        not isinstance(found, tuple | list)
        or len(found) != wanted.count(",") + 1
        or not all(isinstance(one, Mapping) for one in (found[0], found[-1]))
    ):
        raise TombolaError(f"mask schedule {name!r} must return {wanted} at each update, with dicts by path, not {shown(found)}")
    return name, found


@mask_schedules.register
def gradual(
    timeline: Timeline,
    kinds: Mapping[str, str],
    *,
    final: float | Mapping[str, float],
    end: str,
    begin: str = "0it",
    every: str = "100it",
    initial: float = 1.0,
    shape: Literal["cubic", "linear"] = "cubic",
    scope: Literal["layer", "global"] = "layer",
) -> MaskUpdates:
    """Gradual magnitude pruning: the density falls from `initial` to `final` between `begin` and `end`, by current |w|.

    d(t) = final + (initial - final) (1 - (t - begin) / (end - begin))^p,  p = 3 (cubic) or 1 (linear), each `every` steps and at
    `end`. Of a layer with n weights round(d(t) n) are kept, the largest; never more than there are (scope ``global``: of all
    layers together). Ties are broken at random. ``every`` as `end` is one-shot pruning at that step: nothing goes before.

    Args:
        final: a density, or kind of layer -> density: other kinds lose nothing.

    Source: Zhu & Gupta 2017, section 3; at `begin` itself `initial` is what is kept.
    """
    first, last, power = timeline.iteration(begin), timeline.iteration(end), {"cubic": 3, "linear": 1}.get(shape)
    goals = dict(final) if isinstance(final, Mapping) else dict.fromkeys(KINDS, final)
    if power is None:
        raise unknown("shape of gradual", shape, ["cubic", "linear"])
    if scope not in ("layer", "global"):
        raise unknown("scope of gradual", scope, ["layer", "global"])
    if scope == "global" and isinstance(final, Mapping):
        raise TombolaError("gradual: scope 'global' has one density for all layers together; write final as one number")
    for kind, goal in goals.items():
        if kind not in KINDS:
            raise unknown("kind of layer in final of gradual", kind, KINDS)
        if not all(isinstance(one, int | float) and 0 <= one <= 1 for one in (goal, initial)) or goal > initial:
            raise TombolaError(f"gradual: the density cannot go from {initial!r} to {goal!r}; write 0 <= final <= initial <= 1")
    if first >= last:
        raise TombolaError(f"gradual: begin {begin!r} must lie before end {end!r}, but they are iterations {first} and {last}")

    def choose(random: np.random.Generator, t: int, weights: Tree, gradient: None, mask: Mask) -> tuple[Mask, Mask]:
        rest, new = (1 - (t - first) / (last - first)) ** power, dict(mask)
        ties = masks.Ties(random)
        for paths in [list(mask)] if scope == "global" else [[path] for path in mask if kinds[path] in goals]:
            goal = goals[kinds[paths[0]]]
            count = round((goal + (initial - goal) * rest) * sum(mask[path].size for path in paths))
            new |= masks.highest({path: abs(weights[path]) for path in paths}, {path: mask[path] for path in paths}, count, ties)
        return {path: new[path] | ~kept for path, kept in mask.items()}, new

    return choosing(choose, timeline.every(every, first, last))
