"""The training loop, compiled: one step, an evaluation, a call of many steps and evaluations.

Everything here is written for one replica and lifted to a batch of them at the end: vmapped over the replicas that
share a device, sharded over the devices.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from tombola.core.step import Step
from tombola.core.trees import Tree
from tombola.data.augment import augmentations
from tombola.kernels.convolution import Algorithm
from tombola.kernels.rows import rows
from tombola.models.computing import Computing
from tombola.training import optimizers
from tombola.training.plan import Plan
from tombola.training.schedules import learning_rate
from tombola.training.scorer import scorer
from tombola.training.setup import Setup

INTERVALS = 32
"""Most stops of one call."""
NOTHING, VALIDATED, TESTED = range(3)
"""What is done at a stop: nothing; the validation set is evaluated; the test set too."""


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
    """(3, 2) uint32: augmentation, dropout, what the objective does to batches."""
    targets: Any
    """(pool, ...), with this replica's label noise; None where targets are the inputs."""
    rate: Any
    """float32: the learning rate, which the schedule is a factor of."""
    begin: Any
    """int32: before this iteration the replica waits, where replicas that share a device begin at several."""


class Program(NamedTuple):
    """Compiled functions over a batch of replicas, the leading axis of all leaves of State and Fixed."""

    start: Callable[[Tree], State]
    advance: Callable[..., tuple[State, tuple[Any, ...]]]
    """(state, fixed, order, first epoch, stops (INTERVALS + 1,), what (INTERVALS,), count, pool inputs, indices and share of its
    validation set, test inputs, targets, indices, share) -> (state, rows), where steps run in a loop.

    From stops[0] on, for each i < count: iterations stops[i] .. stops[i + 1] - 1, then what[i].
    order: (replicas, epochs_ahead, train) int32, pool indices in training order from the first epoch on.
    rows: `Objective.columns` on the validation set, then on the test set, each (replicas, INTERVALS), NaN where not asked for."""
    step: Callable[..., tuple[Tree, Any]]
    """(t, weights, moments, fixed, order, first epoch, inputs) -> (weights, moments) after iteration t;
    inputs: the pool's, or under a streamed plan (replicas, batch, ...), those of iteration t."""
    score: Callable[..., tuple[Any, ...]]
    """(weights, inputs, targets (replicas, n, ...), indices (replicas, batches, batch), share (batches, batch)) -> `Objective.columns`,
    each weighted by `share`; inputs: the whole set's, or under a streamed plan (replicas, batch, ...), those of the one batch."""
    validate: Callable[..., tuple[State, tuple[Any, ...]]]
    """(state, begin, t, before, then as `score`, of the validation set) -> (state, columns); the best weights are kept.

    `before`: columns of batches that were scored already, summed."""


def compile_program(setup: Setup, plan: Plan) -> Program:
    """The program for a setup under a plan. Levels, arms and studies of equal setup share it, compiled once.

    So do recipes that differ only in the learning rate, in how long they train at a constant one, and in how often they are evaluated.
    """
    recipe = setup.recipe.but(learning_rate=1.0, evaluate_every="1it", test_every=None)
    if (recipe.schedule, recipe.warmup) == ("constant", Step("0it")):
        recipe = recipe.but(steps="1it", milestones=())
    return _compile(setup._replace(recipe=recipe), plan)


