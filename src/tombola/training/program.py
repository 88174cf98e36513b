"""The training loop, compiled: one step, an evaluation, a call of many steps and evaluations.

Everything here is written for one replica and lifted to a batch of them at the end: vmapped over the replicas that
share a device, sharded over the devices.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from tombola.core.step import Step
from tombola.core.task import MaskSchedule
from tombola.core.trees import Tree, unpacked
from tombola.data.augment import augmentations
from tombola.kernels.rows import rows
from tombola.models.computing import Computing
from tombola.training import optimizers, tables
from tombola.training.over_replicas import Axis, over_replicas
from tombola.training.plan import Plan
from tombola.training.schedules import learning_rate
from tombola.training.scorer import scorer, seen
from tombola.training.setup import Setup

INTERVALS = 32
"""Most stops of one call."""
NOTHING, VALIDATED, TESTED = range(3)
"""What is done at a stop: nothing; the validation set is evaluated; the test set too."""


PROGRAMS = 32
"""Programs after which all are given up, as each takes about 20 MB of compiled code, and what is used again is compiled again."""


class State(NamedTuple):
    """What a replica carries from evaluation to evaluation."""

    weights: Tree
    moments: Any
    """The optimiser's state."""
    mask: Tree
    """The mask. No step changes it: a mask schedule does, between calls."""
    best: Tree
    """The weights at the minimum validation loss so far."""
    best_loss: Any
    best_step: Any


class Fixed(NamedTuple):
    """What a replica keeps all along."""

    keys: Any
    """(3, 2) uint32: augmentation, dropout, what the objective does to batches."""
    targets: Any
    """(pool, ...) the targets, with this replica's label noise; None where targets are the inputs."""
    rate: Any
    """float32: the learning rate, which the schedule is a factor of."""
    begin: Any
    """int32: before this iteration the replica waits, where replicas that share a device begin at several."""


class Batches(NamedTuple):
    """What batches of training are made from."""

    order: Any
    """(replicas, epochs_ahead, train) int32: pool indices in training order from the first epoch on."""
    first_epoch: Any
    inputs: Any
    """The pool's; or under a streamed plan (replicas, batch, ...), those of the one batch that is asked for."""


class Examples(NamedTuple):
    """What an evaluation sees."""

    inputs: Any
    """The whole set's; or under a streamed plan (replicas, batch, ...), those of the one batch."""
    targets: Any
    """(replicas, n, ...) the targets; None where they are the inputs."""
    indices: Any
    """(replicas, batches, batch) int32: the examples of each batch."""
    share: Any
    """(batches, batch): the weight of each example in the mean; (replicas, batches, batch) where that depends on its class."""


class Stops(NamedTuple):
    """The stops of one call: for each i < count, iterations stops[i] .. stops[i + 1] - 1, then what[i]."""

    stops: Any
    """(INTERVALS + 1,) int32: the iterations between which it is trained."""
    what: Any
    """(INTERVALS,) int32: what is done at the end of each interval."""
    count: Any


class Program(NamedTuple):
    """Compiled functions over a batch of replicas, the leading axis of all leaves of State and Fixed."""

    start: Callable[[Tree, Tree], State]
    """(weights, mask) -> state."""
    advance: Callable[[State, Fixed, Batches, Stops, Examples, Examples], tuple[State, tuple[Any, ...]]]
    """(state, fixed, batches, stops, validation, test) -> (state, rows), where steps run in a loop.

    rows: `Objective.columns` on the validation set, then on the test set, each (replicas, INTERVALS), NaN where not asked for."""
    step: Callable[..., tuple[Tree, Any]]
    """(t, weights, moments, mask, fixed, batches) -> (weights, moments) after iteration t."""
    gradient: Callable[..., Tree]
    """(t, weights, fixed, batches) -> the gradient of iteration t's batch, of every leaf that trains."""
    packed: Callable[[tuple[Tree, ...]], Any]
    """(trees) -> (replicas, trees, n): of each tree the leaves whose mask may move, one after the other."""
    moved: Callable[..., State]
    """(state, begin, t, choice) -> the state under another mask; the best weights of what began before t are forgotten.

    choice: (replicas, 2, n) bool, laid out as `packed` is: what stays, as else a weight is 0 and its optimiser's state too; the mask."""
    score: Callable[[Tree, Examples], tuple[Any, ...]]
    """(weights, examples) -> `Objective.columns`, each weighted by the examples' share."""
    validate: Callable[..., tuple[State, tuple[Any, ...]]]
    """(state, begin, t, before, examples) -> (state, columns); the best weights are kept.

    `before`: columns of batches that were scored already, summed."""


