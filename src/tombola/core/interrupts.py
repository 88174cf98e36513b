"""Being told to stop: by Ctrl-C, or by the SIGTERM that comes before a job is ended or preempted."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_received: list[int] = []


def check() -> None:
    """Raise `KeyboardInterrupt` again if it was raised before: one that falls into a callback of a library may be swallowed there."""
    if _received:
        raise KeyboardInterrupt


def name() -> str:
    """What a process that was told to stop says of itself."""
    return "terminated" if signal.SIGTERM in _received else "interrupted"


@contextmanager
def heeded() -> Iterator[None]:
    """Both signals raise `KeyboardInterrupt`, so that claims are given back on the way out; a second one ends the process at once."""

    def stop(number: int, _: Any) -> None:
        _received.append(number)
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, stop) for number in numbers]
    except ValueError:  # not the main thread: its caller hears the signals
        yield
        return
    try:
        yield
    finally:
        _received.clear()
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
