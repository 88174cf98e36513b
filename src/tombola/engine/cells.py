"""What is said below a cell of a notebook: one output that is rewritten, as a line of a terminal is."""

import sys
from typing import Any


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class Cell:
    """A stream: finished lines stay, and what follows a carriage return takes the place of the line that is there."""

    def __init__(self) -> None:
        self._lines = [""]
        self._handle: Any = None

    def isatty(self) -> bool:
        """Always True: lines can be rewritten."""
        return True

    def flush(self) -> None:
        """Do nothing: no text waits to be shown."""

    def write(self, text: str) -> None:
        """Show text below the cell."""
        before = "\n".join(self._lines)
        for place, piece in enumerate(text.split("\n")):
            self._lines += [""] * (place > 0)
            *again, last = piece.split("\r")
            self._lines[-1] = last.rstrip() if again else self._lines[-1] + last
        if (shown := "\n".join(self._lines)) != before:
            self._display({"text/plain": shown.rstrip("\n")})

    def _display(self, content: dict[str, str]) -> None:
        from IPython.display import display

        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
