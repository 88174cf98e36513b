"""The training loop, compiled: one step, a chunk of steps, an evaluation.

Everything here is written for one replica and lifted to a wave of them at the end: vmapped over the replicas that
share a device, sharded over the devices.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import PartitionSpec

from tombola.core.step import Step
from tombola.core.task import Model, Recipe
from tombola.core.trees import Tree
from tombola.data.augment import augmentations
from tombola.data.rows import rows
from tombola.models.computing import Computing
from tombola.models.convolution import Algorithm
from tombola.models.masked import masked
from tombola.models.network import Network, build, removable
from tombola.models.packed import Sizes, packed
from tombola.training import optimizers
from tombola.training.frozen import trained_paths
from tombola.training.member import NOISE
from tombola.training.plan import Plan
from tombola.training.schedules import learning_rate


class Geometry(NamedTuple):
    """What of a task and its data a program is compiled for; cohorts of equal geometry share one program."""

    model: Model
    recipe: Recipe
    shape: tuple[int, ...]
    classes: int
    train: int
    augment: str
    pixels: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    """Mean and standard deviation by channel that make uint8 inputs the network's; None: inputs are used as they are."""
    packed: Sizes = ()
    """Kernels that are stored by their weights alone."""

    @property
    def network(self) -> Network:
        """The network, built once; under a mask that is learnt, if the recipe says so; or with some kernels packed."""
        plain = build(self.model, self.shape, self.classes)
        if self.packed:
            return packed(plain, self.packed)
        return plain if self.recipe.supermask is None else masked(plain, self.recipe.supermask)

    @property
    def trained(self) -> frozenset[str]:
        """The leaves that training updates. Raises if layers cannot be frozen."""
        return trained_paths(self.network, self.recipe.frozen)

    @property
    def removable(self) -> tuple[str, ...]:
        """The layers and blocks that can be taken out of the network, each by itself."""
        return removable(self.model, self.shape, self.classes)

    @property
    def noise(self) -> frozenset[str]:
        """The streams of SGD noise that training draws from; the others change nothing."""
        there = {"data_order": True, "augmentation": self.augment != "none", "dropout": self.network.stochastic}
        return frozenset(stream for stream in NOISE if there[stream])

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; what is left over waits for the next epoch's order."""
        return self.train // self.recipe.batch

    @property
    def chunk(self) -> int:
        """Most iterations that one call trains."""
        return max(1, min(self.recipe.evaluate_every.iterations(self.steps_per_epoch), 1000))

    @property
    def epochs_ahead(self) -> int:
        """Epochs whose order is held ready: as many as a chunk can touch."""
        return (self.chunk - 1) // self.steps_per_epoch + 2


class State(NamedTuple):
    """What a replica carries from evaluation to evaluation."""

    weights: Tree
    moments: Any
    """The optimiser's state."""
    best: Tree
    """The weights at the minimum validation loss so far."""
    best_loss: Any
    best_step: Any


class Fixed(NamedTuple):
    """What a replica keeps all along."""

    mask: Tree
    keys: Any
    """(2, 2) uint32: augmentation, dropout."""
    labels: Any
    """(pool,) int32, with this replica's label noise."""
    begin: Any
    """int32: before this iteration the replica waits, where replicas that share a device begin at several."""


class Program(NamedTuple):
    """Compiled functions over a wave; leaves of State and Fixed carry a leading axis of `wave` replicas."""

    start: Callable[[Tree], State]
    advance: Callable[..., tuple[Tree, Any]]
    """(weights, moments, fixed, order, first epoch, t0, t1, inputs) -> (weights, moments) after iterations t0 .. t1 - 1;
    order: (wave, epochs_ahead, train) int32, pool indices in training order from the first epoch on;
    inputs: the pool's, or under a streamed plan (wave, batch, ...), those of iteration t0."""
    score: Callable[..., tuple[Any, Any]]
    """(weights, inputs, labels (wave, n), indices (wave, batch), share (batch,)) -> loss and accuracy, each weighted by `share`;
    inputs: the whole set's, or under a streamed plan (wave, batch, ...), those at `indices`."""
    validate: Callable[..., tuple[Any, Any, Tree, Any, Any]]
    """(weights, best, best loss, best step, begin, before, t, then as `score`) -> (loss, accuracy, best, best loss, best step).

    Of the last batch of the validation set: `before` is what `score` gave for the others, summed."""


