"""Autoencoders: dense, convolutional and variational, each of two parts that studies can name, `encoder` and `decoder`.

They say on the way what their code is (`Network.compute`): ``code`` (batch, units), of a variational one the posterior's mean;
``log_variance`` (batch, units), of that alone; ``gates`` (units,), the probabilities that gates are open, where there are gates.
A module of one's own does so by ``tb.sow("code", code)``.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tombola.core.errors import TombolaError
from tombola.core.keys import generator
from tombola.core.parts import models
from tombola.core.task import Count
from tombola.models.layers import Beside
from tombola.models.parts import check_images, conv, max_pool, pooled
from tombola.models.sow import sow
from tombola.models.units import Feeds, chain

Activation = Literal["relu", "sigmoid", "linear"]
"""The activation of the code."""
_ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "linear": lambda values: values}
_OPEN = 2.0
"""Score that gates begin with: they are open with a probability of 0.88."""
_GRID = 4096
"""Inputs in steps of 1 / 4096 are what the noise of an evaluation follows from: rounding in their last bits moves none of it."""


class Dense(nnx.Module):
    """Flattened inputs, hidden1, hidden2, ... with ReLU; then the last layers, side by side, without."""

    def __init__(self, inputs: int, widths: Sequence[int], last: Sequence[tuple[str, int]], rngs: nnx.Rngs) -> None:
        self.hidden = tuple(f"hidden{index}" for index in range(1, len(widths) + 1))
        for name, (before, width) in zip(self.hidden, pairwise([inputs, *widths]), strict=True):
            setattr(self, name, nnx.Linear(before, width, rngs=rngs))
        self.last = tuple(name for name, _ in last)
        for name, outputs in last:
            setattr(self, name, nnx.Linear([inputs, *widths][-1], outputs, rngs=rngs))

    def __call__(self, inputs: jax.Array) -> jax.Array:
        values = inputs.reshape(inputs.shape[0], -1)
        for name in self.hidden:
            values = jax.nn.relu(getattr(self, name)(values))
        return jnp.concatenate([getattr(self, name)(values) for name in self.last], axis=-1)


class Autoencoder(nnx.Module):
    """decoder(code), code = gate * activation(encoder(inputs)), of which `top_k` keeps the largest of each example."""

    def __init__(
        self,
        encoder: nnx.Module,
        decoder: nnx.Module,
        feeds: Feeds,
        units: int,
        activation: Activation,
        top_k: int | None,
        gates: bool,
    ) -> None:
        if top_k is not None and top_k >= units:
            raise TombolaError(f"option top_k = {top_k}, but the code has {units} units; write less than that, or leave it out")
        self.blocks = ("encoder", "decoder")
        self.encoder = encoder
        self.gates = Beside(jnp.full(units, _OPEN)) if gates else None
        self.decoder = decoder
        self.feeds, self.activation, self.top_k = feeds, activation, top_k

    def __call__(self, inputs: jax.Array) -> jax.Array:
        code = _ACTIVATIONS[self.activation](self.encoder(inputs))
        if self.gates is not None:
            scores = self.gates[...]
            soft = sow("gates", jax.nn.sigmoid(scores))
            # Open or closed, and the gradient of the probability: a closed gate can open again.
            code = code * (jax.lax.stop_gradient((scores > 0) - soft) + soft)
        if self.top_k is not None:
            code = jnp.where(code >= jax.lax.top_k(code, self.top_k)[0][:, -1:], code, 0)
        return self.decoder(sow("code", code))


class VAE(nnx.Module):
    """decoder(z), z = mean + exp(log_variance / 2) e, e standard normal; the encoder gives mean and log_variance.

    In training e is drawn from a stream of the module's own; in evaluation it follows from the example, so that every network is
    tested with the same e, whatever the batches.
    """

    def __init__(self, encoder: Dense, decoder: Dense, feeds: Feeds, rngs: nnx.Rngs) -> None:
        self.blocks = ("encoder", "decoder")
        self.encoder, self.decoder, self.feeds = encoder, decoder, feeds
        self.draws = rngs.dropout.fork()
        self.deterministic = False

    def __call__(self, inputs: jax.Array) -> jax.Array:
        mean, log_variance = jnp.split(self.encoder(inputs), 2, axis=-1)
        sow("code", mean)
        sow("log_variance", log_variance)
        noise = noise_of(inputs, mean.shape[-1]) if self.deterministic else jax.random.normal(self.draws(), mean.shape)
        return self.decoder(mean + jnp.exp(log_variance / 2) * noise)


def noise_of(inputs: jax.Array, latents: int) -> jax.Array:
    """(B, latents) standard normal, a function of each example alone: of its values, to a four-thousandth."""
    values = jnp.round(inputs.reshape(len(inputs), -1) * _GRID).astype(jnp.int32)
    factors = generator(0, "latents").integers(0, 2**32, values.shape[-1], np.uint32)
    told = (values.astype(jnp.uint32) * factors).sum(-1, dtype=jnp.uint32)  # sums wrap, and are exact in any order
    key = jax.random.key(0, impl="threefry2x32")
    return jax.vmap(lambda one: jax.random.normal(jax.random.fold_in(key, one), (latents,)))(told)


class ConvEncoder(nnx.Module):
    """Pairs of a 3x3 convolution and 2x2 max pooling, conv1, conv2, ... with ReLU; then code, a linear layer."""

    def __init__(self, shape: tuple[int, ...], channels: Sequence[int], units: int, rngs: nnx.Rngs) -> None:
        height, breadth, before = shape
        self.depth = len(channels)
        for index, width in enumerate(channels, 1):
            setattr(self, f"conv{index}", conv(before, width, bias=True, rngs=rngs))
            height, breadth, before = pooled(height), pooled(breadth), width
        self.code = nnx.Linear(height * breadth * before, units, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        for index in range(1, self.depth + 1):
            images = max_pool(jax.nn.relu(getattr(self, f"conv{index}")(images)))
        return self.code(images.reshape(images.shape[0], -1))


class ConvDecoder(nnx.Module):
    """A linear layer `spread` to the smallest images; then, as often as the encoder pools, twice the size and a 3x3 convolution."""

    def __init__(self, shape: tuple[int, ...], channels: Sequence[int], units: int, rngs: nnx.Rngs) -> None:
        sides = 2 ** len(channels)
        self.small, self.depth = (shape[0] // sides, shape[1] // sides, channels[-1]), len(channels)
        self.spread = nnx.Linear(units, math.prod(self.small), rngs=rngs)
        for index, (before, width) in enumerate(pairwise(reversed(channels)), 1):
            setattr(self, f"conv{index}", conv(before, width, bias=True, rngs=rngs))
        self.output = conv(channels[0], shape[2], bias=True, rngs=rngs)

    def __call__(self, code: jax.Array) -> jax.Array:
        images = jax.nn.relu(self.spread(code)).reshape(-1, *self.small)
        for index in range(1, self.depth):
            images = jax.nn.relu(getattr(self, f"conv{index}")(_twice(images)))
        return self.output(_twice(images))


def _twice(images: jax.Array) -> jax.Array:
    """Each pixel four times."""
    return images.repeat(2, axis=1).repeat(2, axis=2)


@models.register
def autoencoder(
    shape: tuple[int, ...],
    classes: int,
    *,
    widths: tuple[Count, ...] = (128,),
    activation: Activation = "relu",
    top_k: Count | None = None,
    gates: bool = False,
    rngs: nnx.Rngs,
) -> nnx.Module:
    """Hidden layers of the given widths, an odd number, of which the middle one is the code: (128,) is 784-128-784 on MNIST.

    Args:
        activation: of the code; that of the other layers is ReLU, that of the last none.
        top_k: only so many of an example's largest activities of the code are kept (Makhzani & Frey 2014).
        gates: each unit of the code has a gate, open (1) or closed (0), which is learnt by the term `gate_l0` of the objective.
    """
    if len(widths) % 2 == 0:
        raise TombolaError(
            f"option widths has {len(widths)} sizes, but the middle one is the code; give an odd number, such as (100, 16, 100)"
        )
    middle = len(widths) // 2
    units, (before, after) = widths[middle], (widths[:middle], widths[middle + 1 :])
    encoder = Dense(math.prod(shape), before, [("code", units)], rngs)
    decoder = Dense(units, after, [("output", classes)], rngs)
    return Autoencoder(encoder, decoder, chain(_names(encoder, decoder)), units, activation, top_k, gates)


@models.register
def vae(shape: tuple[int, ...], classes: int, *, widths: tuple[Count, ...] = (200, 200), latents: Count = 20, rngs: nnx.Rngs) -> nnx.Module:
    """Variational autoencoder: hidden layers of the given widths, an even number, half of them the encoder's (Kingma & Welling 2014)."""
    if len(widths) % 2:
        raise TombolaError(f"option widths has {len(widths)} sizes, but each half has as many; give an even number, such as (200, 200)")
    half = len(widths) // 2
    encoder = Dense(math.prod(shape), widths[:half], [("mean", latents), ("log_variance", latents)], rngs)
    decoder = Dense(latents, widths[half:], [("output", classes)], rngs)
    of_encoder = [f"encoder/{name}" for name in encoder.hidden]
    feeds = chain(of_encoder) + chain(_names(decoder=decoder))  # two layers read the encoder's last units: they are not declared
    return VAE(encoder, decoder, feeds, rngs)


