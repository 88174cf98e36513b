"""Masks that are learnt over weights that stay at their start: from scores to masks, with straight-through gradients.

Each prunable leaf w has a leaf of scores s of the same shape, which trains in its place. A method makes of the scores a
mask b in {0, 1}, or in {-1, 0, 1}, and the network computes with w b r, r the layer's rescaling. The gradient of a
mask's entry is passed on to its score as if there were no step ("straight through").

* `bernoulli`: b ~ Bernoulli(sigmoid(s)), drawn anew at every step (Zhou et al. 2019, section 5).
* `edge_popup`: b = 1 at the share `density` of a layer's largest |s| (Ramanujan et al. 2020, section 3).
* `gates`: the mask of `edge_popup`, and the weights train beside it (after Sanh et al. 2020: movement pruning from the start). A weight
  that is masked has a gradient of 0 and waits with its value.
* `signed`: b = sign(s) where |s| > 1 - `density`, else 0 (after Koster et al. 2022: masks that may flip a sign).
* `relaxed`: in training b = sigmoid((s + z) / T), z logistic noise drawn anew at every step, T = `TEMPERATURE`, with its own gradient
  and nothing straight through (Maddison et al. 2017); it exceeds 1/2 as often as `bernoulli` draws 1, which it is evaluated as.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tombola.core import keys
from tombola.core.masks import Mask
from tombola.core.task import Supermask
from tombola.core.trees import Tree

DRAWN = ("bernoulli", "relaxed")
"""Methods that draw masks, weight by weight with probability sigmoid(s)."""
TEMPERATURE = 2 / 3
"""T of `relaxed` (Maddison et al. 2017, section 5; Louizos et al. 2018)."""
SCORE = ".score"
"""What the path of a leaf's scores ends with."""
_LARGEST = ("edge_popup", "gates")
"""Methods that keep the largest scores."""


def first_scores(spec: Supermask, shape: tuple[int, ...], seed: int, name: str) -> np.ndarray:
    """The scores that training begins with, float32.

    Of `bernoulli` and `relaxed` logit(density), so that every weight is kept with that probability; of `edge_popup` uniform on
    +- 1 / sqrt(inputs of a unit), as Kaiming's uniform initialiser with a = sqrt(5); of `signed` uniform on +- 1, of which the
    share `density` exceeds the threshold; of `gates` as of `edge_popup`. Drawn from the stream `name`.
    """
    if spec.method in DRAWN:
        return np.full(shape, math.log(spec.density / (1 - spec.density)), np.float32)
    bound = 1 / math.sqrt(math.prod(shape[:-1])) if spec.method in _LARGEST else 1.0
    return keys.generator(seed, name).uniform(-bound, bound, shape).astype(np.float32)


def straight_through(spec: Supermask, scores: Any, key: Any = None) -> Any:
    """The mask of one leaf, float32, for JAX; its gradient reaches the scores.

    Args:
        key: of `bernoulli` and `relaxed`, draws the mask; without one, and for the other methods, the mask is that of `chosen`.
    """
    if spec.method == "relaxed" and key is not None:
        return jax.nn.sigmoid((scores + jax.random.logistic(key, scores.shape, scores.dtype)) / TEMPERATURE)
    if spec.method in DRAWN:
        p = jax.nn.sigmoid(scores)
        hard = scores >= 0 if key is None else jax.random.bits(key, scores.shape, jnp.uint16) < p * 65536
        return _through(hard.astype(scores.dtype), p)
    if spec.method in _LARGEST:
        size = jnp.abs(scores)
        return _through((size >= _kth_largest(size, _kept(spec, scores.size))).astype(scores.dtype), size)
    return _through(jnp.where(jnp.abs(scores) > 1 - spec.density, jnp.sign(scores), 0), scores)


