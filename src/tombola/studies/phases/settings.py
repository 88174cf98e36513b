"""Settings of training that are compared: one change of a task each."""

from collections.abc import Callable, Mapping
from typing import Any

from tombola.studies import Step, Task

Change = Callable[[Task], Task]
BASE = "as it is"


def _recipe(task: Task, **changes: Any) -> Task:
    return task.but(recipe=task.recipe.but(**changes))


def _rate(factor: float) -> Change:
    return lambda task: _recipe(task, learning_rate=factor * task.recipe.learning_rate)


def _batch(factor: float) -> Change:
    return lambda task: _recipe(task, batch=max(1, round(factor * task.recipe.batch)))


def _options(task: Task, **changes: Any) -> Task:
    return task.but(model=task.model.but(options={**task.model.options, **changes}))


def _width(factor: float) -> Change:
    def change(task: Task) -> Task:
        given = task.model.options
        if "widths" in given:
            return _options(task, widths=[max(1, round(factor * width)) for width in given["widths"]])
        return _options(task, width=max(1, round(factor * given["width"]))) if "width" in given else task

    return change


def _depth(more: bool) -> Change:
    def change(task: Task) -> Task:
        widths = task.model.options.get("widths")
        if task.model.name != "mlp" or not widths or (len(widths) == 1 and not more):
            return task
        return _options(task, widths=[*widths, max(1, widths[-1] // 2)] if more else widths[:-1])

    return change


def _noise(share: float) -> Change:
    return lambda task: task.but(data=task.data.but(label_noise=share))


def _optimizer(name: str) -> Change:
    """The change to an optimiser, at a rate that such optimisers take: 10 times that of Adam for momentum, 50 times for SGD."""
    usual = {"adam": 1, "adamw": 1, "momentum": 10, "nesterov": 10, "sgd": 50}

    def change(task: Task) -> Task:
        rate = task.recipe.learning_rate * usual[name] / usual.get(task.recipe.optimizer, 1)
        return _recipe(task, optimizer=name, learning_rate=rate, optimizer_options={})

    return change


def _decay(task: Task) -> Task:
    """Ten times what there is; where there is none 0.1 of AdamW, 1e-3 of the others."""
    if task.recipe.weight_decay:
        return _recipe(task, weight_decay=10 * task.recipe.weight_decay)
    if task.recipe.optimizer == "adam":
        return _recipe(task, optimizer="adamw", weight_decay=0.1)
    return _recipe(task, weight_decay=1e-3)


def _length(factor: float) -> Change:
    def change(task: Task) -> Task:
        old = task.recipe
        return _recipe(task, steps=old.steps.times(factor), milestones=tuple(one.times(factor) for one in old.milestones))

    return change


def _warmup(share: float) -> Change:
    return lambda task: _recipe(task, warmup=Step(task.recipe.steps.times(share)))


def _gain(factor: float) -> Change:
    return lambda task: task.but(model=task.model.but(gain=factor * task.model.gain))


CHANGES: Mapping[str, Change] = {
    BASE: lambda task: task,
    "rate / 4": _rate(1 / 4),
    "rate / 2": _rate(1 / 2),
    "rate x 2": _rate(2),
    "batch / 2": _batch(1 / 2),
    "batch x 2": _batch(2),
    "batch x 4": _batch(4),
    "width / 4": _width(1 / 4),
    "width / 2": _width(1 / 2),
    "width x 2": _width(2),
    "a layer less": _depth(False),
    "a layer more": _depth(True),
    "no label noise": _noise(0.0),
    "20 % label noise": _noise(0.2),
    "40 % label noise": _noise(0.4),
    "60 % label noise": _noise(0.6),
    "Adam": _optimizer("adam"),
    "momentum": _optimizer("momentum"),
    "SGD": _optimizer("sgd"),
    "warm-up of 1/10": _warmup(1 / 10),
    "warm-up of 1/3": _warmup(1 / 3),
    "cosine schedule": lambda task: _recipe(task, schedule="cosine", milestones=()),
    "more decay": _decay,
    "half as long": _length(1 / 2),
    "twice as long": _length(2),
    "init / 2": _gain(1 / 2),
    "init x 2": _gain(2),
}
"""Name -> change, which leaves a task as it is where it says nothing to it."""


def settings_of(task: Task) -> dict[str, Task]:
    """Name -> changed task, of all changes that change it, each once; `BASE` is the first."""
    found: dict[str, Task] = {}
    for name, change in CHANGES.items():
        changed = change(task)
        if changed not in found.values():
            found[name] = changed
    return found
