"""Verbs of studies: what there is, what one would do, carrying it out, its report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tombola.commands.configured import resolved
from tombola.commands.printing import columns, print_paths, printed
from tombola.core.errors import TombolaError
from tombola.store.store import Store


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


def run(
    studies: Sequence[str],
    store: Path,
    data_dir: Path | None,
    json: bool,
    output: Path | None,
    keep: Sequence[str],
    workers: int,
    ray: str | None,
    **options: Any,
) -> None:
    """Carry studies out, one after the other, here or by several workers."""
    style = _style(options)
    from tombola.engine.runners.starting import work_arguments, work_through
    from tombola.engine.study import run_study
    from tombola.report.files import writable
    from tombola.report.page import write
    from tombola.report.table import as_json, terminal

    configured = [resolved(study, options, data_dir) for study in studies]  # what is wrong is known before the work, not after it
    if output is not None:
        writable(output)
    shared = workers > 1 or ray is not None
    if shared and keep:
        raise TombolaError(f"--keep {keep[0]} is for one process; leave --workers and --ray out, or run it again with --keep afterwards")
    kept, said = Store(store), []
    for study, found in zip(studies, configured, strict=True):
        if shared:
            work_through(found, workers, ray, kept, work_arguments([study], workers, store, data_dir, options))
        findings = run_study(found, kept, data_dir, keep=keep)
        written = write([findings], output, style=style) if output else []
        if json:
            said.append(as_json(findings) | {"files": [str(path) for path in written]})
            continue
        print("\n".join([*([f"{found.name} on {found.task.name}", ""] if len(studies) > 1 else []), terminal(findings)]))
        print_paths(written)
    if json:
        printed(said[0] if len(said) == 1 else {"studies": said})


def report(studies: Sequence[str], store: Path, data_dir: Path | None, json: bool, output: Path, partial: bool, **options: Any) -> None:
    """Write the report of finished studies; `partial`: of what others have so far, too."""
    from tombola.engine.study import findings, findings_so_far
    from tombola.report.page import write

    style, kept, found, how_far = _style(options), Store(store), [], {}
    for study in studies:
        configured = resolved(study, options, data_dir)
        if not partial:
            found.append(findings(configured, kept, data_dir))
            continue
        own, how_far[study] = findings_so_far(configured, kept, data_dir)
        found += [own] if own is not None else []
    if not found:
        raise TombolaError(f"nothing can be reported yet: {', '.join(f'{study} has {far}' for study, far in how_far.items())}")
    written = write(found, output, style=style)
    if json:
        return printed({"files": [str(path) for path in written], **({"so far": how_far} if partial else {})})
    for study, far in how_far.items():
        print(f"{study}: {far or 'complete'}")
    print_paths(written)


def status(study: str, store: Path, data_dir: Path | None, json: bool, **options: Any) -> None:
    """How far a study is."""
    from tombola.engine.runners.workers import at_work
    from tombola.engine.standing import study_status

    one, kept = resolved(study, options, data_dir), Store(store)
    found, workers, cost = study_status(one, kept, data_dir), at_work(one, kept), None
    if found["missing"] or found["in progress"] or found["measurements missing"]:
        from tombola.engine.cost import estimate, told

        cost = estimate(one, kept, data_dir)
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


def watch(study: str, store: Path, data_dir: Path | None, output: Path, every: float, **options: Any) -> None:
    """Write the report of what a study has so far, again and again until it is complete."""
    import time

    from tombola.engine.study import findings_so_far
    from tombola.report.files import writable
    from tombola.report.page import write

    if not 1 <= every <= 3600:
        raise TombolaError(f"--every {every:g}: give seconds from 1 to 3600")
    found, kept, before = resolved(study, options, data_dir), Store(store), None
    writable(output)
    while True:
        report, how_far = findings_so_far(found, kept, data_dir)
        if how_far != before:
            print(f"{study}: {how_far or 'complete'}", flush=True)
        if report is not None:
            paths = write([report], output, every=every if how_far else 0)
            if before is None or not how_far:
                print(paths[0], flush=True)
        if not how_far:
            return
        before = how_far
        time.sleep(every)


def cite(studies: Sequence[str], load: Sequence[Path]) -> None:
    """What to cite, as BibTeX."""
    from tombola.core.loading import load_files
    from tombola.report.cite import bibtex
    from tombola.studies.catalogue import studies as registry

    load_files(load)
    print(bibtex(*(registry[name] for name in studies)), end="")


def _style(options: dict[str, Any]) -> Any:
    """The style of figures, of the options, which are taken out."""
    from tombola.report.style import style_of

    return style_of(options.pop("style"), options.pop("width"), options.pop("font_size"))


def _first_line(part: Any) -> str:
    return (getattr(part, "answers", None) or getattr(part, "__doc__", None) or "").strip().split("\n")[0]