def factor(spec: Supermask, mask: Any, scores: Any) -> Any:
    """Rescaling r of one leaf, with a gradient where the mask has one: 1; size / kept (`dynamic`); or the root of that (`root`).

    The number of kept weights is sum |b|. Where a signed mask is 0, a score moves |b| by its own sign: d|b|/ds = sign(s).

    A layer without a kept weight counts as one with a single kept weight: its signal is 0 either way, never NaN.
    """
    if spec.rescale == "none":
        return jnp.ones((), mask.dtype)
    kept = _through(jnp.abs(mask), scores * jnp.sign(jax.lax.stop_gradient(scores))) if spec.method == "signed" else jnp.abs(mask)
    ratio = mask.size / jnp.maximum(jnp.sum(kept), 1)
    return ratio if spec.rescale == "dynamic" else jnp.sqrt(ratio)


def _through(hard: Any, soft: Any) -> Any:
    return jax.lax.stop_gradient(hard) + (soft - jax.lax.stop_gradient(soft))  # exactly `hard`: what is added is 0


def _kept(spec: Supermask, size: int) -> int:
    return max(1, round(spec.density * size))


def _kth_largest(values: Any, k: int) -> Any:
    """The k-th largest of non-negative float32, found bit by bit: they are ordered as their bits, and counting is cheaper than sorting."""
    bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(values), jnp.uint32).reshape(-1)
    found = jnp.uint32(0)
    for place in reversed(range(31)):
        higher = found | jnp.uint32(1 << place)
        found = jnp.where(jnp.sum(bits >= higher) >= k, higher, found)
    return jax.lax.bitcast_convert_type(found, jnp.float32)


# -- on the host --------------------------------------------------------------------------------------------------


def chosen(spec: Supermask, tree: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Path of each prunable leaf -> the mask that its scores come to, int8 in {-1, 0, 1}.

    Of `bernoulli` and `relaxed` the weights that are kept with a probability of one half or more.
    """
    found = {}
    for path, scores in _scores(tree).items():
        if spec.method in DRAWN:
            found[path] = (scores >= 0).astype(np.int8)
        elif spec.method in _LARGEST:
            size, kept = np.abs(scores), _kept(spec, scores.size)
            found[path] = (size >= np.partition(size.reshape(-1), -kept)[-kept]).astype(np.int8)
        else:
            found[path] = np.where(np.abs(scores) > np.float32(1 - spec.density), np.sign(scores), 0).astype(np.int8)
    return found


def sampled(spec: Supermask, tree: Mapping[str, np.ndarray], seed: int, stream: str) -> dict[str, np.ndarray]:
    """One mask drawn as training draws them, each leaf's from its own stream; of methods that draw nothing, that of `chosen`."""
    if spec.method not in DRAWN:
        return chosen(spec, tree)
    p = probabilities(tree)
    return {path: (keys.generator(seed, f"{stream}/{path}").random(leaf.shape) < leaf).astype(np.int8) for path, leaf in p.items()}


def probabilities(tree: Mapping[str, np.ndarray]) -> Tree:
    """Path of each prunable leaf -> sigmoid(s): the probability with which `bernoulli` and `relaxed` keep a weight."""
    with np.errstate(over="ignore"):
        return {path: 1 / (1 + np.exp(-scores.astype(np.float64))) for path, scores in _scores(tree).items()}


def effective(spec: Supermask, tree: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]) -> Tree:
    """The weights of the plain network: w b r in float32; all that is not masked as it is; without the scores.

    Args:
        masks: of `chosen` or `sampled`, or probabilities, which give the expected network.
    """
    plain = {path: leaf for path, leaf in tree.items() if not path.endswith(SCORE)}
    for path, mask in masks.items():
        scale = np.float32(factor_of(spec, mask))
        plain[path] = np.where(mask != 0, plain[path] * (mask.astype(np.float32) * scale), np.float32(0))
    return plain


def factor_of(spec: Supermask, mask: np.ndarray) -> float:
    """`factor` on the host."""
    ratio = mask.size / max(float(np.abs(mask.astype(np.float64)).sum()), 1.0)
    return {"none": 1.0, "dynamic": ratio, "root": math.sqrt(ratio)}[spec.rescale]


def nonzero(masks: Mapping[str, np.ndarray]) -> Mask:
    """Which weights a mask keeps, with either sign."""
    return {path: mask != 0 for path, mask in masks.items()}


def _scores(tree: Mapping[str, np.ndarray]) -> Tree:
    return {path.removesuffix(SCORE): leaf for path, leaf in tree.items() if path.endswith(SCORE)}
