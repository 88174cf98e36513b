"""How kernels are drawn: ``(key, shape) -> float32 array``.

The last two axes of a shape are inputs and outputs, those before them the receptive field (convolutions: HWIO).
A user's own needs no more than ``@initializers.register`` on such a function.
"""

import math
from collections.abc import Callable
from typing import Literal, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from tombola.core.parts import initializers as initializers

Shape = tuple[int, ...]


class Initializer(Protocol):
    """Draws one tensor from a key; may carry its standard deviation as ``std(shape)``."""

    __name__: str

    def __call__(self, key: jax.Array, shape: Shape) -> jax.Array: ...


def fans(shape: Shape) -> tuple[int, int]:
    """(fan_in, fan_out): inputs and outputs times the size of the receptive field.

    >>> fans((784, 300)), fans((3, 3, 64, 128))
    ((784, 300), (576, 1152))
    """
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


def with_std(std: Callable[[Shape], float]) -> Callable[[Initializer], Initializer]:
    """Decorator: state the standard deviation of one weight as a formula of the shape."""

    def attach(initializer: Initializer) -> Initializer:
        initializer.std = std  # type: ignore[attr-defined]  # optional, so not of the protocol
        return initializer

    return attach


def std(initializer: Initializer, shape: Shape) -> float:
    """Standard deviation of one weight: the initializer's formula, or else that of one fixed draw."""
    if hasattr(initializer, "std"):
        return initializer.std(shape)
    return float(np.std(initializer(jax.random.key(0, impl="threefry2x32"), shape)))


def _scaled(
    scale: float, fan: Literal["fan_in", "fan_avg"], distribution: Literal["normal", "truncated_normal", "uniform"]
) -> Callable[[jax.Array, Shape], jax.Array]:
    return jax.nn.initializers.variance_scaling(scale, fan, distribution, dtype=jnp.float32)


def _glorot_std(shape: Shape) -> float:
    return math.sqrt(2 / sum(fans(shape)))


def _kaiming_std(shape: Shape) -> float:
    return math.sqrt(2 / fans(shape)[0])


def _lecun_std(shape: Shape) -> float:
    return math.sqrt(1 / fans(shape)[0])


def _orthogonal_std(shape: Shape) -> float:
    return math.sqrt(1 / max(math.prod(shape[:-1]), shape[-1]))


@initializers.register
@with_std(_glorot_std)
def glorot_normal(key: jax.Array, shape: Shape) -> jax.Array:
    """Normal, std sqrt(2 / (fan_in + fan_out)), cut off at 2 / 0.8796 of it (2 sigma of the normal that is cut)."""
    return _scaled(1.0, "fan_avg", "truncated_normal")(key, shape)


@initializers.register
@with_std(_glorot_std)
def glorot_uniform(key: jax.Array, shape: Shape) -> jax.Array:
    """Uniform, std sqrt(2 / (fan_in + fan_out)), bounds +- sqrt(3) std."""
    return _scaled(1.0, "fan_avg", "uniform")(key, shape)


@initializers.register
@with_std(_kaiming_std)
def kaiming_normal(key: jax.Array, shape: Shape) -> jax.Array:
    """Normal, not cut off, std sqrt(2 / fan_in) (He et al. 2015)."""
    return _scaled(2.0, "fan_in", "normal")(key, shape)


@initializers.register
@with_std(_kaiming_std)
def kaiming_uniform(key: jax.Array, shape: Shape) -> jax.Array:
    """Uniform, std sqrt(2 / fan_in), bounds +- sqrt(3) std."""
    return _scaled(2.0, "fan_in", "uniform")(key, shape)


@initializers.register
@with_std(_lecun_std)
def lecun_normal(key: jax.Array, shape: Shape) -> jax.Array:
    """Normal, std sqrt(1 / fan_in), cut off as `glorot_normal`."""
    return _scaled(1.0, "fan_in", "truncated_normal")(key, shape)


@initializers.register
@with_std(_orthogonal_std)
def orthogonal(key: jax.Array, shape: Shape) -> jax.Array:
    """Orthonormal rows or columns of the (all but last axis) x (last axis) matrix; root mean square 1 / sqrt(longer side)."""
    return jax.nn.initializers.orthogonal(dtype=jnp.float32)(key, shape)


@initializers.register
@with_std(_glorot_std)
def signed_constant(key: jax.Array, shape: Shape) -> jax.Array:
    """+-a with a = std of `glorot_normal`, and the signs of its draw from the same key (Zhou et al. 2019)."""
    scale = jnp.float32(_glorot_std(shape))
    return jnp.where(glorot_normal(key, shape) < 0, -scale, scale)


@initializers.register
@with_std(_lecun_std)
def lecun_uniform(key: jax.Array, shape: Shape) -> jax.Array:
    """Uniform, std sqrt(1 / fan_in), bounds +- sqrt(3) std."""
    return _scaled(1.0, "fan_in", "uniform")(key, shape)


@initializers.register
@with_std(_kaiming_std)
def bimodal(key: jax.Array, shape: Shape) -> jax.Array:
    """Normal without its middle, |w| >= 0.5 of the normal's sigma, std sqrt(2 / fan_in): no weight begins near 0, and none ties."""
    magnitude, coin = jax.random.split(key)
    z = jax.random.truncated_normal(magnitude, 0.5, math.inf, shape, jnp.float32)
    return _kaiming_std(shape) / _BIMODAL * jnp.where(jax.random.bernoulli(coin, shape=shape), z, -z)


_BIMODAL = math.sqrt(1 + 0.5 * 2 * math.exp(-0.125) / math.sqrt(2 * math.pi) / math.erfc(0.5 / math.sqrt(2)))
"""Standard deviation of a standard normal under the condition |z| >= a = 0.5: E z^2 = 1 + 2 a phi(a) / P(|z| >= a)."""
