"""What is being trained, and time left: on stderr, so that a table on stdout stays clean."""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO

from tombola.core import errors, interrupts
from tombola.engine.cells import Cell, in_notebook

_PLAIN_SECONDS = 15.0
"""Seconds between two lines where the output is no terminal."""
_SHORT = 1.0
"""Seconds of a call in a notebook that shows nothing yet."""


OnRows = Callable[[str, Sequence[Sequence[float]]], None]
"""What hears a run's digest, and its rows of metrics so far, wherever it stops to evaluate."""


class Progress:
    """Counts replica-steps. On a terminal and in a notebook one line is rewritten; elsewhere a line appears now and then."""

    def __init__(
        self,
        labels: Mapping[str, str] | None = None,
        stream: TextIO | None = None,
        quiet: bool = False,
        of_call: bool = False,
        on_rows: OnRows | None = None,
    ) -> None:
        """`of_call`: of a call in Python, which says nothing unless it is long and in a notebook, and warns as Python does."""
        self._labels, self._of_call, self.on_rows = dict(labels or {}), of_call, on_rows
        self._stream: Any = stream or (Cell() if in_notebook() else sys.stderr)
        self._quiet = quiet or (of_call and not isinstance(self._stream, Cell))
        self._lengths: dict[str, int] = {}
        self._waiting: list[str] = []
        self._runs = self._total = 0
        self._done: float = 0
        self._what, self._said, self._width = "", "", 0
        self._doing = self._did = self._nouns = ""
        self._began = self._drawn = time.monotonic()

    def label(self, digest: str) -> str:
        """What a run is called in the study."""
        return self._labels.get(digest, f"run {digest}")

    def start(self, lengths: Mapping[str, int]) -> None:
        """The runs that are to train, with their lengths in steps."""
        self._lengths, self._what = dict(lengths), ""
        self._doing, self._did, self._nouns = "training", "trained", "runs"
        self._runs, self._total, self._done = len(lengths), sum(lengths.values()), 0
        self._began = time.monotonic()

    def start_measurements(self, measurements: Iterable[str]) -> None:
        """The measurements that are to be evaluated."""
        self.start(dict.fromkeys(measurements, 1))
        self._doing, self._did, self._nouns = "evaluating", "evaluated", "measurements"

    def training(self, digests: Sequence[str]) -> None:
        """Say that these runs train now."""
        names = [self.label(digest) for digest in digests]
        self._what, self._said = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", ""
        self._draw()

    def advance(self, steps: float, said: str = "") -> None:
        """Count replica-steps (or a part of a measurement) as done, and say `said`. Raises `KeyboardInterrupt` where told to stop."""
        interrupts.check()
        self._done, self._said = self._done + steps, said
        self._draw()

    def remaining(self, missing: Iterable[str]) -> None:
        """What is left, whoever trained the rest."""
        left = list(missing)
        self._done = self._total - sum(self._lengths.get(digest, 0) for digest in left)
        self._draw()

    def waiting(self, holders: Iterable[str]) -> None:
        """What is left is done by other processes, "host:process" each, and waited for."""
        counts = Counter(holders)
        few = [f"{name or 'another process'} ({count})" for name, count in counts.most_common(3)]
        more = [f"{len(counts) - len(few)} more"] if len(counts) > len(few) else []
        self._what, self._said = f"waiting for {self._nouns} of {', '.join(few + more)}", ""
        self._draw()

    def sharing(self, workers: int) -> None:
        """Say that so many workers, whose own progress is shown elsewhere, train what is left."""
        self._what = f"{workers} worker{'s' if workers > 1 else ''}"

    def warn(self, text: str) -> None:
        """A line that stays; where nothing is printed, it waits for `warn_python`."""
        if self._quiet or self._of_call:
            self._waiting.append(text)
            return
        self._clear()
        self._print(f"warning: {text}\n")

    def warn_python(self) -> None:
        """One warning of Python's for all that was not printed: the work is done, also where warnings are errors."""
        found, self._waiting = self._waiting, []
        errors.warn(*found)

    def __enter__(self) -> "Progress":
        if self._runs and not self._quiet and not self._of_call:
            steps = f", {self._total:,} steps in all" if self._total > self._runs else ""
            self._print(f"{self._doing} {self._runs} {self._nouns}{steps}\n")
        return self

    def __exit__(self, *error: Any) -> None:
        self._clear()
        if self._runs and not self._quiet and not self._of_call and error[0] is None:
            self._print(f"{self._did} {self._runs} {self._nouns} in {duration(time.monotonic() - self._began)}\n")

    def _draw(self) -> None:
        now = time.monotonic()
        if self._quiet:
            return
        tty = self._stream.isatty()
        if not self._total or now - self._drawn < (0.1 if tty else _PLAIN_SECONDS) or (self._of_call and now - self._began < _SHORT):
            return
        self._drawn = now
        share, elapsed = self._done / self._total, now - self._began
        left = f"{duration(elapsed * (1 - share) / share)} left" if share > 0.002 else "estimating time"
        line = "  ".join([f"{share:4.0%}", left, self._what, *([self._said] if self._said else [])])
        if tty:
            line = line[: shutil.get_terminal_size().columns - 1]  # one that wraps cannot be rewritten
            self._print(f"\r{line:<{self._width}}")
            self._width = len(line)
        else:
            self._print(f"{line}\n")

    def _print(self, text: str) -> None:
        """Write at once. Where nobody reads any more (a terminal that is gone, a closed pipe), the work goes on in silence."""
        try:
            print(text, end="", file=self._stream, flush=True)
        except (OSError, ValueError):
            self._quiet = True

    def _clear(self) -> None:
        if self._width:
            self._print(f"\r{'':<{self._width}}\r")
            self._width = 0


def duration(seconds: float) -> str:
    """42 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
