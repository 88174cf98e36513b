"""One call: where its runs are kept, the arrays that it was given as parents of them, and how it is carried out."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tombola.api.trajectory import Stored, Trajectory
from tombola.core import keys, masks
from tombola.core.errors import TombolaError, shown
from tombola.core.numbers import whole
from tombola.core.step import Step
from tombola.core.task import Task
from tombola.core.trees import Tree, equal, replica, replicas
from tombola.data.identity import identified
from tombola.engine.compute import compute
from tombola.engine.graph import graph
from tombola.engine.progress import Progress
from tombola.engine.reading import load_tree
from tombola.engine.resolved import resolved
from tombola.engine.steps import iteration
from tombola.models.network import Network
from tombola.procedures.measurement import Measurement
from tombola.procedures.run import Action, Given, Run, RunRef
from tombola.store.files import dump_json
from tombola.store.store import Store
from tombola.surgery.combine import combine
from tombola.training.replica import columns


class Stop(NamedTuple):
    """What is said of a replicate where training stops to evaluate."""

    run: Run
    """The run that it is described as."""
    replicate: int
    """The replicate's number in the call, from 0."""
    step: int
    """Iterations since the start of training."""
    metrics: dict[str, float]
    """Metrics as in `Trajectory.metrics`: losses in nats, shares in [0, 1]; NaN where the test set was not evaluated."""


def a_task(given: Any) -> Task:
    """What was given as a task. Raises if it is none, such as a task's name."""
    if not isinstance(given, Task):
        raise TombolaError(f"{shown(given)} is no task; make one of a name, tb.task('digits-mlp'), or a tb.Task of your own")
    return given


@dataclass(frozen=True)
class Session:
    """A call in Python."""

    task: Task
    """The task, with its data identified by their bytes, as in studies."""
    store: Store
    data_dir: Path | None

    @classmethod
    def of(cls, task: Task, store: Store | Path | str | None, data_dir: Path | str | None, *given: Any) -> "Session":
        """A session with the store that is named; else with the one that what was given comes from; else with one in memory."""
        if store is None:
            store = next((one.store for one in given if isinstance(one, Stored | Trajectory)), None) or Store()
        folder = None if data_dir is None else Path(data_dir)
        return cls(identified(a_task(task), folder), store if isinstance(store, Store) else Store(store), folder)

    @property
    def network(self) -> Network:
        """The network of the task."""
        return resolved(self.task, self.data_dir)[0].network

    # -- described ----------------------------------------------------------------------------------------------

    def runs(
        self,
        replicates: Any,
        seed: Any,
        *,
        start: Mapping[str, Any] | None = None,
        mask: Mapping[str, Any] | Action | None = None,
        **fields: Any,
    ) -> list[Run]:
        """A run a replicate, from arrays (R, ...) as `tombola.train` takes them, or with a mask action; `fields` are those of `Run`."""
        network = self.network
        made, given = (mask, None) if isinstance(mask, Action) else (None, mask_of(mask, network))
        start = weights_of("start", start, network)
        count = how_many(replicates, start=start, mask=given)
        kept_by = None if given is None else self.refer(given, "mask")
        begins_at = None if start is None else self.refer(start)
        found = []
        for index, one in enumerate(seeds(seed, count)):
            action = made if kept_by is None else Action(name="parent_mask", of=(kept_by[index],))
            kept = None if begins_at is None else Action(name="rewind", of=(begins_at[index],))
            held = None
            if start is not None and given is not None:
                own = replica(start, index)
                held = None if equal(combine(replica(given, index), own), own) else kept  # None: zero
            found.append(Run(task=self.task, seed=one, mask=action, kept=kept, pruned=held, **fields))
        return found

    def refer(self, tree: Mapping[str, Any], what: str = "weights") -> list[RunRef]:
        """The R parents of runs or measurements: the runs that weights or masks come from, if they know them and are still as they were;
        else the arrays themselves.
        """
        if isinstance(tree, Stored) and all(
            equal(replica(tree, index), load_tree(ref.run, ref.what, tree.store, self.data_dir)) for index, ref in enumerate(tree.refs)
        ):
            self.bring(tree.refs, tree.store)
            return list(tree.refs)
        return [self._give(replica(tree, index), what == "mask") for index in range(replicas(tree))]

    def bring(self, refs: Iterable[RunRef], store: Store) -> None:
        """Copy runs that lie in another store, and what they come from, into this one."""
        if store is self.store:
            return
        for run in graph(ref.run for ref in refs if isinstance(ref.run, Run)).runs.values():
            self.store.adopt(store.get(run.digest))
            for parent in run.parents():
                if isinstance(parent.run, Given):
                    self.store.given.adopt(store.given.get(parent.run.digest))
        for ref in refs:
            if isinstance(ref.run, Given):
                self.store.given.adopt(store.given.get(ref.run.digest))

    def _give(self, tree: Tree, is_mask: bool) -> RunRef:
        """Arrays of one replicate as a leaf of the graph."""
        content = hashlib.sha256()
        for path, leaf in tree.items():
            content.update(f"{path} {leaf.dtype} {leaf.shape}\n".encode() + leaf.tobytes())
        given = Given(content=content.hexdigest(), shapes={path: leaf.shape for path, leaf in tree.items()})
        if given.digest not in self.store.given:
            trees = {"mask.safetensors": masks.pack(tree)} if is_mask else {"weights/0it.safetensors": tree}
            self.store.given.put(given.digest, {"spec.json": dump_json(given.canonical())}, trees)
        return given.ref("mask" if is_mask else "0it")

    # -- carried out ----------------------------------------------------------------------------------------------

    def train(
        self,
        groups: Sequence[Sequence[Run]],
        keep: Iterable[Any] = (),
        measurements: Collection[Measurement] = (),
        first: bool = True,
        on_stop: Callable[[Stop], Any] | None = None,
    ) -> list[Trajectory]:
        """Carry groups of R runs out together; a trajectory each, with the weights of its last step, of those in `keep`, and of the
        `first` unless it is not to be stored: it can be made again from the parents. `on_stop` hears of what is trained, not of what
        is stored.
        """
        steps = {run.digest: [*[run.begin] * first, Step("end"), *map(Step, keep)] for group in groups for run in group}
        found = graph((run for group in groups for run in group), steps, measurements)
        places = {seed: place for place, seed in enumerate(dict.fromkeys(run.seed for run in found.runs.values()))}
        labels = {digest: f"replicate {places[run.seed]}" for digest, run in found.runs.items()}
        progress = Progress(labels, of_call=True, on_rows=on_stop and _stops(groups, on_stop))
        compute(found, measurements, self.store, self.data_dir, progress)
        kept = [frozenset(iteration(group[0], step, self.data_dir) for step in steps[group[0].digest]) for group in groups]
        return [Trajectory(tuple(group), self.store, own, self.data_dir) for group, own in zip(groups, kept, strict=True)]

    def measure(self, measurements: Sequence[Measurement]) -> list[Tree]:
        """What each of the measurements finds."""
        self.train((), measurements=measurements)
        return self.found(measurements)

    def found(self, measurements: Iterable[Measurement]) -> list[Tree]:
        """What measurements found that are carried out."""
        return [self.store.measurements.get(one.digest).found() for one in measurements]


