"""A network as shapes, layers and pure functions of a flat weights tree (path -> array).

The tree holds the whole state: trainable parameters and the running statistics of batch norm.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache, cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tombola.core import keys
from tombola.core.errors import TombolaError, unknown
from tombola.core.task import Model
from tombola.core.trees import Tree
from tombola.models.computing import PLAIN, Computing, adapt, linear
from tombola.models.custom import identify, resolve, summary
from tombola.models.initializers import Initializer, initializers
from tombola.models.initializers import std as initializer_std
from tombola.models.layer import Layer
from tombola.models.layers import find_layers
from tombola.models.options import check_options
from tombola.models.program import QUICK, Program
from tombola.models.removal import check_names, find_obstacles, find_parts, take_out
from tombola.models.units import Units, find_units

Factory = Callable[[jax.Array], nnx.Module]


class Network:
    """One network for one shape of examples, made by `build`. Equal only to itself: fit to be a static argument of a jit."""

    shapes: dict[str, jax.ShapeDtypeStruct]
    """Every leaf, in the order of `layers`."""
    trainable: frozenset[str]
    """Leaves that have gradients; the others are running statistics."""
    layers: tuple[Layer, ...]
    """In forward order (the order in which the module declares them)."""
    prunable: tuple[str, ...]
    """Kernels and embeddings, in the order of `layers`."""
    units: tuple[Units, ...]
    """Units that can be removed or permuted, as the modules declare in `feeds`; in the order of `layers`."""
    linear: frozenset[str]
    """Kernels (inputs, outputs) that are read by one product alone, of which `apply` may be given another."""
    convolutional: bool
    """Whether it has a convolutional layer."""
    stochastic: bool
    """Whether training needs a `dropout_key`."""

    def __init__(self, factory: Factory, initializer: Initializer | None, gain: float = 1.0) -> None:
        """`factory` makes the module from a key; `initializer` None: as the module draws its kernels itself."""
        self._factory, self._initializer, self._gain = factory, initializer, gain
        leaves: dict[str, Any] = {}

        def trace(key: jax.Array) -> None:
            # The walk needs the module as it was made: what nnx gives back after a transformation is sorted by name.
            module = factory(key)
            leaves.update({_name(path): (path, leaf) for path, leaf in nnx.to_flat_state(nnx.state(module))})
            module.train()
            self._train = nnx.graphdef(module)
            module.eval()
            self._eval = nnx.graphdef(module)
            module.set_attributes(nnx.BatchNorm, momentum=0.0, use_running_average=False, raise_if_not_found=False)
            self._measuring = nnx.graphdef(module)
            states = {path: leaf for path, (_, leaf) in leaves.items() if not isinstance(leaf, nnx.RngState)}
            self.layers, self._matrices = find_layers(module, states)
            ordered = [path for layer in self.layers for path in layer.paths]
            if self.layers and (lost := states.keys() - set(ordered)):
                raise TombolaError(f"the array {min(lost)!r} is in an unknown container; use nnx.List or nnx.Dict")
            self.shapes = {path: jax.ShapeDtypeStruct(states[path].shape, states[path].dtype) for path in ordered}
            self.linear = frozenset(path for path, _ in linear(module)).intersection(ordered)
            self.units = find_units(module, self.layers, self.shapes)
            self.trainable = frozenset(path for path in ordered if isinstance(states[path], nnx.Param))
            random = {place: leaf for place, leaf in leaves.values() if isinstance(leaf, nnx.RngState)}
            self._random = {place: leaf.shape for place, leaf in random.items() if isinstance(leaf, nnx.RngKey)}
            self._counts = {place: leaf.shape for place, leaf in random.items() if not isinstance(leaf, nnx.RngKey)}

        jax.eval_shape(trace, _key(np.zeros(2, np.uint32)))
        self._places = {path: leaves[path][0] for path in self.shapes}
        self.prunable = tuple(path for layer in self.layers for path in layer.prunable)
        self.stochastic = bool(self._random)
        self.convolutional = any(layer.kind == "conv" for layer in self.layers)

    def init(self, seed: int, stream: str = "init") -> Tree:
        """All weights of a replicate. Each tensor has its own key, ``keys.stream(seed, f"{stream}/{path}")``.

        Kernels follow the model's initializer; all else is as the module makes it, a random bias by its own key too.
        Arrays of the host, drawn on the CPU: the same bits whatever the device. With the initializer `own` a module
        counts its draws, so a layer added before a tensor moves it; with every other initializer no tensor moves.
        """
        return {path: self.init_tensor(path, seed, stream) for path in self.shapes}

    def init_tensor(self, path: str, seed: int, stream: str) -> np.ndarray:
        """One tensor of `init`, bit for bit; with another `stream`, a fresh draw (re-randomisation)."""
        if path in self._constants:
            return self._constants[path]
        drawn = self._drawn(path, keys.stream(seed, f"{stream}/{path}"))
        return drawn if self._gain == 1 or path not in self.prunable else (self._gain * drawn).astype(drawn.dtype)

    def _drawn(self, path: str, key_data: np.ndarray) -> np.ndarray:
        with _on_cpu():
            if self._initializer is not None and path in self.prunable:
                flat = _draw(self._initializer, key_data, self._drawn_shape(path))
                return np.asarray(flat).reshape(self.shapes[path].shape).astype(self.shapes[path].dtype, copy=False)
            return np.asarray(self._program.only(path)(key_data)[0])

    def std(self, path: str) -> float:
        """Standard deviation of the distribution a tensor is drawn from; 0 for what is not random.

        A formula for the named initializers; for what the module draws itself, the root mean square of one fixed draw.
        """
        if path in self._constants:
            return 0.0
        if self._initializer is not None and path in self.prunable:
            return self._gain * initializer_std(self._initializer, self._drawn_shape(path))
        return float(np.sqrt(np.mean(np.square(self.init_tensor(path, 0, "std"), dtype=np.float64))))

    def apply(
        self,
        weights: Mapping[str, Any],
        inputs: jax.Array,
        *,
        train: bool,
        dropout_key: jax.Array | None = None,
        how: Computing = PLAIN,
    ) -> tuple[Any, Tree]:
        """(logits, changed): `inputs` (batch, *shape) -> logits (batch, classes). Pure: works under jit, grad, vmap, loops.

        With `train`, batch norm uses the statistics of the batch, and `changed` holds the new running ones by path;
        dropout draws from `dropout_key`, each dropout module from its own fold. Without, `changed` is empty.
        `how` products and convolutions are computed changes rounding alone.
        """
        if train and self.stochastic and dropout_key is None:
            raise TombolaError("this network has dropout: training it needs a dropout_key")
        module = self._merged(self._train if train else self._eval, weights, dropout_key)
        adapt(module, how)
        logits = module(inputs)
        after = _arrays(module) if train else {}
        return logits, {path: after[path] for path in self.running if train}

    def statistics(self, weights: Mapping[str, Any], inputs: jax.Array) -> Tree:
        """The statistics of one batch in the place of the running ones: path -> mean or variance over the batch.

        Every batch norm normalises by those of the batch itself; dropout is off. Empty where nothing keeps statistics.
        """
        module = self._merged(self._measuring, weights, None)
        module(inputs)
        after = _arrays(module)
        return {path: after[path] for path in self.running}

    @property
    def running(self) -> tuple[str, ...]:
        """Leaves that are running statistics, in the order of `layers`."""
        return tuple(path for path in self.shapes if path not in self.trainable)

    def _merged(self, graph: Any, weights: Mapping[str, Any], dropout_key: jax.Array | None) -> Any:
        # As arrays of JAX: batch norm would write its running statistics into those of NumPy that it is given.
        state = {self._places[path]: jnp.asarray(weights[path]) for path in self.shapes}
        state |= {place: _fold(dropout_key, place, shape) for place, shape in self._random.items()}
        state |= {place: jnp.zeros(shape, jnp.uint32) for place, shape in self._counts.items()}
        return nnx.merge(graph, nnx.from_flat_state(list(state.items())))

    def _drawn_shape(self, path: str) -> tuple[int, ...]:
        return self._matrices.get(path, self.shapes[path].shape)

    @cached_property
    def _program(self) -> Program:
        """The module's own way to make every leaf."""

        def make(key_data: jax.Array) -> Tree:
            made = _arrays(self._factory(_key(key_data)))
            return {path: made[path] for path in self.shapes}

        return Program(make)

    @cached_property
    def _constants(self) -> Tree:
        """The leaves that no key changes."""
        elsewhere = self._program.random.union(self.prunable if self._initializer is not None else ())
        paths = [path for path in self.shapes if path not in elsewhere]
        with _on_cpu():
            made = self._program.only(*paths)(np.zeros(2, np.uint32))
        return {path: np.asarray(leaf) for path, leaf in zip(paths, made, strict=True)}


