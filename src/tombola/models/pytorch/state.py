"""Weights and masks as a PyTorch module has them: names, orientation, and the masks of ``torch.nn.utils.prune``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.registry import plain
from tombola.core.task import Model
from tombola.core.trees import Tree


def state_of(model: Model, data: DataInfo, weights: Tree, mask: Mask, iteration: int) -> tuple[dict[str, Any], list[str]]:
    """(state dict in arrays of NumPy, names of the tensors whose mask cannot be said).

    A tensor ``fc.weight`` of which something is pruned is ``fc.weight_orig`` and ``fc.weight_mask``, as ``torch.nn.utils.prune``
    has it. It says only masks whose pruned weights are 0: a tensor that holds others is given whole, without its mask.

    Args:
        data: what the network was made for; its `outputs` do not matter.

    Raises:
        TombolaError: if the model is none of PyTorch's.
    """
    from tombola.models.build import factory_of
    from tombola.models.pytorch.factory import TorchFactory

    factory = factory_of(model)
    if not isinstance(factory, TorchFactory):
        raise TombolaError(f"model {plain(model.name)!r} is no module of PyTorch's; export without --torch")
    recorded, base = factory.recorded_of(model.options, data)
    held = {tensor.name: tensor for tensor in recorded.plan.tensors if tensor.path in weights}
    state: dict[str, Any] = {}
    whole = []
    for name, given in base.items():
        tensor = held.get(recorded.names[name])
        if tensor is None:
            state[name] = np.asarray(iteration, np.int64) if name.endswith("num_batches_tracked") else given
            continue
        leaf, kept = weights[tensor.path], mask.get(tensor.path)
        values = np.ascontiguousarray(tensor.to_torch(np.asarray(leaf)))
        if kept is None or kept.all():
            state[name] = values
        elif np.asarray(leaf)[~kept].any():
            state[name] = values
            whole.append(name)
        else:
            state[f"{name}_orig"] = values
            state[f"{name}_mask"] = np.ascontiguousarray(tensor.to_torch(np.asarray(kept))).astype(np.float32)
    return state, whole


def load_state(module: Any, state: Mapping[str, Any], where: str) -> Any:
    """The module with a state dict in it, under its masks (``torch.nn.utils.prune.custom_from_mask``).

    Raises:
        TombolaError: if names or shapes are not the module's.
    """
    import torch
    from torch.nn.utils import prune

    tensors = {name: torch.from_numpy(np.array(given)) if isinstance(given, np.ndarray) else given for name, given in state.items()}
    (given, masked), (own, before) = _unmasked(tensors), _unmasked(module.state_dict())
    if wrong := sorted(name for name in {*given, *own} if given.get(name) != own.get(name)):
        there, wanted = (tuple(one[wrong[0]]) if wrong[0] in one else "missing" for one in (given, own))
        raise TombolaError(f"{where} is of another module: {wrong[0]} is {there} there, and {wanted} in {type(module).__name__}")
    for name in before:
        prune.remove(*_part(module, name))
    for name in masked:
        prune.custom_from_mask(*_part(module, name), tensors[f"{name}_mask"])
    module.load_state_dict(tensors)
    for name in masked:  # else the masked weight would be of the values before, until the module is called
        part, _ = _part(module, name)
        for hook in part._forward_pre_hooks.values():
            if isinstance(hook, prune.BasePruningMethod):
                hook(part, None)
    return module


def _unmasked(state: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(name -> shape of each tensor, as it would be called without masks; those that have one)."""
    masked = [name.removesuffix("_mask") for name in state if name.endswith("_mask") and f"{name.removesuffix('_mask')}_orig" in state]
    said = {f"{name}_orig": name for name in masked}
    hidden = {f"{name}_mask" for name in masked}
    return {said.get(name, name): tuple(one.shape) for name, one in state.items() if name not in hidden}, masked


def _part(module: Any, name: str) -> tuple[Any, str]:
    path, _, attribute = name.rpartition(".")
    return module.get_submodule(path), attribute


def read_state(path: Path) -> Mapping[str, Any]:
    """The state dict of a file: safetensors, or what ``torch.save`` wrote. Nothing in it is run."""
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise TombolaError(f"{path} cannot be read ({error.strerror or error}); give a file of `tombola export --torch`") from None
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise TombolaError(f"{path} is no file of `tombola export --torch`, or damaged: {str(error).splitlines()[0]}") from None
