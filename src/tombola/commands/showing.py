"""The verb `show`: what a study would do, and what its fields mean."""

import json as json_text
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tombola.commands.configured import options_of, origins, resolved, study_file
from tombola.commands.printing import columns, printed
from tombola.core.spec import Spec
from tombola.store.store import Store


def show(study: str, store: Path, data_dir: Path | None, json: bool, toml: bool, **options: Any) -> None:
    """A study's configuration, runs and estimated cost."""
    from tombola.engine.configuring import configuration_of, explained
    from tombola.engine.cost import estimate, told
    from tombola.engine.planned import planned
    from tombola.engine.reading import built_info
    from tombola.engine.study import study_graph
    from tombola.studies.sweep import Sweep

    found = resolved(study, options, data_dir)
    if toml:
        return print(study_file(study, options, found), end="")
    arms: dict[str, int] = {}
    for row in planned(found):
        arms[row.arm] = arms.get(row.arm, 0) + 1
    usual = configuration_of(resolved(study, {**options, "settings": [], "sweep": [], "replicates": None, "seed": None}, data_dir))
    origin, chosen = origins(found, study, options), options_of(found, study, options)
    words = explained(found.first if isinstance(found, Sweep) else found)
    fields = {
        path: {
            "value": _shown(value),
            "default": _shown(usual.get(path, value)),
            "origin": origin[path],
            "allowed": words[path].allowed if path in words else "",
            "meaning": words[path].meaning if path in words else "",
        }
        for path, value in configuration_of(found).items()
    }
    graph, claimed = study_graph(found), [claim.id for claim in found.claims]
    task = next(iter(graph.runs.values())).task
    layers, cost = built_info(task, data_dir).prunable_weights, estimate(found, Store(store), data_dir)
    if json:
        return printed(
            {
                "study": found.name,
                "answers": found.answers,
                "claims": claimed,
                "configuration": {path: field["value"] for path, field in fields.items()},
                "origins": origin,
                "options": {name: {"value": value, "origin": where} for name, (value, where) in chosen.items()},
                "fields": fields,
                "arms": arms,
                "measurements": cost.measurements,
                "layers": [{"name": layer.name, "kind": layer.kind, "prunable": size} for layer, size in layers],
                "cost": asdict(cost) | {"seconds": cost.seconds},
            }
        )
    print(f"{found.name}: {found.answers}\nclaims: {', '.join(claimed) or 'none'}\n")
    print("\n".join(_in_words(fields)))
    print()
    columns([["option", "value", "from"], *([f"  {name}", _as_setting(value), where] for name, (value, where) in chosen.items())])
    print(f"\nlayers of {task.model.name.partition('@')[0]}, their kinds and prunable weights:")
    columns([[f"  {layer.name}", layer.kind, f"{size:,}"] for layer, size in layers])
    print(f"\nruns: {cost.runs} ({', '.join(f'{count} {arm}' for arm, count in arms.items())})")
    if cost.measurements:
        print(f"measurements: {cost.measurements}, made when the runs have been trained")
    print(f"steps: {cost.replica_steps:,}, all runs together; about {cost.floating_point_operations:.2g} floating-point operations")
    for line in told(cost, found):
        print(line)


def _in_words(fields: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The fields of the study, then those of its task: the value, what it may be and by default is, and below it what it means."""
    width = min(shutil.get_terminal_size().columns, 110) if sys.stdout.isatty() else 110
    wide = max(map(len, fields))
    for path in sorted(fields, key=lambda path: path.startswith("task.")):  # a stable order
        field = fields[path]
        default = f"; default: {_as_setting(field['default']) or 'null'}" if field["default"] != field["value"] else ""
        yield f"  {path:<{wide}}  {_as_setting(field['value']) or 'null':<22}  from: {field['origin']}"
        told = f"{field['meaning']} ({field['allowed']}{default})" if field["allowed"] else ""
        yield from textwrap.wrap(told.strip(), width, initial_indent="      ", subsequent_indent="      ")


def _shown(value: Any) -> Any:
    """A value as one would write it after ``--set KEY=``, in JSON values."""
    if isinstance(value, Spec):
        return {name: _shown(part) for name, part in value.canonical().items() if name != "spec"}
    return [_shown(part) for part in value] if isinstance(value, list | tuple) else value


def _as_setting(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, str | int | float) else json_text.dumps(value)
