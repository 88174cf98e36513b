"""Selection: scores -> mask, with exact counts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.keys import generator
from tombola.core.masks import Mask

Scope = Literal["layer", "global", "row", "column"]
"""Weights that are ranked together: of a leaf, of all leaves, or of a row or column of a leaf."""
Ties = Callable[[str], np.random.Generator]
"""Path of a leaf, or name of a layer -> the stream that decides among equal scores in it."""


def ties_of(seed: int) -> Ties:
    """The streams ``ties/{path}`` of a seed: in all rounds the same, so that a mask made round by round is the one made at once."""
    return lambda path: generator(seed, f"ties/{path}")


def prune(scores: Mapping[str, Any], mask: Mask, rates: Mapping[str, float], scope: Scope = "layer", ties: Ties | None = None) -> Mask:
    """Remove the lowest scores among the weights that are still kept.

    layer:  from each leaf, exactly ``round(rate * kept)`` of its kept weights, half rounded to even.
    global: from all leaves with a rate above 0 together, ``round(rate * kept)``, wherever the scores are lowest;
            their rates must agree. Leaves with rate 0 are not pruned and do not count.
    row:    from each row of each leaf, ``round(rate * kept)`` of its kept weights: of a table of words, from each word.
    column: from each column likewise: from each dimension, from each unit of a dense layer. Columns are along the last axis.

    Args:
        scores: path -> array of finite numbers; higher is kept.
        mask: what is kept so far; the result is a subset of it.
        rates: path -> share of what is left that is removed, in [0, 1].
        ties: streams by which equal scores are ordered at random: by position, a score of plateaus would take away whole rows.
            None: by position, the earlier is pruned first.

    Raises:
        TombolaError: a score of a kept weight that is not a finite real number; rates that are none, or differ under `global`.

    Source: Frankle & Carbin 2019, sections 1 and 4.
    """
    check_scores(scores, mask)
    left = dict(mask)
    if scope in ("row", "column"):
        groups(mask, rates, "layer")  # raises
        return {path: _lines(np.asarray(scores[path]), leaf, rates[path], scope, ties and ties(path)) for path, leaf in mask.items()}
    for group in groups(mask, rates, scope):
        kept = [mask[path].reshape(-1) for path in group]
        count = round(rates[group[0]] * sum(map(np.count_nonzero, kept)))
        for path, gone in zip(group, lowest({path: np.ravel(scores[path]) for path in group}, kept, count, ties), strict=True):
            left[path] = mask[path] & ~gone.reshape(mask[path].shape)
    return left


def _lines(scores: np.ndarray, kept: np.ndarray, rate: float, scope: Scope, ties: np.random.Generator | None) -> np.ndarray:
    """What is left of a leaf of which each row, or column, loses its lowest scores."""
    if scope == "column":
        shape = (-1, kept.shape[-1])
        return _lines(scores.reshape(shape).T, kept.reshape(shape).T, rate, "row", ties).T.reshape(kept.shape)
    flat, there = scores.reshape(len(kept), -1), kept.reshape(len(kept), -1)
    order = np.arange(flat.shape[1]) * np.ones((len(flat), 1)) if ties is None else ties.random(flat.shape)
    sorted_places = np.lexsort((order, flat, ~there), axis=-1)  # what is kept first, the lowest score of it at the front
    gone = np.arange(flat.shape[1]) < np.rint(rate * there.sum(1, keepdims=True))
    left = there.copy()
    np.put_along_axis(left, sorted_places, np.take_along_axis(there, sorted_places, 1) & ~gone, 1)
    return left.reshape(kept.shape)


def groups(paths: Iterable[str], rates: Mapping[str, float], scope: Scope) -> list[list[str]]:
    """The paths that are ranked together. Raises for rates that are none, or that differ where one is needed."""
    for path in paths:
        rate = rates.get(path)
        if rate is None or not 0 <= rate <= 1:
            raise TombolaError(f"pruning rate of {path!r} is {rate!r}; a fraction from 0 to 1 is needed")
    if scope == "layer":
        return [[path] for path in paths]
    if scope != "global":
        raise TombolaError(f"scope {scope!r}: write 'layer', 'global', 'row' or 'column'; of whole units 'layer' or 'global'")
    together = [path for path in paths if rates[path] > 0]
    if len(given := sorted({rates[path] for path in together})) > 1:
        raise TombolaError(
            "global pruning takes one rate for all layers, or 0 to leave a layer out, but it was given "
            f'{", ".join(f"{rate:g}" for rate in given)}; set equal rates, such as rates={{"dense": 0.2, "output": 0.2}}'
        )
    return [together] if together else []


def lowest(scores: Mapping[str, np.ndarray], removable: Sequence[np.ndarray], count: int, ties: Ties | None) -> list[np.ndarray]:
    """For each leaf or layer (n,) bool: which of its removable places are among the `count` lowest of all."""
    places = np.flatnonzero(np.concatenate(removable))
    gone = np.zeros(sum(map(len, removable)), bool)
    gone[places[in_order(scores, places, ties)[:count]]] = True
    return np.split(gone, np.cumsum([len(one) for one in removable])[:-1])


def in_order(scores: Mapping[str, np.ndarray], places: np.ndarray, ties: Ties | None) -> np.ndarray:
    """The places among all scores, from the lowest to the highest; equal ones as `ties` draws, or the earlier first."""
    values = np.concatenate(list(scores.values()))[places]
    if ties is None:
        return np.argsort(values, kind="stable")
    return np.lexsort((np.concatenate([ties(name).random(len(one)) for name, one in scores.items()])[places], values))


def emptied(mask: Mask) -> list[str]:
    """Leaves of which nothing is left: the network no longer carries a signal through them."""
    return [path for path, leaf in mask.items() if not leaf.any()]


def dense(shapes: Mapping[str, tuple[int, ...]]) -> Mask:
    """The mask that keeps everything."""
    return {path: np.ones(shape, bool) for path, shape in shapes.items()}


def check_scores(scores: Mapping[str, Any], mask: Mask) -> None:
    """Raise unless all scores of kept weights are finite real numbers: a network that diverged has no ranking."""
    for path, leaf in mask.items():
        found = np.asarray(scores[path])
        if found.dtype.kind not in "buif":
            raise TombolaError(f"scores of {path!r} are {found.dtype}; a criterion gives real numbers")
        if wrong := int(np.count_nonzero(leaf & ~np.isfinite(found))):
            raise TombolaError(
                f"{wrong} of {np.count_nonzero(leaf)} scores of kept weights of {path!r} are not finite; the network has probably "
                "diverged: lower its learning rate, or mend the criterion"
            )
