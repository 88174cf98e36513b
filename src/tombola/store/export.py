"""A run as one safetensors file: weights and packed mask, which PyTorch, NumPy and JAX read alike.

Tensors are named by path; ``<path>.mask`` holds the mask of a prunable one, one bit a weight in C order, most
significant bit first (`numpy.unpackbits`). Kernels are (inputs, outputs), convolutions (height, width, in, out).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.step import Step
from tombola.store.files import load_tree, save_tree
from tombola.store.store import Store


def export_run(store: Store, digest: str, step: str, path: Path) -> dict[str, Any]:
    """Write the weights of a stored run at a step that it kept, with its mask and description.

    Raises:
        TombolaError: if the run or that step's weights are not in the store, or the file cannot be written.
    """
    if path.is_dir() or (path.exists() and not path.is_file()) or not path.parent.is_dir():
        raise TombolaError(f"{path} cannot be written: it must be a file in a folder that exists; choose another with -o")
    record = store.find(digest)
    there = sorted(record.steps())
    iteration = _iteration(step, int(record.metrics()["step"][-1]))
    if iteration not in there:
        kept = ", ".join(f"{one}it" for one in there) or "no weights at all"
        raise TombolaError(f"run {record.digest} kept {kept}, not {step!r}; choose with --step")
    weights = record.weights(iteration)
    packed = load_tree(record.folder / "mask.safetensors")
    summary = record.json("summary")
    tree = {**weights, **{f"{name}.mask": bits for name, bits in packed.items()}}
    metadata = {
        "format": "tombola ticket 1",
        "mask": "<path>.mask is the mask of <path>: numpy.unpackbits(bits, count=size).reshape(shape), True where kept",
        "run": record.digest,
        "iteration": str(iteration),
        "spec": json.dumps(record.json("spec")),
        "kept": f"{summary['kept']}/{summary['prunable']}",
    }
    try:
        save_tree(path, tree, metadata)
    except OSError as error:
        raise TombolaError(f"{path} cannot be written ({error.strerror}); choose another file with -o") from None
    return {
        "run": record.digest,
        "file": str(path),
        "iteration": iteration,
        "tensors": len(weights),
        "kept": summary["kept"],
        "prunable": summary["prunable"],
    }


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
