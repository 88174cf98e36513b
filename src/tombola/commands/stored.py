"""Verbs of a store: its runs, where one comes from, its weights as a file."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tombola.commands.configured import resolved
from tombola.commands.listed import NOWHERE, Listed, at_places, chosen, in_order, one_run, studies_of
from tombola.commands.printing import amount, columns, printed
from tombola.core.errors import TombolaError
from tombola.report.result import plain
from tombola.store.store import Damaged, Store


def runs(store: Path, json: bool, study: str | None, where: Sequence[str], sort: str | None, **at: Any) -> None:
    """The runs in a store, each at its places in the studies that were carried out on it."""
    from tombola.store.lineage import describe

    kept, found, damaged = Store.there(store), [], []
    bytes_of = Counter[str]()
    for name, size in kept.files.sizes().items():
        bytes_of[name.partition("/")[0]] += size
    for record in kept:
        try:
            found.append(describe(record) | {"bytes": bytes_of[record.digest]})
        except Damaged as damage:
            damaged.append(str(damage))
    for text in damaged:
        print(f"warning: {text}", file=sys.stderr)
    of: dict[str, list[Listed]] = {}
    for row in in_order(chosen(at_places(kept, found), where, study=study, **at), sort):
        of.setdefault(row["run"], []).append(row)
    if json:
        return printed([{**rows[0], "places": [{name: row[name] for name in NOWHERE} for row in rows]} for rows in of.values()])
    digests = [row["run"] for row in found]
    short = next((size for size in range(8, 16) if len({one[:size] for one in digests}) == len(digests)), 16)
    columns(_listed(list(of.values()), short))


def _listed(runs: Sequence[Sequence[Listed]], short: int) -> list[list[str]]:
    """A line a run, of at most 100 characters but for the variant: its first place, and in how many other studies it has one."""
    tested = {key for (row, *_) in runs for key in row if key.startswith("test_")}
    test = next(iter(tested)).replace("_", " ") if len(tested) == 1 else "test"
    variants = ["variant"] if any(row["variant"] for (row, *_) in runs) else []
    lines = [["run", "study", "arm", "level", "rep", "density", test, "date", "size", *variants]]
    for row, *more in runs:
        others = len({one["study"] for one in more} - {row["study"]})
        study = f"{row['study'] or row['task']}{f' +{others}' if others else ''}"
        place = (
            _cut(study, 24),
            _cut(row["arm"] or "-", 12),
            *("-" if row[one] is None else str(row[one]) for one in ("level", "replicate")),
        )
        name, value = next((key, str(row[key])) for key in row if key.startswith("test_"))
        value = value if len(tested) == 1 else f"{name.removeprefix('test_')} {value}"
        own = [row["variant"]] if variants else []
        lines.append([row["run"][:short], *place, f"{row['density']:.4g}", value, row["date"][:10], amount(row["bytes"]), *own])
    return lines


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 2]}.."


def why(run: str, store: Path, json: bool) -> None:
    """A run's lineage."""
    from tombola.store.lineage import lineage

    found = lineage(Store.there(store), run)
    if json:
        return printed(found)
    for entry in found:
        print(plain(f"{'  ' * entry['depth']}{entry['run']}  {entry['what']}"))


def export(
    run: str, store: Path, data_dir: Path | None, json: bool, output: Path, step: str, form: str | None, where: Sequence[str], **given: Any
) -> None:
    """Weights and mask of a run, by its digest or by its place in a study, as one file."""
    from tombola.engine.bringing import bring
    from tombola.store.export import export_compact, export_compressed, export_run
    from tombola.store.export_torch import export_torch

    at = {name: given.pop(name) for name in ("arm", "level", "replicate")}
    bring(given)
    kept = Store.there(store)
    if run in (known := studies_of(kept)):
        run = one_run(kept, run, where, **at)
    elif where or any(value is not None for value in at.values()):
        raise TombolaError(
            f"{run!r} is no study that was carried out on this store ({', '.join(sorted(known)) or 'none was'}), so that --arm, --level, "
            "--replicate and --where choose nothing; `tombola run` with the study's options notes its runs, or give a digest alone"
        )
    exports = {None: export_run, "compact": export_compact, "packed": export_compressed, "torch": export_torch}
    found = exports[form](kept, run, step, output, data_dir)
    if json:
        return printed(found)
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


def log(what: Sequence[str], store: Path, data_dir: Path | None, to: str, project: str, **options: Any) -> None:
    """Runs of studies, or single ones, in another tool."""
    from tombola.engine.study import followed
    from tombola.store.tracking import log_record, module_of, run_name
    from tombola.studies.catalogue import studies

    module_of(to)  # raises
    found, logged = Store.there(store), 0
    for name in what:
        if name in studies or name.endswith(".toml"):
            study = resolved(name, options, data_dir)
            parts, _ = followed(study, found, data_dir)
            rows = {row.run.digest: row for row in reversed(parts.rows) if row.run.digest in found}
            if not rows:
                raise TombolaError(f"no run of {name} is in store {str(store)!r}; `tombola run {name}` with the same options trains them")
            for digest, row in reversed(rows.items()):
                config = {
                    "study": study.name,
                    "variant": row.variant,
                    "arm": row.arm,
                    "level": row.level,
                    "replicate": row.replicate,
                    "draw": row.draw,
                }
                name_of = [study.name, *([row.variant] if row.variant else []), row.arm, f"level-{row.level}", f"replicate-{row.replicate}"]
                name_of += [f"draw-{row.draw}"] if row.draw else []
                log_record(found.get(digest), to, project, run_name(*name_of), config)
            logged += len(rows)
        else:
            record = found.find(name)
            log_record(record, to, project, record.digest, {})
            logged += 1
    print(f"{logged} runs are in {to}, project {project}")


def push(
    run: str, repository: str, store: Path, data_dir: Path | None, json: bool, step: str, packed: bool, private: bool, output: Path | None
) -> None:
    """A run's ticket with its model card on the Hugging Face Hub, or in a folder."""
    from tombola.report.files import writable
    from tombola.store import hub

    found, options = Store.there(store), hub.Options(step, packed, data_dir)
    if output is None:
        place = hub.push(found, run, repository, options, private)
    else:
        writable(output)
        hub.written(found, run, output, repository, options)
        place = str(output)
    printed({"repository": repository, "place": place}) if json else print(place)
