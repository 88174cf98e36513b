"""How verbs print: tables, paths, JSON."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tombola.report.result import plain


def columns(rows: Sequence[Sequence[str]]) -> None:
    """Left-aligned columns, cut at the terminal's width where there is one."""
    import shutil

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        print(plain("  ".join(f"{text:<{size}}" for text, size in zip(row, widths, strict=True)).rstrip()[:width]))


def amount(size: int) -> str:
    """Bytes as people say them: 12 B, 3.4 kB, 1.2 GB."""
    value, unit = float(size), 0
    while value >= 999.5 and unit < 4:
        value, unit = value / 1000, unit + 1
    return f"{size} B" if not unit else f"{value:.3g} {('kB', 'MB', 'GB', 'TB')[unit - 1]}"


def print_paths(paths: Sequence[Path]) -> None:
    """Print paths, one a line."""
    for path in paths:
        print(path)


def printed(value: Any) -> None:
    """A value, indented; what JSON has no word for as text."""
    print(json.dumps(value, indent=1, default=str))