def _stops(groups: Sequence[Sequence[Run]], on_stop: Callable[[Stop], Any]) -> Callable[[str, Sequence[Sequence[float]]], None]:
    """What hears a run's rows so far, and says the new ones."""
    runs = {run.digest: (run, replicate) for group in groups for replicate, run in enumerate(group)}
    said = dict.fromkeys(runs, 0)

    def heard(digest: str, rows: Sequence[Sequence[float]]) -> None:
        if digest in runs:  # no ancestor, which the call did not ask for
            run, replicate = runs[digest]
            for step, *values in rows[said[digest] :]:
                on_stop(Stop(run, replicate, int(step), dict(zip(columns(run.task)[1:], values, strict=True))))
            said[digest] = len(rows)

    return heard


def seeds(seed: Any, count: int) -> list[int]:
    """The seeds of the replicates of a call: equal seeds pair the replicates of two calls."""
    return [keys.replicate_seed(whole("seed", seed), index) for index in range(count)]


def how_many(replicates: Any, **trees: Mapping[str, Any] | None) -> int:
    """R, of which the trees have to have as many; 1 if nothing says it."""
    found = {replicas(tree) for tree in trees.values() if tree} | ({whole("replicates", replicates)} if replicates is not None else set())
    if len(found) > 1:
        names = ", ".join(trees)
        raise TombolaError(f"replicates: {names} and `replicates` must agree, but they say {', '.join(map(str, sorted(found)))}")
    count = found.pop() if found else 1
    if count < 1:
        raise TombolaError(f"replicates = {count}, but at least 1 is needed")
    return count


def arrays(name: str, tree: Mapping[str, Any]) -> Tree:
    """A tree as NumPy arrays, whatever library they are of: lists, tensors with gradients, arrays on a device."""
    if not isinstance(tree, Mapping) or not tree:
        raise TombolaError(f"{name}: a tree is needed, path -> array (replicas first), not {type(tree).__name__}")
    found = {path: np.asarray(leaf.detach().cpu() if hasattr(leaf, "detach") else leaf) for path, leaf in tree.items()}
    if wrong := [path for path, leaf in found.items() if leaf.ndim == 0 or leaf.dtype == object]:
        raise TombolaError(f"{name} {wrong[0]!r}: an array of numbers is needed, replicas first")
    if len(lengths := {len(leaf) for leaf in found.values()}) > 1:
        raise TombolaError(f"{name}: leaves are of {' and '.join(map(str, sorted(lengths)))} replicas; give as many of each")
    return found


def weights_of(name: str, tree: Mapping[str, Any] | None, network: Network) -> Any:
    """A stacked tree with every weight of a network, of its dtypes. Raises if there is another, or another shape."""
    if tree is None or (isinstance(tree, Stored) and tree.keys() == network.shapes.keys()):
        return tree
    given, shapes = arrays(name, tree), network.shapes
    if given.keys() != shapes.keys():
        wrong = sorted(given.keys() ^ shapes.keys())[0]
        raise TombolaError(f"{name}: {wrong!r} is {'not a weight of this network' if wrong in given else 'missing'}")
    for path, leaf in given.items():
        if leaf.shape[1:] != shapes[path].shape:
            needed = (len(leaf), *shapes[path].shape)
            raise TombolaError(f"{name}: {path!r} has shape {leaf.shape}, but {needed} is needed (replicas first)")
    return {path: given[path].astype(shape.dtype, copy=False) for path, shape in shapes.items()}


def mask_of(tree: Mapping[str, Any] | None, network: Network) -> Any:
    """A stacked mask of a network. Raises if it is none."""
    if tree is None:
        return None
    given = tree if isinstance(tree, Stored) else arrays("mask", tree)
    masks.check(given, {path: (replicas(given), *network.shapes[path].shape) for path in network.prunable})
    return given if isinstance(given, Stored) else {path: given[path] for path in network.prunable}
