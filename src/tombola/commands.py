"""What the verbs of the command line do: each prints a table, or JSON."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tombola.core.errors import TombolaError
from tombola.core.spec import Spec
from tombola.report.result import plain
from tombola.store.store import Damaged, Store
from tombola.studies.base import Study
from tombola.studies.catalogue import studies


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
        return _json(found)
    for kind, rows in found.items():
        print(kind)
        _columns([[f"  {row['name']}", row["what"]] for row in rows])


def show(study: str, data_dir: Path | None, json: bool, **options: Any) -> None:
    """A study's configuration, runs and estimated cost."""
    from tombola.engine.configuring import fields_of
    from tombola.engine.cost import estimate
    from tombola.engine.progress import duration
    from tombola.engine.reading import built_info
    from tombola.engine.study import study_graph, study_measurements

    found = _resolve(study, options, data_dir)
    arms: dict[str, int] = {}
    for cell in found.cells:
        arms[cell.arm] = arms.get(cell.arm, 0) + 1
    configuration = {name: _shown(value) for name, value in fields_of(found.config).items()}
    kind, graph = studies[study], study_graph(found)
    task = next(iter(graph.runs.values())).task
    layers, cost = built_info(task, data_dir).prunable_weights, estimate(graph, data_dir)
    if json:
        return _json(
            {
                "study": study,
                "answers": kind.answers,
                "claims": kind.claim_ids,
                "configuration": configuration,
                "arms": arms,
                "measurements": len(study_measurements(found)),
                "layers": [{"name": layer.name, "kind": layer.kind, "prunable": size} for layer, size in layers],
                "cost": asdict(cost),
            }
        )
    print(f"{study}: {kind.answers}\nclaims: {', '.join(kind.claim_ids)}\n")
    _columns([[f"  {name}", _as_setting(value)] for name, value in configuration.items()])
    print(f"\nlayers of {task.model.name.partition('@')[0]}, their kinds and prunable weights:")
    _columns([[f"  {layer.name}", layer.kind, f"{size:,}"] for layer, size in layers])
    print(f"\nruns: {cost.runs} ({', '.join(f'{count} {arm}' for arm, count in arms.items())})")
    if measurements := len(study_measurements(found)):
        more = "; more runs follow from what is found" if found.more else ""
        print(f"measurements: {measurements}, made when the runs have been trained{more}")
    print(f"steps: {cost.replica_steps:,}, all runs together; about {cost.floating_point_operations:.2g} floating-point operations")
    print(f"estimated time on this machine's cores: about {duration(cost.seconds)} if nothing is stored yet")


def run(study: str, store: Path, data_dir: Path | None, json: bool, output: Path | None, **options: Any) -> None:
    """Carry a study out."""
    from tombola.engine.study import run_study
    from tombola.report.files import writable
    from tombola.report.page import write
    from tombola.report.table import as_json, terminal

    found = _resolve(study, options, data_dir)
    if output is not None:
        writable(output)  # known before the work, not after it
    findings = run_study(found, Store(store), data_dir)
    written = write([findings], output) if output else []
    if json:
        return _json(as_json(findings) | {"files": [str(path) for path in written]})
    print(terminal(findings))
    _print_paths(written)


def report(studies: Sequence[str], store: Path, data_dir: Path | None, json: bool, output: Path, **options: Any) -> None:
    """Write the report of finished studies."""
    from tombola.engine.study import findings
    from tombola.report.page import write

    written = write([findings(_resolve(study, options, data_dir), Store(store), data_dir) for study in studies], output)
    if json:
        return _json({"files": [str(path) for path in written]})
    _print_paths(written)


def status(study: str, store: Path, data_dir: Path | None, json: bool, **options: Any) -> None:
    """How far a study is."""
    from tombola.engine.study import study_status

    found = study_status(_resolve(study, options, data_dir), Store(store), data_dir)
    if json:
        return _json(found)
    print(f"{study}: {found['done']} of {found['runs']} runs are done, {found['in progress']} in progress, {found['missing']} to train")
    if measurements := found["measurements"]:
        missing = found["measurements missing"]
        print(f"{measurements - missing} of {measurements} measurements are done, {missing} to make")
    if found["missing"] or found["in progress"] or found["measurements missing"]:
        print(f"`tombola run {study}` with the same options goes on")
    if earlier := found.get("under earlier code"):
        print(f"{earlier} of those that are missing are stored with earlier code of yours under the same name; if it computes the same,")
        print(f"`tombola adopt {study}` with the same options has them found")


def adopt(study: str, store: Path, data_dir: Path | None, json: bool, **options: Any) -> None:
    """Find what is stored under earlier code of the user's parts."""
    from tombola.engine.study import adopt_earlier

    found = adopt_earlier(_resolve(study, options, data_dir), Store(store), data_dir)
    if json:
        return _json({"adopted": found})
    print(f"{study}: {found} runs and measurements that earlier code made are found now, too")


