"""From the options of a command to a study: laid over those of a study file, and of files of defaults; and where each came from."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tombola.core.errors import TombolaError
from tombola.store.places import study_files
from tombola.store.store import Store
from tombola.studies.base import Study
from tombola.studies.sweep import Sweep


class _Layer(NamedTuple):
    """What one place says."""

    origin: str
    options: dict[str, Any]


def resolved(study: str, options: Mapping[str, Any], data_dir: Path | None) -> Study:
    """A study as it is to be carried out."""
    from tombola.engine.bringing import bring
    from tombola.engine.configuring import resolve, swept_values

    options = _merged(study, options)
    model, data = bring(options)
    name, sweeps = options.pop("study"), swept_values(options.pop("sweeps"))
    return resolve(name, model=model, data=data, data_dir=data_dir, sweep={**options.pop("sweep"), **sweeps}, **options)


def carried_out(store: Store, data_dir: Path | None) -> Iterator[tuple[str, Mapping[str, Any], Study | TombolaError]]:
    """Every study that was carried out with a store: the digest of its configuration, its options, and the study, or why it cannot be
    had here. What a study file names is neither run nor opened.
    """
    from tombola.engine.configuring import resolve
    from tombola.engine.study_files import read

    for configuration, described in study_files(store).items():
        options: Mapping[str, Any] = {}
        try:
            options = read(store.folder, described)
            own = {name: value for name, value in options.items() if name not in ("study", "load")}
            yield configuration, options, resolve(options["study"], data_dir=data_dir, **own)
        except TombolaError as error:
            yield configuration, options, error


def study_file(study: str, options: Mapping[str, Any], found: Study) -> str:
    """The study file of a study as it was resolved."""
    from tombola.engine.study_files import written

    said = _merged(study, options)
    own = {name: said.get(name) for name in ("model", "data", "image_size")}
    return written(found, task=said["task"] or found.default_task, scale=said["scale"], load=said["load"], **own)


def with_places(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options with the store and the folder of data that files of defaults name, where the command line does not."""
    from tombola.engine.study_files import defaults

    found = dict(given)
    if any(name in found and found[name] is None for name in ("store", "data_dir")):
        for said in defaults().values():
            found |= {name: said[name] for name in ("store", "data_dir") if name in said and name in given and given[name] is None}
    if "store" in found and found["store"] is None:
        found["store"] = Path("runs")
    return found


def origins(found: Study, study: str, options: Mapping[str, Any]) -> dict[str, str]:
    """Field of the configuration -> what said it: "default", the scale, the task, a file, or the command line."""
    from tombola.engine.configuring import configuration_of, parsed, path_of

    layers, merged = _layers(study, options), _merged(study, options)
    first = found.first if isinstance(found, Sweep) else found
    by_scale = type(first).at(merged["scale"], first.task)
    said: dict[str, str] = {}
    for layer in layers:
        given = [parsed(one)[0] for one in layer.options.get("settings", ())]
        given += [name for name in ("replicates", "seed") if layer.options.get(name) is not None]
        said |= {".".join(path_of(first, key)): layer.origin for key in given}
        said |= {f"task.{name}": layer.origin for name in ("model", "data") if layer.options.get(name) is not None}
        swept = {*layer.options.get("sweep", ()), *(text.partition("=")[0] for text in layer.options.get("sweeps", ()))}
        said |= {f"sweep {key}": layer.origin for key in swept}

    def origin(path: str) -> str:
        for place, where in reversed(said.items()):
            if f"{path}.".startswith(f"{place}.") or f"{place}.".startswith(f"{path}."):
                return where
        if path.startswith("task."):
            return f"task {merged['task'] or first.default_task}"
        return f"scale {merged['scale']}" if path.partition(".")[0] in by_scale else "default"

    return {path: origin(path) for path in configuration_of(found)}


def options_of(found: Study, study: str, options: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    """The options that are no fields of the configuration: option -> its value, and what said it."""
    said: dict[str, tuple[Any, str]] = {
        "scale": ("small", "default"),
        "task": (found.default_task, "default"),
        "store": ("runs", "default"),
    }
    for layer in _layers(study, options):
        for name in ("scale", "task", "store", "data_dir", "load"):
            if value := layer.options.get(name):
                said[name] = ([str(one) for one in value] if name == "load" else str(value), layer.origin)
    return said


def _layers(study: str, options: Mapping[str, Any]) -> list[_Layer]:
    """What is said at each place: each goes before those ahead of it."""
    from tombola.engine.study_files import defaults, read

    files = defaults() | ({study: read(Path(study))} if study.endswith(".toml") else {})
    given = {"sweeps" if name == "sweep" else name: value for name, value in options.items()}
    return [*(_Layer(name, said) for name, said in files.items()), _Layer("command line", given)]


def _merged(study: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """All that is said of a study: of two that say the same the later; files to load and settings one after the other."""
    merged: dict[str, Any] = {"scale": "small", "task": None, "model": None, "study": study, "sweep": {}, "sweeps": []}
    lists: dict[str, list[Any]] = {"load": [], "settings": []}
    for layer in _layers(study, options):
        merged |= {name: value for name, value in layer.options.items() if value is not None and name not in lists}
        lists = {name: [*before, *layer.options.get(name, ())] for name, before in lists.items()}
    return {name: value for name, value in merged.items() if name not in ("store", "data_dir")} | lists