@lru_cache(maxsize=64)
def _compile(setup: Setup, plan: Plan) -> Program:
    network, recipe, objective = setup.network, setup.recipe, setup.objective
    judge, width = scorer(setup, Computing(plan.algorithm, recipe.precision)), len(objective.columns)
    paths = setup.trained
    rate, gradients = learning_rate(recipe, setup.timeline), gradient(setup, plan.algorithm)

    def outputs_of(weights: Tree, inputs: Any) -> Any:
        return network.apply(weights, inputs, train=False, how=Computing(plan.algorithm, recipe.precision))[0]

    def trained(weights: Tree) -> Tree:
        return {path: weights[path] for path in weights if path in paths}

    def start(weights: Tree) -> State:
        return State(weights, optimizers.transformation(recipe).init(trained(weights)), weights, jnp.float32(jnp.inf), jnp.int32(0))

    def spread(examples: Any) -> Any:
        # XLA splits what follows from it too, and sums over the devices where the network or the loss sums over the batch.
        whole = plan.shares == 1 or len(examples) % plan.shares
        return examples if whole else jax.lax.with_sharding_constraint(examples, PartitionSpec("batch"))

    def prepared(inputs: Any, indices: Any) -> Any:
        return spread(network_inputs(setup, inputs if plan.streamed else rows(inputs, indices, plan.native)))

    def step(t: Any, weights: Tree, moments: Any, fixed: Fixed, order: Any, first: Any, inputs: Any) -> tuple[Tree, Any]:
        epoch, position = t // setup.steps_per_epoch, t % setup.steps_per_epoch
        batch = jax.lax.dynamic_slice(order, (epoch - first, position * recipe.batch), (1, recipe.batch))[0]

        def key(stream: int) -> Any:
            return jax.random.fold_in(jax.random.wrap_key_data(fixed.keys[stream]), t)

        images = prepared(inputs, batch)
        if setup.augment != "none":
            images = spread(augmentations[setup.augment](key(0), images))
        targets = images if fixed.targets is None else fixed.targets[batch]
        if objective.changes_batches:
            images, targets = objective.batch(key(2), (images, targets), lambda inputs: outputs_of(weights, inputs))
        before = trained(weights)
        of_batch, statistics = gradients(before, weights, images, targets, key(1) if network.stochastic else None)
        after, updated = optimizers.step(recipe, of_batch, moments, before, fixed.mask, rate(fixed.rate, t), in_c=plan.native)
        stepped = {**weights, **after, **statistics}, updated
        if plan.per_device == 1:
            return stepped
        return jax.tree.map(lambda new, old: jnp.where(t < fixed.begin, old, new), stepped, (weights, moments))

    def score(weights: Tree, inputs: Any, targets: Any, indices: Any, share: Any) -> tuple[Any, ...]:
        def of_batch(indices: Any, share: Any) -> tuple[Any, ...]:
            found = judge(weights, prepared(inputs, indices), None if targets is None else targets[indices])
            shown = (1 - values if objective.measured[name].complement else values for name, values in found.measures.items())
            return tuple(jnp.sum(jnp.where(share > 0, values, 0) * share) for values in (found.loss, *shown))

        if len(share) == 1:
            return of_batch(indices[0], share[0])
        return tuple(column.sum() for column in jax.lax.map(lambda batch: of_batch(*batch), (indices, share)))

    def validate(state: State, begin: Any, t: Any, before: tuple[Any, ...], *examples: Any) -> tuple[State, tuple[Any, ...]]:
        loss, *others = (earlier + here for earlier, here in zip(before, score(state.weights, *examples), strict=True))
        loss = jnp.where(t < begin, jnp.inf, loss)
        better = loss < state.best_loss
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), state.weights, state.best)
        kept = state._replace(
            best=best, best_loss=jnp.where(better, loss, state.best_loss), best_step=jnp.where(better, t, state.best_step)
        )
        return kept, (loss, *others)

    def advance(
        state: State,
        fixed: Fixed,
        order: Any,
        first: Any,
        stops: Any,
        what: Any,
        count: Any,
        pool: Any,
        indices: Any,
        share: Any,
        *test: Any,
    ) -> tuple[State, tuple[Any, ...]]:
        unknown = (jnp.float32(jnp.nan),) * width

        def steps(t0: Any, t1: Any, state: State) -> State:
            def body(t: Any, carry: tuple[Tree, Any]) -> tuple[Tree, Any]:
                return step(t, carry[0], carry[1], fixed, order, first, pool)

            weights, moments = jax.lax.fori_loop(t0, t1, body, (state.weights, state.moments))
            return state._replace(weights=weights, moments=moments)

        def validated(state: State, t: Any) -> tuple[State, tuple[Any, ...]]:
            return validate(state, fixed.begin, t, (0.0,) * width, pool, fixed.targets, indices, share)

        def interval(index: Any, carry: tuple[State, Any]) -> tuple[State, Any]:
            (state, rows), t = carry, stops[index + 1]
            state = steps(stops[index], t, state)
            state, found = jax.lax.cond(what[index] >= VALIDATED, validated, lambda state, t: (state, unknown), state, t)
            found += jax.lax.cond(what[index] == TESTED, lambda weights: score(weights, *test), lambda weights: unknown, state.weights)
            return state, tuple(column.at[index].set(value) for column, value in zip(rows, found, strict=True))

        return jax.lax.fori_loop(0, count, interval, (state, (jnp.full(INTERVALS, jnp.nan),) * (2 * width)))

    source = "r" if plan.streamed else "s"
    return Program(
        start=_over_replicas(start, "r", plan),
        advance=_over_replicas(advance, "rrrsssssrssrrs", plan, donate=(0,)),
        step=_over_replicas(step, f"srrrrs{source}", plan, donate=(1, 2)),
        score=_over_replicas(score, f"r{source}rrs", plan),
        validate=_over_replicas(validate, f"rrsr{source}rrs", plan, donate=(0,)),
    )


def gradient(setup: Setup, algorithm: Algorithm = "direct") -> Callable[..., tuple[Tree, Tree]]:
    """(leaves that train, weights, images, targets, dropout key or None) -> gradients of a batch's mean loss, running statistics.

    By the leaves that train alone: no gradient is computed of a frozen layer, and none goes further back than the first that trains.
    """
    network, objective, how = setup.network, setup.objective, Computing(algorithm, setup.recipe.precision)

    def loss(before: Tree, weights: Tree, images: Any, targets: Any, dropout: Any) -> tuple[Any, Tree]:
        outputs, changed = network.apply({**weights, **before}, images, train=True, dropout_key=dropout, how=how)
        return objective.training_loss(outputs, targets, setup.recipe.label_smoothing).mean(), changed

    return jax.grad(loss, has_aux=True)


def network_inputs(setup: Setup, inputs: Any) -> Any:
    """What the network gets of a batch of a data set's inputs: float32 as it is, (uint8 / 255 - mean) / std."""
    if setup.pixels is None:
        return inputs
    mean, std = (jnp.array(one, jnp.float32) for one in setup.pixels)
    return (inputs.astype(jnp.float32) / 255 - mean) / std


def _over_replicas(function: Callable[..., Any], arguments: str, plan: Plan, donate: tuple[int, ...] = ()) -> Callable[..., Any]:
    """Lift a function of one replica to a batch of replicas. `arguments`: r = one a replica, s = shared by all.

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
