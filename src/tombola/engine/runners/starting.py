"""Workers on a study, started and followed until nothing is left to do; and the command line of a worker."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tombola.engine.runners.on_ray import Ray
from tombola.engine.runners.processes import Processes
from tombola.engine.runners.workers import Workers, follow
from tombola.store.store import Store
from tombola.studies.base import Study


def work_through(study: Study, workers: int, ray: str | None, store: Store, arguments: Sequence[str]) -> None:
    """Have a study carried out by workers: tasks of Ray, if an address is given, else processes of this machine."""
    store.prepare()
    logs = store.folder.absolute() / "logs"
    started: Workers
    if ray is not None:
        started = Ray(arguments, workers, logs, ray)
    else:
        started = Processes([sys.executable, "-m", "tombola", *arguments], workers, logs)
    follow(started, study, store)


def work_arguments(studies: Sequence[str], workers: int, store: Path, data_dir: Path | None, options: Mapping[str, Any]) -> list[str]:
    """The command line of a worker, from the options of another verb."""
    several = {"settings": "set", "sweep": "sweep", "load": "load"}
    one = {**options, "workers": workers, "store": store.absolute(), "data_dir": data_dir and data_dir.absolute()}
    given = [(name.replace("_", "-"), value) for name, value in one.items() if name not in several and value is not None]
    given += [(option, value) for name, option in several.items() for value in options[name]]
    return ["work", *studies, *(f"--{name}={value}" for name, value in given)]
