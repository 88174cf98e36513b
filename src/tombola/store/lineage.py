"""The lineage of a run: its parents, and theirs, back to an initialisation."""

from math import prod
from typing import Any

import numpy as np

from tombola.core.registry import plain
from tombola.store.store import Record, Store


def describe(record: Record) -> dict[str, Any]:
    """One line on a stored run."""
    spec, summary, metrics = record.json("spec"), record.json("summary"), record.metrics()
    return {
        "run": record.digest,
        "task": task_of(spec),
        "seed": spec["seed"],
        "mask": said(spec.get("mask")) or "dense",
        "start": start(spec),
        "density": round(summary["density"], 6),
        "kept": summary["kept"],
        "prunable": summary["prunable"],
        "val_loss_min": round(float(np.fmin.reduce(metrics["val_loss"])), 4),
        **{name: round(float(values[-1]), 4) for name, values in metrics.items() if name.startswith("test_") and name != "test_loss"},
        "weights": [f"{step}it" for step in sorted(record.steps())],
        "date": record.json("made")["date"],
    }


def lineage(store: Store, digest: str) -> list[dict[str, Any]]:
    """The run and its ancestors, each once, children before parents, with the longest way to each as its depth."""
    depth = {store.find(digest).digest: 0}
    pending = list(depth)
    while pending:
        current = pending.pop()
        for parent in _parents(store.get(current).json("spec")) if current in store else []:
            if depth.get(parent, -1) <= depth[current]:
                depth[parent] = depth[current] + 1
                pending.append(parent)
    return [{"run": run, "depth": depth[run], **_entry(store, run)} for run in sorted(depth, key=depth.__getitem__)]


def _entry(store: Store, digest: str) -> dict[str, Any]:
    if digest in store.given:
        shapes = store.given.get(digest).json("spec")["shapes"]
        return {"what": f"given as arrays: {sum(prod(shape) for shape in shapes.values()):,} values in {len(shapes)} leaves", "parents": []}
    if digest not in store:
        return {"what": "not in this store", "parents": []}
    record = store.get(digest)
    spec, summary = record.json("spec"), record.json("summary")
    parents = _parents(spec)
    what = (
        f"{task_of(spec)}, seed {spec['seed']}: {start(spec)}; mask: {said(spec.get('mask')) or 'dense'} "
        f"({summary['kept']:,}/{summary['prunable']:,} kept, density {summary['density']:.2%})"
    )
    return {"what": what if parents else f"{what}; the initialisation follows from the seed", "parents": parents}


def start(spec: dict[str, Any]) -> str:
    """How a run's start is made, in words."""
    kept, pruned = said(spec.get("kept")) or "initial weights", said(spec.get("pruned")) or "zero"
    return kept if spec.get("mask") is None else f"kept: {kept}, pruned: {pruned}"


def said(action: dict[str, Any] | None) -> str:
    """An action with its parents and options, as one phrase."""
    if action is None:
        return ""
    parents = [f"{source['run'][:8]}@{source['what']}" for source in action.get("of", [])]
    options = [f"{name}={value}" for name, value in action.get("options", {}).items()]
    return f"{action['name']}({', '.join(parents + options)})"


def _parents(spec: dict[str, Any]) -> list[str]:
    sources = [source for part in ("mask", "kept", "pruned") for source in (spec.get(part) or {}).get("of", [])]
    return list(dict.fromkeys(source["run"] for source in sources))


def task_of(spec: dict[str, Any]) -> str:
    """A stored description's data and network, in words."""
    return f"{spec['task']['data']['name']}/{plain(spec['task']['model']['name'])}"
