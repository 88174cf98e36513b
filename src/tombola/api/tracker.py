"""`tombola.tracker`: what training says at its stops, live in TensorBoard, trackio or Weights & Biases."""

from typing import Any

from tombola.api.session import Stop
from tombola.store.tracking import Tracked, module_of, opened, run_name


class tracker:  # noqa: N801 (it is called like a function)
    """What `tombola.train` is given as `on_stop`: a run in a tool for each replicate, and its metrics as they are evaluated.

        with tb.tracker("tensorboard", project="curves") as live:
            tb.train(task, replicates=2, on_stop=live)

    Args:
        to: `tensorboard` (which `project` is a folder of), `trackio` or `wandb`: an extra of that name.
        project: what the tool keeps the runs under.
        config: further entries of each run's configuration, as JSON values.

    Raises:
        TombolaError: for another tool, or one that is not installed.
    """

    def __init__(self, to: str, project: str = "tombola", **config: Any) -> None:
        module_of(to)  # known before hours of training
        self._to, self._project, self._config = to, project, config
        self._runs: dict[str, Tracked] = {}

    def __call__(self, stop: Stop) -> None:
        """Log one stop."""
        if stop.run.digest not in self._runs:
            name = run_name(stop.run.task.name, f"replicate-{stop.replicate}-{stop.run.digest[:8]}")
            config = {"replicate": stop.replicate, "run": stop.run.digest, **self._config, "spec": stop.run.canonical()}
            self._runs[stop.run.digest] = opened(self._to, self._project, name, config)
        self._runs[stop.run.digest].log(stop.step, stop.metrics)

    def finish(self) -> None:
        """Close every run."""
        while self._runs:
            self._runs.popitem()[1].finish({})

    def __enter__(self) -> "tracker":
        return self

    def __exit__(self, *error: object) -> None:
        self.finish()
