"""Verbs of studies: what there is, what one would do, carrying it out, its report, its claims."""

import json as json_text
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tombola.commands.configured import options_of, origins, resolved, study_file
from tombola.commands.printing import columns, print_paths, printed
from tombola.core.errors import TombolaError
from tombola.core.spec import Spec
from tombola.store.store import Damaged, Store
from tombola.studies.catalogue import studies as registry


def catalogue(json: bool, load: Sequence[Path]) -> None:
    """Studies, tasks and parts."""
    from tombola.core import parts
    from tombola.core.loading import load_files
    from tombola.data.fetch import catalogue as data_sets

    load_files(load)
    found = {kind: [{"name": name, "what": _first_line(part)} for name, part in one.items()] for kind, one in parts.registries().items()}
    del found["options"]
    there = {str(one["name"]) for one in data_sets()}
    found["data sets"] = [{"name": name, "what": ""} for name in sorted(there)]
    found["data sets"] += [row for row in found.pop("datasets") if row["name"] not in there]
    if json:
        return printed(found)
    for kind, rows in found.items():
        print(kind)
        columns([[f"  {row['name']}", row["what"]] for row in rows])


def show(study: str, store: Path, data_dir: Path | None, json: bool, toml: bool, **options: Any) -> None:
    """A study's configuration, runs and estimated cost."""
    from tombola.engine.configuring import configuration_of
    from tombola.engine.cost import estimate, told
    from tombola.engine.planned import planned
    from tombola.engine.reading import built_info
    from tombola.engine.study import study_graph

    found = resolved(study, options, data_dir)
    if toml:
        return print(study_file(study, options, found), end="")
    arms: dict[str, int] = {}
    for row in planned(found):
        arms[row.arm] = arms.get(row.arm, 0) + 1
    configuration = {name: _shown(value) for name, value in configuration_of(found).items()}
    origin, chosen = origins(found, study, options), options_of(found, study, options)
    graph, claimed = study_graph(found), [claim.id for claim in found.claims]
    task = next(iter(graph.runs.values())).task
    layers, cost = built_info(task, data_dir).prunable_weights, estimate(found, Store(store), data_dir)
    if json:
        return printed(
            {
                "study": found.name,
                "answers": found.answers,
                "claims": claimed,
                "configuration": configuration,
                "origins": origin,
                "options": {name: {"value": value, "origin": where} for name, (value, where) in chosen.items()},
                "arms": arms,
                "measurements": cost.measurements,
                "layers": [{"name": layer.name, "kind": layer.kind, "prunable": size} for layer, size in layers],
                "cost": asdict(cost) | {"seconds": cost.seconds},
            }
        )
    print(f"{found.name}: {found.answers}\nclaims: {', '.join(claimed) or 'none'}\n")
    columns([["field", "value", "from"], *([f"  {name}", _as_setting(value), origin[name]] for name, value in configuration.items())])
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


def run(
    study: str,
    store: Path,
    data_dir: Path | None,
    json: bool,
    output: Path | None,
    keep: Sequence[str],
    workers: int,
    ray: str | None,
    **options: Any,
) -> None:
    """Carry a study out, here or by several workers."""
    from tombola.engine.study import run_study
    from tombola.report.files import writable
    from tombola.report.page import write
    from tombola.report.table import as_json, terminal

    found = resolved(study, options, data_dir)
    if output is not None:
        writable(output)  # known before the work, not after it
    if workers > 1 or ray is not None:
        from tombola.engine.runners.starting import work_arguments, work_through

        if keep:
            raise TombolaError(
                f"--keep {keep[0]} is for one process; leave --workers and --ray out, or run it again with --keep afterwards"
            )
        work_through(found, workers, ray, Store(store), work_arguments([study], workers, store, data_dir, options))
    findings = run_study(found, Store(store), data_dir, keep=keep)
    written = write([findings], output) if output else []
    if json:
        return printed(as_json(findings) | {"files": [str(path) for path in written]})
    print(terminal(findings))
    print_paths(written)


def report(studies: Sequence[str], store: Path, data_dir: Path | None, json: bool, output: Path, **options: Any) -> None:
    """Write the report of finished studies."""
    from tombola.engine.study import findings
    from tombola.report.page import write

    written = write([findings(resolved(study, options, data_dir), Store(store), data_dir) for study in studies], output)
    if json:
        return printed({"files": [str(path) for path in written]})
    print_paths(written)


