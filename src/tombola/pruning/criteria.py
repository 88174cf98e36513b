"""Criteria: (initial, final) weights of one leaf -> scores of the same shape. The highest scores are kept.

A criterion is one function. Zhou et al. 2019, section 3, figure 3 is the source unless another is named;
w_i is the initial and w_f the final value of a weight. Each works on NumPy and on JAX arrays.
"""

import hashlib
import inspect
from typing import Any

import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.registry import Registry

criteria: Registry = Registry("criterion")


def source(name: str) -> str:
    """Digest of the source of a user's own criterion, so that an edited one makes another run; "" for Tombola's."""
    function = criteria[name]
    if function.__module__.startswith("tombola."):
        return ""
    try:
        text = inspect.getsource(function)
    except Exception:  # typed in at a prompt, or the file is gone: then what it was compiled to tells
        text = function.__code__.co_code.hex()
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def scores(name: str, initial: Any, final: Any) -> Any:
    """The scores of one leaf. Raises if a user's criterion fails or gives another shape."""
    function = criteria[name]
    try:
        found = function(initial, final)
    except Exception as error:
        raise TombolaError(f"criterion {name!r} must take (initial, final) and return scores, but it fails: {error}") from error
    if np.shape(found) != np.shape(final):
        raise TombolaError(f"criterion {name!r} returns shape {np.shape(found)} for weights of shape {np.shape(final)}; one score a weight")
    return found


@criteria.register
def large_final(initial: Any, final: Any) -> Any:
    """|w_f|: magnitude pruning (Frankle & Carbin 2019, section 2)."""
    return abs(final)


@criteria.register
def small_final(initial: Any, final: Any) -> Any:
    """-|w_f|."""
    return -abs(final)


@criteria.register
def large_init(initial: Any, final: Any) -> Any:
    """|w_i|: pruning before training (Frankle & Carbin 2019, appendix)."""
    return abs(initial)


@criteria.register
def small_init(initial: Any, final: Any) -> Any:
    """-|w_i|."""
    return -abs(initial)


def _rank(values: np.ndarray) -> np.ndarray:
    flat = np.asarray(values).reshape(-1)
    rank = np.empty(flat.size, np.int64)
    rank[np.argsort(flat, kind="stable")] = np.arange(flat.size)
    return rank.reshape(np.shape(values))


@criteria.register
def large_init_large_final(initial: Any, final: Any) -> Any:
    """min(a |w_f|, |w_i|), with a such that both bind equally often: the smaller of the two ranks in the layer."""
    return np.minimum(_rank(abs(final)), _rank(abs(initial)))


@criteria.register
def small_init_small_final(initial: Any, final: Any) -> Any:
    """-max(a |w_f|, |w_i|), with a such that both bind equally often: minus the larger of the two ranks."""
    return -np.maximum(_rank(abs(final)), _rank(abs(initial)))


@criteria.register
def magnitude_increase(initial: Any, final: Any) -> Any:
    """|w_f| - |w_i|."""
    return abs(final) - abs(initial)


@criteria.register
def movement(initial: Any, final: Any) -> Any:
    """|w_f - w_i|."""
    return abs(final - initial)


@criteria.register
def large_final_same_sign(initial: Any, final: Any) -> Any:
    """max(0, w_f sign(w_i)): large where the weight kept its sign, 0 where it changed (section 4.1)."""
    return np.maximum(0, final * np.sign(initial))


@criteria.register
def large_final_diff_sign(initial: Any, final: Any) -> Any:
    """max(0, -w_f sign(w_i)): large where the weight changed its sign, 0 where it kept it (section 4.1)."""
    return np.maximum(0, -final * np.sign(initial))
