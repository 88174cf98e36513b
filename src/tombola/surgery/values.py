"""Other starting values for the weights of a network: what is kept of an initialisation, its signs or its magnitudes.

Functions of one replicate's weights. They change prunable leaves alone; all else stays as it is given. A weight of 0 counts
as positive. Randomness comes from the streams ``{stream}/{path}`` of the seed, so that no leaf's draw depends on another's.

Source: Zhou et al. 2019, sections 3 and 4 (mask-1 and mask-0 actions).
"""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from tombola.core.errors import TombolaError, unknown
from tombola.core.keys import generator
from tombola.core.masks import Mask
from tombola.core.trees import Tree
from tombola.models.network import Network

Moved = Literal["towards", "away", "random"]


def constant(network: Network, weights: Tree, seed: int = 0, stream: str = "", keep_sign: bool = True) -> Tree:
    """Every weight +-a, a = the standard deviation of the layer's initialiser; the weight's own sign, or a fair coin."""
    if not keep_sign and not stream:
        raise TombolaError("constant values without the weights' own signs draw them: name a stream, or set keep_sign")

    def leaf(path: str) -> np.ndarray:
        signs = _sign(weights[path]) if keep_sign else _coins(seed, f"{stream}/{path}", weights[path].shape)
        return signs * network.std(path)

    return _with(network, weights, leaf)


def drawn(network: Network, weights: Tree, seed: int, stream: str, keep_sign: bool = False) -> Tree:
    """A fresh draw from each layer's own initialiser; with `keep_sign` its magnitudes, under the weights' own signs."""
    return _with(network, weights, lambda path: _signed(network.init_tensor(path, seed, stream), weights[path], keep_sign))


def permuted(network: Network, weights: Tree, seed: int, stream: str, keep_sign: bool = False) -> Tree:
    """All values of a layer in random order (the authors' own "reinit"); with `keep_sign` magnitudes, under each place's sign."""

    def leaf(path: str) -> np.ndarray:
        flat = generator(seed, f"{stream}/{path}").permutation(weights[path].reshape(-1))
        return _signed(flat.reshape(weights[path].shape), weights[path], keep_sign)

    return _with(network, weights, leaf)


def reshuffled(network: Network, weights: Tree, mask: Mask, seed: int, stream: str, keep_sign: bool = False) -> Tree:
    """The values of a layer's kept weights in random order among their places; pruned ones stay where they are."""

    def leaf(path: str) -> np.ndarray:
        found, kept = np.array(weights[path]), mask[path]
        found[kept] = generator(seed, f"{stream}/{path}").permutation(found[kept])
        return _signed(found, weights[path], keep_sign)

    return _with(network, weights, leaf)


def resigned(network: Network, weights: Tree, seed: int, stream: str) -> Tree:
    """Every weight's magnitude under a fair random sign."""
    return _with(network, weights, lambda path: np.abs(weights[path]) * _coins(seed, f"{stream}/{path}", weights[path].shape))


def zeroed(
    network: Network, weights: Tree, final: Tree, moved: Moved = "towards", mask: Mask | None = None, seed: int = 0, stream: str = ""
) -> Tree:
    """The weights w with some set to 0, by where they ended, w_f.

    Args:
        moved: `towards`: those with |w_f| < |w|; `away`: the others; `random`: as many as moved towards 0, at random
            places among the kept and, by themselves, among the pruned weights of a leaf.
        mask: of `random`: what is kept.
    """
    if moved not in get_args(Moved):
        raise unknown("kind of weights to be zeroed", moved, get_args(Moved))
    if moved == "random" and (mask is None or not stream):
        raise TombolaError("zeroing as many weights at random needs a mask, and a stream to draw from; give both")

    def leaf(path: str) -> np.ndarray:
        towards = np.abs(final[path]) < np.abs(weights[path])
        if moved == "random":
            assert mask is not None
            towards = _as_many(towards, mask[path], generator(seed, f"{stream}/{path}"))
        return np.where(~towards if moved == "away" else towards, 0, weights[path])

    return _with(network, weights, leaf)


def _as_many(chosen: np.ndarray, kept: np.ndarray, random: np.random.Generator) -> np.ndarray:
    found = np.zeros(chosen.shape, bool)
    for group in (kept, ~kept):
        found[group] = random.permutation(chosen[group])
    return found


def _with(network: Network, weights: Tree, leaf: Callable[[str], np.ndarray]) -> Tree:
    return {**weights, **{path: leaf(path).astype(weights[path].dtype) for path in network.prunable}}


def _sign(values: np.ndarray) -> np.ndarray:
    return np.where(values < 0, -1.0, 1.0)


def _signed(values: np.ndarray, like: np.ndarray, keep_sign: bool) -> np.ndarray:
    return np.abs(values) * _sign(like) if keep_sign else values


def _coins(seed: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
    return generator(seed, name).integers(0, 2, shape) * 2.0 - 1.0
