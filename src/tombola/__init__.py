"""Tombola: a workbench for the science of lottery tickets.

    import tombola as tb

    task = tb.task("mnist1d-mlp")
    levels = tb.imp(task, levels=8, replicates=8)
    print([round(level.summary["es_test_acc"].mean(), 3) for level in levels])

Names load when they are used, so that ``import tombola`` is light.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Data": "tombola.core.task",
    "MaskSchedule": "tombola.core.task",
    "MaskUpdates": "tombola.training.mask_schedules",
    "Model": "tombola.core.task",
    "Pruning": "tombola.pruning.pruning",
    "Recipe": "tombola.core.task",
    "Step": "tombola.core.step",
    "Store": "tombola.store.store",
    "Supermask": "tombola.core.task",
    "Task": "tombola.core.task",
    "TombolaError": "tombola.core.errors",
    "TombolaWarning": "tombola.core.errors",
    "Trajectory": "tombola.api.trajectory",
    "augmentations": "tombola.data.augment",
    "combine": "tombola.surgery.combine",
    "compact": "tombola.surgery.compact:compact_task",
    "criteria": "tombola.pruning.criteria",
    "from_arrays": "tombola.data.arrays",
    "imp": "tombola.api.imp",
    "instability": "tombola.api.instability",
    "load_ticket": "tombola.store.export",
    "mask_schedules": "tombola.training.mask_schedules",
    "masks": "tombola.core:masks",
    "model": "tombola.models.custom:from_class",
    "objectives": "tombola.objectives:",
    "optimizers": "tombola.training.optimizers",
    "path": "tombola.api.paths",
    "predict": "tombola.api.predict",
    "prune": "tombola.api.pruning",
    "robustness": "tombola.api.robustness",
    "run": "tombola.api.run",
    "schedules": "tombola.training.schedules",
    "score": "tombola.api.pruning",
    "supermask": "tombola.api.supermask",
    "task": "tombola.models.tasks",
    "train": "tombola.api.train",
    "values": "tombola.api.values",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tombola' has no attribute {name!r}")
    module, colon, attribute = _PUBLIC[name].partition(":")
    return import_module(module) if colon and not attribute else getattr(import_module(module), attribute or name)


def __dir__() -> list[str]:
    return __all__