@models.register
def conv_autoencoder(
    shape: tuple[int, ...],
    classes: int,
    *,
    widths: tuple[Count, ...] = (16, 32, 64),
    activation: Activation = "relu",
    top_k: Count | None = None,
    gates: bool = False,
    rngs: nnx.Rngs,
) -> nnx.Module:
    """Convolutional autoencoder: channels of the encoder's convolutions, which the decoder has in reverse, then units of the code.

    `activation`, `top_k` and `gates` are of the code, as of `autoencoder`.
    """
    check_images(shape)
    *channels, units = widths
    if not channels or any(side % 2 ** len(channels) for side in shape[:2]):
        raise TombolaError(
            f"option widths has {len(channels)} convolutions, each of which halves the image; {shape[0]} x {shape[1]} has to be divisible "
            f"by {2 ** len(channels)}, and one is needed at least"
        )
    encoder, decoder = ConvEncoder(shape, channels, units, rngs), ConvDecoder(shape, channels, units, rngs)
    feeds = chain([*(f"encoder/conv{index}" for index in range(1, len(channels) + 1)), "encoder/code", "decoder/spread"])
    return Autoencoder(encoder, decoder, feeds, units, activation, top_k, gates)


def _names(encoder: Dense | None = None, decoder: Dense | None = None) -> list[str]:
    """Paths of the layers of both, in order."""
    parts = (("encoder", encoder), ("decoder", decoder))
    return [f"{path}/{name}" for path, part in parts if part is not None for name in (*part.hidden, *part.last)]
