"""Being told to stop: by Ctrl-C, or by the SIGTERM that comes before a job is ended or preempted."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PATIENCE = 10.0
"""Seconds that a process which was told to stop may take until it next can do so with all that it has done kept."""
_ALARM = getattr(signal, "SIGALRM", None)  # POSIX has it
_received: list[int] = []
_deferring: list[bool] = []
_heeding: list[bool] = []
_ends: list[float] = []


class OutOfTime(KeyboardInterrupt):
    """The time is over that the work was given: it stops as if it were told to."""


@contextmanager
def until(moment: float) -> Iterator[None]:
    """Work stops at a moment of `time.monotonic`, when what it has done is kept: `check` raises `OutOfTime`."""
    _ends.append(moment)
    try:
        yield
    finally:
        _ends.pop()


def _late() -> bool:
    return bool(_ends) and time.monotonic() > _ends[-1]


def check() -> None:
    """Raise `KeyboardInterrupt` again if it was raised before: one that falls into a callback of a library may be swallowed there."""
    if _received:
        raise KeyboardInterrupt
    if _late():
        raise OutOfTime


def told() -> bool:
    """Whether the process was told to stop, or its time is over."""
    return bool(_received) or _late()


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
def heeded(ends: bool = True) -> Iterator[None]:
    """Both signals raise `KeyboardInterrupt`, so that claims are given back on the way out; within another `heeded` that one holds.

    Args:
        ends: whether a second signal ends the process at once; else it does what it did before: a notebook, whose cell is
            interrupted twice, goes on.
    """
    if _heeding:
        yield
        return
    earlier: dict[int, Any] = {}

    def stop(number: int, _: Any) -> None:
        if number != _ALARM:
            _received.append(number)
            signal.signal(number, signal.SIG_DFL if ends else earlier[number])
        if _deferring and _ALARM not in (None, number):
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE)
            return
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, *([_ALARM] if _ALARM is not None else []))
    try:
        earlier |= {number: signal.signal(number, stop) for number in numbers}
    except ValueError:  # not the main thread: its caller hears the signals
        yield
        return
    _heeding.append(True)
    try:
        yield
    finally:
        _heeding.clear()
        _received.clear()
        if _ALARM is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in earlier.items():
            signal.signal(number, handler)
