"""How long training and measuring took on a processor like this one, from what a store has made."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import median
from typing import Any, NamedTuple

from tombola.core.task import Task
from tombola.engine import provenance
from tombola.procedures.measurement import Measurement
from tombola.store.store import Damaged, Record, Store

_MOST = 1000
"""Records of a store that are looked at, evenly spaced: each takes a fraction of a millisecond."""
FIXED = 0.15
"""Seconds that a batch of replicas takes beside its steps, to read what it starts from and to write what it leaves: all that some short
runs take, so that long ones cannot be told from their steps.
"""
_OF_NO_MATTER = {
    "learning_rate",
    "steps",
    "schedule",
    "schedule_options",
    "milestones",
    "decay",
    "warmup",
    "weight_decay",
    "label_smoothing",
}
"""Fields of a recipe on which the time of a step does not depend."""


class Timed(NamedTuple):
    """Wall time without compilation, and that of compiling the program: seconds."""

    seconds: float
    """Seconds of a step of training, by all replicas that train at a time; or of a measurement."""
    compiling: float


class Timings:
    """The medians over what the store has of the same, or else of the most alike."""

    def __init__(self, store: Store, devices: int) -> None:
        """`devices`: how many replicas train at a time on a CPU; 0: all that there are, as on a GPU."""
        self._devices, self._here = devices, provenance.device()
        self._steps = _gathered(store, self._trained, lambda spec: _alike(spec["task"]))
        self._measured = _gathered(store.measurements, self._evaluated, _alike_measurement)

    def step(self, task: Task) -> Timed | None:
        """The time of a step of training of a task; None if the store has none of its network on its data."""
        return _first(self._steps, _alike(task.canonical()))

    def measurement(self, measurement: Measurement) -> Timed | None:
        """The time of a measurement; None if the store has none of its kind on its network."""
        return _first(self._measured, _alike_measurement(measurement.canonical()))

    def _trained(self, record: Record) -> Timed | None:
        made, steps = record.json("made"), record.metrics()["step"]
        together, length = made["trained_together"], float(steps[-1] - steps[0])
        if made["device"] != self._here or not length:
            return None
        at_once = together if not self._devices else -(-together // self._devices)
        spent = max(made["seconds"] - made.get("compiling", 0), 0)
        return Timed(max(spent - FIXED, spent / 10) / length / at_once, made.get("compiling", 0))

    def _evaluated(self, record: Record) -> Timed | None:
        made = record.json("made")
        compiling = made.get("compiling", 0)
        return Timed(max(made["seconds"] - compiling, 0), compiling) if made["device"] == self._here else None


def _gathered(store: Store, read: Callable[[Record], Timed | None], alike: Callable[[Any], Iterable[str]]) -> dict[str, Timed]:
    """What is alike -> the medians over it."""
    found: dict[str, list[Timed]] = {}
    records = list(store)
    for record in records[:: len(records) // _MOST + 1]:
        try:
            timed = read(record)
        except Damaged:
            continue
        if timed is not None:
            for key in alike(record.json("spec")):
                found.setdefault(key, []).append(timed)
    compiled = {key: [one.compiling for one in timed if one.compiling > 0.1] or [0.0] for key, timed in found.items()}
    return {key: Timed(median(one.seconds for one in timed), median(compiled[key])) for key, timed in found.items()}


def _first(kept: Mapping[str, Timed], keys: Iterable[str]) -> Timed | None:
    """What is kept under the first key that is there; None if none is."""
    return next((kept[key] for key in keys if key in kept), None)


def _alike(task: Mapping[str, Any]) -> Iterator[str]:
    """What tasks have in common whose steps take as long, from the most to the least alike."""
    recipe = {name: value for name, value in task["recipe"].items() if name not in _OF_NO_MATTER}
    yield json.dumps([task["model"], task["data"], recipe, task.get("objective")], sort_keys=True)
    yield json.dumps([task["model"], task["data"]["name"], recipe["batch"]], sort_keys=True)


def _alike_measurement(spec: Mapping[str, Any]) -> Iterator[str]:
    network = [spec["name"], spec["task"]["model"], spec["task"]["data"]["name"]]
    yield json.dumps([*network, len(spec["of"]), spec.get("options", {})], sort_keys=True)
    yield json.dumps(network, sort_keys=True)
