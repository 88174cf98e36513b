"""A run as one safetensors file: weights and compressed mask, which PyTorch, NumPy and JAX read alike.

Tensors are named by path; ``<path>.mask`` holds the mask of a prunable one, one bit a weight in C order, most
significant bit first (`numpy.unpackbits`). Kernels are (inputs, outputs), convolutions (height, width, in, out).
A run that learns a supermask is written as the plain network that the mask makes of its weights. `export_compressed` leaves out
what follows from the seed (`tombola.store.compressed`).
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tombola.core import masks
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError, shown
from tombola.core.masks import Mask
from tombola.core.objective import read_objective
from tombola.core.step import Step
from tombola.core.task import Data, Model, Supermask
from tombola.core.trees import Tree
from tombola.procedures.run import Action
from tombola.store.files import load_tree, save_tree
from tombola.store.places import places
from tombola.store.store import Record, Store

PLAIN = "tombola ticket 1"


@dataclass(frozen=True)
class _Stored:
    """Weights and mask of a run at a step, as the store has them."""

    record: Record
    iteration: int
    weights: Tree
    mask: Mask
    factors: dict[str, float]
    """The factors of a supermask: path -> what its kept weights were multiplied by."""

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says of the run."""
        return {
            "format": PLAIN,
            "mask": "<path>.mask is the mask of <path>: numpy.unpackbits(bits, count=size).reshape(shape), True where kept",
            "run": self.record.digest,
            "iteration": str(self.iteration),
            "spec": json.dumps(self.record.json("spec")),
            **({"inputs": json.dumps(info["inputs"])} if (info := self.record.network()) and "inputs" in info else {}),
        }


def export_run(store: Store, digest: str, step: str, path: Path, data_dir: Path | None = None) -> dict[str, Any]:
    """Write the weights of a stored run at a step that it kept, with its mask and description.

    Raises:
        TombolaError: if the run or that step's weights are not in the store, or the file cannot be written.
    """
    check_writable(path)
    stored = at_step(store, digest, step)
    return _written(path, stored, _with_masks(stored.weights, stored.mask), stored.mask, {})


def export_compressed(store: Store, digest: str, step: str, path: Path, data_dir: Path | None = None) -> dict[str, Any]:
    """Write only what of the network does not follow from the run's seed: the mask in as few bytes as it takes, and values that
    training changed. `load_ticket` rebuilds it bit for bit.

    Raises:
        TombolaError: as `export_run`, and if the run's network cannot be built here.
    """
    from tombola.models.build import build
    from tombola.procedures.compressed import Origin, compress, decompress, sizes
    from tombola.store import compressed as compressed_file

    check_writable(path)
    stored = at_step(store, digest, step)
    spec = stored.record.json("spec")
    model, info = Model.of_canonical(spec["task"]["model"]), _data_info(spec["task"], data_dir)
    network = build(model, info)
    compressed = compress(
        network, Origin(spec["seed"], _own(spec.get("kept")), _own(spec.get("pruned")), stored.factors), stored.weights, stored.mask
    )
    if wrong := compressed_file.too_small(network, compressed.arrays):
        raise TombolaError(f"{wrong}, says load_ticket, which takes such a file for a bomb; export the run without --packed")
    sha256 = compressed_file.digest(stored.weights, stored.mask)
    if compressed_file.digest(*decompress(network, compressed)) != sha256:
        raise TombolaError(
            f"run {stored.record.digest} cannot be compressed: its weights are not those of its model; export it without --packed"
        )
    metadata = compressed_file.described(compressed, model, info, sha256)
    written = _written(path, stored, compressed.arrays, stored.mask, metadata)
    found = sizes(network, compressed, stored.mask)
    of = {name: getattr(found, name) for name in ("dense", "mask", "signs", "values", "entropy")}
    return {
        **written,
        "bytes": {"file": path.stat().st_size, **of},
        "bits_per_weight": {"mask": found.mask_bits, "entropy": 8 * found.entropy / found.prunable},
        "stored_values": compressed.stored,
        "leaves": compressed.leaves,
    }


def export_compact(store: Store, digest: str, step: str, path: Path, data_dir: Path | None = None) -> dict[str, Any]:
    """Write the same network without its dead units (`tombola.surgery.compact.compact`).

    The metadata also hold the smaller network's description (`model`, canonical JSON) and, for each layer of
    which units can be removed, the indices of those that are left (`units`, JSON).

    Raises:
        TombolaError: as `export_run`, and if the run's network cannot be made smaller or not be built here.
    """
    from tombola.models.build import build
    from tombola.surgery.compact import compact_model

    check_writable(path)
    stored = at_step(store, digest, step)
    task = stored.record.json("spec")["task"]
    model, info = Model.of_canonical(task["model"]), _data_info(task, data_dir)
    small, left = compact_model(model, info, stored.weights, stored.mask)
    assert left.mask is not None
    before = {one.layer: one.count for one in build(model, info).units}
    units = {layer: kept.tolist() for layer, kept in left.kept.items()}
    metadata = {"model": json.dumps(small.canonical()), "units": json.dumps(units)}
    return {
        **_written(path, stored, _with_masks(left.weights, left.mask), left.mask, metadata),
        "units": {"before": before, "after": left.sizes},
        "values": {"before": _values(stored.weights), "after": _values(left.weights)},
    }


