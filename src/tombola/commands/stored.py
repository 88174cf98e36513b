"""Verbs of a store: its runs, where one comes from, its weights as a file."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tombola.commands.configured import resolved
from tombola.commands.printing import columns, printed
from tombola.core.errors import TombolaError
from tombola.report.result import plain
from tombola.store.store import Damaged, Store


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
        return printed(rows)
    header = ["run", "task", "seed", "mask", "start", "density", "val loss", "test"]
    tested = [next(f"{key.removeprefix('test_')} {row[key]}" for key in row if key.startswith("test_")) for row in rows]
    columns(
        [header, *([*(str(row[key]) for key in header[:6]), str(row["val_loss_min"]), on] for row, on in zip(rows, tested, strict=True))]
    )


def why(run: str, store: Path, json: bool) -> None:
    """A run's lineage."""
    from tombola.store.lineage import lineage

    found = lineage(Store.there(store), run)
    if json:
        return printed(found)
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
    from tombola.engine.study import stages
    from tombola.store.tracking import log_record, run_name
    from tombola.studies.catalogue import studies

    found, logged = Store.there(store), 0
    for name in what:
        if name in studies or name.endswith(".toml"):
            study = resolved(name, options, data_dir)
            *_, parts = stages(study, found, data_dir)
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
