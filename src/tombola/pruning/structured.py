"""Structured pruning: whole units and channels, chosen by the norm of their weights' scores, as an ordinary mask."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.keys import generator
from tombola.core.masks import Mask
from tombola.pruning.selection import Scope, Ties, check_scores, groups, in_order, lowest

if TYPE_CHECKING:
    from tombola.models.units import Units

Structure = Literal["weights", "units"]
Norm = Literal["l1", "l2"]

_NORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "l1": lambda scores: scores.sum(axis=0),
    "l2": lambda scores: np.sqrt(np.square(scores).sum(axis=0)),
}


def check_structure(structure: str, norm: str) -> None:
    """Raise unless there is such a structure and norm, and the norm has a meaning."""
    if structure not in get_args(Structure):
        raise unknown("structure", structure, get_args(Structure))
    if norm not in get_args(Norm):
        raise unknown("norm", norm, get_args(Norm))
    if structure == "weights" and norm != "l2":
        raise TombolaError(f"norm {norm!r} ranks whole units; give structure='units' with it")


def prune_units(
    scores: Mapping[str, Any],
    mask: Mask,
    rates: Mapping[str, float],
    units: "tuple[Units, ...]",
    norm: Norm = "l2",
    scope: Scope = "layer",
    ties: Ties | None = None,
) -> Mask:
    """Remove the units whose kept incoming weights have the scores of the smallest norm: column and outgoing rows go.

    A unit is kept while any of its incoming weights is. Its rank is sum(s) (l1) or sqrt(sum(s^2)) (l2) over the scores
    s of those that are kept in `mask`.

    layer:  from each layer, exactly ``round(rate * kept units)`` of them.
    global: from all layers with a rate above 0 together, ``round(rate * kept units)``; their rates must agree.

    In both, the highest unit of a layer stays, so that no layer is emptied. A layer without units (the output) loses
    only what it read of the removed ones. Where `mask` is sparse within units, a unit of the next layer may lose its
    last incoming weight with them.

    Args:
        scores: path -> array of finite numbers, not negative; higher is kept.
        mask: what is kept so far; the result is a subset of it.
        rates: path of a kernel -> share of its layer's kept units that is removed, in [0, 1].
        units: ``network.units``.
        ties: streams by which units of equal rank are ordered at random, by name of the layer. None: the earlier is removed first.

    Source: Li et al. 2017 (l1 norm of filters, layer by layer).
    """
    from tombola.models.units import check_declared

    check_declared(units)
    if norm not in _NORMS:
        raise unknown("norm", norm, _NORMS)
    by_kernel = {one.incoming: one for one in units}
    check_scores(scores, {path: mask[path] for path in by_kernel})
    before = kept_units(mask, units)
    removed: dict[str, np.ndarray] = {}
    for group in groups(by_kernel, rates, scope):
        ranks = {by_kernel[path].layer: _ranks(scores[path], mask[path], norm) for path in group}
        removable = [_but_highest(layer, ranks[layer], before[layer], ties) for layer in ranks]
        count = round(rates[group[0]] * sum(np.count_nonzero(before[layer]) for layer in ranks))
        removed |= dict(zip(ranks, lowest(ranks, removable, count, ties), strict=True))
    return _without(mask, units, removed)


def shuffle_units(mask: Mask, units: "tuple[Units, ...]", seed: int, stream: str) -> Mask:
    """The same number of kept units in each layer, at uniformly random places: the control of structured pruning.

    Each layer is shuffled by its own stream ``{stream}/{layer}`` of the seed.

    Raises:
        TombolaError: unless the mask is made of whole units: an entry is kept if and only if its input unit and its
            output unit are.
    """
    from tombola.models.units import check_declared

    check_declared(units)
    before = kept_units(mask, units)
    whole = _whole(mask, units, before)
    if torn := [path for path, leaf in mask.items() if not np.array_equal(leaf, whole[path])]:
        raise TombolaError(f"mask {torn[0]!r} is not made of whole units; shuffle its weights instead, or prune whole units")
    return _whole(mask, units, {layer: generator(seed, f"{stream}/{layer}").permutation(kept) for layer, kept in before.items()})


def kept_units(mask: Mask, units: "tuple[Units, ...]") -> dict[str, np.ndarray]:
    """Layer -> (units,) bool: which units have a kept incoming weight."""
    return {one.layer: np.asarray(_columns(mask[one.incoming]).any(axis=0)) for one in units}


def _columns(kernel: np.ndarray) -> np.ndarray:
    """The array as (weights of a unit, units)."""
    return kernel.reshape(-1, kernel.shape[-1])


def _ranks(scores: Any, mask: np.ndarray, norm: Norm) -> np.ndarray:
    kept = np.where(mask, np.asarray(scores, np.float64), 0.0)
    if (kept < 0).any():
        raise TombolaError(
            "units are ranked by the norm of their weights' scores, so these must not be negative; "
            "large_final, large_init or movement will do"
        )
    return _NORMS[norm](_columns(kept))


def _but_highest(layer: str, ranks: np.ndarray, kept: np.ndarray, ties: Ties | None) -> np.ndarray:
    """(units,) bool: the kept units but for the highest, so that no layer is emptied."""
    places, free = np.flatnonzero(kept), kept.copy()
    free[places[in_order({layer: ranks}, places, ties)[-1:]]] = False
    return free


def _without(mask: Mask, units: "tuple[Units, ...]", removed: Mapping[str, np.ndarray]) -> Mask:
    """The mask less the incoming column and the outgoing rows of the removed units."""
    left = dict(mask)
    for one in units:
        if one.layer in removed:
            keep = ~removed[one.layer]
            left[one.incoming] = left[one.incoming] & keep
            outgoing = left[one.outgoing]
            left[one.outgoing] = (one.by_unit(outgoing) & keep[:, None]).reshape(outgoing.shape)
    return left


def _whole(mask: Mask, units: "tuple[Units, ...]", kept: Mapping[str, np.ndarray]) -> Mask:
    """The mask, shaped as the given one, that keeps all weights between kept units."""
    dense = {path: np.ones_like(leaf) for path, leaf in mask.items()}
    return _without(dense, units, {layer: ~alive for layer, alive in kept.items()})