def _data_info(task: Mapping[str, Any], data_dir: Path | None) -> DataInfo:
    """What the network of a stored run's task was made for."""
    from tombola.data.dataset import load

    return read_objective(task.get("objective", "classification")).info(load(Data.of_canonical(task["data"]), data_dir))


def check_writable(path: Path) -> None:
    """Raise for what is no file, or lies in no folder."""
    if path.is_dir() or (path.exists() and not path.is_file()) or not path.parent.is_dir():
        raise TombolaError(f"{path} cannot be written: it must be a file in a folder that exists; choose another with -o")


def at_step(store: Store, digest: str, step: str) -> _Stored:
    """What the store has of a run at a step. Raises as `export_run`."""
    record = store.find(digest)
    there = sorted(record.steps())
    iteration = _iteration(step, int(record.metrics()["step"][-1]))
    if iteration not in there:
        what = f"weights of {', '.join(f'{one}it' for one in there)}, not of {step!r}; choose with --step" if there else "no weights"
        place = next((one for one in places(store) if one["run"] == record.digest and one["arm"]), {"study": "STUDY", "arm": "ARM"})
        how = f"`tombola run {place['study']} --keep {shlex.quote(place['arm'])}` with its options keeps those at the end"
        raise TombolaError(f"run {record.digest} kept {what}; {how}")
    weights = record.weights(iteration)
    mask = record.mask({path: leaf.shape for path, leaf in weights.items()})
    learnt = record.json("spec")["task"]["recipe"].get("supermask")
    if learnt is None:
        return _Stored(record, iteration, weights, mask, {})
    from tombola.procedures.compressed import plain

    return _Stored(record, iteration, *plain(Supermask.of_canonical(learnt), weights, mask))


def _with_masks(weights: Tree, mask: Mask) -> Tree:
    return {**weights, **{f"{name}.mask": bits for name, bits in masks.pack(mask).items()}}


def _written(path: Path, stored: _Stored, tree: Tree, mask: Mask, metadata: dict[str, str]) -> dict[str, Any]:
    """Write the file; what the command line says of it."""
    kept, prunable = masks.kept(mask), masks.size(mask)
    try:
        save_tree(path, tree, {**stored.metadata, "kept": f"{kept}/{prunable}", **metadata})
    except OSError as error:
        raise TombolaError(f"{path} cannot be written ({error.strerror}); choose another file with -o") from None
    return {
        "run": stored.record.digest,
        "file": str(path),
        "iteration": stored.iteration,
        "tensors": len(stored.weights),
        "kept": kept,
        "prunable": prunable,
    }


def _own(canonical: Mapping[str, Any] | None) -> Action | None:
    """An action that needs no other run."""
    return None if canonical is None or canonical.get("of") else Action(name=canonical["name"], options=canonical.get("options", {}))


def _values(tree: Tree) -> int:
    return sum(leaf.size for leaf in tree.values())


def load_ticket(path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(weights, mask) of an exported file, bit for bit as they were stored; a compressed one is rebuilt from its seed.

    Raises:
        TombolaError: if there is no such file, it is none of `tombola export`, or damaged; and see `tombola.store.compressed.rebuilt`.
    """
    tree, metadata = _read(Path(path))
    form = metadata.get("format", PLAIN)
    from tombola.store import compressed

    if form == compressed.FORMAT:
        return compressed.rebuilt(tree, metadata, Path(path))
    if form != PLAIN:
        raise TombolaError(
            f"{path} is of format {shown(form)}, which this `tombola export` does not write; export the run again, or update Tombola"
        )
    weights = {name: leaf for name, leaf in tree.items() if not name.endswith(".mask")}
    bits = {name.removesuffix(".mask"): leaf for name, leaf in tree.items() if name.endswith(".mask")}
    if wrong := [name for name, leaf in bits.items() if name not in weights or leaf.shape != (-(-weights[name].size // 8),)]:
        raise TombolaError(f"{path} is no file of `tombola export`, or damaged: {wrong[0]}.mask fits no tensor; export the run again")
    return weights, masks.unpack(bits, {name: weights[name].shape for name in bits})


def _read(path: Path) -> tuple[Tree, dict[str, str]]:
    """Tensors and metadata of a file."""
    from safetensors import SafetensorError

    if path.exists() and not path.is_file():
        raise TombolaError(f"{path} is no file; give one that `tombola export` wrote")
    try:
        return load_tree(path)
    except OSError as error:
        raise TombolaError(f"{path} cannot be read ({error.strerror or error}); give a file that `tombola export` wrote") from None
    except SafetensorError as error:
        raise TombolaError(f"{path} is no file of `tombola export`, or damaged: {error}") from None


def _iteration(step: str, end: int) -> int:
    step = Step(step)
    if "ep" in step:
        raise TombolaError(f"--step {str(step)!r}: give iterations here, such as '500it', or 'end'")
    return step.iterations(1, end)
