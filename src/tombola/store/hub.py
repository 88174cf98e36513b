"""A run as a repository of the Hugging Face Hub: its ticket, what it is, and a model card."""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tombola.core.errors import TombolaError, shown
from tombola.core.extras import extra
from tombola.core.files import write_atomically
from tombola.core.loading import summary
from tombola.store.export import export_compressed, export_run
from tombola.store.lineage import describe, lineage
from tombola.store.store import Record, Store

TICKET = "ticket.safetensors"


class Options(NamedTuple):
    """Which weights of a run, and how they are written."""

    step: str = "end"
    packed: bool = False
    """Whether only those of them are written that do not follow from the seed."""
    data_dir: Path | None = None


def push(store: Store, digest: str, repository: str, options: Options, private: bool = False) -> str:
    """Write a run's ticket with a model card to a repository of the Hub, which is made if it is not there; its address.

    Args:
        repository: ``user/name`` or ``organisation/name``.
        private: a repository that is made now is seen by its owner alone.

    Raises:
        TombolaError: as `tombola.store.export.export_run`, for another form of name, without the extra `tombola[hub]`, or if the Hub
            refuses.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository, re.ASCII):
        raise TombolaError(f"{shown(repository)} names no repository; write user/name")
    client = extra("huggingface_hub", "hub").HfApi()
    with tempfile.TemporaryDirectory() as folder:
        found = written(store, digest, Path(folder), repository, options)
        try:
            client.create_repo(repository, private=private, exist_ok=True)
            client.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"Run {found['run']} of Tombola")
        except Exception as error:  # of the client's, of the libraries' below it: there is no list of them
            raise TombolaError(
                f"{repository} cannot be written: {summary(error).rstrip('.')}; log in with `hf auth login`, and name a "
                "repository of your own"
            ) from None
        return f"{client.endpoint}/{repository}"


def written(store: Store, digest: str, folder: Path, repository: str, options: Options) -> dict[str, Any]:
    """The files of the repository in a folder: ticket, description, metrics, and the card; what `export_run` returns.

    Raises:
        TombolaError: as `tombola.store.export.export_run`.
    """
    export = export_compressed if options.packed else export_run
    found = export(store, digest, options.step, folder / TICKET, options.data_dir)
    record = store.get(found["run"])
    for name in record.checksums.keys() & {"spec.json", "metrics.csv", "summary.json", "made.json", "code.py"}:
        write_atomically(folder / name, record.read(name))
    write_atomically(folder / "README.md", card(record, lineage(store, record.digest), found, repository).encode())
    return found


def card(record: Record, line: list[dict[str, Any]], exported: Mapping[str, Any], repository: str) -> str:
    """The model card of a run: what it is, how good, where it comes from, and how it is loaded."""
    said, made, whole = describe(record), record.json("made"), record.json("summary")
    tests = {name: value for name, value in whole.items() if name.startswith("es_test_") and isinstance(value, int | float)}
    metrics = [f"| {name} | {value:.4g} |" for name, value in tests.items()]
    layers = [f"| `{path}` | {count:,} |" for path, count in whole.get("kept_by_layer", {}).items()]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items())
    users = "\nIts own parts are in `code.py`.\n" if "code.py" in record.checksums else ""
    return f"""---
library_name: tombola
tags:
- lottery-ticket-hypothesis
- pruning
- sparsity
---
# {said["task"]}, {exported["kept"]:,} of {exported["prunable"]:,} weights kept

A sparse network that Tombola trained, after iteration {exported["iteration"]:,}: seed {said["seed"]},
mask {said["mask"]}, start {said["start"]}, density {exported["kept"] / exported["prunable"]:.2%}.

| at the iteration of minimum validation loss | |
|---|---|
{chr(10).join(metrics)}

| layer | weights kept |
|---|---|
{chr(10).join(layers)}

## Use

```python
import tombola as tb
from huggingface_hub import hf_hub_download

weights, mask = tb.load_ticket(hf_hub_download("{repository}", "{TICKET}"))
start = {{path: leaf[None] for path, leaf in weights.items()}}  # one replicate
```

Both are path -> array; the mask is True where a weight was kept. `spec.json` is the whole description, `metrics.csv` has the curves.
{users}
## Where it comes from

```
{chr(10).join(f"{'  ' * one['depth']}{one['run']}  {one['what']}" for one in line)}
```

Made by `{made["command"]}` on {made["device"]}, {made["date"]}, with {versions}.
"""
