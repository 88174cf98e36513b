"""Completion of commands in a shell: verbs, options, and the names of studies and tasks."""

import argparse
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from tombola.core.errors import unknown
from tombola.studies.base import Scale

SHELLS = ("bash", "zsh", "fish", "tcsh")
_NAMED = {"study": "studies", "studies": "studies", "what": "studies", "task": "tasks", "scale": "scales", "shell": "shells", "to": "tools"}
"""Argument -> what it is one of."""


def completion(parser: argparse.ArgumentParser, shell: str) -> None:
    """Print the script of a shell."""
    import shtab

    from tombola.models.tasks import tasks
    from tombola.store.tracking import TRACKERS
    from tombola.studies.catalogue import studies

    if shell not in SHELLS:
        raise unknown("shell", shell, SHELLS)
    words: dict[str, Iterable[str]] = {"studies": studies, "tasks": tasks, "scales": get_args(Scale), "shells": SHELLS, "tools": TRACKERS}
    said = {kind: " ".join(names) for kind, names in words.items()}
    files = {"bash": '; compgen -f -X "!*.toml" -- "$1"', "zsh": '; _files -g "*.toml"', "fish": " (__fish_complete_suffix .toml)"}
    for action in _actions(parser):
        if (kind := _NAMED.get(action.dest)) is not None:
            own = {"fish": said[kind] + (files["fish"] if kind == "studies" else ""), "tcsh": f"({said[kind]})"}
            found: Any = dict.fromkeys(("bash", "zsh"), f"_tombola_{kind}") | own
        elif action.metavar == "DIR":
            found = shtab.DIRECTORY
        elif "FILE" in str(action.metavar) or action.metavar in ("DATA", "MODEL"):
            found = shtab.FILE
        else:
            continue
        action.complete = found  # type: ignore[attr-defined]
    forms = {"bash": 'compgen -W "{}" -- "$1"', "zsh": "compadd {}"}
    functions = {
        form: "".join(
            f"_tombola_{kind}() {{ {call.format(names)}{files[form] if kind == 'studies' else ''}; }}\n" for kind, names in said.items()
        )
        for form, call in forms.items()
    }
    print(shtab.complete(parser, shell, preamble=functions.get(shell, "")))


def _actions(parser: Any) -> Iterator[argparse.Action]:
    """The actions of a parser and of all parsers below it."""
    for action in parser._actions:
        yield action
        for below in set(action.choices.values()) if isinstance(action, argparse._SubParsersAction) else ():
            yield from _actions(below)
