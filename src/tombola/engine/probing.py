"""Carry probes out: evaluate what the store lacks, and keep what was found."""

import inspect
import json
import time
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.trees import Tree
from tombola.data.dataset import load
from tombola.engine import provenance
from tombola.engine.progress import Progress
from tombola.engine.starts import resolved, source
from tombola.evaluation.mixtures import evaluate
from tombola.procedures.probe import Probe
from tombola.procedures.probes import Asked, Context, probes
from tombola.procedures.run import Source
from tombola.pruning import selection
from tombola.store.files import dump_json
from tombola.store.store import Store


def carry_out_probes(wanted: Iterable[Probe], store: Store, data_dir: Path | None, progress: Progress) -> None:
    """Evaluate those probes that the store lacks; the runs they look at are all in it."""
    missing = {probe.digest: probe for probe in wanted if probe.digest not in store.probes}

    @lru_cache(maxsize=16)  # neighbours look at the same networks
    def weights(parent: Source) -> Tree:
        return source(parent.run, parent.what, store, data_dir)

    progress.start_probes(missing)
    with progress:
        for probe in missing.values():
            began = time.monotonic()
            asked = _ask(probe, [weights(parent) for parent in probe.of], data_dir)
            found = asked.read(evaluate(probe.task, load(probe.task.data, data_dir), asked.mixture))
            _put(probe, found, len(asked.mixture.shares), time.monotonic() - began, store.probes)
            progress.advance(1)


def rehearse_probes(wanted: Iterable[Probe], data_dir: Path | None) -> None:
    """Ask each kind of probe once on made-up weights: what is wrong with a name or an option shows before training."""
    seen = set()
    for probe in wanted:
        found, _ = resolved(probe.task, data_dir)
        masked = tuple(parent.what == "mask" for parent in probe.of)
        key = (found, probe.name, masked, json.dumps(probe.options, sort_keys=True))
        if key not in seen:
            seen.add(key)
            shapes = found.network.shapes
            dense = selection.dense({path: shapes[path].shape for path in found.network.prunable})
            made = [
                {path: np.cos((index + 1) * np.arange(one.size)).reshape(one.shape) for path, one in shapes.items()}
                for index in range(len(masked))
            ]
            _ask(probe, [dense if is_mask else tree for is_mask, tree in zip(masked, made, strict=True)], data_dir)


def _ask(probe: Probe, parents: list[Tree], data_dir: Path | None) -> Asked:
    kind = probes[probe.name]
    context = Context(resolved(probe.task, data_dir)[0].network, probe.seed)
    try:
        inspect.signature(kind).bind(context, *parents, **probe.options)
    except TypeError as error:
        raise TombolaError(f"probe {probe.name!r}: {error}; it takes {inspect.signature(kind)}") from None
    return kind(context, *parents, **probe.options)


def _put(probe: Probe, found: dict[str, np.ndarray], networks: int, seconds: float, store: Store) -> None:
    files = {
        "spec.json": dump_json(probe.canonical()),
        "made.json": dump_json(provenance.made(seconds, networks=networks)),
    }
    store.put(probe.digest, files, {"found.safetensors": found})
