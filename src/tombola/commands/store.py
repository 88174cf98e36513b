"""Verbs of a store as a whole: its size, what can go, another one joined to it, its checksums, a study as one file; two runs compared."""

import json as json_text
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tombola.commands.configured import carried_out, resolved, study_file
from tombola.commands.printing import amount, columns, printed
from tombola.core.errors import TombolaError
from tombola.report.result import plain
from tombola.store import upkeep
from tombola.store.store import Damaged, Store

if TYPE_CHECKING:
    from tombola.engine.upkeep import Needed

_LINES = 20
"""The most runs that could go, or leaves that differ, that are shown; `--json` has all."""
_WORDS = {"run": "runs", "measurement": "measurements", "given": "arrays that were given", "network": "descriptions of networks"}
_ONE = {"given": "set of arrays that was given", "network": "description of a network"}


def store_size(store: Path, json: bool) -> None:
    """What takes up how much."""
    found = Store.there(store)
    kinds, tasks = upkeep.kinds(found), upkeep.tasks(found)
    total = upkeep.Size(sum(one.files for one in kinds.values()), sum(one.bytes for one in kinds.values()))
    if json:
        of = {"kinds": kinds, "tasks": tasks}
        return printed(total._asdict() | {name: {key: one._asdict() for key, one in sizes.items()} for name, sizes in of.items()})
    _sizes("what", "files", {**kinds, "all": total})
    if tasks:
        print()
        _sizes("task", "runs", tasks)


def _sizes(what: str, count: str, sizes: Mapping[str, upkeep.Size]) -> None:
    columns([[what, count, "size"], *([name, f"{one.files:,}", amount(one.bytes)] for name, one in sizes.items())])


def store_prune(studies: Sequence[str], store: Path, data_dir: Path | None, json: bool, yes: bool, **options: Any) -> None:
    """Show, or take out, what none of the studies needs: of those that are named, or of all that were carried out on the store."""
    from tombola.engine.upkeep import needed, prune, superfluous

    found, stays = Store.there(store), dict[str, str]()
    if studies:
        needs, whose = needed([resolved(name, options, data_dir) for name in studies], found, data_dir), ", ".join(studies)
    else:
        needs, stays = _needed_by_all(found, data_dir, **options)
        whose = "the studies that were carried out here"
    what = superfluous(found, needs)
    of_kind = {kind: [digest for one, digest in what.records if one == kind] for kind in upkeep.rooms(found)}
    shown = [] if json else [_brief(found, digest, what.records["run", digest]) for digest in of_kind["run"][:_LINES]]
    damaged = prune(found, what) if yes else []
    if json:
        left = {
            "weights": what.weights,
            "files": list(what.files),
            "bytes": what.bytes,
            "removed": yes,
            "damaged": damaged,
            "kept whole": stays,
        }
        return printed({_WORDS[kind]: digests for kind, digests in of_kind.items()} | left)
    if shown:
        columns([["run", "task", "seed", "mask", "start", "size"], *shown])
        if len(of_kind["run"]) > _LINES:
            print(f"... and {len(of_kind['run']) - _LINES} more")
    parts = [_counted(kind, len(digests)) for kind, digests in of_kind.items() if digests]
    parts += [f"{sum(map(len, what.weights.values())):,} files of weights of {len(what.weights):,} runs that stay"] if what.weights else []
    parts += [f"{len(what.files):,} checkpoints and descriptions of networks"] if what.files else []
    if not parts:
        print(f"{whose}: every file in store {str(store)!r} is needed")
    elif yes:
        print(f"removed: {', '.join(parts)}; {amount(what.bytes)}")
    else:
        print(f"not needed by {whose}: {', '.join(parts)}; {amount(what.bytes)}\nnothing was removed; --yes removes it")
    for study, why in stays.items():
        print(f"all runs of {study} stay: {why}")
    for digest in damaged:
        print(f"warning: run {digest} is damaged and stays as it is; run its study again", file=sys.stderr)


def _needed_by_all(store: Store, data_dir: Path | None, load: Sequence[Path], **options: Any) -> tuple["Needed", dict[str, str]]:
    """What the studies that were carried out on a store need; and of those of which everything stays, why."""
    from tombola.core.loading import load_files
    from tombola.engine.upkeep import needed_as_noted

    if any(value not in (None, []) for value in options.values()):
        raise TombolaError("a study is configured, but none is named: name those that are to stay, or drop these options")
    load_files(load)
    found = list(carried_out(store, data_dir))
    if not found:
        raise TombolaError(
            f"store {str(store.folder)!r} has no note of a study, so that nothing says what is needed; name those that are to stay"
        )
    needs, finished = needed_as_noted({one: study for one, _, study in found if not isinstance(study, TombolaError)}, store, data_dir)
    why = lambda study: str(study) if isinstance(study, TombolaError) else "it is not finished"  # noqa: E731
    return needs, {str(said.get("study", one)): why(study) for one, said, study in found if one not in finished}


def _brief(store: Store, digest: str, size: int) -> list[str]:
    from tombola.store.lineage import said, start, task_of

    try:
        spec = store.get(digest).json("spec")
    except Damaged:
        return [digest, "damaged", "", "", "", amount(size)]
    return [digest, task_of(spec), str(spec["seed"]), said(spec.get("mask")) or "dense", start(spec), amount(size)]