def compile_program(geometry: Geometry, plan: Plan) -> Program:
    """The program for a geometry under a plan. Levels, arms and studies of equal geometry share it, compiled once.

    So do recipes that differ only in how long they train at a constant rate, and in how often they test.
    """
    recipe = geometry.recipe.but(test_every=None)
    if (recipe.schedule, recipe.warmup) == ("constant", Step("0it")):
        recipe = recipe.but(steps="1it", milestones=())
    return _compile(geometry._replace(recipe=recipe), plan)


@lru_cache(maxsize=64)
def _compile(geometry: Geometry, plan: Plan) -> Program:
    network, recipe = geometry.network, geometry.recipe
    paths = geometry.trained
    rate, gradients = learning_rate(recipe, geometry.steps_per_epoch), gradient(geometry, plan.algorithm)

    def trained(weights: Tree) -> Tree:
        return {path: weights[path] for path in weights if path in paths}

    def start(weights: Tree) -> State:
        return State(weights, optimizers.transformation(recipe).init(trained(weights)), weights, jnp.float32(jnp.inf), jnp.int32(0))

    def spread(examples: Any) -> Any:
        # XLA splits what follows from it too, and sums over the devices where the network or the loss sums over the batch.
        whole = plan.shares == 1 or len(examples) % plan.shares
        return examples if whole else jax.lax.with_sharding_constraint(examples, PartitionSpec("batch"))

    def prepared(inputs: Any, indices: Any) -> Any:
        return spread(network_inputs(geometry, inputs if plan.streamed else rows(inputs, indices, plan.native)))

    def step(t: Any, weights: Tree, moments: Any, fixed: Fixed, order: Any, first: Any, inputs: Any) -> tuple[Tree, Any]:
        epoch, position = t // geometry.steps_per_epoch, t % geometry.steps_per_epoch
        batch = jax.lax.dynamic_slice(order, (epoch - first, position * recipe.batch), (1, recipe.batch))[0]
        images, labels = prepared(inputs, batch), fixed.labels[batch]
        if geometry.augment in augmentations:
            images = spread(augmentations[geometry.augment](jax.random.fold_in(jax.random.wrap_key_data(fixed.keys[0]), t), images))
        dropout = jax.random.fold_in(jax.random.wrap_key_data(fixed.keys[1]), t) if network.stochastic else None
        before = trained(weights)
        of_batch, statistics = gradients(before, weights, images, labels, dropout)
        after, moments = optimizers.step(recipe, of_batch, moments, before, fixed.mask, rate(t), in_c=plan.native)
        return {**weights, **after, **statistics}, moments

    def advance(weights: Tree, moments: Any, fixed: Fixed, order: Any, first: Any, t0: Any, t1: Any, inputs: Any) -> tuple[Tree, Any]:
        def body(t: Any, carry: tuple[Tree, Any]) -> tuple[Tree, Any]:
            after = step(t, *carry, fixed, order, first, inputs)
            if plan.per_device == 1:
                return after
            return jax.tree.map(lambda new, old: jnp.where(t < fixed.begin, old, new), after, carry)

        return jax.lax.fori_loop(t0, t1, body, (weights, moments)) if plan.loop else body(t0, (weights, moments))

    def score(weights: Tree, inputs: Any, labels: Any, indices: Any, share: Any) -> tuple[Any, Any]:
        logits, _ = network.apply(weights, prepared(inputs, indices), train=False, how=Computing(plan.algorithm, recipe.precision))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels[indices])
        correct = jnp.argmax(logits, -1) == labels[indices]
        return jnp.sum(jnp.where(share > 0, losses, 0) * share), jnp.sum(correct * share)

    def validate(
        weights: Tree, best: Tree, best_loss: Any, best_step: Any, begin: Any, before: Any, t: Any, *batch: Any
    ) -> tuple[Any, Any, Tree, Any, Any]:
        loss, correct = (earlier + here for earlier, here in zip(before, score(weights, *batch), strict=True))
        loss = jnp.where(t < begin, jnp.inf, loss)
        better = loss < best_loss
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), weights, best)
        return loss, correct, best, jnp.where(better, loss, best_loss), jnp.where(better, t, best_step)

    source = "r" if plan.streamed else "s"
    return Program(
        start=_over_wave(start, "r", plan),
        advance=_over_wave(advance, f"rrrrsss{source}", plan, donate=(0, 1)),
        score=_over_wave(score, f"r{source}rrs", plan),
        validate=_over_wave(validate, f"rrrrrrs{source}rrs", plan, donate=(1, 2, 3)),
    )


