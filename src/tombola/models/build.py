"""The network of a description."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any

import jax
from flax import nnx

from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.loading import one_line, summary
from tombola.core.parts import models
from tombola.core.registry import plain
from tombola.core.task import Model
from tombola.models.initializers import Initializer, Shape, initializers
from tombola.models.network import Network
from tombola.models.nnx_network import NNXNetwork, given_examples
from tombola.models.options import arguments, check_options
from tombola.models.pytorch.factory import TorchFactory, of_torch
from tombola.models.removal import check_names, find_obstacles, find_parts, take_out


def build(model: Model, data: DataInfo) -> Network:
    """The network of a model for data of one kind; equal descriptions give the identical object.

    A factory takes ``(data, *, rngs, **options)``, where `data` is a `DataInfo` (told by that name, or by its annotation), or
    ``(shape, classes, *, rngs, **options)``, where `classes` is the number of outputs. Outputs (batch, number of outputs) of
    either get the shape (batch, *data.outputs). A PyTorch module is exported by torch (`tombola.models.pytorch`).

    Raises a `TombolaError` for an unknown model, option or initializer, and for a user's module that cannot be made,
    cannot be run or does not return such outputs.
    """
    models[model.name]  # the network that was kept is not given where the code that made it has changed
    return _build(model, data)


@cache
def _build(model: Model, data: DataInfo) -> NNXNetwork:
    initializer = None if model.initializer == "own" else _initializer(model.initializer)
    made, name = factory_of(model), plain(model.name)
    options, given = check_options(name, made, model.options), arguments(made, data)
    whole = _build(model.but(without=()), data) if model.without else None
    if whole:
        check_names(model.without, whole.layers, _obstacles(whole))

    def factory(key: jax.Array) -> nnx.Module:
        # A stream of its own for dropout: in the common one, a dropout layer would move all the draws after it.
        module = made(*given, rngs=nnx.Rngs(key, dropout=0), **options)
        if not isinstance(module, nnx.Module):
            raise TombolaError(f"model {name!r} makes a {type(module).__name__}, but it must make an nnx.Module")
        return take_out(module, whole.layers, model.without) if whole else module

    try:
        if isinstance(made, TorchFactory):
            from tombola.models.pytorch.network import TorchNetwork

            return TorchNetwork(made, options, factory, data, initializer, model.gain, f"model {name!r}")
        return NNXNetwork(factory, data, initializer, model.gain, f"model {name!r}")
    except TombolaError:
        raise
    except Exception as error:
        examples = f"examples of shape {data.shape}, {data.dtype}"
        tokens = "; if they are tokens, say how many different ones: tb.from_arrays(..., vocabulary=N), or vocabulary=N in the .npz"
        hint = tokens if data.dtype == "float32" and "integer" in str(error) else ""
        raise TombolaError(f"model {name!r} does not work on {examples}: {summary(error)}{hint}") from error


def factory_of(model: Model) -> Callable[..., Any]:
    """What makes the module of a model: what is registered, or what wraps a PyTorch module."""
    made = models[model.name]
    return TorchFactory(made, plain(model.name)) if of_torch(made) else made


def removable(model: Model, data: DataInfo) -> tuple[str, ...]:
    """The layers and blocks each of which can be taken out by itself (`Model.without`), in forward order, a block before its layers.

    Never what holds an output layer.
    """
    network = _build(model, data)
    obstacles = _obstacles(network)
    inner = {name: all(layer.kind != "output" for layer in part.layers) for name, part in find_parts(network.layers).items()}
    return tuple(name for name in inner if inner[name] and not obstacles[name])


@cache
def _obstacles(network: NNXNetwork) -> dict[str, str]:
    return find_obstacles(network.factory, network.layers, *given_examples(network.data))


def _initializer(name: str) -> Initializer:
    initializers.check(name, "own")
    made = initializers[name]
    if "@" not in name:
        return made

    @wraps(made)
    def drawn(key: jax.Array, shape: Shape) -> jax.Array:
        with one_line(f"initializer {plain(name)!r}", lambda: "; it is called with (key, shape)"):
            found = made(key, shape)
        if getattr(found, "shape", None) != tuple(shape):
            said = getattr(found, "shape", type(found).__name__)
            raise TombolaError(
                f"initializer {plain(name)!r} must return an array of the shape that it is given, {tuple(shape)}, not {said}"
            )
        return found

    return drawn
