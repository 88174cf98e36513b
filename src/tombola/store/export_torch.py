"""A run as a state dict of PyTorch's."""

import io
from pathlib import Path
from typing import Any

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.files import write_atomically
from tombola.core.task import Model
from tombola.store.export import at_step, check_writable
from tombola.store.files import save_tree
from tombola.store.store import Store

SUFFIXES = (".pt", ".pth", ".safetensors")


def export_torch(store: Store, digest: str, step: str, path: Path, data_dir: Path | None = None) -> dict[str, Any]:
    """Write the weights and mask of a run on a PyTorch module as its state dict: ``torch.save``'s, or safetensors by the suffix.

    A pruned tensor ``fc.weight`` is ``fc.weight_orig`` and ``fc.weight_mask``, as ``torch.nn.utils.prune`` has it;
    `tombola.to_torch` puts the file into a module.

    Raises:
        TombolaError: as `export_run`, for another suffix, and if the module is not here or is none of PyTorch's.
    """
    from tombola.models.pytorch.state import state_of

    check_writable(path)
    if path.suffix not in SUFFIXES:
        raise TombolaError(f"{path} must end in {', '.join(SUFFIXES)}: the suffix says how --torch writes; choose another file with -o")
    found = at_step(store, digest, step)
    info = (found.record.network() or {}).get("inputs", {})
    if not info:
        raise TombolaError(f"run {found.record.digest} was stored by a version that knew no PyTorch; train it again")
    data = DataInfo(tuple(info["shape"]), (), info["dtype"])
    model = Model.of_canonical(found.record.json("spec")["task"]["model"])
    state, whole = state_of(model, data, found.weights, found.mask, found.iteration)
    try:
        if path.suffix == ".safetensors":
            save_tree(path, state, found.metadata | {"format": "tombola torch 1"})
        else:
            import torch

            stream = io.BytesIO()
            torch.save({name: torch.from_numpy(given.copy()) for name, given in state.items()}, stream)
            write_atomically(path, stream.getvalue())
    except OSError as error:
        raise TombolaError(f"{path} cannot be written ({error.strerror}); choose another file with -o") from None
    masked = sorted(name.removesuffix("_orig") for name in state if f"{name.removesuffix('_orig')}_mask" in state)
    return {
        "run": found.record.digest,
        "file": str(path),
        "iteration": found.iteration,
        "tensors": len(state) - len(masked),
        "kept": sum(int(one.sum()) for one in found.mask.values()),
        "prunable": sum(one.size for one in found.mask.values()),
        "masks": masked,
        "without mask": whole,
    }
