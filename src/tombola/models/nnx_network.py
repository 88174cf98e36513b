"""A network that an `nnx.Module` computes."""

import hashlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tombola.core import keys
from tombola.core.data_info import DataInfo
from tombola.core.errors import TombolaError
from tombola.core.trees import Tree
from tombola.models.computing import PLAIN, Computing, adapt, linear
from tombola.models.flow import last_kernels
from tombola.models.initializers import Initializer
from tombola.models.initializers import std as initializer_std
from tombola.models.layer import Layer
from tombola.models.layers import attributes, declared_kinds, find_layers, join, with_outputs
from tombola.models.network import Computed, Network
from tombola.models.program import QUICK, Program
from tombola.models.sow import sown
from tombola.models.units import find_units

Factory = Callable[[jax.Array], nnx.Module]


class NNXNetwork(Network):
    """A network that an `nnx.Module` computes.

    Arrays that the module holds and that neither train nor change in training, such as a causal mask, are constants of the network
    if no key changes them; else, such as fixed random features, leaves of the tree that stay as they are drawn.
    """

    def __init__(
        self, factory: Factory, data: DataInfo, initializer: Initializer | None = None, gain: float = 1.0, name: str = "the network"
    ) -> None:
        """`factory` makes the module from a key; `initializer` None: as the module draws its kernels itself; `name` is for errors.

        Raises a `TombolaError` for a module without weights, with weights that are not float32, or with other outputs than `data` says.
        """
        self.factory, self._initializer, self._gain = lambda key: hold_arrays(factory(key)), initializer, gain
        self._fixed: dict[tuple[Any, ...], np.ndarray] = {}
        states: dict[str, tuple[tuple[Any, ...], Any]] = {}
        said: dict[str, Any] = {}

        def trace(key: jax.Array) -> None:
            # The walk needs the module as it was made: what nnx gives back after a transformation is sorted by name.
            module = self.factory(key)
            leaves = {_name(place): (place, leaf) for place, leaf in nnx.to_flat_state(nnx.state(module))}
            states.update({path: (place, leaf) for path, (place, leaf) in leaves.items() if not isinstance(leaf, nnx.RngState)})
            module.train()
            self._train = nnx.graphdef(module)
            module.eval()
            self._eval = nnx.graphdef(module)
            module.set_attributes(nnx.BatchNorm, momentum=0.0, use_running_average=False, raise_if_not_found=False)
            self._measuring = nnx.graphdef(module)
            said["layers"], self._matrices = find_layers(module, states)
            said["linear"], said["feeds"] = [path for path, _ in linear(module)], list(attributes(module, "feeds"))
            tables = {join(path, name) for path, names in attributes(module, "tables") for name in names}
            said["tables"] = [path for one in said["layers"] if one.name in tables for path in one.prunable]
            said["kinds"] = declared_kinds(attributes(module, "kinds"), said["layers"])
            random = {place: leaf for place, leaf in leaves.values() if isinstance(leaf, nnx.RngState)}
            self._random = {place: leaf.shape for place, leaf in random.items() if isinstance(leaf, nnx.RngKey)}
            self._counts = {place: leaf.shape for place, leaf in random.items() if not isinstance(leaf, nnx.RngKey)}

        jax.eval_shape(trace, key_of(np.zeros(2, np.uint32)))
        self._places = {path: place for path, (place, _) in states.items()}
        shapes = {path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for path, (_, leaf) in states.items()}
        trainable = {path for path, (_, leaf) in states.items() if isinstance(leaf, nnx.Param)}
        _check_leaves(name, said["layers"], shapes, trainable)
        prunable = {path for layer in said["layers"] for path in layer.prunable}
        changed, last, earlier = self._watched(name, data, shapes, prunable)
        running = {path for path, (_, leaf) in states.items() if path in changed or isinstance(leaf, nnx.BatchStat)}
        self._paths = tuple(path for layer in said["layers"] for path in layer.paths)
        self._fix(states.keys() - trainable - running)
        layers = with_outputs(said["layers"], said["kinds"], last, earlier)
        layers = tuple(replace(layer, paths=tuple(path for path in layer.paths if path in self._places)) for layer in layers)
        super().__init__(
            data=data,
            layers=layers,
            shapes=shapes,
            trainable=frozenset(trainable),
            running=tuple(running),
            stochastic=bool(self._random),
            convolutional=any(layer.kind == "conv" for layer in said["layers"]),
            units=find_units(said["feeds"], layers, shapes),
            linear=frozenset(prunable.intersection(said["linear"])),
            tables=frozenset(said["tables"]),
        )

    def _watched(
        self, name: str, data: DataInfo, shapes: Mapping[str, Any], prunable: Collection[str]
    ) -> tuple[set[str], frozenset[str], frozenset[str]]:
        """The leaves that change in training, and `last_kernels` of the outputs; raises for outputs of another shape than the data's."""

        def compute(weights: Tree, inputs: jax.Array, key: jax.Array) -> tuple[Any, Tree]:
            module = self._merged(self._train, weights, key)
            outputs = self._shaped(data, module(inputs))
            return outputs, {path: leaf for path, leaf in _arrays(module).items() if path in weights}

        key, inputs = given_examples(data)
        traced, (outputs, _) = jax.make_jaxpr(compute, return_shape=True)(dict(shapes), inputs, key)
        if any(isinstance(one, jax.core.Tracer) for one in traced.consts):
            raise TombolaError(f"{name}: a function holds an array that the constructor makes; hold it as an attribute of the module")
        given, wanted = getattr(outputs, "shape", type(outputs).__name__), (2, *data.outputs)
        if given != wanted:
            what = "logits" if data.classes else "outputs"
            raise TombolaError(f"{name} returns {given} for 2 examples, but it must return {what}, {wanted}")
        paths = sorted(shapes)  # the order in which JAX flattens a dict
        before, after = traced.jaxpr.invars, traced.jaxpr.outvars[1:]
        changed = {path for path, was, now in zip(paths, before, after, strict=False) if was is not now}
        kernels = {index: path for index, path in enumerate(paths) if path in prunable}
        return changed, *last_kernels(traced.jaxpr, kernels, len(paths), 0)

    def _fix(self, still: Collection[str]) -> None:
        """Make constants of those leaves that no key changes."""
        self._fixed = {self._places.pop(path): leaf for path, leaf in self._steady(still).items()}

    def _steady(self, paths: Collection[str]) -> Tree:
        """The leaves at `paths` that no key changes, as the module makes them."""
        chosen = sorted(path for path in paths if path not in self._program.random)
        with _on_cpu():
            made = self._program.only(*chosen)(np.zeros(2, np.uint32)) if chosen else []
        return {path: np.asarray(leaf) for path, leaf in zip(chosen, made, strict=True)}

    def init_tensor(self, path: str, seed: int, stream: str) -> np.ndarray:
        if path in self._constants:
            return self._constants[path]
        drawn = self._drawn(path, seed, stream)
        return drawn if self._gain == 1 or path not in self.prunable else (self._gain * drawn).astype(drawn.dtype)

    def _drawn(self, path: str, seed: int, stream: str) -> np.ndarray:
        if self._initializer is None or path not in self.prunable:
            return self._own(path, seed, stream)
        with _on_cpu():
            flat = _draw(self._initializer, keys.stream(seed, f"{stream}/{path}"), self._drawn_shape(path))
            return np.asarray(flat).reshape(self.shapes[path].shape).astype(self.shapes[path].dtype, copy=False)

    def _own(self, path: str, seed: int, stream: str) -> np.ndarray:
        """A leaf as the module itself draws it."""
        with _on_cpu():
            return np.asarray(self._program.only(path)(keys.stream(seed, f"{stream}/{path}"))[0])

    def std(self, path: str) -> float:
        """Standard deviation of the distribution a tensor is drawn from; 0 for what is not random.

        A formula for the named initializers; for what the module draws itself, the root mean square of one fixed draw.
        """
        if path in self._constants:
            return 0.0
        if self._initializer is not None and path in self.prunable:
            return self._gain * initializer_std(self._initializer, self._drawn_shape(path))
        return float(np.sqrt(np.mean(np.square(self.init_tensor(path, 0, "std"), dtype=np.float64))))

    def compute(
        self, weights: Mapping[str, Any], inputs: jax.Array, *, train: bool, dropout_key: jax.Array | None = None, how: Computing = PLAIN
    ) -> Computed:
        if train and self.stochastic and dropout_key is None:
            raise TombolaError("this network has dropout: training it needs a dropout_key")
        module = self._merged(self._train if train else self._eval, weights, dropout_key)
        adapt(module, how)
        with sown() as said:
            outputs = self._shaped(self.data, module(inputs))
        after = _arrays(module) if train else {}
        return Computed(outputs, {path: after[path] for path in self.running if train}, said)

    def part(self, name: str, weights: Mapping[str, Any], inputs: jax.Array) -> Any:
        module = self._merged(self._eval, weights, None)
        if not callable(part := getattr(module, name, None)):
            raise TombolaError(f"this network has no part {name!r}; a part is an attribute of its module, such as self.decoder")
        return part(inputs)

    def statistics(self, weights: Mapping[str, Any], inputs: jax.Array, how: Computing = PLAIN) -> Tree:
        module = self._merged(self._measuring, weights, None)
        adapt(module, how)
        module(inputs)
        after = _arrays(module)
        return {path: after[path] for path in self.running}

    @staticmethod
    def _shaped(data: DataInfo, outputs: Any) -> Any:
        """Outputs in the shape of the data's, and in float32 where they were computed in half precision."""
        if not isinstance(outputs, jax.Array):
            return outputs
        if len(data.outputs) != 1 and outputs.shape[1:] == (math.prod(data.outputs),):
            outputs = outputs.reshape(-1, *data.outputs)
        return outputs.astype(jnp.float32) if outputs.dtype in (jnp.bfloat16, jnp.float16) else outputs

    def _merged(self, graph: Any, weights: Mapping[str, Any], dropout_key: jax.Array | None) -> Any:
        # As arrays of JAX: batch norm would write its running statistics into those of NumPy that it is given.
        state = {place: jnp.asarray(weights[path]) for path, place in self._places.items()}
        state |= {place: jnp.asarray(leaf) for place, leaf in self._fixed.items()}
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
            return {path: made[path] for path in self._paths}

        return Program(make)

    @cached_property
    def _constants(self) -> Tree:
        """The leaves that no key changes."""
        return self._steady([path for path in self.shapes if self._initializer is None or path not in self.prunable])


