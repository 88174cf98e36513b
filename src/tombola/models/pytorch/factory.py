"""A PyTorch module, its class, or a function that makes one, as the factory of a network."""

import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.identity import code_digest, part_name
from tombola.core.loading import summary
from tombola.models.options import check_options

if TYPE_CHECKING:
    from flax import nnx

    from tombola.models.pytorch.replay import Recorded


class Instance:
    """A module with its weights: a copy, told by its code and by all that it holds."""

    def __init__(self, module: Any, content: str) -> None:
        self.module, self.content = module, content
        self.__qualname__ = type(module).__qualname__

    def __reduce__(self) -> tuple[Any, ...]:
        return Instance, (type(self.module), self.content)

    def __call__(self) -> Any:
        return self.module


def of_torch(part: Any) -> bool:
    """Whether a network is given by PyTorch: a module, its class, or a function without ``rngs``. Torch is not imported for it."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "nn"):
        return False
    if isinstance(part, Instance | torch.nn.Module):
        return True
    if inspect.isclass(part):
        return issubclass(part, torch.nn.Module)
    if not inspect.isfunction(part) or part.__module__.startswith("tombola."):
        return False
    parameters = inspect.signature(part).parameters.values()
    return not any(one.name == "rngs" or one.kind is one.VAR_KEYWORD for one in parameters)


def described(part: Any) -> Any:
    """What a module is registered as: itself, or a copy if it is one with weights."""
    import copy

    if not isinstance(part, sys.modules["torch"].nn.Module):
        return part
    return Instance(copy.deepcopy(part), code_digest(part, part_name(part)))


class TorchFactory:
    """Makes the NNX module that computes what a PyTorch module does: ``(data, *, rngs, **options)``.

    Options are those of the module's constructor, and two more: `widths`, units of the layers that can be made smaller, in forward
    order; and `torch_rules`, the user's own rules of operations.
    """

    def __init__(self, part: Any, name: str) -> None:
        self.part, self.name = part, f"model {name!r}"
        parameter = inspect.Parameter
        own = [] if isinstance(part, Instance) else _parameters(part)
        further = [
            parameter("widths", parameter.KEYWORD_ONLY, default=None, annotation=tuple[int, ...] | None),
            parameter("torch_rules", parameter.KEYWORD_ONLY, default=None),
            parameter("rngs", parameter.KEYWORD_ONLY),
        ]
        taken = {one.name for one in own}
        listed = [parameter("data", parameter.POSITIONAL_ONLY), *own, *(one for one in further if one.name not in taken)]
        self.__signature__ = inspect.Signature(sorted(listed, key=lambda one: (one.kind, one.kind is one.KEYWORD_ONLY)))

    def __call__(self, data: DataInfo, *, rngs: "nnx.Rngs", widths: Any = None, torch_rules: Any = None, **options: Any) -> "nnx.Module":
        from tombola.models.pytorch.replay import Replay

        recorded = self.recorded(data, torch_rules, options)
        return Replay(recorded, self.shapes(recorded, widths), rngs)

    def recorded(self, data: DataInfo, torch_rules: Mapping[str, Any] | None, options: Mapping[str, Any]) -> "Recorded":
        """The module as it is exported for data of one kind: once, as it takes a second."""
        return _recorded(self.part, self.name, data, _Given(torch_rules or {}), _Given(options))

    def recorded_of(self, options: Mapping[str, Any], data: DataInfo) -> "tuple[Recorded, dict[str, np.ndarray]]":
        """What a model's module computes, and its own state dict, of which a run has changed some."""
        given = check_options(self.name, self, options)
        rules = given.pop("torch_rules", None)
        given.pop("widths", None)  # which units are left is seen in the weights
        module = self.part.module if isinstance(self.part, Instance) else _made(self.part, self.name, 0, given)
        return self.recorded(data, rules, given), {name: one.detach().cpu().numpy() for name, one in module.state_dict().items()}

    def shapes(self, recorded: "Recorded", widths: Sequence[int] | None) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, with as many units as `widths` says."""
        whole = {tensor.path: tensor.kept for tensor in recorded.plan.tensors}
        return whole if widths is None else {path: one.shape for path, one in self.cut(recorded, _blank(whole), widths).items()}

    def cut(self, recorded: "Recorded", tree: Mapping[str, np.ndarray], widths: Sequence[int]) -> dict[str, np.ndarray]:
        """The first units of each layer that can be made smaller."""
        from tombola.models.pytorch.units import first_units

        return first_units(self.name, recorded, tree, widths)

    def drawn(self, data: DataInfo, seed: int | None, options: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Every tensor as the module draws it under a seed of torch's; None: as an instance holds it."""
        options = dict(options)
        widths, rules = options.pop("widths", None), options.pop("torch_rules", None)
        recorded = self.recorded(data, rules, options)
        from tombola.models.pytorch.export import as_numpy

        module = (
            _redrawn(self.part, self.name, seed) if isinstance(self.part, Instance) else _made(self.part, self.name, seed or 0, options)
        )
        held = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        tree = {tensor.path: tensor.from_torch(as_numpy(held[tensor.name])) for tensor in recorded.plan.tensors}
        return tree if widths is None else self.cut(recorded, tree, widths)


class _Given:
    """Options, to be told apart by what they are called and hold."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = dict(options)
        self._key = json.dumps(self.options, sort_keys=True, default=lambda one: f"{id(one)}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Given) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _parameters(part: Any) -> list[inspect.Parameter]:
    """The parameters that the constructor takes, by name alone."""
    signature = inspect.signature(part.__init__ if inspect.isclass(part) else part)
    found = list(signature.parameters.values())[1 if inspect.isclass(part) else 0 :]
    return [
        one.replace(kind=one.kind if one.kind is one.VAR_KEYWORD else one.KEYWORD_ONLY)
        for one in found
        if one.kind is not one.VAR_POSITIONAL
    ]


def _blank(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {path: np.broadcast_to(np.float32(0), shape) for path, shape in shapes.items()}


@lru_cache(maxsize=32)
def _recorded(part: Any, name: str, data: DataInfo, rules: _Given, options: _Given) -> "Recorded":
    from tombola.models.pytorch.record import record

    module = part.module if isinstance(part, Instance) else _made(part, name, 0, options.options)
    return record(module, data, name, rules.options)


def _made(part: Callable[..., Any], name: str, seed: int, options: Mapping[str, Any]) -> Any:
    """The module as its constructor makes it under a seed; torch's own generator is left as it was."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            module = part(**options)
        except Exception as error:
            raise TombolaError(f"{name} cannot be made: {summary(error)}") from error
    if not isinstance(module, torch.nn.Module):
        raise TombolaError(
            f"{name} makes a {type(module).__name__}, but it must make a torch.nn.Module, or take rngs and make an nnx.Module"
        )
    return module


def _redrawn(part: Instance, name: str, seed: int | None) -> Any:
    """An instance as it is, or with all that its parts can draw drawn anew."""
    import copy

    import torch

    if seed is None:
        return part.module
    module = copy.deepcopy(part.module)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for path, one in module.named_modules():
            draw = getattr(one, "reset_parameters", getattr(one, "_reset_parameters", None))
            if draw is not None:
                draw()
            elif list(one.parameters(recurse=False)):
                raise TombolaError(
                    f"{name} is an instance, and {path or 'itself'} ({type(one).__name__}) has no reset_parameters() by which it could be "
                    "drawn anew; give its class, or --set initializer=kaiming_normal"
                )
    return module
