"""Being told to stop: by Ctrl-C, or by the SIGTERM that comes before a job is ended or preempted."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PATIENCE = 10.0
"""Seconds that a process which was told to stop may take until it next can do so with all that it has done kept."""
_ALARM = getattr(signal, "SIGALRM", None)  # POSIX has it
_received: list[int] = []
_deferring: list[bool] = []


def check() -> None:
    """Raise `KeyboardInterrupt` again if it was raised before: one that falls into a callback of a library may be swallowed there."""
    if _received:
        raise KeyboardInterrupt


def told() -> bool:
    """Whether the process was told to stop."""
    return bool(_received)


@contextmanager
def deferred() -> Iterator[None]:
    """Signals wait for the next `check`, so that what was done is kept first; for 10 seconds at most, then they interrupt as ever."""
    _deferring.append(True)
    try:
        yield
    finally:
        _deferring.pop()


def name() -> str:
    """What a process that was told to stop says of itself."""
    return "terminated" if signal.SIGTERM in _received else "interrupted"


@contextmanager
def heeded() -> Iterator[None]:
    """Both signals raise `KeyboardInterrupt`, so that claims are given back on the way out; a second one ends the process at once."""

    def stop(number: int, _: Any) -> None:
        if number != _ALARM:
            _received.append(number)
            signal.signal(number, signal.SIG_DFL)
        if _deferring and _ALARM not in (None, number):
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
            return
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, *([_ALARM] if _ALARM is not None else []))
    try:
        before = [signal.signal(number, stop) for number in numbers]
    except ValueError:  # not the main thread: its caller hears the signals
        yield
        return
    try:
        yield
    finally:
        _received.clear()
        if _ALARM is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
