"""The way from a PyTorch module to all that its replay needs."""

from collections.abc import Mapping
from typing import Any, Literal

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.models.pytorch.export import as_numpy, canonical, exported
from tombola.models.pytorch.feeds import feeds
from tombola.models.pytorch.leaves import plan
from tombola.models.pytorch.replay import Recorded, find_rules
from tombola.models.pytorch.tensors import Tensor


def record(module: Any, data: DataInfo, name: str, rules: Mapping[str, Any]) -> Recorded:
    """Export a module for data of one kind. It is left in the mode that it was in.

    Raises:
        TombolaError: for a module that torch cannot export, with frozen or half-precision weights, or with operations without a rule.
    """
    import torch

    _check(module, name)
    training = module.training
    try:
        train, evaluation, images = exported(module, data, name)
    finally:
        module.train(training)
    read = {graph.owner(ref) for graph in (train, evaluation) for call in graph.calls for ref in call.refs()}
    tensors = {own: _tensor(own, one, "parameter") for own, one in module.named_parameters()}
    buffers = {own: one for own, one in module.named_buffers() if own in read and not own.endswith("num_batches_tracked")}
    tensors |= {own: _tensor(own, one, "buffer") for own, one in buffers.items()}
    found = plan(train, evaluation, tensors)
    mere = (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ModuleDict)
    containers = frozenset(path.replace(".", "/") for path, one in module.named_modules() if type(one) in mere)
    return Recorded(
        name=name,
        train=train,
        evaluation=evaluation,
        images=images,
        plan=found,
        feeds=feeds(train, found),
        containers=containers,
        rules=find_rules(name, (train, evaluation), found, rules),
        names=canonical(module),
    )


def _tensor(name: str, given: Any, role: Literal["parameter", "buffer"]) -> Tensor:
    return Tensor(name, name.replace(".", "/"), tuple(given.shape), role, as_numpy(given).dtype.name)


def _check(module: Any, name: str) -> None:
    for own, one in module.named_parameters():
        if not one.requires_grad:
            layer = own.rpartition(".")[0].replace(".", "/") or own
            raise TombolaError(
                f"{name}: {own} does not require a gradient; let it, and freeze the layer here, --set frozen='[\"{layer}\"]'"
            )
        if str(one.dtype) != "torch.float32":
            raise TombolaError(f"{name}: {own} is {one.dtype}, but weights train in float32; call .float() on the module")
