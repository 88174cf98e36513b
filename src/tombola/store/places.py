"""Which studies a store's runs are of: noted when a study is carried out, so that a run is found by its place in one."""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from tombola.core.errors import TombolaError
from tombola.store.store import Store

FOLDER = "studies"


class Place(NamedTuple):
    """A run's place in a study. Of a run that has no row of its own (the parent of others) the arm is "" and the numbers are None."""

    run: str
    variant: str = ""
    arm: str = ""
    level: int | None = None
    replicate: int | None = None
    draw: int | None = None


def note(store: Store, study: str, task: str, configuration: str, places: Iterable[Place], described: str = "") -> None:
    """Write down the places of a study's runs. A store that cannot be written goes without: it is for finding runs alone.

    Args:
        described: the study file of its configuration, by which `tombola claims` finds the study.
    """
    said = {"study": study, "task": task, "places": list(places), "described": described}
    name, content = f"{FOLDER}/{configuration}.json", json.dumps(said).encode()
    with suppress(OSError):
        if store.files.read(name) == content:
            return
    with suppress(OSError, TombolaError):  # no room, or a packed study, which is only read
        store.files.write(name, content)


def places(store: Store) -> Iterator[dict[str, Any]]:
    """Every place that was noted: `study`, the name of its `task`, the digest of its `configuration`, and the fields of `Place`.

    A note that cannot be read is passed over: its study, carried out again, writes it again.
    """
    for name in sorted(store.files.names(FOLDER)):
        try:
            found = json.loads(store.files.read(f"{FOLDER}/{name}"))
            of_study = {"study": str(found["study"]), "task": str(found["task"]), "configuration": name.removesuffix(".json")}
            own = [Place(*one)._asdict() for one in found["places"]]
        except (OSError, ValueError, TypeError, KeyError):
            continue
        yield from (of_study | one for one in own)


def study_files(store: Store) -> dict[str, str]:
    """Digest of a configuration -> the text of the study file that was noted, by the names of the studies; a note that cannot be read is
    passed over.
    """
    found = []
    for name in store.files.names(FOLDER):
        with suppress(OSError, ValueError, TypeError, KeyError):
            said = json.loads(store.files.read(f"{FOLDER}/{name}"))
            found.append((str(said["study"]), str(said["described"]), name.removesuffix(".json")))
    return {configuration: described for _, described, configuration in sorted(found) if described}
