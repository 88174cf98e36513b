"""A network under a mask that is learnt: the weights of another stay as they are, scores train in their place."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import jax
import numpy as np

from tombola.core.task import Supermask
from tombola.core.trees import Tree
from tombola.models.computing import PLAIN, Computing
from tombola.models.network import Computed, Network
from tombola.models.supermask import DRAWN, SCORE, factor, first_scores, straight_through


class MaskedNetwork(Network):
    """Another network's layers, each with a leaf ``{kernel}.score`` beside its kernel. Only scores are trainable; with
    `gates` the network's own leaves are, too.

    In training `bernoulli` and `relaxed` draw a mask from the `dropout_key`; evaluation uses the mask that the scores come to
    (`tombola.models.supermask.chosen`).
    """

    def __init__(self, plain: Network, spec: Supermask) -> None:
        self.plain, self.spec = plain, spec
        scores = {path + SCORE: jax.ShapeDtypeStruct(plain.shapes[path].shape, np.dtype(np.float32)) for path in plain.prunable}
        super().__init__(
            data=plain.data,
            layers=tuple(replace(layer, paths=(*layer.paths, *(path + SCORE for path in layer.prunable))) for layer in plain.layers),
            shapes={**plain.shapes, **scores},
            trainable=frozenset(scores) | (plain.trainable if spec.method == "gates" else frozenset()),
            running=plain.running,
            stochastic=plain.stochastic or spec.method in DRAWN,
            convolutional=plain.convolutional,
        )

    def init_tensor(self, path: str, seed: int, stream: str) -> np.ndarray:
        """A leaf of the plain network, bit for bit; or the scores that training begins with."""
        if path.endswith(SCORE):
            return first_scores(self.spec, self.shapes[path].shape, seed, f"{stream}/{path}")
        return self.plain.init_tensor(path, seed, stream)

    def std(self, path: str) -> float:
        """The standard deviation of the plain network's leaf; of scores that of one fixed draw."""
        return float(np.std(self.init_tensor(path, 0, "std"))) if path.endswith(SCORE) else self.plain.std(path)

    def compute(
        self, weights: Mapping[str, Any], inputs: jax.Array, *, train: bool, dropout_key: jax.Array | None = None, how: Computing = PLAIN
    ) -> Computed:
        """What the plain network computes with weights w b r."""
        key = jax.random.fold_in(dropout_key, 0) if train and dropout_key is not None else None
        return self.plain.compute(self._masked(weights, key), inputs, train=train, dropout_key=dropout_key, how=how)

    def statistics(self, weights: Mapping[str, Any], inputs: jax.Array, how: Computing = PLAIN) -> Tree:
        """The plain network's statistics with weights w b r."""
        return self.plain.statistics(self._masked(weights, None), inputs, how)

    def _masked(self, weights: Mapping[str, Any], key: jax.Array | None) -> Tree:
        found = {path: weights[path] for path in self.plain.shapes}
        for index, path in enumerate(self.prunable):
            mask = straight_through(self.spec, weights[path + SCORE], None if key is None else jax.random.fold_in(key, index))
            found[path] = weights[path] * (mask * factor(self.spec, mask, weights[path + SCORE]))
        return found


@cache
def masked(plain: Network, spec: Supermask) -> MaskedNetwork:
    """The network under a learnt mask; equal arguments give the identical object."""
    return MaskedNetwork(plain, spec)
