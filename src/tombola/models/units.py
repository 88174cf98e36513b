"""Units as data: which leaves belong to one unit of a layer, and which layer reads it.

A module declares it in an attribute ``feeds``, a tuple of pairs of layer names below that module:

    self.feeds = (("hidden1", "hidden2"), ("hidden2", "output"))

says that the units of `hidden1` (the last axis of its kernel; channels of a convolution) are read by `hidden2` alone,
along axis -2 of its kernel, after any of: normalisation of each unit by itself (batch norm), ReLU, pooling, dropout,
flattening, averaging over pixels. Units that anything else reads (a residual stream) are not declared. The idea is
that of git re-basin (Ainsworth et al. 2022): structure is data, and what works on units is a few lines.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.models.layer import Layer

Feeds = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Units:
    """The units of one layer: where their weights are."""

    layer: str
    count: int
    incoming: str
    """Path of the layer's kernel; its last axis indexes the units."""
    own: tuple[str, ...]
    """Paths of the layer's leaves whose axis 0 indexes the units: bias, and scale, bias, mean, var of a normalisation."""
    outgoing: str
    """Path of the kernel that reads them, along axis -2."""
    spread: int
    """Positions of that axis for each unit: 1, or the pixels that a flatten laid out; position p is of unit p % count."""

    def by_unit(self, kernel: np.ndarray) -> np.ndarray:
        """The `outgoing` kernel (..., spread * count, outputs) as (..., spread, count, outputs)."""
        return kernel.reshape(*kernel.shape[:-2], self.spread, self.count, kernel.shape[-1])


def chain(names: Iterable[str]) -> Feeds:
    """What layers feed, each of which is read by the next one alone."""
    return tuple(pairwise(names))


def find_units(declared: Iterable[tuple[str, Any]], layers: tuple[Layer, ...], shapes: Mapping[str, Any]) -> tuple[Units, ...]:
    """Every layer's units that are declared, as (path of a module, its `feeds`); in the order of `layers`.

    Raises for a ``feeds`` of another form, for a name that is no layer with a kernel, for a layer named twice on one
    side, and for kernels whose sizes do not divide.
    """
    named = {layer.name: layer for layer in layers if len(layer.prunable) == 1}
    found: dict[str, Units] = {}
    for path, feeds in declared:
        for pair in _pairs(feeds):
            producer, consumer = (_layer(named, f"{path}/{name}" if path else name) for name in pair)
            units = _units(producer, consumer, shapes)
            if twice := [one for one in found.values() if one.layer == units.layer or one.outgoing == units.outgoing]:
                raise TombolaError(
                    f"feeds: {pair[0]!r} -> {pair[1]!r}, but {twice[0].layer!r} feeds {twice[0].outgoing!r} already; "
                    "declare only units that one layer alone reads, and layers that read one layer alone"
                )
            found[units.layer] = units
    return tuple(found[layer.name] for layer in layers if layer.name in found)


def check_declared(units: tuple[Units, ...]) -> None:
    """Raise where a network declares no units."""
    if not units:
        raise TombolaError(
            'this network declares no units; give its module an attribute feeds = (("hidden1", "output"), ...), '
            "a pair for each layer whose units one other layer alone reads"
        )


def _pairs(feeds: Any) -> Feeds:
    whole = isinstance(feeds, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in feeds)
    if not whole or not all(isinstance(name, str) for pair in feeds for name in pair):
        raise TombolaError(f'feeds = {feeds!r}, but it must be a tuple of pairs of layer names, such as (("hidden1", "output"),)')
    return feeds


def _layer(named: Mapping[str, Layer], name: str) -> Layer:
    if name not in named:
        raise unknown("layer in feeds", name, named)
    return named[name]


def _units(producer: Layer, consumer: Layer, shapes: Mapping[str, Any]) -> Units:
    (incoming,), (outgoing,) = producer.prunable, consumer.prunable
    count, inputs = shapes[incoming].shape[-1], shapes[outgoing].shape[-2]
    if inputs % count:
        raise TombolaError(
            f"feeds: {consumer.name!r} reads {inputs} inputs, which is no multiple of the {count} units of {producer.name!r}; "
            "declare only layers of which one reads the other's units alone"
        )
    # What stands before its own leaves belongs to the layer's inputs.
    first = next(index for index, path in enumerate(producer.paths) if path.startswith(producer.name))
    own = tuple(path for path in producer.paths[first:] if path != incoming and shapes[path].shape[:1] == (count,))
    return Units(producer.name, count, incoming, own, outgoing, inputs // count)
