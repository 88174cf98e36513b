"""What studies need of a store: the rest can go, and a finished study is a file."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tombola.core.errors import TombolaError
from tombola.engine.reading import wanted
from tombola.engine.steps import last_iteration
from tombola.engine.study import Parts, followed, lacking
from tombola.procedures.measurement import Measurement
from tombola.procedures.run import Given, Run
from tombola.store.files import dump_json
from tombola.store.packed import pack
from tombola.store.places import FOLDER, places
from tombola.store.store import Damaged, Record, Store
from tombola.store.upkeep import rooms
from tombola.studies.base import Study


class Needed(NamedTuple):
    """What studies need: of each run, by its digest, the iterations whose weights somebody reads; digests of the others."""

    runs: dict[str, set[int]]
    measurements: set[str]
    given: set[str]

    def has(self, kind: str, digest: str) -> bool:
        """Whether they need a record."""
        return digest in {"run": self.runs, "measurement": self.measurements, "given": self.given}[kind]


class Superfluous(NamedTuple):
    """What nobody needs: names of files in the store -> bytes."""

    records: dict[tuple[str, str], int]
    """(kind, digest) -> bytes."""
    weights: dict[str, dict[str, int]]
    """Run that is needed -> its files of weights, and of masks by step, that are not."""
    files: dict[str, int]
    """Checkpoints of runs that are not needed, and descriptions of networks that no run has."""

    @property
    def bytes(self) -> int:
        """The bytes of all these files together."""
        return sum(self.records.values()) + sum(self.files.values()) + sum(sum(one.values()) for one in self.weights.values())


def needed(studies: Iterable[Study], store: Store, data_dir: Path | None = None, finished: bool = False) -> Needed:
    """What some studies need together, as far as the results in the store call for it.

    Raises:
        TombolaError: for a study of which nothing is there; and for one that is not finished, if it has to be (`finished`), or chooses runs
            by its results: what it needs is not known yet.
    """
    found = Needed({}, set(), set())
    for study in studies:
        parts, _ = followed(study, store, data_dir)
        less, place = lacking(parts), f"in store {str(store.folder)!r}"
        if not any(record.exists() for record in parts.runs.values()):
            raise TombolaError(
                f"{study.name}: none of its {len(parts.runs)} runs is {place} under these options; give those that "
                "it ran under, or a study file"
            )
        if less and (finished or type(study).more is not Study.more):
            raise TombolaError(f"{study.name}: {less} not {place}; `tombola run {study.name}` with the same options finishes it first")
        _add(found, parts, data_dir)
    return found


def needed_as_noted(studies: Mapping[str, Study], store: Store, data_dir: Path | None = None) -> tuple[Needed, set[str]]:
    """What the studies that were carried out on a store need, by the digests of their configurations; and those that are finished.

    A finished study needs what it reads. All else that was noted stays whole; so do runs at no place in a study, measurements and arrays
    that were given, as calls in Python may have made them, and each run's last weights, which may have been kept to be exported.
    """
    finished = {one: study for one, study in studies.items() if not lacking(followed(study, store, data_dir)[0])}
    found, of_run = needed(finished.values(), store, data_dir), dict[str, set[str]]()
    for place in places(store):
        of_run.setdefault(place["run"], set()).add(place["configuration"])
    files, begun = _by_record(store.files.sizes(), ""), store.files.work().begun
    for digest in {*store.files.records(), *begun}:
        steps = {step for name in files.get(digest, ()) if (step := _step(name)) is not None}
        if not of_run.get(digest, set()) or of_run[digest] - finished.keys():
            found.runs[digest] = steps
        elif digest in found.runs and steps:
            found.runs[digest].add(max(steps))
    found.measurements.update(store.measurements.files.records(), store.measurements.files.work().begun)
    found.given.update(store.given.files.records())
    return found, set(finished)


def _add(found: Needed, parts: Parts, data_dir: Path | None) -> None:
    for digest in parts.runs:
        found.runs.setdefault(digest, set()).update(wanted(parts.graph, digest, data_dir))
        if digest in parts.graph.ends:
            found.runs[digest].add(last_iteration(parts.graph.runs[digest], data_dir))
    found.measurements.update(one.digest for one in parts.measurements)
    looking: list[Run | Measurement] = [*parts.graph.runs.values(), *parts.measurements]
    of = [ref.run for one in looking for ref in one.parents()]
    found.given.update(one.digest for one in of if isinstance(one, Given))


def superfluous(store: Store, needs: Needed) -> Superfluous:
    """What of a store nobody needs."""
    sizes = store.files.sizes()
    records: dict[tuple[str, str], int] = {}
    weights: dict[str, dict[str, int]] = {}
    networks: set[str] = set()
    for kind, room in rooms(store).items():
        prefix = {"run": "", "measurement": "probes/", "given": "given/"}[kind]
        own = _by_record(sizes, prefix)
        for record in room:
            if not needs.has(kind, record.digest):
                records[kind, record.digest] = sum(own.get(record.digest, {}).values())
            elif kind == "run":
                networks.update(_network(record))
                read = {None, *needs.runs[record.digest]}
                if unread := {name: size for name, size in own[record.digest].items() if _step(name) not in read}:
                    weights[record.digest] = unread
    left = {name: size for name, size in sizes.items() if re.fullmatch(r"networks/[0-9a-f]{16}\.json", name) and name not in networks}
    for name, size in sizes.items():
        match = re.fullmatch(r"(probes/)?\.work/([0-9a-f]+)\.checkpoint\.safetensors", name)
        if match and not needs.has("measurement" if match[1] else "run", match[2]):
            left[name] = size
    return Superfluous(records, weights, left)


def _by_record(sizes: Mapping[str, int], prefix: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for name, size in sizes.items():
        record, _, file = name.removeprefix(prefix).partition("/")
        if name.startswith(prefix) and file:
            found.setdefault(record, {})[file] = size
    return found


def _network(record: Record) -> list[str]:
    try:
        return [f"networks/{record.json('summary').get('network')}.json"]
    except Damaged:
        return []


def _step(name: str) -> int | None:
    """The iteration of a file of weights, or of a mask that moves; None for any other."""
    match = re.fullmatch(r"(?:weights|masks)/(\d{1,9})it\.safetensors", name)
    return int(match[1]) if match else None


def prune(store: Store, what: Superfluous) -> list[str]:
    """Take it out. Runs that are damaged, so that they could not be written again without their weights, stay; their names.

    Raises:
        TombolaError: if a process works on something that is to go: its study is not among those that were named.
    """
    store.prepare()
    found = rooms(store)
    busy = [digest for kind, digest in what.records if found[kind].files.claimed(digest)]
    for name in what.files:
        digest, room = Path(name).name.partition(".")[0], "measurement" if name.startswith("probes/") else "run"
        busy += [digest] if found[room].files.claimed(digest) else []
    if busy:
        raise TombolaError(f"{busy[0]} is being computed for a study that was not named; name that too, or wait until it is finished")
    damaged = []
    for kind, digest in what.records:
        found[kind].remove(digest)
    for digest, unread in what.weights.items():
        try:
            contents = store.get(digest).contents()
        except Damaged:
            damaged.append(digest)
            continue
        store.put(digest, {name: content for name, content in contents.items() if name not in unread}, {}, replace=True)
    for name in what.files:
        store.files.erase(name)
    return damaged


def pack_studies(studies: Iterable[Study], store: Store, path: Path, data_dir: Path | None, texts: Sequence[str]) -> dict[str, int]:
    """Write finished studies as one file, a store that is read in place; kind -> how many records it has.

    Args:
        texts: each study's configuration, as a study file: `study.toml` of the file, and `study2.toml`, ... of further ones.

    Raises:
        TombolaError: if a study is not finished, or the file cannot be written.
        Damaged: if a file of the store is damaged.
    """
    studies = list(studies)
    needs, files, counts = needed(studies, store, data_dir, finished=True), dict[str, Callable[[], bytes]](), {}
    for kind, room in rooms(store).items():
        prefix = {"run": "", "measurement": "probes/", "given": "given/"}[kind]
        records = [record for record in room if needs.has(kind, record.digest)]
        for record in records:
            files |= {f"{prefix}{record.digest}/{name}": content for name, content in _contents(record, needs).items()}
        counts[kind] = len(records)
    names = dict.fromkeys(name for digest in needs.runs for name in _network(store.get(digest)))
    files |= {name: partial(store.files.read, name) for name in names if store.files.has(name)}
    files |= {
        name: partial(store.files.read, name) for name in (f"{FOLDER}/{study.digest}.json" for study in studies) if store.files.has(name)
    }
    files |= {f"study{place or ''}.toml": text.encode for place, text in zip(["", *range(2, len(texts) + 1)], texts, strict=True)}
    try:
        pack(path, files)
    except OSError as error:
        raise TombolaError(f"{path} cannot be written ({error.strerror or error}); choose another file with -o") from None
    return counts


def _contents(record: Record, needs: Needed) -> dict[str, Callable[[], bytes]]:
    """Name -> what reads it, of the files of a record that are needed, with a manifest of these alone."""
    steps = {None, *needs.runs.get(record.digest, record.steps())}  # of arrays that were given all
    kept = {name: digest for name, digest in record.checksums.items() if _step(name) in steps}
    return {**{name: partial(record.read, name) for name in kept}, "manifest.json": lambda: dump_json(kept)}
