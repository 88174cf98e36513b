"""What a network says on the way from inputs to outputs."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_said: ContextVar[dict[str, Any] | None] = ContextVar("said", default=None)


def sow(name: str, value: Any) -> Any:
    """Say what a network computes on the way, in its ``__call__``: ``code = tb.sow("code", nnx.relu(self.encoder(x)))``.

    Objectives (`Objective.reads`) and measurements find it by its name; of what is said twice, the last. Elsewhere it does nothing.

    Args:
        value: (batch, ...); not from inside a transformation of the module's own, such as a scan.

    Returns:
        The value.
    """
    if (said := _said.get()) is not None:
        said[name] = value
    return value


@contextmanager
def sown() -> Iterator[dict[str, Any]]:
    """What is said while this is open, by name."""
    said: dict[str, Any] = {}
    before = _said.set(said)
    try:
        yield said
    finally:
        _said.reset(before)