def compile_program(setup: Setup, plan: Plan) -> Program:
    """The program for a setup under a plan. Levels, arms and studies of equal setup share it, compiled once.

    So do recipes that differ only in the learning rate, in how long they train at a constant one, and in how often they are evaluated.
    """
    recipe = setup.recipe.but(learning_rate=1.0, evaluate_every="1it", test_every=None, detect=None)
    if recipe.mask_schedule is not None:  # all that a program knows of it: the mask moves
        recipe = recipe.but(mask_schedule=MaskSchedule(name="gradual"))
    if (recipe.schedule, recipe.warmup) == ("constant", Step("0it")):
        recipe = recipe.but(steps="1it", milestones=())
    return _compile(setup._replace(recipe=recipe), plan)


@cache
def _compile(setup: Setup, plan: Plan) -> Program:
    if _compile.cache_info().currsize >= PROGRAMS:
        _compile.cache_clear()
        jax.clear_caches()  # of what else is compiled for each architecture
    network, recipe, objective = setup.network, setup.recipe, setup.objective
    how = Computing(plan.algorithm, recipe.precision, threads=plan.threads)
    judge, width = scorer(setup, how), len(objective.columns)
    paths, moving = setup.trained, setup.moving
    rate, gradients = learning_rate(recipe, setup.timeline), gradient(setup, how)

    def outputs_of(weights: Tree, inputs: Any) -> Any:
        return network.apply(weights, inputs, train=False, how=how)[0]

    def trained(weights: Tree) -> Tree:
        return {path: weights[path] for path in weights if path in paths}

    def start(weights: Tree, mask: Tree) -> State:
        moments = optimizers.transformation(recipe).init(trained(weights))
        return State(weights, moments, mask, weights, jnp.float32(jnp.inf), jnp.int32(0))

    def spread(examples: Any) -> Any:
        # XLA splits what follows from it too, and sums over the devices where the network or the loss sums over the batch.
        whole = plan.shares == 1 or len(examples) % plan.shares
        return examples if whole else jax.lax.with_sharding_constraint(examples, PartitionSpec("batch"))

    def prepared(inputs: Any, indices: Any) -> Any:
        return spread(network_inputs(setup, inputs if plan.streamed else rows(inputs, indices, plan.native)))

    def drawn(t: Any, weights: Tree, fixed: Fixed, batches: Batches) -> tuple[Any, Any, Any]:
        epoch, position = t // setup.steps_per_epoch, t % setup.steps_per_epoch
        batch = jax.lax.dynamic_slice(batches.order, (epoch - batches.first_epoch, position * recipe.batch), (1, recipe.batch))[0]

        def key(stream: int) -> Any:
            return jax.random.fold_in(jax.random.wrap_key_data(fixed.keys[stream]), t)

        images = prepared(batches.inputs, batch)
        if setup.augment != "none":
            images = spread(augmentations[setup.augment](key(0), images))
        targets = images if fixed.targets is None else fixed.targets[batch]
        if objective.changes_batches:
            images, targets = objective.batch(key(2), (images, targets), lambda inputs: outputs_of(weights, inputs))
        return images, targets, key(1) if network.stochastic else None

    def of_batch(t: Any, weights: Tree, fixed: Fixed, batches: Batches) -> tuple[Tree, Tree]:
        return gradients(trained(weights), weights, *drawn(t, weights, fixed, batches))

    def step(t: Any, weights: Tree, moments: Any, mask: Tree, fixed: Fixed, batches: Batches) -> tuple[Tree, Any]:
        if setup.by_rows:
            stepped = tables.step(gradients, paths, weights, mask, rate(fixed.rate, t), *drawn(t, weights, fixed, batches)), moments
        else:
            slope, statistics = of_batch(t, weights, fixed, batches)
            after, updated = optimizers.step(recipe, slope, moments, trained(weights), mask, rate(fixed.rate, t), in_c=plan.native)
            stepped = {**weights, **after, **statistics}, updated
        if plan.per_device == 1:
            return stepped
        return jax.tree.map(lambda new, old: jnp.where(t < fixed.begin, old, new), stepped, (weights, moments))

    def packed(trees: tuple[Tree, ...]) -> Any:
        return jnp.stack([jnp.concatenate([tree[path].reshape(-1) for path in moving]) for tree in trees])

    def moved(state: State, begin: Any, t: Any, choice: Any) -> State:
        stay, mask = (unpacked(one, {path: state.mask[path].shape for path in moving}) for one in choice)
        weights = {path: jnp.where(stay[path], leaf, 0) if path in stay else leaf for path, leaf in state.weights.items()}
        moments = optimizers.held(state.moments, {path: stay[path] & mask[path] for path in stay})
        best_loss = jnp.where(t > begin, jnp.inf, state.best_loss)
        return state._replace(weights=weights, moments=moments, mask={**state.mask, **mask}, best_loss=best_loss)

    def score(weights: Tree, examples: Examples) -> tuple[Any, ...]:
        inputs, targets, indices, share = examples

        def of_batch(indices: Any, share: Any) -> tuple[Any, ...]:
            found = judge(weights, prepared(inputs, indices), None if targets is None else targets[indices])
            shown = (1 - values if objective.measured[name].complement else values for name, values in found.measures.items())
            return tuple(jnp.sum(jnp.where(share > 0, values, 0) * share) for values in (found.loss, *shown))

        if len(share) == 1:
            return of_batch(indices[0], share[0])
        return tuple(column.sum() for column in jax.lax.map(lambda batch: of_batch(*batch), (indices, share)))

    def validate(state: State, begin: Any, t: Any, before: tuple[Any, ...], examples: Examples) -> tuple[State, tuple[Any, ...]]:
        loss, *others = (earlier + here for earlier, here in zip(before, score(state.weights, examples), strict=True))
        loss = jnp.where(t < begin, jnp.inf, loss)
        better = loss < state.best_loss
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), state.weights, state.best)
        kept = state._replace(
            best=best, best_loss=jnp.where(better, loss, state.best_loss), best_step=jnp.where(better, t, state.best_step)
        )
        return kept, (loss, *others)

    def advance(
        state: State, fixed: Fixed, batches: Batches, call: Stops, validation: Examples, test: Examples
    ) -> tuple[State, tuple[Any, ...]]:
        unknown, (stops, what, count) = (jnp.float32(jnp.nan),) * width, call

        def steps(t0: Any, t1: Any, state: State) -> State:
            def body(t: Any, carry: tuple[Tree, Any]) -> tuple[Tree, Any]:
                return step(t, *carry, state.mask, fixed, batches)

            weights, moments = jax.lax.fori_loop(t0, t1, body, (state.weights, state.moments))
            return state._replace(weights=weights, moments=moments)

        def validated(state: State, t: Any) -> tuple[State, tuple[Any, ...]]:
            return validate(state, fixed.begin, t, (0.0,) * width, validation)

        def interval(index: Any, carry: tuple[State, Any]) -> tuple[State, Any]:
            (state, rows), t = carry, stops[index + 1]
            state = steps(stops[index], t, state)
            state, found = jax.lax.cond(what[index] >= VALIDATED, validated, lambda state, t: (state, unknown), state, t)
            found += jax.lax.cond(what[index] == TESTED, lambda weights: score(weights, test), lambda weights: unknown, state.weights)
            return state, tuple(column.at[index].set(value) for column, value in zip(rows, found, strict=True))

        return jax.lax.fori_loop(0, count, interval, (state, (jnp.full(INTERVALS, jnp.nan),) * (2 * width)))

    each, shared = Axis.REPLICA, Axis.SHARED
    inputs = each if plan.streamed else shared
    batches, examples = Batches(each, shared, inputs), Examples(inputs, each, each, each if objective.by_class else shared)
    return Program(
        start=over_replicas(start, (each, each), plan),
        advance=over_replicas(advance, (each, each, batches, shared, examples, examples), plan, donate=(0,)),
        step=over_replicas(step, (shared, each, each, each, each, batches), plan, donate=(1, 2)),
        gradient=over_replicas(lambda *given: of_batch(*given)[0], (shared, each, each, batches), plan),
        packed=over_replicas(packed, (each,), plan),
        moved=over_replicas(moved, (each, each, shared, each), plan, donate=(0,)),
        score=over_replicas(score, (each, examples), plan),
        validate=over_replicas(validate, (each, each, shared, each, examples), plan, donate=(0,)),
    )


def gradient(setup: Setup, how: Computing | None = None) -> Callable[..., tuple[Tree, Tree]]:
    """(leaves that train, weights, images, targets, dropout key or None) -> gradients of a batch's mean loss, running statistics.

    By the leaves that train alone: no gradient is computed of a frozen layer, and none goes further back than the first that trains.
    """
    network, objective, how = setup.network, setup.objective, how or Computing(precision=setup.recipe.precision)

    def loss(before: Tree, weights: Tree, images: Any, targets: Any, dropout: Any) -> tuple[Any, Tree]:
        whole = {**weights, **before}
        computed = network.compute(whole, images, train=True, dropout_key=dropout, how=how)
        return objective.training_loss(seen(setup, computed, whole), targets, setup.recipe.label_smoothing).mean(), computed.changed

    return jax.grad(loss, has_aux=True)


def network_inputs(setup: Setup, inputs: Any) -> Any:
    """What the network gets of a batch of a data set's inputs: float32 as it is, (uint8 / 255 - mean) / std."""
    if setup.pixels is None:
        return inputs
    mean, std = (jnp.array(one, jnp.float32) for one in setup.pixels)
    return (inputs.astype(jnp.float32) / 255 - mean) / std
