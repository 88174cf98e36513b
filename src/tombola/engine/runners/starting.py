"""Workers on a study, started and followed until nothing is left to do; and the command line of a worker."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tombola.engine.runners.processes import Processes
from tombola.engine.runners.workers import follow
from tombola.store.store import Store
from tombola.studies.base import Study


def work_through(study: Study, workers: int, store: Store, arguments: Sequence[str]) -> None:
    """Have a study carried out by processes of this machine."""
    store.prepare()
    logs = store.folder.absolute() / "logs"
    follow(Processes([sys.executable, "-m", "tombola", *arguments], workers, logs), study, store)


def work_arguments(studies: Sequence[str], workers: int, store: Path, data_dir: Path | None, options: Mapping[str, Any]) -> list[str]:
    """The command line of a worker, from the options of another verb."""
    several = {"settings": "set", "sweep": "sweep", "load": "load"}
    one = {**options, "workers": workers, "store": store.absolute(), "data_dir": data_dir and data_dir.absolute()}
    given = [(name.replace("_", "-"), value) for name, value in one.items() if name not in several and value is not None]
    given += [(option, value) for name, option in several.items() for value in options[name]]
    return ["work", *studies, *(f"--{name}={value}" for name, value in given)]