def build(model: Model, shape: tuple[int, ...], classes: int) -> Network:
    """The network of a model for examples of one shape; equal descriptions give the identical object.

    Raises a `TombolaError` for an unknown model, option or initializer, and for a user's module that cannot be made,
    cannot be run or does not return (batch, classes).
    """
    if ":" in model.name and not model.source:
        model = model.but(**identify(model.name))
    return _build(model, tuple(shape), classes)


@cache
def _build(model: Model, shape: tuple[int, ...], classes: int) -> Network:
    initializer = None if model.initializer == "own" else _initializer(model.initializer)
    made = resolve(model.name, model.source)
    options = check_options(model.name, made, model.options)
    whole = _build(model.but(without=()), shape, classes) if model.without else None
    if whole:
        check_names(model.without, whole.layers, _obstacles(whole, shape))

    def factory(key: jax.Array) -> nnx.Module:
        # A stream of its own for dropout: in the common one, a dropout layer would move all the draws after it.
        module = made(shape, classes, rngs=nnx.Rngs(key, dropout=0), **options)
        if not isinstance(module, nnx.Module):
            raise TombolaError(f"model {model.name!r} makes a {type(module).__name__}, but it must make an nnx.Module")
        return take_out(module, whole.layers, model.without) if whole else module

    try:
        network = Network(factory, initializer, model.gain)
        _check_output(network, model, shape, classes)
    except TombolaError:
        raise
    except Exception as error:
        raise TombolaError(f"model {model.name!r} does not work on examples of shape {shape}: {summary(error)}") from error
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
def _obstacles(network: Network, shape: tuple[int, ...]) -> dict[str, str]:
    return find_obstacles(network._factory, network.layers, *_examples(network, shape))