def given_examples(data: DataInfo) -> tuple[Any, Any]:
    """A key and two examples, as shapes alone."""
    return jax.eval_shape(key_of, jax.ShapeDtypeStruct((2,), jnp.uint32)), jax.ShapeDtypeStruct((2, *data.shape), data.dtype)


def hold_arrays(module: nnx.Module) -> nnx.Module:
    """The module; arrays that it holds as plain attributes are of its state now: made under a trace, they would be lost with it."""
    for _, node in nnx.iter_graph(module):
        for name, value in list(vars(node).items()) if isinstance(node, nnx.Pytree) else ():
            plain = isinstance(value, jax.Array) or type(value) in (list, tuple, dict)
            if plain and any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(value)):
                setattr(node, name, nnx.data(value))
    return module


def _check_leaves(name: str, layers: Sequence[Layer], shapes: Mapping[str, Any], trainable: Collection[str]) -> None:
    if not layers:
        only = f" but {', '.join(sorted(trainable))}, of one axis, of which none is pruned" if trainable else ""
        raise TombolaError(f"{name} has no weights{only}; assign layers with a kernel to attributes in __init__, such as nnx.Linear")
    if lost := shapes.keys() - {path for layer in layers for path in layer.paths}:
        raise TombolaError(f"the array {min(lost)!r} is in an unknown container; use nnx.List or nnx.Dict")
    for path, leaf in shapes.items():
        if path in trainable and leaf.dtype != jnp.float32:
            hint = "leave `param_dtype` out (`dtype=jnp.bfloat16` alone computes in half precision)"
            raise TombolaError(f"{name}: its weights {path!r} are {leaf.dtype}, but weights train in float32; {hint}")
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            raise TombolaError(f"{name}: it holds a key at {path!r}; hold random streams instead, such as self.rngs = rngs.fork()")


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
