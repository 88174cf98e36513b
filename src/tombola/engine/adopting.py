"""Results that are stored under earlier code of a user's part: which there are, and how they are found again."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

from tombola.core.registry import plain
from tombola.core.spec import Spec, digest_of
from tombola.engine.graph import Graph
from tombola.procedures.measurement import Measurement
from tombola.store.files import dump_json
from tombola.store.store import Record, Store

Codes = Mapping[str, tuple[str, str]]
"""A user's part as it is described now -> (name, source) by which earlier runs, or an earlier version of Tombola, described it."""


class Earlier(NamedTuple):
    """A result that is missing, and what is stored in its place."""

    now: Spec
    there: Record
    store: Store


def earlier(graph: Graph, measurements: Mapping[Measurement, Record], store: Store) -> list[Earlier]:
    """What of a study is missing, but stored with other code of the same name."""
    missing: list[tuple[Spec, Store]] = [(run, store) for digest, run in graph.runs.items() if digest not in store]
    missing += [(one, store.measurements) for one, record in measurements.items() if not record.exists()]
    found: dict[str, Earlier] = {}
    for codes in _codes(missing, store) if missing else ():
        before: dict[str, str] = {}
        for digest, run in graph.runs.items():  # parents first
            before[digest] = digest_of(_as_before(run.canonical(), codes, before))
        for spec, where in missing:
            there = where.get(digest_of(_as_before(spec.canonical(), codes, before)))
            if there.exists():
                found.setdefault(spec.digest, Earlier(spec, there, where))
    return list(found.values())


def adopt(found: list[Earlier]) -> None:
    """Store what is there under the description of now as well; `made.json` says where it came from."""
    for now, there, store in found:
        files = there.contents()
        made = {**there.json("made"), "adopted": {"from": there.digest, "spec": there.json("spec")}}
        store.put(now.digest, {**files, "spec.json": dump_json(now.canonical()), "made.json": dump_json(made)}, {})


def _codes(missing: list[tuple[Spec, Store]], store: Store) -> Iterator[Codes]:
    """Every combination of codes under which the parts of missing results are known in the store."""
    texts = {json.dumps(spec.canonical()) for spec, _ in missing}
    now = {name for text in texts for name in re.findall(r'"([^"@]+@[0-9a-f]{16})"', text)}
    known: dict[str, dict[tuple[str, str], None]] = {name: {(name, ""): None} for name in now}
    for record in store if now else ():
        for value, source in _named(record.json("spec")):
            for name in now:
                if plain(name) == plain(value).rpartition(":")[2]:
                    known[name][value, source] = None
    for chosen in product(*known.values()):
        yield dict(zip(known, chosen, strict=True))


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """Every text of a stored description, with the digest of a source that stands beside it."""
    if isinstance(value, dict):
        for one in value.values():
            yield from [(one, value.get("source", ""))] if isinstance(one, str) else _named(one)
    elif isinstance(value, list):
        for one in value:
            yield from _named(one)


def _as_before(value: Any, codes: Codes, runs: Mapping[str, str]) -> Any:
    """A canonical form with other codes, and with the parents that those would have had."""
    if isinstance(value, list):
        return [_as_before(one, codes, runs) for one in value]
    if not isinstance(value, dict):
        return value
    found = {key: _as_before(one, codes, runs) for key, one in value.items()}
    if value.get("spec") == "Source":
        found["run"] = runs.get(value["run"], value["run"])  # arrays that were given stay the same
    for key, one in value.items():
        if isinstance(one, str) and one in codes:
            found[key], source = codes[one]
            found |= {"source": source} if source else {}
    return found