def store_merge(others: Sequence[Path], store: Path, json: bool) -> None:
    """Copy everything that other stores hold into this one."""
    found, counts, named = Store(store), Counter[tuple[str, str]](), []
    for other in others:
        for kind, digest, became in upkeep.merge(found, Store.there(other)):
            counts[kind, became] += 1
            if became in ("differs", "damaged"):
                named.append({"store": str(other), "kind": kind, "digest": digest, "is": became})
    if json:
        return printed(
            {"counts": [{"kind": kind, "is": became, "count": count} for (kind, became), count in counts.items()], "left out": named}
        )
    words = {"new": "new", "more": "with further weights", "same": "there already", "differs": "left out", "damaged": "left out"}
    said = Counter[tuple[str, str]]()
    for (kind, became), count in counts.items():
        said[kind, words[became]] += count
    print(f"{store}: {', '.join(f'{_counted(kind, count)} {word}' for (kind, word), count in said.items())}")
    for one in named:
        why = "its numbers differ from those that are here" if one["is"] == "differs" else "it is damaged"
        print(f"warning: {one['kind']} {one['digest']} of {one['store']} was left out: {why}", file=sys.stderr)


def store_verify(store: Path, json: bool) -> None:
    """Compare every file with its checksum."""
    checked, damaged = Counter[str](), []
    for kind, name, files in upkeep.verify(Store.there(store)):
        checked[kind] += 1
        damaged += [{"kind": kind, "name": name, "files": files}] if files else []
    if json:
        printed({"checked": checked, "damaged": damaged})
    else:
        for one in damaged:
            print(f"{one['kind']} {one['name']}: {', '.join(map(plain, one['files']))}")
        print(f"checked: {', '.join(_counted(*one) for one in checked.items()) or 'nothing is stored'}")
    if damaged:
        raise TombolaError(f"{len(damaged)} of {checked.total()} records are damaged; run their studies again, and they are computed again")


def store_pack(studies: Sequence[str], store: Path, data_dir: Path | None, json: bool, output: Path, **options: Any) -> None:
    """Finished studies as one file."""
    from tombola.engine.upkeep import pack_studies

    found = {name: resolved(name, options, data_dir) for name in studies}
    texts = [study_file(name, options, study) for name, study in found.items()]
    counts = pack_studies(found.values(), Store.there(store), output, data_dir, texts)
    size = output.stat().st_size
    if json:
        return printed({"file": str(output), "bytes": size, **{_WORDS[kind]: count for kind, count in counts.items()}})
    print(f"{output}: {', '.join(_counted(*one) for one in counts.items() if one[1])}, {amount(size)}")
    print(f"`tombola report {' '.join(studies)} --store {output} -o DIR` with the same options reads it in place")


def diff(first: str, second: str, store: Path, other: Path | None, json: bool) -> None:
    """Two runs compared."""
    from tombola.store.difference import difference

    here = Store.there(store)
    found = difference(here.find(first), (here if other is None else Store.there(other)).find(second))
    if json:
        return printed(found)
    print(f"a: run {found['runs'][0]}\nb: run {found['runs'][1]}")
    _rows("description", [{name: _text(value) for name, value in one.items()} for one in found["description"]], 0)
    _rows("curves", [one for one in found["curves"] if one["differ"]], len(found["curves"]))
    differing = [one for one in found["weights"] if one["differ"]]
    _rows("weights", sorted(differing, key=lambda one: -(one["relative"] or 0)), len(found["weights"]))
    _rows("masks", [one for one in found["masks"] if one["overlap"] < 1], len(found["masks"]))
    if found["leaves"]:
        print(f"\nof other shapes, or in one of them alone: {', '.join(map(plain, found['leaves']))}")


def _rows(title: str, rows: Sequence[Mapping[str, Any]], compared: int) -> None:
    """A table of what differs, under its title."""
    if not rows:
        return print(f"\n{title}: {'the same' if compared or title == 'description' else 'nothing that both have'}")
    print(f"\n{title}")
    columns([[f"  {one}" if not place else one for place, one in enumerate(rows[0])], *(_cells(row) for row in rows[:_LINES])])
    if len(rows) > _LINES:
        print(f"  ... and {len(rows) - _LINES} more")


def _cells(row: Mapping[str, Any]) -> list[str]:
    cells = [
        "" if one is None else f"{one:.4g}" if isinstance(one, float) else f"{one:,}" if isinstance(one, int) else one
        for one in row.values()
    ]
    return [f"  {cells[0]}", *cells[1:]]


def _text(value: Any) -> str:
    from tombola.store.lineage import said

    action = isinstance(value, dict) and value.get("spec") == "Action"
    text = said(value) if action else plain(value) if isinstance(value, str) else json_text.dumps(value)
    return text if len(text) <= 60 else f"{text[:56]} ..."


def _counted(kind: str, count: int) -> str:
    return f"{count:,} {_ONE.get(kind, kind) if count == 1 else _WORDS[kind]}"