def status(study: str, store: Path, data_dir: Path | None, json: bool, **options: Any) -> None:
    """How far a study is."""
    from tombola.engine.runners.workers import at_work
    from tombola.engine.standing import study_status

    one = resolved(study, options, data_dir)
    found, workers, cost = study_status(one, Store(store), data_dir), at_work(one, Store(store)), None
    if found["missing"] or found["in progress"] or found["measurements missing"]:
        from tombola.engine.cost import estimate, told

        cost = estimate(one, Store(store), data_dir)
    if json:
        return printed({**found, "workers": workers, **({} if cost is None else {"seconds left": round(cost.seconds, 1)})})
    print(f"{study}: {found['done']} of {found['runs']} runs are done, {found['in progress']} in progress, {found['missing']} to train")
    if measurements := found["measurements"]:
        missing = found["measurements missing"]
        print(f"{measurements - missing} of {measurements} measurements are done, {missing} to make")
    for worker, what in workers.items():
        print(f"{worker} is at {what[0]}{f' and {len(what) - 1} more' if len(what) > 1 else ''}")
    if cost is not None:
        print("\n".join(told(cost, one)))
        print(f"`tombola run {study}` with the same options goes on")
    if earlier := found.get("under earlier code"):
        print(f"{earlier} of those that are missing are stored with earlier code of yours under the same name; if it computes the same,")
        print(f"`tombola adopt {study}` with the same options has them found")


def adopt(study: str, store: Path, data_dir: Path | None, json: bool, **options: Any) -> None:
    """Find what is stored under earlier code of the user's parts."""
    from tombola.engine.standing import adopt_earlier

    found = adopt_earlier(resolved(study, options, data_dir), Store(store), data_dir)
    if json:
        return printed({"adopted": found})
    print(f"{study}: {found} runs and measurements that earlier code made are found now, too")


def claims(studies: Sequence[str], store: Path, data_dir: Path | None, json: bool, **options: Any) -> None:
    """The ledger: claims of studies, with their verdicts where the store has the runs, or of reports' tables."""
    from tombola.core.loading import load_files
    from tombola.engine.study import findings
    from tombola.report.ledger import Entry, entry, judged_again, overall

    lines = []
    load_files(options["load"])
    kept = Store(store)
    for name in studies or list(registry):
        if Path(name).is_dir():
            lines += judged_again(Path(name))
            continue
        if "/" in name and not name.endswith(".toml"):
            raise TombolaError(f"{name!r} is neither a study nor a folder; give the folder that `tombola run STUDY -o DIR` wrote")
        found, state, why = resolved(name, options, data_dir), "not run", ""
        try:
            lines += [entry(verdict, name, found.task.name) for verdict in findings(found, kept, data_dir).verdicts]
            continue
        except Damaged as damage:
            state, why = "damaged", str(damage)
        except TombolaError:
            pass
        lines += [Entry(claim.id, name, found.task.name, state, "-", 0, why, "") for claim in found.claims]
    if json:
        return printed({"claims": [asdict(line) for line in lines], "overall": overall(lines)})
    head = ["claim", "verdict", "parts hold", "n", "study", "testbed", "reason, or the sentence"]
    rows = [[one.claim, one.state, one.parts, str(one.n or "-"), one.study, one.testbed, one.reason or one.sentence] for one in lines]
    columns([head, *rows])
    several = {claim: said for claim, said in overall(lines).items() if sum(line.claim == claim for line in lines) > 1}
    if several:
        print("\nover testbeds")
        columns([[claim, said] for claim, said in several.items()])
    if any(line.state == "not run" for line in lines):
        print("\n`not run` is said of this configuration; give the --scale, --task, --set ... that you ran a study with")


def watch(study: str, store: Path, data_dir: Path | None, output: Path, every: float, **options: Any) -> None:
    """Write the report of what a study has so far, again and again until it is complete."""
    import time

    from tombola.engine.study import findings_so_far
    from tombola.report.files import writable
    from tombola.report.page import write

    if not 1 <= every <= 3600:
        raise TombolaError(f"--every {every:g}: give seconds from 1 to 3600")
    found, before = resolved(study, options, data_dir), None
    writable(output)
    while True:
        report, how_far = findings_so_far(found, Store(store), data_dir)
        if how_far != before:
            print(f"{study}: {how_far or 'complete'}", flush=True)
        if report is not None:
            paths = write([report], output, running=how_far, every=every)
            if before is None or not how_far:
                print(paths[0], flush=True)
        if not how_far:
            return
        before = how_far
        time.sleep(every)


def _first_line(part: Any) -> str:
    return (getattr(part, "answers", None) or getattr(part, "__doc__", None) or "").strip().split("\n")[0]


def _shown(value: Any) -> Any:
    """As one would write it after ``--set KEY=``: JSON values."""
    if isinstance(value, Spec):
        return {name: _shown(part) for name, part in value.canonical().items() if name != "spec"}
    return [_shown(part) for part in value] if isinstance(value, list | tuple) else value


def _as_setting(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, str | int | float) else json_text.dumps(value)