def _initializer(name: str) -> Initializer:
    if name not in initializers:
        raise unknown("initializer", name, [*initializers, "own"])
    return initializers[name]


def _check_output(network: Network, model: Model, shape: tuple[int, ...], classes: int) -> None:
    if not network.layers:
        raise TombolaError(f"model {model.name!r} has no weights; assign its layers to attributes in __init__")
    key, inputs = _examples(network, shape)
    logits, _ = jax.eval_shape(partial(network.apply, train=True), network.shapes, inputs, dropout_key=key)
    if getattr(logits, "shape", None) != (2, classes):
        given = getattr(logits, "shape", type(logits).__name__)
        raise TombolaError(f"model {model.name!r} returns {given} for 2 examples, but it must return logits, (2, {classes})")


def _examples(network: Network, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """A key and two examples, as shapes alone."""
    dtype = jnp.int32 if network.layers[0].kind == "embedding" else jnp.float32
    return jax.eval_shape(_key, jax.ShapeDtypeStruct((2,), jnp.uint32)), jax.ShapeDtypeStruct((2, *shape), dtype)


@partial(jax.jit, static_argnums=(0, 2), compiler_options=QUICK)
def _draw(initializer: Initializer, key_data: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return initializer(_key(key_data), shape)


def _key(key_data: Any) -> jax.Array:
    return jax.random.wrap_key_data(key_data, impl="threefry2x32")  # named: the user's default may be another


def _on_cpu() -> AbstractContextManager[Any]:
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
        return nullcontext()


def _fold(key: jax.Array | None, place: tuple[Any, ...], shape: tuple[int, ...]) -> jax.Array:
    """The key of one dropout module: a stable hash of its path folded in. Evaluation draws nothing: any key will do."""
    base = _key(jnp.zeros(2, jnp.uint32)) if key is None else key
    folded = jax.random.fold_in(base, int.from_bytes(hashlib.sha256(_name(place).encode()).digest()[:4], "big"))
    return jax.random.split(folded, shape) if shape else folded


def _name(place: tuple[Any, ...]) -> str:
    return "/".join(map(str, place))


def _arrays(module: nnx.Module) -> Tree:
    """The whole state, path -> array."""
    flat = nnx.to_flat_state(nnx.state(module))
    return {_name(place): leaf.get_value() if isinstance(leaf, nnx.Variable) else leaf for place, leaf in flat}
