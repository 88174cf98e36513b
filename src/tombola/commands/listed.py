"""Runs of a store as rows that can be chosen and sorted: what `tombola runs` lists, and where `tombola export STUDY` finds its run."""

import operator
import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from tombola.core.errors import TombolaError, shown, unknown
from tombola.store.places import Place, places
from tombola.store.store import Store

Listed = dict[str, Any]
"""A run, or a run at its place in a study: name -> value."""

_SIGNS = {"<=": operator.le, ">=": operator.ge, "!=": operator.ne, "==": operator.eq, "<": operator.lt, ">": operator.gt, "=": operator.eq}
NOWHERE = {"study": "", "configuration": "", **{name: value for name, value in Place("")._asdict().items() if name != "run"}}
"""The place of a run that is in no study: name -> value."""


def at_places(store: Store, runs: Iterable[Listed]) -> list[Listed]:
    """Each run at each of its places in studies that were carried out on the store; one that is in none has empty texts there, and None."""
    of: dict[str, list[Listed]] = {}
    for place in places(store):
        of.setdefault(place["run"], []).append({name: value for name, value in place.items() if name != "task"})
    return [{**run, **place} for run in runs for place in of.get(run["run"], [NOWHERE])]


def chosen(rows: Sequence[Listed], where: Sequence[str], **places: Any) -> list[Listed]:
    """The rows that are as asked. Raises in one line for a name that no row has, or a value that none has.

    Args:
        where: conditions such as ``density<0.1`` or ``arm=ticket``; all hold.
        places: name -> the value that it is to have; None: any.
    """
    found = list(rows)
    for name, value in places.items():
        if value is not None:
            there = {row[name] for row in found} - {"", None}
            if found and not there:
                raise TombolaError(f"no run of this store says its {name}: drop --{name}, or `tombola run` its study again, which notes it")
            if value not in there:
                raise unknown(name, value, map(str, there))
            found = [row for row in found if row[name] == value]
    for condition in where:
        name, sign, text = _parsed(condition)
        names = {name for row in rows for name in row}
        if rows and name not in names:
            raise unknown("name in --where", name, names)
        found = [row for row in found if row.get(name) is not None and _holds(row[name], sign, text)]
    return found


def in_order(rows: Iterable[Listed], by: str | None) -> list[Listed]:
    """Rows sorted by a name, from the largest if ``-`` stands before it; what has no value comes last."""
    rows = list(rows)
    name = (by or "").removeprefix("-")
    names = {name for row in rows for name in row}
    if not by or not rows:
        return rows
    if name not in names:
        raise unknown("name in --sort", name, names)
    there = [row for row in rows if row.get(name) is not None]
    there.sort(key=lambda row: (isinstance(row[name], str | list), row[name]), reverse=by.startswith("-"))
    return there + [row for row in rows if row.get(name) is None]


def one_run(store: Store, study: str, where: Sequence[str], **at: Any) -> str:
    """The digest of the run at a place in a study. Raises in one line unless that is one run."""
    rows = [place for place in places(store) if place["study"] == study and place["run"] in store and place["arm"]]
    found = chosen(rows, where, **at)
    if len({row["run"] for row in found}) == 1:
        return str(found[0]["run"])
    if not found:
        raise TombolaError(f"no run of {study} is so in store {str(store.folder)!r}; `tombola runs --study {study}` lists them")
    raise TombolaError(f"{len({row['run'] for row in found})} runs of {study} are so; they differ in {_differences(found)}")


def studies_of(store: Store) -> set[str]:
    """Names of the studies that were carried out on a store."""
    return {place["study"] for place in places(store)}


def _differences(rows: Sequence[Listed]) -> str:
    """What tells rows apart, and how it is chosen."""
    told = []
    for name in ("arm", "level", "replicate", "variant", "draw", "task", "configuration"):
        values = list(dict.fromkeys(str(row[name]) for row in rows))
        if len(values) > 1:
            option = f"--{name}" if name in ("arm", "level", "replicate") else f"--where {name}=..."
            told.append(f"{name} ({', '.join(map(shlex.quote, values[:6]))}{', ...' if len(values) > 6 else ''}; choose with {option})")
    return "; ".join(told)


def _parsed(condition: str) -> tuple[str, str, str]:
    match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|!=|==|<|>|=)\s*(.*?)\s*", condition)
    if match is None:
        raise TombolaError(f"--where {shown(condition)}: write NAME, one of = != < <= > >=, and a value, for example 'density<0.1'")
    return match[1], match[2], match[3]


def _holds(value: Any, sign: str, text: str) -> bool:
    """Whether a condition holds: numbers are compared as numbers, all else as texts."""
    try:
        given: Any = float(text)
    except ValueError:
        given = None
    if isinstance(value, int | float):
        if given is None:
            raise TombolaError(f"--where: {shown(text)} is compared with the number {value}; give a number")
        return bool(_SIGNS[sign](value, given))
    return bool(_SIGNS[sign](str(value), text))
