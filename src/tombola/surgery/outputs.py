"""Whether two networks compute the same."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tombola.core.data_info import DataInfo
    from tombola.models.network import Network

TOLERANCE = 1e-3
"""Most that outputs may differ, as a share of the largest: far above rounding, and below what a wrong `feeds` does."""


def same_outputs(*networks: "tuple[Network, Mapping[str, Any]]") -> bool:
    """Whether all give the outputs of the first in evaluation, on 8 random examples; True where those are not finite."""
    inputs = random_inputs(networks[0][0].data, 8)
    expected, *given = (np.asarray(evaluation(network)(weights, inputs)[0]) for network, weights in networks)
    if not np.isfinite(expected).all():
        return True  # a replicate that diverged
    return all(np.allclose(expected, one, rtol=0, atol=TOLERANCE * float(np.abs(expected).max())) for one in given)


@lru_cache(maxsize=16)
def evaluation(network: "Network") -> Callable[..., Any]:
    """(weights, inputs) -> (outputs, ...) in evaluation, compiled."""
    import jax

    # Compiled whole: op by op, a deep network would compile hundreds of programs.
    return jax.jit(partial(network.apply, train=False))


def random_inputs(data: "DataInfo", count: int) -> np.ndarray:
    """Inputs of the data's kind that mean nothing, always the same."""
    random, shape = np.random.default_rng(0), (count, *data.shape)
    if np.issubdtype(data.dtype, np.integer):
        return random.integers(data.vocabulary or 1, size=shape).astype(data.dtype)
    return random.standard_normal(shape).astype(data.dtype)
