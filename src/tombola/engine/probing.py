"""Carry probes out: evaluate what the store lacks, and keep what was found."""

import json
import time
from collections.abc import Iterable
from functools import lru_cache
from itertools import combinations
from pathlib import Path

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.trees import Tree
from tombola.data.dataset import load
from tombola.engine import provenance
from tombola.engine.progress import Progress
from tombola.engine.reading import source
from tombola.engine.resolved import resolved
from tombola.evaluation.mixtures import evaluate
from tombola.procedures import layer_probes as layer_probes  # registers its kinds
from tombola.procedures import supermask_probes as supermask_probes  # likewise
from tombola.procedures.probe import Probe
from tombola.procedures.probes import EQUAL, Asked, Context, probes
from tombola.procedures.run import Run, Source
from tombola.pruning import selection
from tombola.store.files import dump_json
from tombola.store.store import Store
from tombola.training.geometry import Geometry


def carry_out_probes(wanted: Iterable[Probe], store: Store, data_dir: Path | None, progress: Progress) -> None:
    """Evaluate those probes that the store lacks; the runs they look at are all in it."""
    missing = {probe.digest: probe for probe in wanted if probe.digest not in store.probes}

    @lru_cache(maxsize=16)  # neighbours look at the same networks
    def weights(parent: Source) -> Tree:
        return source(parent.run, parent.what, store, data_dir)

    progress.start_probes(missing)
    kept = store.probes
    with progress:
        while missing:
            for digest, probe in missing.items():
                if digest in kept or not kept.claim(digest):
                    continue  # another process has evaluated it, or is about to
                try:
                    began = time.monotonic()
                    asked = _ask(probe, [weights(parent) for parent in probe.of], data_dir)
                    found = asked.read(evaluate(probe.task, load(probe.task.data, data_dir), asked.mixture, asked.parts))
                    _put(probe, found, asked.mixture.points, time.monotonic() - began, kept)
                    progress.advance(1)
                finally:
                    kept.release([digest])
            missing = {digest: probe for digest, probe in missing.items() if digest not in kept}
            if missing:
                time.sleep(0.5)


def rehearse_probes(wanted: Iterable[Probe], data_dir: Path | None) -> None:
    """Ask each kind of probe once on made-up weights: what is wrong with a name or an option shows before training; and so
    do networks that would come out equal, as they differ in noise that their task has not.
    """
    seen = set()
    for probe in wanted:
        found, _ = resolved(probe.task, data_dir)
        ends = [parent.run for parent in probe.of if parent.what == "end"]
        if probe.name not in ("reset", "valley") and any(_come_out_equal(*pair, found) for pair in combinations(ends, 2)):
            raise TombolaError(EQUAL)
        masked = tuple(parent.what == "mask" for parent in probe.of)
        key = (found, probe.name, masked, json.dumps(probe.options, sort_keys=True))
        if key not in seen:
            seen.add(key)
            shapes = [resolved(parent.run.task, data_dir)[0].network.shapes for parent in probe.of]
            dense = selection.dense({path: found.network.shapes[path].shape for path in found.network.prunable})
            made = [
                {path: np.cos((index + 1) * np.arange(one.size)).reshape(one.shape) for path, one in of_parent.items()}
                for index, of_parent in enumerate(shapes)
            ]
            _ask(probe, [dense if is_mask else tree for is_mask, tree in zip(masked, made, strict=True)], data_dir)


def _come_out_equal(first: Run, second: Run, found: Geometry) -> bool:
    """Whether two runs differ in nothing, or only in noise that their task does not have."""
    noises = [{stream: name for stream, name in run.noise.items() if stream in found.noise} for run in (first, second)]
    return noises[0] == noises[1] and first.but(noise={}) == second.but(noise={})


def _ask(probe: Probe, parents: list[Tree], data_dir: Path | None) -> Asked:
    context = Context(resolved(probe.task, data_dir)[0].network, probe.seed)
    return probes.call(probe.name, context, *parents, **probe.options)


def _put(probe: Probe, found: dict[str, np.ndarray], networks: int, seconds: float, store: Store) -> None:
    files = {
        "spec.json": dump_json(probe.canonical()),
        "made.json": dump_json(provenance.made(seconds, networks=networks)),
    }
    store.put(probe.digest, files, {"found.safetensors": found})
