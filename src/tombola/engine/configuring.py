"""The way from names, a scale and ``KEY=VALUE`` settings to a resolved study."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from itertools import product
from pathlib import Path
from typing import Any, get_args

from tombola.core.errors import TombolaError, nearest, shown, unknown
from tombola.core.fields import FieldHelp, help_of
from tombola.core.loading import load_part
from tombola.core.objective import Objective
from tombola.core.spec import Spec
from tombola.core.task import Data, Model, Task
from tombola.data.identity import identified
from tombola.models.tasks import task as named_task
from tombola.models.tasks import tasks
from tombola.studies.base import Scale, Study
from tombola.studies.catalogue import studies
from tombola.studies.sweep import Sweep


def resolve(
    name: str,
    *,
    scale: Scale = "small",
    task: Task | str | None = None,
    model: Model | None = None,
    data: Data | None = None,
    settings: Iterable[str | tuple[str, Any]] = (),
    sweep: Mapping[str, Sequence[Any]] | None = None,
    data_dir: Path | None = None,
    **fields: Any,
) -> Study:
    """A study by name, configured; its data are told by their bytes, where those in `data_dir` are not the canonical ones.

    Args:
        model, data: what to put in the place of the task's own.
        settings: ``KEY=VALUE``, or (key, value); the key is a field's full path (``task.recipe.steps``) or its last part where that
            is unambiguous (``steps``), and a field of the study itself goes before one of its task; the value is JSON, or plain text.
        sweep: key -> values, of which each combination is a setting of one study (`tombola.studies.sweep.Sweep`); `task` is a key, too.
        fields: further fields of the configuration, by the same keys; None leaves them as they are.
    """
    if sweep:
        options = {"scale": scale, "task": task, "model": model, "data": data, "data_dir": data_dir, **fields}
        return _swept(name, dict(sweep), list(settings), options)
    kind: type[Study] = studies[name]
    if scale not in get_args(Scale):
        raise unknown("scale", scale, get_args(Scale))
    if not isinstance(task, Task):
        named = kind.default_task if task is None else str(task)
        tasks.check(named)
        task = named_task(named, scale)
    if own := {name: one for name, one in (("model", model), ("data", data)) if one is not None}:
        usual = {**Task.model_fields["rates"].default, **task.rates}  # a network may have kinds of layers that the task's has not
        task = task.but(**own, **({"rates": usual} if model is not None else {}))
    study = kind(task=task, **kind.at(scale, task))
    study = apply(study, [*((key, value) for key, value in fields.items() if value is not None), *settings])
    return study.but(task=identified(study.task, data_dir))


def _swept(name: str, sweep: dict[str, Sequence[Any]], settings: list[Any], options: dict[str, Any]) -> Sweep:
    for key, values in sweep.items():
        if not isinstance(values, list | tuple) or not values:
            raise TombolaError(f"sweep {key} = {values!r}: give a list of values, such as {key} = [1, 2]")
    found: dict[str, Study] = {}
    for combination in product(*sweep.values()):
        setting = dict(zip(sweep, combination, strict=True))
        label = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in setting.items())
        if label in found:
            raise TombolaError(f"sweep: {label} is given twice; name each value once")
        own = {**options, "task": setting.pop("task")} if "task" in setting else options
        found[label] = resolve(name, settings=[*settings, *setting.items()], **own)
    first = next(iter(found.values()))
    swept = {".".join(path_of(first, key)): key for key in sweep if key != "task"}
    for given, value in map(parsed, settings):
        if twice := swept.get(".".join(path_of(first, given))):
            raise TombolaError(f"{twice} is swept, and {given} is set, to {value}; leave one of the two out")
    return Sweep(task=first.task, replicates=first.replicates, seed=first.seed, settings=found, swept=sweep)


def swept_values(given: Iterable[str]) -> dict[str, Any]:
    """``KEY=[A, B]`` of the command line: key -> values. Raises in one line for what is no list in JSON."""
    found = {}
    for text in given:
        key, sign, values = text.partition("=")
        try:
            found[key] = json.loads(values)
        except ValueError:
            sign = ""
        if not sign or not isinstance(found[key], list):
            raise TombolaError(
                f'--sweep {text!r}: write KEY=[A, B] with a list in JSON, for example --sweep \'criterion=["large_final", "movement"]\''
            )
    return found


def apply(study: Study, settings: Iterable[str | tuple[str, Any]]) -> Study:
    """The configuration with the settings made, all or none. Their order is of no matter: one that is not allowed yet waits for the
    others.
    """
    waiting = [parsed(setting) for setting in settings]
    given: set[str] = set()
    while waiting:
        refused: list[tuple[str, Any]] = []
        errors: list[TombolaError] = []
        for key, value in waiting:
            try:
                path = path_of(study, key)
                study = _replaced(study, path, _value(value) if isinstance(value, str) else value)
                given.add(".".join(path))
            except TombolaError as error:
                refused.append((key, value))
                errors.append(error)
        if len(refused) == len(waiting):
            raise errors[0]
        waiting = refused
    return _followed(study, given)


def _followed(study: Study, given: Set[str]) -> Study:
    """What follows from fields that were set where it was not set itself: rounds from densities, tests from the length of training."""
    if "pruning.densities" in given and "levels" not in given and isinstance(getattr(study, "levels", None), int):
        study = study.but(levels=len(study.pruning.densities))  # type: ignore[attr-defined]
    if "task.recipe.steps" in given and "task.recipe.test_every" not in given:
        study = study.but(task=study.task.but(recipe=study.task.recipe.tested()))
    return study


def parsed(setting: str | tuple[str, Any]) -> tuple[str, Any]:
    """(key, value) of a setting; the value of ``KEY=VALUE`` is text. Raises in one line for what is none."""
    if isinstance(setting, tuple):
        return setting
    key, sign, text = setting.partition("=")
    if not sign or not key:
        raise TombolaError(f"--set {setting!r}: write KEY=VALUE, for example --set steps=1000it")
    return key, text


def fields_of(spec: Spec, prefix: str = "") -> dict[str, Any]:
    """Every field of a configuration, by its full path; an objective by its name, then its options."""
    found: dict[str, Any] = {}
    for name in type(spec).model_fields:
        value = getattr(spec, name)
        if isinstance(value, Objective):
            found[f"{prefix}{name}"] = value.name
        if isinstance(value, Spec):
            found |= fields_of(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def explained(spec: Spec, prefix: str = "") -> dict[str, FieldHelp]:
    """Every field of a configuration, by its full path, in words."""
    found: dict[str, FieldHelp] = {}
    for name, words in help_of(type(spec)).items():
        value = getattr(spec, name)
        if isinstance(value, Spec):
            found |= {f"{prefix}{name}": words} if isinstance(value, Objective) else {}
            found |= explained(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = words
    return found


def configuration_of(study: Study) -> dict[str, Any]:
    """Every field of a study by its full path; of a sweep what its settings differ in first, then what they have in common."""
    if not isinstance(study, Sweep):
        return fields_of(study)
    common = {path: value for path, value in fields_of(study.first).items() if not {path, path.rpartition(".")[2]} & study.swept.keys()}
    return {**{f"sweep {key}": values for key, values in study.swept.items()}, **common}


def path_of(study: Study, key: str) -> list[str]:
    """The names that lead to the field of a setting, or to an entry of one. Raises in one line if there is none."""
    there = fields_of(study)
    if path := _field(there, key):
        return path.split(".")
    for place in (place for place, letter in enumerate(key) if letter == "."):  # an entry of a dictionary, such as rates.conv
        path = _field(there, key[:place])
        if path and isinstance(there[path], Mapping):
            return [*path.split("."), key[place + 1 :]]
    names = {*there, *(path.rsplit(".", 1)[-1] for path in there)}
    if near := nearest(key, names):
        raise TombolaError(f"unknown field {shown(key)}: did you mean {near!r}? `tombola show {study.name}` explains all fields")
    raise unknown("field", key, names)


def _field(there: Iterable[str], key: str) -> str:
    """The full path of a field, of which the key is all or the last part; "" if there is none."""
    found = [path for path in there if f".{path}".endswith(f".{key}")]
    own = [path for path in found if path == key] or [path for path in found if not path.startswith("task.")] or found
    if len(own) > 1:
        raise TombolaError(f"--set {key}: several fields are called so: {', '.join(own)}; write one of these")
    return own[0] if own else ""


def _replaced(spec: Any, path: list[str], value: Any) -> Any:
    name, *rest = path
    if not isinstance(spec, Spec):
        return {**spec, name: value}
    return spec.but(**{name: _replaced(getattr(spec, name), rest, value) if rest else value})


def _value(text: str) -> Any:
    if re.search(r"\.py:\w[\w.]*$", text):
        return load_part(text)  # a user's own part
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
