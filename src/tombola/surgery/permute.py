"""The same function with the units of its layers in another order."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.trees import Tree

if TYPE_CHECKING:
    from tombola.models.units import Units


def permute(weights: Mapping[str, Any], units: Sequence["Units"], orders: Mapping[str, Any]) -> Tree:
    """Re-order units: new unit i of a layer is its old unit ``orders[layer][i]``.

    Its incoming kernel becomes ``kernel[..., order]``, bias and normalisation ``leaf[order]``, and the kernel that reads it
    ``kernel[..., order, :]``, at every pixel that a flatten laid out. Outputs are equal to rounding, and the orders
    ``np.argsort(order)`` undo it bitwise. Training goes on as it would have, to rounding, in a network without dropout.

    Args:
        weights: of one replicate; or its mask, which has no leaf for biases and normalisation.
        units: ``network.units``.
        orders: layer -> (units,) int, each of 0 ... units - 1 once. A layer that is not named stays as it is.

    Returns:
        The tree; leaves of no named layer are those given, not copies.

    Raises:
        TombolaError: for a layer that has no units, an order that is no permutation, and kernels of another size.

    Source: Ainsworth et al. 2022, section 2.
    """
    known = {one.layer: one for one in units}
    moved = {path: np.asarray(leaf) for path, leaf in weights.items()}
    for layer, given in orders.items():
        if layer not in known:
            raise unknown("layer with units", layer, known)
        one, order = known[layer], np.asarray(given)
        _check_order(one, order)
        _check_sizes(one, moved)
        moved[one.incoming] = moved[one.incoming][..., order]
        moved |= {path: moved[path][order] for path in one.own if path in moved}
        outgoing = moved[one.outgoing]
        moved[one.outgoing] = one.by_unit(outgoing)[..., order, :].reshape(outgoing.shape)
    return moved


def _check_order(units: "Units", order: np.ndarray) -> None:
    if order.dtype.kind not in "iu" or order.shape != (units.count,) or (np.sort(order) != np.arange(units.count)).any():
        raise TombolaError(f"orders {units.layer!r} is no permutation of its units: give each of 0 to {units.count - 1} once, as integers")


def _check_sizes(units: "Units", weights: Tree) -> None:
    sizes = {units.incoming: (-1, units.count), units.outgoing: (-2, units.spread * units.count)}
    sizes |= {path: (0, units.count) for path in units.own if path in weights}
    for path, (axis, size) in sizes.items():
        if path not in weights:
            raise TombolaError(f"weights: {path!r} is missing; units are permuted with the kernels on both sides of them")
        shape = weights[path].shape
        if axis >= len(shape) or -axis > len(shape) or shape[axis] != size:
            raise TombolaError(
                f"weights {path!r} has shape {shape}, but axis {axis} must have {size} entries; give one replicate of this network"
            )
