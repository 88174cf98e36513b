"""Tombola: a workbench for the science of lottery tickets.

    import tombola as tb

    task = tb.task("mnist1d-mlp")
    levels = tb.imp(task, levels=8, replicates=8)
    print([round(level.summary["es_test_acc"].mean(), 3) for level in levels])

Names load when they are used, so that ``import tombola`` is light. They are listed in ``__init__.pyi``, where editors and type
checkers look for them too.
"""

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    name: (module, attribute)
    for module, attribute, name in re.findall(
        r"^from (\S+) import (\w+) as (\w+)$", Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"), re.MULTILINE
    )
}
"""Public name -> its module, and what it is called there."""

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'tombola' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    module, attribute = _PUBLIC[name]
    return import_module(f"{module}.{attribute}") if module == "tombola" else getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return __all__
