"""What becomes of a run or a measurement of which a file is damaged."""

from tombola.engine.progress import Progress
from tombola.store.store import Record


def discard(record: Record, name: str, progress: Progress) -> None:
    """Name the damaged file, and take its run (or measurement) out of the store, to be computed again."""
    record.files.remove(record.digest)
    progress.warn(f"{record.folder / name} is damaged; computing it again")
