"""Layers taken together: one by one, by residual block, by stage."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from tombola.core.errors import unknown

if TYPE_CHECKING:
    from tombola.models.layer import Layer

Unit = Literal["layer", "block", "stage"]
UNITS: tuple[Unit, ...] = get_args(Unit)


def groups(layers: "Sequence[Layer]", unit: Unit) -> "dict[str, tuple[Layer, ...]]":
    """Name -> its layers, in forward order.

    `layer`: each by itself; `block`: those of equal `Layer.block`; `stage`: those whose names begin with the same
    component, such as ``stage1``, and by itself a layer that shares it with no other.
    """
    if unit not in UNITS:
        raise unknown("unit", unit, UNITS)
    first = Counter(layer.name.split("/")[0] for layer in layers)
    found: dict[str, tuple[Layer, ...]] = {}
    for layer in layers:
        outermost = layer.name.split("/")[0]
        name = {"layer": layer.name, "block": layer.block, "stage": outermost if first[outermost] > 1 else layer.name}[unit]
        found[name] = (*found.get(name, ()), layer)
    return found
