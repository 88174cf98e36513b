"""Verbs of a store: its runs, where one comes from, its weights as a file."""

import sys
from pathlib import Path
from typing import Any

from tombola.commands.printing import columns, printed
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
