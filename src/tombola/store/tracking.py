"""Runs in other people's tools: TensorBoard, trackio, Weights & Biases. Each is an extra of the same name."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from tombola.core.errors import TombolaError, unknown
from tombola.core.extras import extra
from tombola.store.record import Record

TRACKERS = {"tensorboard": "tensorboardX", "trackio": "trackio", "wandb": "wandb"}
"""Tool -> the module that writes for it."""


class Tracked(Protocol):
    """A run in a tool."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """The metrics after so many iterations."""

    def finish(self, summary: Mapping[str, float]) -> None:
        """End the log; `summary` holds of the whole run."""


def opened(to: str, project: str, name: str, config: Mapping[str, Any]) -> Tracked:
    """A new run in a tool.

    Args:
        to: `tensorboard`, `trackio` or `wandb`.
        project: what the tool keeps the run under; of TensorBoard a folder.
        name: parts that "/" separates; of TensorBoard a folder below the project's.
        config: what the run is, as JSON values.

    Raises:
        TombolaError: for another tool, or one that is not installed.
    """
    module = module_of(to)
    if to == "tensorboard":
        return _TensorBoard(module, Path(project) / name, config)
    return _Run(module, project, name, config)


def module_of(to: str) -> ModuleType:
    """What writes for a tool. Raises in one line for another tool, or one that is not installed."""
    if to not in TRACKERS:
        raise unknown("tool", to, TRACKERS)
    return extra(TRACKERS[to], to)


def log_record(record: Record, to: str, project: str, name: str, config: Mapping[str, Any]) -> None:
    """A stored run in a tool: its metrics at every step, its summary, and its description beside `config`. Raises `Damaged`."""
    summary = {key: value for key, value in record.json("summary").items() if isinstance(value, int | float)}
    metrics = record.metrics()
    tracked = opened(to, project, name, {**config, "run": record.digest, "spec": record.json("spec"), "made": record.json("made")})
    for place, step in enumerate(metrics["step"]):
        tracked.log(int(step), {key: float(column[place]) for key, column in metrics.items() if key != "step"})
    tracked.finish(summary)


def run_name(*parts: object) -> str:
    """A run's name of its parts, in which nothing stands that a folder cannot have."""
    return "/".join(re.sub(r"[^\w.,=+-]+", "-", str(part)).strip("-.") or "-" for part in parts)


def there(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics that were evaluated: NaN stands for a test set that was not; a loss on validation data that is NaN diverged."""
    return {name: value for name, value in metrics.items() if not (name.startswith("test_") and math.isnan(value))}


class _TensorBoard:
    def __init__(self, module: ModuleType, folder: Path, config: Mapping[str, Any]) -> None:
        if folder.is_dir() and any(one.name.startswith("events.") for one in folder.iterdir()):
            raise TombolaError(
                f"{folder} holds this run already, and TensorBoard would show it twice; remove it, or name another --project"
            )
        self._writer = module.SummaryWriter(str(folder))
        self._writer.add_text("description", f"```json\n{json.dumps(config, indent=1)}\n```")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in there(metrics).items():
            self._writer.add_scalar(name, value, step)

    def finish(self, summary: Mapping[str, float]) -> None:
        if summary:
            self._writer.add_text("summary", "\n".join(f"    {name}: {value}" for name, value in summary.items()))
        self._writer.close()


class _Run:
    """The log of a run in trackio, which has the interface of wandb, or in wandb itself."""

    def __init__(self, module: ModuleType, project: str, name: str, config: Mapping[str, Any]) -> None:
        several = {"reinit": "create_new"} if module.__name__ == "wandb" else {}  # the replicas of one call are runs at the same time
        self._run = module.init(project=project, name=name, config=dict(config), **several)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(there(metrics), step=step)

    def finish(self, summary: Mapping[str, float]) -> None:
        if hasattr(self._run, "summary"):
            self._run.summary.update(dict(summary))
        self._run.finish()
