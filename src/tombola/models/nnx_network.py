"""A network that an `nnx.Module` computes."""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tombola.core import keys
from tombola.core.errors import TombolaError
from tombola.core.trees import Tree
from tombola.models.computing import PLAIN, Computing, adapt, linear
from tombola.models.initializers import Initializer
from tombola.models.initializers import std as initializer_std
from tombola.models.layers import find_layers
from tombola.models.network import Network
from tombola.models.program import QUICK, Program
from tombola.models.units import find_units

Factory = Callable[[jax.Array], nnx.Module]


class NNXNetwork(Network):
    """A network that an `nnx.Module` computes."""

    def __init__(self, factory: Factory, initializer: Initializer | None, gain: float = 1.0) -> None:
        """`factory` makes the module from a key; `initializer` None: as the module draws its kernels itself."""
        self.factory, self._initializer, self._gain = factory, initializer, gain
        leaves: dict[str, Any] = {}
        facts: dict[str, Any] = {}

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
            layers, self._matrices = find_layers(module, states)
            ordered = [path for layer in layers for path in layer.paths]
            if layers and (lost := states.keys() - set(ordered)):
                raise TombolaError(f"the array {min(lost)!r} is in an unknown container; use nnx.List or nnx.Dict")
            shapes = {path: jax.ShapeDtypeStruct(states[path].shape, states[path].dtype) for path in ordered}
            trainable = {path for path in ordered if isinstance(states[path], nnx.Param)}
            products = {path for path, _ in linear(module)}.intersection(ordered)
            units = find_units(module, layers, shapes)
            facts.update(layers=layers, shapes=shapes, trainable=trainable, linear=products, units=units)
            random = {place: leaf for place, leaf in leaves.values() if isinstance(leaf, nnx.RngState)}
            self._random = {place: leaf.shape for place, leaf in random.items() if isinstance(leaf, nnx.RngKey)}
            self._counts = {place: leaf.shape for place, leaf in random.items() if not isinstance(leaf, nnx.RngKey)}

        jax.eval_shape(trace, key_of(np.zeros(2, np.uint32)))
        super().__init__(**facts, running=facts["shapes"].keys() - facts["trainable"], stochastic=bool(self._random))
        self._places = {path: leaves[path][0] for path in self.shapes}

    def init_tensor(self, path: str, seed: int, stream: str) -> np.ndarray:
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
        if train and self.stochastic and dropout_key is None:
            raise TombolaError("this network has dropout: training it needs a dropout_key")
        module = self._merged(self._train if train else self._eval, weights, dropout_key)
        adapt(module, how)
        outputs = module(inputs)
        after = _arrays(module) if train else {}
        return outputs, {path: after[path] for path in self.running if train}

    def statistics(self, weights: Mapping[str, Any], inputs: jax.Array, how: Computing = PLAIN) -> Tree:
        module = self._merged(self._measuring, weights, None)
        adapt(module, how)
        module(inputs)
        after = _arrays(module)
        return {path: after[path] for path in self.running}

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
            made = _arrays(self.factory(key_of(key_data)))
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


@partial(jax.jit, static_argnums=(0, 2), compiler_options=QUICK)
def _draw(initializer: Initializer, key_data: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return initializer(key_of(key_data), shape)


def key_of(key_data: Any) -> jax.Array:
    """The key of two 32-bit words."""
    return jax.random.wrap_key_data(key_data, impl="threefry2x32")  # named: the user's default may be another


def _on_cpu() -> AbstractContextManager[Any]:
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # JAX_PLATFORMS leaves the CPU out
        return nullcontext()


def _fold(key: jax.Array | None, place: tuple[Any, ...], shape: tuple[int, ...]) -> jax.Array:
    """The key of one dropout module: a stable hash of its path folded in. Evaluation draws nothing: any key will do."""
    base = key_of(jnp.zeros(2, jnp.uint32)) if key is None else key
    folded = jax.random.fold_in(base, int.from_bytes(hashlib.sha256(_name(place).encode()).digest()[:4], "big"))
    return jax.random.split(folded, shape) if shape else folded


def _name(place: tuple[Any, ...]) -> str:
    return "/".join(map(str, place))


def _arrays(module: nnx.Module) -> Tree:
    """The whole state, path -> array."""
    flat = nnx.to_flat_state(nnx.state(module))
    return {_name(place): leaf.get_value() if isinstance(leaf, nnx.Variable) else leaf for place, leaf in flat}
