"""A PyTorch module with fewer units."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np

from tombola.core.errors import TombolaError
from tombola.models.layer import Layer
from tombola.models.pytorch.replay import Recorded
from tombola.models.units import Units, find_units


def units_of(recorded: Recorded, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Units, ...]:
    """The units that its graph shows, in forward order."""
    tensors = list(recorded.plan.tensors)
    layers: list[Layer] = []
    for tensor in tensors:
        if tensor.role == "kernel":
            name = tensor.path.rpartition("/")[0] if tensor.path.endswith(("/kernel", "/embedding")) else tensor.path
            layers.append(Layer(name, "dense", (tensor.path,), (tensor.path,), name))
        elif layers:
            last = layers[-1]
            layers[-1] = Layer(last.name, last.kind, (*last.paths, tensor.path), last.prunable, last.block)
    named = {path: SimpleNamespace(shape=shape) for path, shape in shapes.items()}
    return find_units([("", recorded.feeds)], tuple(layers), named)


def first_units(name: str, recorded: Recorded, tree: Mapping[str, np.ndarray], widths: Sequence[int]) -> dict[str, np.ndarray]:
    """The tree with the first units alone of each layer that can be made smaller."""
    units = units_of(recorded, {path: leaf.shape for path, leaf in tree.items()})
    if len(widths) != len(units) or any(not 0 < width <= one.count for width, one in zip(widths, units, strict=False)):
        sizes = ", ".join(f"{one.layer} {one.count}" for one in units) or "none"
        raise TombolaError(f"{name}: option widths = {list(widths)}, but it has the units {sizes}; give at most as many for each")
    left = dict(tree)
    for one, width in zip(units, widths, strict=True):
        positions = (np.arange(one.spread)[:, None] * one.count + np.arange(width)).reshape(-1)
        left[one.incoming] = left[one.incoming][..., :width]
        left[one.outgoing] = np.take(left[one.outgoing], positions, -2)
        left |= {path: left[path][:width] for path in one.own}
    return left