def claims(studies: Sequence[str], store: Path, data_dir: Path | None, json: bool, **options: Any) -> None:
    """The claims of studies, with their verdicts where the store has the runs."""
    from tombola.engine.study import findings
    from tombola.studies.catalogue import studies as registered

    rows = []
    for name in studies or list(registered):
        found = _resolve(name, options, data_dir)
        try:
            verdicts = {verdict.id: verdict for verdict in findings(found, Store(store), data_dir).verdicts}
        except TombolaError:
            verdicts = {}
        for claim in registered[name].claim_ids:
            verdict = verdicts.get(claim)
            said = (verdict.verdict, verdict.sentence) if verdict else ("not run", "")
            rows.append({"claim": claim, "study": name, "verdict": said[0], "sentence": said[1]})
    if json:
        return _json(rows)
    _columns([[row["claim"], row["verdict"], row["study"], row["sentence"]] for row in rows])
    if any(row["verdict"] == "not run" for row in rows):
        print("\n`not run` is said of this configuration; give the --scale, --task, --set ... that you ran a study with")


def runs(store: Path, json: bool) -> None:
    """The runs in a store."""
    from tombola.store.lineage import describe

    rows, damaged = [], []
    for record in Store.there(store):
        try:
            rows.append(describe(record))
        except Damaged as damage:
            damaged.append(str(damage))
    for text in damaged:
        print(f"warning: {text}", file=sys.stderr)
    if json:
        return _json(rows)
    header = ["run", "task", "seed", "mask", "start", "density", "val loss", "test"]
    tested = [next(f"{key.removeprefix('test_')} {row[key]}" for key in row if key.startswith("test_")) for row in rows]
    _columns(
        [header, *([*(str(row[key]) for key in header[:6]), str(row["val_loss_min"]), on] for row, on in zip(rows, tested, strict=True))]
    )


def why(run: str, store: Path, json: bool) -> None:
    """A run's lineage."""
    from tombola.store.lineage import lineage

    found = lineage(Store.there(store), run)
    if json:
        return _json(found)
    for entry in found:
        print(plain(f"{'  ' * entry['depth']}{entry['run']}  {entry['what']}"))


def export(run: str, store: Path, data_dir: Path | None, json: bool, output: Path, step: str, form: str | None, **given: Any) -> None:
    """A run's weights and mask as one file."""
    from tombola.engine.bringing import bring
    from tombola.store.export import export_compact, export_compressed, export_run
    from tombola.store.export_torch import export_torch

    bring(given)
    exports = {None: export_run, "compact": export_compact, "packed": export_compressed, "torch": export_torch}
    found = exports[form](Store.there(store), run, step, output, data_dir)
    if json:
        return _json(found)
    what = f"{found['tensors']} tensors of run {found['run']} at iteration {found['iteration']}"
    print(f"{output}: {what}, {found['kept']:,} of {found['prunable']:,} weights kept")
    if form == "compact":
        units, values = found["units"], found["values"]
        before, after = ("-".join(map(str, units[when].values())) for when in ("before", "after"))
        print(f"{before} units -> {after}, {values['before']:,} -> {values['after']:,} values")
    if form == "torch" and found["without mask"]:
        print(f"without its mask, as its pruned weights are not 0: {', '.join(found['without mask'])}")
    if form == "packed":
        from tombola.store.compressed import said

        print("\n".join(said(found)))


def data_list(data_dir: Path | None, json: bool) -> None:
    """The data sets."""
    from tombola.data.fetch import catalogue

    rows = catalogue(data_dir)
    if json:
        return _json(rows)
    _columns([list(rows[0]), *([str(value) for value in row.values()] for row in rows)])


def data_fetch(name: str, data_dir: Path | None, json: bool) -> None:
    """Download a data set."""
    from tombola.data.fetch import fetch

    paths = [str(path) for path in fetch(name, data_dir)]
    _json(paths) if json else print("\n".join(paths) or f"{name}: every file is there and sound; nothing to fetch")


def data_verify(name: str, data_dir: Path | None, json: bool) -> None:
    """Compare a data set's files with what they should be."""
    from tombola.data.fetch import verify

    rows = verify(name, data_dir)
    if json:
        _json([{"file": str(file), "status": status} for file, status in rows])
    else:
        _columns([[str(file), status] for file, status in rows])
    bad = [file for file, status in rows if not status.startswith("ok")]
    if bad:
        raise TombolaError(f"{len(bad)} of {len(rows)} files are not usable; delete them and run `tombola data fetch {name}`")


def _resolve(study: str, options: dict[str, Any], data_dir: Path | None) -> Study:
    from tombola.engine.bringing import bring
    from tombola.engine.configuring import resolve

    options = dict(options)
    model, data = bring(options)
    return resolve(study, model=model, data=data, data_dir=data_dir, **options)


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
    return str(value) if isinstance(value, str | int | float) else json.dumps(value)


def _columns(rows: Sequence[Sequence[str]]) -> None:
    """Left-aligned columns, cut at the terminal's width where there is one."""
    import shutil

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        print(plain("  ".join(f"{text:<{size}}" for text, size in zip(row, widths, strict=True)).rstrip()[:width]))


def _print_paths(paths: Sequence[Path]) -> None:
    for path in paths:
        print(path)


def _json(value: Any) -> None:
    print(json.dumps(value, indent=1, default=str))
