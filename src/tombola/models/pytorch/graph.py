"""What a PyTorch module computes, as plain data: calls of operations in order. Neither torch nor JAX."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

FLATTEN = "tombola.flatten"
"""(batch, channels, *pixels) -> (batch, channels * pixels), however the module wrote it."""


class Ref(NamedTuple):
    """What a call gave, or what the graph was given, by name."""

    name: str


class Call(NamedTuple):
    """One operation."""

    name: str
    target: str
    """The name of the operation, such as ``aten.relu.default``."""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def operation(self) -> str:
        """The target without its overload: ``aten.relu``."""
        return ".".join(self.target.split(".")[:2])

    def refs(self) -> Iterator[Ref]:
        """All that it reads."""
        return _refs([*self.args, *self.kwargs.values()])


@dataclass(frozen=True, eq=False)
class Graph:
    """All calls of a module in one of its modes, none of them in vain."""

    calls: tuple[Call, ...]
    input: str
    result: Ref
    parameters: Mapping[str, str]
    """Name here -> name in the module, such as ``features.0.weight``."""
    buffers: Mapping[str, str]
    constants: Mapping[str, np.ndarray]
    changed: Mapping[str, Ref]
    """Buffer -> its value after the call."""
    shapes: Mapping[str, tuple[int | None, ...]]
    """The shape of every value that is an array; None in it: as many as the batch says."""

    @cached_property
    def made(self) -> dict[str, Call]:
        """The calls, by the names of what they compute."""
        return {call.name: call for call in self.calls}

    @cached_property
    def of_examples(self) -> frozenset[str]:
        """What follows from the examples."""
        found = {self.input}
        for call in self.calls:
            if any(ref.name in found for ref in call.refs()):
                found.add(call.name)
        return frozenset(found)

    @property
    def users(self) -> Counter[str]:
        """How often a value is read."""
        return Counter(ref.name for call in self.calls for ref in call.refs()) + Counter([self.result.name])

    def owner(self, given: Any) -> str:
        """The name in the module of a parameter or buffer; "" for anything else."""
        if not isinstance(given, Ref):
            return ""
        return self.parameters.get(given.name, self.buffers.get(given.name, ""))


def _refs(given: Any) -> Iterator[Ref]:
    if isinstance(given, Ref):
        yield given
    elif isinstance(given, list | tuple):
        for one in given:
            yield from _refs(one)


def live(calls: list[Call], wanted: list[Ref]) -> tuple[Call, ...]:
    """The calls on which what is wanted depends."""
    needed = {ref.name for ref in wanted}
    kept = []
    for call in reversed(calls):
        if call.name in needed:
            kept.append(call)
            needed.update(ref.name for ref in call.refs())
    return tuple(reversed(kept))
