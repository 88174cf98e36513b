"""Studies as TOML files: what `tombola run study.toml` reads, and what `tombola show --toml` writes."""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from tombola.core.errors import TombolaError, unknown
from tombola.core.spec import Spec
from tombola.engine.configuring import fields_of, path_of
from tombola.models.tasks import tasks
from tombola.studies.base import Scale, Study
from tombola.studies.sweep import Sweep

_TABLES = ("set", "sweep")
_OWN = ("scale", "task", "model", "data", "image_size", "replicates", "seed", "load")
_KEYS = ("study", *_OWN, *_TABLES)
_DEFAULTS = ("store", "data_dir", *_OWN, "set")
DEFAULTS = "tombola.toml"
"""What a file is called that says what is not said otherwise: in the folder where one works, and in the user's configuration folder."""


def read(path: Path, text: str | None = None) -> dict[str, Any]:
    """What a study file says, as options of the command line have it: `study`, `scale`, `task`, `model`, `data`, `image_size`,
    `replicates`, `seed`, `settings`, `sweep` and `load`. Paths are those beside the file. Raises in one line for another key.

    Args:
        text: the file's, where it is known.
    """
    found = _read(path, _KEYS, "study file", text)
    if not isinstance(found.get("study"), str):
        raise TombolaError(f'study file {str(path)!r} names no study; write study = "frankle2019.sparsity", say, as its first line')
    return found


def defaults() -> dict[str, dict[str, Any]]:
    """Name of a file of defaults that is there -> what it says, as `read` has it, with `store` and `data_dir`; the user's own file
    first, which the folder's goes before.
    """
    own = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "tombola" / DEFAULTS
    return {str(path): _read(path, _DEFAULTS, "file of defaults") for path in (own, Path(DEFAULTS)) if path.is_file()}


def _read(path: Path, keys: Sequence[str], kind: str, text: str | None = None) -> dict[str, Any]:
    what = f"{kind} {str(path)!r}"
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8") if text is None else text)
    except OSError as error:
        raise TombolaError(f"{what} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TombolaError(f"{what} is not TOML: {error}") from None
    for key in found:
        if key not in keys:
            raise TombolaError(f"{what}: {unknown('key', key, keys)}; fields of the study stand under [set]")
    if found.get("scale", "small") not in get_args(Scale):
        raise unknown("scale", found["scale"], get_args(Scale))
    for table in _TABLES:
        if not isinstance(found.get(table, {}), dict):
            raise TombolaError(f"{what}: write [{table}] as a table, with one field a line below it")
    for key in ("task", "model", "data", "store", "data_dir"):
        if not isinstance(found.get(key, ""), str):
            raise TombolaError(f"{what}: {key} = {found[key]!r}, but a text is needed")
    for key in {"data", "store", "data_dir"} & found.keys():
        if "://" not in found[key]:
            found[key] = path.parent / Path(found[key]).expanduser()
    load = found.pop("load", [])
    here = [path.parent / one for one in ([load] if isinstance(load, str) else load)]
    settings = _flat(found.pop("set", {}))
    return {**found, "load": here, "settings": list(settings.items()), "sweep": _flat(found.get("sweep", {}))}


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted keys, which TOML reads as tables, as they were written; the value of a quoted path is taken whole."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and "." not in key else {f"{prefix}{key}": value}
    return found


def written(study: Study, *, task: str = "", scale: str = "small", load: Sequence[Path] = (), **own: Any) -> str:
    """The study file of a resolved configuration: every field by its full path, so that other defaults, or another scale, change nothing.

    Args:
        task: the one whose fields it starts from, "" the study's own; of one that is not registered the study's default.
        own: `model`, `data` and `image_size` as they were given, each None if it was not.
    """
    import tomli_w

    task = task or study.task.name
    task = task if task in tasks else study.default_task
    first, swept = (study.first, study.swept) if isinstance(study, Sweep) else (study, {})
    head: dict[str, Any] = {"study": study.name, "scale": scale, "task": task}
    head |= {name: str(one) if name != "image_size" else one for name, one in own.items() if one is not None}
    head |= {"load": [str(path) for path in load]} if load else {}
    left_out = (
        *(["task.name"] if task == first.task.name else []),
        "task.data.content",
        *(".".join(path_of(first, key)) for key in swept if key != "task"),
        *(f"task.{part}" for part in ("model", "data") if own.get(part)),
        *(["task"] if "task" in swept else []),
    )
    fields = {
        path: _plain(value) for path, value in fields_of(first).items() if not f"{path}.".startswith(tuple(f"{one}." for one in left_out))
    }
    return tomli_w.dumps({**head, "set": fields, **({"sweep": _plain(swept)} if swept else {})})


def _plain(value: Any) -> Any:
    """A value as TOML holds it; None, for which it has no word, as the text that `--set` takes."""
    if isinstance(value, Spec):
        return {name: _plain(part) for name, part in value.canonical().items() if name != "spec"}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return "null" if value is None else str(value) if isinstance(value, str) else value
