"""How long JAX has been tracing and compiling in this process: what a first call costs, and a later one does not."""

import time

_intervals: list[tuple[float, float]] = []
"""(begin, end) of the outermost ones that are over: a program is traced with others inside it."""
_listens = False


def seconds() -> float:
    """Seconds so far. The first call begins to count."""
    global _listens
    if not _listens:
        import jax

        jax.monitoring.register_event_duration_secs_listener(_heard)
        _listens = True
    return sum(end - begin for begin, end in _intervals)


def _heard(event: str, duration_secs: float, **_: str | int) -> None:
    if event.startswith("/jax/core/compile/"):
        end = time.monotonic()
        while _intervals and _intervals[-1][0] >= end - duration_secs:
            _intervals.pop()
        _intervals.append((end - duration_secs, end))
