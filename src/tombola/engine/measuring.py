"""Carry measurements out: evaluate what the store lacks, and keep what was found."""

import json
import random
import time
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from tombola.core.masks import Mask
from tombola.core.trees import Tree
from tombola.data.dataset import load
from tombola.data.split import split
from tombola.engine import checkpoints, provenance
from tombola.engine.progress import Progress
from tombola.engine.queue import Queue
from tombola.engine.reading import load_tree
from tombola.engine.resolved import resolved
from tombola.evaluation.adversary import Adversary
from tombola.evaluation.population import Population
from tombola.evaluation.weight_combinations import evaluate
from tombola.kernels import compiling
from tombola.models.build import build
from tombola.models.network import Network
from tombola.procedures import attack_measurements as attack_measurements  # registers its kind
from tombola.procedures import code_measurements as code_measurements  # likewise
from tombola.procedures import evolved_weights as evolved_weights  # likewise
from tombola.procedures import layer_measurements as layer_measurements  # likewise
from tombola.procedures import mask_search as mask_search  # likewise
from tombola.procedures import pass_time as pass_time  # likewise
from tombola.procedures import supermask_measurements as supermask_measurements  # likewise
from tombola.procedures import text_attacks as text_attacks  # likewise
from tombola.procedures import words as words  # likewise
from tombola.procedures.measurement import Measurement
from tombola.procedures.measurements import Context, Loop, Query, measurements
from tombola.procedures.run import Run, RunRef
from tombola.pruning import selection
from tombola.store.files import dump_json
from tombola.store.store import Store
from tombola.surgery.compact import compact_model
from tombola.training.activations import on_training_examples
from tombola.training.setup import Setup

_SECONDS = 20.0
"""Seconds between two checkpoints of a loop."""


def execute_measurements(wanted: Iterable[Measurement], store: Store, data_dir: Path | None, progress: Progress, workers: int = 1) -> None:
    """Evaluate those measurements that the store lacks; the runs they look at are all in it."""
    asked, kept = {measurement.digest: measurement for measurement in wanted}, store.measurements

    @lru_cache(maxsize=16)  # neighbours look at the same networks
    def weights(parent: RunRef) -> Tree:
        return load_tree(parent.run, parent.what, store, data_dir)

    queue = Queue(kept, asked, kept.__contains__)
    progress.start_measurements(queue.missing)
    with progress:
        while queue.missing or not queue.confirm(() if workers > 1 else asked):
            free = queue.free(queue.missing)
            first = random.randrange(len(free)) if free and workers > 1 else 0  # several workers begin at different ones
            for digest in [*free[first:], *free[:first]]:
                with queue.taken([digest]) as mine:
                    if not mine:
                        break  # another process is at these, too: what is left is looked up again
                    _evaluate(asked[digest], weights, kept, data_dir, progress)
            if not free:
                queue.wait(queue.missing, progress)
            queue.look()
            progress.remaining(queue.missing)


def _evaluate(measurement: Measurement, weights: Callable[[RunRef], Tree], kept: Store, data_dir: Path | None, progress: Progress) -> None:
    began, compiled, digest = time.monotonic(), compiling.seconds(), measurement.digest
    query = _ask(measurement, [weights(parent) for parent in measurement.of], data_dir)
    if isinstance(query, Loop):
        query = _looped(query, digest, kept, progress)
    found = query.read(evaluate(measurement.task, load(measurement.task.data, data_dir), query.networks, query.parts))
    _put(measurement, found, query.networks.points, time.monotonic() - began, compiling.seconds() - compiled, kept)
    if not np.isfinite([value for name, values in found.items() if "loss" in name for value in values.reshape(-1)]).all():
        progress.warn(f"measurement {digest} ({measurement.name}): of some networks the loss is not finite; they read NaN")
    checkpoints.remove(kept, digest)
    progress.advance(1)