def gradient(geometry: Geometry, algorithm: Algorithm = "direct") -> Callable[..., tuple[Tree, Tree]]:
    """(leaves that train, weights, images, labels, dropout key or None) -> gradients of a batch's mean loss, running statistics.

    By the leaves that train alone: no gradient is computed of a frozen layer, and none goes further back than the first that trains.
    """
    network, smoothing, how = geometry.network, geometry.recipe.label_smoothing, Computing(algorithm, geometry.recipe.precision)

    def loss(before: Tree, weights: Tree, images: Any, labels: Any, dropout: Any) -> tuple[Any, Tree]:
        logits, changed = network.apply({**weights, **before}, images, train=True, dropout_key=dropout, how=how)
        return smoothed_cross_entropy(logits, labels, smoothing).mean(), changed

    return jax.grad(loss, has_aux=True)


def network_inputs(geometry: Geometry, inputs: Any) -> Any:
    """What the network gets of a batch of a data set's inputs: float32 as it is, (uint8 / 255 - mean) / std."""
    if geometry.pixels is None:
        return inputs
    mean, std = (jnp.array(one, jnp.float32) for one in geometry.pixels)
    return (inputs.astype(jnp.float32) / 255 - mean) / std


def smoothed_cross_entropy(logits: Any, labels: Any, smoothing: float) -> Any:
    """Cross-entropy against (1 - smoothing) onehot + smoothing / classes: logits (..., C), labels (...) -> (...).

    One-hot also without smoothing: the gradient of a look-up is a scatter, which is slow on every platform.
    """
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, targets)


def _over_wave(function: Callable[..., Any], arguments: str, plan: Plan, donate: tuple[int, ...] = ()) -> Callable[..., Any]:
    """Lift a function of one replica to a wave. `arguments`: r = one a replica, s = shared by all.

    The mesh's axis `batch`, if there is one, is left to XLA: to the function its batch is whole.
    """
    axes = [0 if kind == "r" else None for kind in arguments]

    def on_one_device(*values: Any) -> Any:
        if plan.per_device > 1:
            return jax.vmap(function, in_axes=axes)(*values)
        # One replica a device: not even a batch axis of 1, which would turn products into batched ones.
        alone = (jax.tree.map(lambda leaf: leaf[0], value) if kind == "r" else value for kind, value in zip(arguments, values, strict=True))
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], function(*alone))

    specs = tuple(PartitionSpec("replica") if kind == "r" else PartitionSpec() for kind in arguments)
    spec = PartitionSpec("replica")
    sharded = jax.shard_map(on_one_device, mesh=plan.mesh, in_specs=specs, out_specs=spec, axis_names={"replica"}, check_vma=False)
    # Named, as XLA might else leave weights split over the devices that share a batch.
    return jax.jit(sharded, donate_argnums=donate, out_shardings=plan.stacked)
