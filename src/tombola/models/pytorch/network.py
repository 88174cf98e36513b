"""A network whose initial values a PyTorch module draws."""

from collections.abc import Callable, Collection, Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from tombola.core import keys
from tombola.core.data_info import DataInfo
from tombola.core.trees import Tree
from tombola.models.initializers import Initializer
from tombola.models.nnx_network import Factory, NNXNetwork
from tombola.models.pytorch.factory import Instance, TorchFactory


class TorchNetwork(NNXNetwork):
    """A network like any other of NNX; with the initialiser `own` its values are those that torch draws.

    A module is drawn whole, through its constructor under ``torch.manual_seed``, by one seed for each replicate and stream: the initial
    values are those that ``torch.manual_seed(torch_seed(seed)); Net()`` makes. An instance is itself in the stream `init`; in
    others its parts draw anew by their ``reset_parameters``.
    """

    def __init__(
        self,
        torch: TorchFactory,
        options: Mapping[str, Any],
        factory: Factory,
        data: DataInfo,
        initializer: Initializer | None,
        gain: float,
        name: str,
    ) -> None:
        self.torch, self.options, self._instance = torch, dict(options), isinstance(torch.part, Instance)
        self._tree: Callable[[int | None], Tree] = lru_cache(maxsize=2)(lambda seed: torch.drawn(data, seed, options))
        super().__init__(factory, data, initializer, gain, name)

    @cached_property
    def recorded(self) -> Any:
        """What torch exported."""
        options = {key: one for key, one in self.options.items() if key not in ("widths", "torch_rules")}
        return self.torch.recorded(self.data, self.options.get("torch_rules"), options)

    def _own(self, path: str, seed: int, stream: str) -> np.ndarray:
        return self._tree(None if self._instance and stream == "init" else torch_seed(seed, stream))[path]

    def _steady(self, paths: Collection[str]) -> Tree:
        if self._instance:
            return {path: self._tree(None)[path] for path in paths}
        one, other = self._tree(0), self._tree(1)
        return {path: one[path] for path in paths if np.array_equal(one[path], other[path])}

    @cached_property
    def _constants(self) -> Tree:
        return {} if self._instance else super()._constants


def torch_seed(seed: int, stream: str = "init") -> int:
    """The seed of torch's generator for a replicate's seed and a stream: 64 bits."""
    high, low = (int(word) for word in keys.stream(seed, stream))
    return (high << 32) | low
