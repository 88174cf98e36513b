"""`tombola.run`: a study by name."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tombola.core.task import Task
from tombola.engine.configuring import resolve
from tombola.engine.study import run_study
from tombola.store.store import Store
from tombola.studies.base import Findings, Scale


def run(
    study: str,
    scale: Scale = "small",
    *,
    task: Task | str | None = None,
    settings: Mapping[str, Any] | Iterable[str] = (),
    store: Store | Path | str = "runs",
    data_dir: Path | str | None = None,
    quiet: bool = False,
    keep: Sequence[str] = (),
    **fields: Any,
) -> Findings:
    """Carry a study out and measure it; runs that the store has are not trained again.

    Args:
        task: a task, or the name of one; the study's own if not given.
        settings: field -> value, for any field that ``tombola show STUDY`` names, such as ``{"steps": "1000it"}``; or the same as
            on the command line, ``["steps=1000it"]``.
        keep: arms whose weights at the end of training are kept, so that they can be exported, beside those of the study's first arm.
        fields: `replicates`, `seed` and other top-level fields of the configuration.

    Returns:
        Tables (pandas), curves and verdicts.
    """
    folder = Path(data_dir) if data_dir is not None else None
    given = settings.items() if isinstance(settings, Mapping) else [settings] if isinstance(settings, str) else settings
    found = resolve(study, scale=scale, task=task, settings=given, data_dir=folder, **fields)
    return run_study(found, store if isinstance(store, Store) else Store(store), folder, quiet, keep)
