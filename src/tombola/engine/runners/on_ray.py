"""Workers that are tasks of Ray: each starts one process on its node, and all that comes back from it is how that ended."""

import logging
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tombola.core.errors import TombolaError
from tombola.engine.runners.processes import begin, end
from tombola.engine.runners.workers import failed
from tombola.kernels.device import CORES


class Ray:
    """Tasks of a cluster whose nodes see the store under the same path, and have Tombola installed.

    A task whose node is lost begins again on another; what it had kept is in the store.
    """

    def __init__(self, arguments: Sequence[str], count: int, logs: Path, address: str, **options: Any) -> None:
        """`options` are those of `ray.init`, such as the address of this machine (`_node_ip_address`)."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            raise TombolaError("--ray needs Ray, which is not installed; `pip install 'tombola[ray]'` installs it") from None
        logs.mkdir(parents=True, exist_ok=True)
        self._ray, self.count = ray, count
        self._logs = [logs / f"worker-{index}.log" for index in range(1, count + 1)]
        try:
            _reach(address)  # Ray itself would try for minutes
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (OSError, ValueError, RuntimeError) as error:
            said = " ".join(str(error).split()) or type(error).__name__
            raise TombolaError(f"--ray {address!r}: no cluster answers there ({said}); give HOST:PORT of its head, or auto") from None
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        if not nodes:
            raise TombolaError(f"--ray {address!r}: no node of this cluster has a CPU for workers; `ray start --address=...` adds one")
        cores = max(1, min(int(min(node["CPU"] for node in nodes)), int(sum(node["CPU"] for node in nodes) // count)))
        wants = {"num_cpus": cores, "num_gpus": int(any(node.get("GPU") for node in nodes)), "max_retries": -1}
        task = ray.remote(_work).options(scheduling_strategy="SPREAD", **wants)
        environment = {CORES: str(cores), **{name: os.environ[name] for name in _PASSED_ON if name in os.environ}}
        self._tasks = [task.remote(list(arguments), str(log), os.getcwd(), environment) for log in self._logs]

    def running(self) -> int:
        """How many have not ended."""
        return len(self._ray.wait(self._tasks, num_returns=self.count, timeout=0)[1])

    def failures(self) -> list[str]:
        """The workers that ended without having done their work: which, and why."""
        return failed([self._code(task) for task in self._tasks], self._logs)

    def stop(self) -> None:
        """Tell them to stop, and wait until they have kept what they did and given back what they claimed."""
        for task in self._tasks:
            self._ray.cancel(task)
        self._ray.wait(self._tasks, num_returns=self.count, timeout=30)
        self._ray.shutdown()

    def _code(self, task: Any) -> int | None:
        try:
            return self._ray.get(task, timeout=0)
        except self._ray.exceptions.RayError:
            return None


def _reach(address: str) -> None:
    """Raise `OSError` or `ValueError` unless something listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    if host and "//" not in host:
        socket.create_connection((host, int(port)), timeout=5).close()


_PASSED_ON = ("PYTHONPATH", "TOMBOLA_DATA", "TOMBOLA_CACHE")
"""Variables of who starts the workers that their nodes need, too."""


def _work(arguments: list[str], log: str, folder: str, environment: dict[str, str]) -> int:
    """Run one worker on its node; its exit code."""
    os.chdir(folder)
    process = begin([sys.executable, "-m", "tombola", *arguments], Path(log), os.environ | environment)
    try:
        return process.wait()
    finally:
        end([process])
