"""From names, a scale and ``KEY=VALUE`` settings to a resolved study."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tombola.core.errors import TombolaError, unknown
from tombola.core.loading import load_part
from tombola.core.objective import Objective
from tombola.core.spec import Spec
from tombola.core.task import Data, Model, Task
from tombola.data.identity import identified
from tombola.models.tasks import tasks
from tombola.studies.base import Config, Scale, Study, StudyKind
from tombola.studies.catalogue import studies
from tombola.studies.wording import worded


def resolve(
    name: str,
    *,
    scale: Scale = "small",
    task: Task | str | None = None,
    model: Model | None = None,
    data: Data | None = None,
    settings: Iterable[str] = (),
    data_dir: Path | None = None,
    **fields: Any,
) -> Study:
    """A study by name, configured; its data are told by their bytes, where those in `data_dir` are not the canonical ones.

    Args:
        model, data: what to put in the place of the task's own.
        settings: ``KEY=VALUE``; the key is a field's full path (``task.recipe.steps``) or its last part where that is
            unambiguous (``steps``), and a field of the study itself goes before one of its task; the value is JSON, or plain text.
        fields: further fields of the configuration, by the same keys; None leaves them as they are.
    """
    kind: StudyKind = studies[name]
    given = task if isinstance(task, Task) else None
    named = kind.default_task if given is not None or task is None else str(task)
    if named not in tasks:
        raise unknown("task", named, tasks)
    config = kind.configure(scale, named)
    if given is not None:
        config = config.but(task=given)
    if own := {name: one for name, one in (("model", model), ("data", data)) if one is not None}:
        usual = {**Task.model_fields["rates"].default, **config.task.rates}  # a network may have kinds of layers that the task's has not
        config = config.but(task=config.task.but(**own, **({"rates": usual} if model is not None else {})))
    for key, value in fields.items():
        if value is not None:
            config = _replaced(config, _path(config, key), value)
    config = apply(config, settings)
    return worded(kind.build(config.but(task=identified(config.task, data_dir))), kind.claim_ids)


def apply(config: Config, settings: Iterable[str]) -> Config:
    """The configuration with the settings made, all or none."""
    for setting in settings:
        key, sign, text = setting.partition("=")
        if not sign or not key:
            raise TombolaError(f"--set {setting!r}: write KEY=VALUE, for example --set steps=1000it")
        config = _replaced(config, _path(config, key), _value(text))
    return config


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


def _path(config: Config, key: str) -> list[str]:
    there = fields_of(config)
    if path := _field(there, key):
        return path.split(".")
    for place in (place for place, letter in enumerate(key) if letter == "."):  # an entry of a dictionary, such as rates.conv
        path = _field(there, key[:place])
        if path and isinstance(there[path], Mapping):
            return [*path.split("."), key[place + 1 :]]
    raise unknown("field", key, {*there, *(path.rsplit(".", 1)[-1] for path in there)})


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
    except ValueError:
        return text