def _looped(loop: Loop, digest: str, store: Store, progress: Progress) -> Query:
    """Step by step to the end, from where an earlier process stopped; now and then, and when told to stop, a checkpoint is written."""
    state = checkpoints.load_state(store, digest, progress.warn) or loop.first()
    shown, saved = 0.0, time.monotonic()
    try:
        while (share := loop.share(state)) < 1:
            if time.monotonic() - saved > _SECONDS:
                saved = time.monotonic()
                checkpoints.save_state(store, digest, state)
            progress.advance(min(share, 0.999) - shown)
            shown = min(share, 0.999)
            state = loop.advance(state)
    except KeyboardInterrupt:
        checkpoints.save_state(store, digest, state)
        raise
    progress.advance(-shown)
    return loop.query(state)


def rehearse_measurements(wanted: Iterable[Measurement], data_dir: Path | None) -> None:
    """Ask each kind of measurement once on made-up weights: what is wrong with a name or an option shows before training.

    Networks that would come out equal, as they differ in nothing but noise that their task has not, are made up equal: a kind that
    compares two says so then.
    """
    seen = set()
    for measurement in wanted:
        found, _ = resolved(measurement.task, data_dir)
        masked, told = tuple(parent.what == "mask" for parent in measurement.of), [_told_by(parent, found) for parent in measurement.of]
        key = (found, measurement.name, masked, tuple(map(told.index, told)), json.dumps(measurement.options, sort_keys=True))
        if key not in seen:
            seen.add(key)
            rehearsed(measurement, data_dir)


def rehearsed(measurement: Measurement, data_dir: Path | None) -> Query | Loop:
    """What would be evaluated, asked on made-up weights: equal ones where parents are bound to be equal."""
    found, _ = resolved(measurement.task, data_dir)
    told = [_told_by(parent, found) for parent in measurement.of]
    shapes = [resolved(getattr(parent.run, "task", measurement.task), data_dir)[0].network.shapes for parent in measurement.of]
    dense = selection.dense({path: found.network.shapes[path].shape for path in found.network.prunable})
    made = [
        {path: np.cos((told.index(one) + 1) * np.arange(leaf.size)).reshape(leaf.shape) for path, leaf in of_parent.items()}
        for one, of_parent in zip(told, shapes, strict=True)
    ]
    parents = [dense if parent.what == "mask" else tree for parent, tree in zip(measurement.of, made, strict=True)]
    return _ask(measurement, parents, data_dir)


def _told_by(parent: RunRef, found: Setup) -> str:
    """What tells a parent's weights from others: its run, but for noise that its task does not have."""
    if isinstance(parent.run, Run):
        noise = {stream: name for stream, name in parent.run.noise.items() if stream in found.noise}
        parent = parent.but(run=parent.run.but(noise=noise))
    return parent.digest


def _ask(measurement: Measurement, parents: list[Tree], data_dir: Path | None) -> Query | Loop:
    task = measurement.task
    population = lambda seed: Population(task, load(task.data, data_dir), seed)  # noqa: E731
    adversary = lambda seed, examples: Adversary(task, load(task.data, data_dir), seed, examples)  # noqa: E731
    seen, network = partial(on_training_examples, task, data_dir), resolved(task, data_dir)[0].network
    dataset = lambda: load(task.data, data_dir)  # noqa: E731

    def tested(count: int | None) -> tuple[np.ndarray, np.ndarray]:
        found = dataset()
        chosen = split(found, task.data, measurement.seed).test[:count]
        assert found.test_targets is not None
        return np.asarray(found.test_inputs[chosen]), np.asarray(found.test_targets[chosen])

    def smaller(weights: Tree, mask: Mask) -> tuple[Network, Tree]:
        model, left = compact_model(task.model, network.data, weights, mask)
        return build(model, network.data), left.weights

    context = Context(network, measurement.seed, None, None, population, adversary, seen, dataset, data_dir, tested, smaller)
    return measurements.call(measurement.name, context, *parents, **measurement.options)


def _put(measurement: Measurement, found: dict[str, np.ndarray], networks: int, seconds: float, compiled: float, store: Store) -> None:
    files = {
        "spec.json": dump_json(measurement.canonical()),
        "made.json": dump_json(provenance.made(seconds, compiled, networks=networks)),
    }
    store.put(measurement.digest, files, {"found.safetensors": found})
