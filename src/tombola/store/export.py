"""A run as one safetensors file: weights and packed mask, which PyTorch, NumPy and JAX read alike.

Tensors are named by path; ``<path>.mask`` holds the mask of a prunable one, one bit a weight in C order, most
significant bit first (`numpy.unpackbits`). Kernels are (inputs, outputs), convolutions (height, width, in, out).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tombola.core import masks
from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.spec import Spec
from tombola.core.step import Step
from tombola.core.task import Data, Model
from tombola.core.trees import Tree
from tombola.store.files import load_tree, save_tree
from tombola.store.store import Record, Store

S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class _Stored:
    """Weights and mask of a run at a step, as the store has them."""

    record: Record
    iteration: int
    weights: Tree
    mask: Mask

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says of the run."""
        return {
            "format": "tombola ticket 1",
            "mask": "<path>.mask is the mask of <path>: numpy.unpackbits(bits, count=size).reshape(shape), True where kept",
            "run": self.record.digest,
            "iteration": str(self.iteration),
            "spec": json.dumps(self.record.json("spec")),
        }


def export_run(store: Store, digest: str, step: str, path: Path) -> dict[str, Any]:
    """Write the weights of a stored run at a step that it kept, with its mask and description.

    Raises:
        TombolaError: if the run or that step's weights are not in the store, or the file cannot be written.
    """
    _check_writable(path)
    stored = _stored(store, digest, step)
    return _written(path, stored, stored.weights, stored.mask, {})


def export_compact(store: Store, digest: str, step: str, path: Path, data_dir: Path | None = None) -> dict[str, Any]:
    """Write the same network without its dead units (`tombola.surgery.compact.compact`).

    The metadata also hold the smaller network's description (`model`, canonical JSON) and, for each layer of
    which units can be removed, the indices of those that are left (`units`, JSON).

    Raises:
        TombolaError: as `export_run`, and if the run's network cannot be made smaller or not be built here.
    """
    from tombola.data.dataset import load
    from tombola.models.network import build
    from tombola.surgery.compact import compact_model

    _check_writable(path)
    stored = _stored(store, digest, step)
    task = stored.record.json("spec")["task"]
    model, dataset = _described(Model, task["model"]), load(_described(Data, task["data"]), data_dir)
    small, left = compact_model(model, dataset.shape, dataset.classes, stored.weights, stored.mask)
    assert left.mask is not None
    before = {one.layer: one.count for one in build(model, dataset.shape, dataset.classes).units}
    units = {layer: kept.tolist() for layer, kept in left.kept.items()}
    metadata = {"model": json.dumps(small.canonical()), "units": json.dumps(units)}
    return {
        **_written(path, stored, left.weights, left.mask, metadata),
        "units": {"before": before, "after": left.sizes},
        "values": {"before": _values(stored.weights), "after": _values(left.weights)},
    }


def _check_writable(path: Path) -> None:
    if path.is_dir() or (path.exists() and not path.is_file()) or not path.parent.is_dir():
        raise TombolaError(f"{path} cannot be written: it must be a file in a folder that exists; choose another with -o")


def _stored(store: Store, digest: str, step: str) -> _Stored:
    record = store.find(digest)
    there = sorted(record.steps())
    iteration = _iteration(step, int(record.metrics()["step"][-1]))
    if iteration not in there:
        kept = ", ".join(f"{one}it" for one in there) or "no weights at all"
        raise TombolaError(f"run {record.digest} kept {kept}, not {step!r}; choose with --step")
    weights = record.weights(iteration)
    return _Stored(record, iteration, weights, record.mask({path: leaf.shape for path, leaf in weights.items()}))


def _written(path: Path, stored: _Stored, weights: Tree, mask: Mask, metadata: dict[str, str]) -> dict[str, Any]:
    """Write the file; what the command line says of it."""
    kept, prunable = masks.kept(mask), masks.size(mask)
    tree = {**weights, **{f"{name}.mask": bits for name, bits in masks.pack(mask).items()}}
    try:
        save_tree(path, tree, {**stored.metadata, "kept": f"{kept}/{prunable}", **metadata})
    except OSError as error:
        raise TombolaError(f"{path} cannot be written ({error.strerror}); choose another file with -o") from None
    return {
        "run": stored.record.digest,
        "file": str(path),
        "iteration": stored.iteration,
        "tensors": len(weights),
        "kept": kept,
        "prunable": prunable,
    }


def _described(kind: type[S], canonical: Mapping[str, Any]) -> S:
    """The description whose canonical form is stored."""
    return kind(**{name: value for name, value in canonical.items() if name != "spec"})


def _values(tree: Tree) -> int:
    return sum(leaf.size for leaf in tree.values())


def load_ticket(path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(weights, mask) of an exported file, bit for bit as they were stored."""
    tree = load_tree(Path(path))
    weights = {name: leaf for name, leaf in tree.items() if not name.endswith(".mask")}
    mask = {}
    for name, bits in tree.items():
        if name.endswith(".mask"):
            leaf = weights[name.removesuffix(".mask")]
            mask[name.removesuffix(".mask")] = np.unpackbits(bits, count=leaf.size).reshape(leaf.shape).astype(bool)
    return weights, mask


def _iteration(step: str, end: int) -> int:
    step = Step(step)
    if "ep" in step:
        raise TombolaError(f"--step {str(step)!r}: give iterations here, such as '500it', or 'end'")
    return step.iterations(1, end)
