"""The network of a description."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from tombola.core.errors import TombolaError
from tombola.core.loading import summary
from tombola.core.parts import models
from tombola.core.registry import plain
from tombola.core.task import Model
from tombola.models.initializers import Initializer, initializers
from tombola.models.network import Network
from tombola.models.nnx_network import NNXNetwork, key_of
from tombola.models.options import check_options
from tombola.models.removal import check_names, find_obstacles, find_parts, take_out


def build(model: Model, shape: tuple[int, ...], classes: int) -> Network:
    """The network of a model for examples of one shape; equal descriptions give the identical object.

    Raises a `TombolaError` for an unknown model, option or initializer, and for a user's module that cannot be made,
    cannot be run or does not return (batch, classes).
    """
    models[model.name]  # the network that was kept is not given where the code that made it has changed
    return _build(model, tuple(shape), classes)


@cache
def _build(model: Model, shape: tuple[int, ...], classes: int) -> NNXNetwork:
    initializer = None if model.initializer == "own" else _initializer(model.initializer)
    made, name = models[model.name], plain(model.name)
    options = check_options(name, made, model.options)
    whole = _build(model.but(without=()), shape, classes) if model.without else None
    if whole:
        check_names(model.without, whole.layers, _obstacles(whole, shape))

    def factory(key: jax.Array) -> nnx.Module:
        # A stream of its own for dropout: in the common one, a dropout layer would move all the draws after it.
        module = made(shape, classes, rngs=nnx.Rngs(key, dropout=0), **options)
        if not isinstance(module, nnx.Module):
            raise TombolaError(f"model {name!r} makes a {type(module).__name__}, but it must make an nnx.Module")
        return take_out(module, whole.layers, model.without) if whole else module

    try:
        network = NNXNetwork(factory, initializer, model.gain)
        _check_output(network, model, shape, classes)
    except TombolaError:
        raise
    except Exception as error:
        raise TombolaError(f"model {name!r} does not work on examples of shape {shape}: {summary(error)}") from error
    return network


def removable(model: Model, shape: tuple[int, ...], classes: int) -> tuple[str, ...]:
    """The layers and blocks each of which can be taken out by itself (`Model.without`), in forward order, a block before its layers.

    Never what holds the output layer.
    """
    network = build(model, shape, classes)
    last = next((layer for layer in network.layers if layer.kind == "output"), None)
    obstacles = _obstacles(network, tuple(shape))
    return tuple(name for name, part in find_parts(network.layers).items() if not obstacles[name] and last not in part.layers)


@cache
def _obstacles(network: NNXNetwork, shape: tuple[int, ...]) -> dict[str, str]:
    return find_obstacles(network.factory, network.layers, *_examples(network, shape))


def _initializer(name: str) -> Initializer:
    initializers.check(name, "own")
    return initializers[name]


def _check_output(network: Network, model: Model, shape: tuple[int, ...], classes: int) -> None:
    if not network.layers:
        raise TombolaError(f"model {plain(model.name)!r} has no weights; assign its layers to attributes in __init__")
    key, inputs = _examples(network, shape)
    logits, _ = jax.eval_shape(partial(network.apply, train=True), network.shapes, inputs, dropout_key=key)
    if getattr(logits, "shape", None) != (2, classes):
        given = getattr(logits, "shape", type(logits).__name__)
        raise TombolaError(f"model {plain(model.name)!r} returns {given} for 2 examples, but it must return logits, (2, {classes})")


def _examples(network: Network, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """A key and two examples, as shapes alone."""
    dtype = jnp.int32 if network.layers[0].kind == "embedding" else jnp.float32
    return jax.eval_shape(key_of, jax.ShapeDtypeStruct((2,), jnp.uint32)), jax.ShapeDtypeStruct((2, *shape), dtype)
