"""Optimisers: Optax transformations of gradients, and the step that is made of one.

An optimiser is a registered function ``(recipe, **options)`` that returns an `optax.GradientTransformation`. What it makes of
a gradient is the direction u of the step w <- w - rate u: the learning rate, its schedule and the sign are not part of it.
A user's own file adds one, whose options are then those of ``Recipe.optimizer_options``:

    @tb.optimizers.register
    def lion(recipe, *, b1=0.9, b2=0.99):
        return optax.chain(optax.scale_by_lion(b1, b2), optax.add_decayed_weights(recipe.weight_decay))
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tombola.core.errors import TombolaError
from tombola.core.loading import summary
from tombola.core.parts import Reads
from tombola.core.parts import optimizers as optimizers
from tombola.core.registry import plain
from tombola.core.task import Recipe
from tombola.core.trees import Tree
from tombola.kernels import adam as adam_in_c
from tombola.kernels.adam import B1, B2, EPSILON


def transformation(recipe: Any) -> optax.GradientTransformation:
    """The optimiser of a recipe. Its state starts empty wherever a run begins, also at a step k > 0."""
    found = optimizers.call(recipe.optimizer, recipe, **recipe.optimizer_options)
    if not isinstance(found, optax.GradientTransformation):
        raise TombolaError(
            f"optimizer {plain(recipe.optimizer)!r} must return an optax.GradientTransformation, such as optax.scale_by_lion(), "
            f"not {type(found).__name__}"
        )
    if "@" not in recipe.optimizer:
        return found

    def is_key(leaf: Any) -> bool:
        return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)

    def stored(state: Any) -> Any:  # a key as the numbers that it is made of, which can be copied and written
        return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(jnp.asarray(leaf)) else leaf, state)

    def update(gradients: Any, state: Any, weights: Any) -> tuple[Any, Any]:
        given = jax.tree.map(
            lambda like, leaf: jax.random.wrap_key_data(leaf) if is_key(like) else leaf, jax.eval_shape(found.init, weights), state
        )
        change, after = found.update(gradients, given, weights)
        return change, stored(after)

    return optax.GradientTransformation(lambda weights: stored(found.init(weights)), update)


@lru_cache(maxsize=256)
def check(recipe: Recipe) -> None:
    """Raise for an optimiser that is not registered, for options that it does not take, for a momentum or weight decay that it does
    not use, and for a user's own that is none.

    A user's own takes one step on two made-up leaves, so that what is wrong with it shows before anything trains; of ours only the
    options are tried, without compiling anything.
    """
    reads = Reads(recipe)
    of, found = f"optimizer {plain(recipe.optimizer)!r}", transformation(reads)
    ones = {"kernel": np.ones((2, 2), np.float32), "bias": np.ones(2, np.float32)}

    def direction() -> Any:
        return found.update(ones, found.init(ones), ones)[0]

    try:
        slope = sum(float(np.sum(leaf)) for leaf in direction().values()) if "@" in recipe.optimizer else 0.0
        jax.eval_shape(direction)
    except Exception as error:
        raise TombolaError(f"{of} must work as optax.scale_by_lion() does, on a dict of weights, but it fails: {summary(error)}") from error
    if slope < 0:
        raise TombolaError(
            f"{of} steps along the gradient, not against it: the learning rate and the sign are Tombola's, w - rate u; "
            "return the part without them, such as optax.scale_by_lion() for optax.lion(rate)"
        )
    reads.refuse_unread(of, "momentum", "weight_decay")


def step(recipe: Recipe, gradients: Tree, moments: Any, weights: Tree, mask: Tree, rate: Any, in_c: bool = False) -> tuple[Tree, Any]:
    """(weights, moments) after w <- w - rate u of the leaves that train, u as the optimiser has it.

    Where the mask is 0, a weight keeps its value, bit for bit: the one rule about masks. Where the mask moves, the optimiser sees
    a gradient of 0 there, and its state is 0.

    Args:
        in_c: Adam's step in C, where there is a compiler; the same up to rounding.
    """
    if recipe.mask_schedule is not None:
        gradients = held(gradients, mask)
    if in_c and recipe.optimizer in _ADAMS and adam_in_c.available(weights):
        place, decay = _ADAMS[recipe.optimizer]
        given = {decay: recipe.weight_decay, **recipe.optimizer_options}
        after, state = adam_in_c.step(gradients, moments[place], weights, mask, rate, **given)
        return after, (*moments[:place], state, *moments[place + 1 :])
    found = transformation(recipe)
    given = {"rate": rate} if isinstance(found, optax.GradientTransformationExtraArgs) else {}
    update, moments = found.update(gradients, moments, weights, **given)
    if recipe.mask_schedule is not None:
        moments = held(moments, mask)
    moved = {path: leaf - rate * update[path] for path, leaf in weights.items()}
    return {path: jnp.where(mask[path], leaf, weights[path]) if path in mask else leaf for path, leaf in moved.items()}, moments


def _l2(recipe: Recipe) -> optax.GradientTransformation:
    """Weight decay as an L2 term in the gradient, g + decay * w, on every leaf that trains, as the papers' code has it."""
    return optax.add_decayed_weights(recipe.weight_decay) if recipe.weight_decay else optax.identity()


def held(tree: Any, mask: Tree, where: Callable[..., Any] = jnp.where) -> Any:
    """Gradients, or an optimiser's state, with 0 where the mask is: in every dictionary by path that has a leaf of the mask's shape."""
    shapes = {path: np.shape(leaf) for path, leaf in mask.items()}
    return by_path(tree, shapes, lambda path, leaf: where(mask[path], leaf, np.zeros((), leaf.dtype)))


def by_path(tree: Any, shapes: Mapping[str, tuple[int, ...]], change: Callable[[str, Any], Any]) -> Any:
    """Gradients, or an optimiser's state, with ``change(path, leaf)`` in every dictionary by path that has a leaf of that shape."""

    def is_by_path(part: Any) -> bool:
        return isinstance(part, dict) and not shapes.keys().isdisjoint(part)

    def changed(part: Any) -> Any:
        if not is_by_path(part):
            return part
        return {path: change(path, leaf) if shapes.get(path) == np.shape(leaf) else leaf for path, leaf in part.items()}

    return jax.tree.map(changed, tree, is_leaf=is_by_path)


@optimizers.register
def sgd(recipe: Recipe) -> optax.GradientTransformation:
    """U = g."""
    return _l2(recipe)


@optimizers.register
def momentum(recipe: Recipe) -> optax.GradientTransformation:
    """M <- momentum m + g;  u = m (heavy ball, not dampened)."""
    return optax.chain(_l2(recipe), optax.trace(recipe.momentum))


@optimizers.register
def nesterov(recipe: Recipe) -> optax.GradientTransformation:
    """M <- momentum m + g;  u = momentum m + g."""
    return optax.chain(_l2(recipe), optax.trace(recipe.momentum, nesterov=True))


@optimizers.register
def adam(recipe: Recipe, *, b1: float = B1, b2: float = B2, eps: float = EPSILON) -> optax.GradientTransformation:
    """Adam with b1 = .9, b2 = .999, eps = 1e-8 (Kingma & Ba 2015)."""
    return optax.chain(_l2(recipe), optax.scale_by_adam(b1, b2, eps))


@optimizers.register
def adamw(recipe: Recipe, *, b1: float = B1, b2: float = B2, eps: float = EPSILON) -> optax.GradientTransformation:
    """Adam with decoupled decay: u = adam(g) + decay * w (Loshchilov & Hutter 2019)."""
    return optax.chain(optax.scale_by_adam(b1, b2, eps), _l2(recipe))


@optimizers.register
def sign_in(recipe: Recipe, *, beta: float = 1.0) -> optax.GradientTransformationExtraArgs:
    """Sign-In: momentum in factors m and u of every kernel, w = m u, where m^2 - u^2 = beta > 0 lets weights pass through 0.

    One step of gradient descent on both, m' = m - rate u d, u' = u - rate m d, d the direction of `momentum`, and w' = m' u':
    w - rate sqrt(4 w^2 + beta^2) d + rate^2 w d^2. The factors are those of the present w: beta is set back at every step, where the paper
    does it every few epochs. Leaves of one axis (biases, normalisation) take the step of `momentum`.

    Source: Gadhikar et al. 2025 (NeurIPS).
    """
    if beta <= 0:
        raise TombolaError(f"sign_in: beta = {beta!r}; write a number above 0")

    def leaf(w: Any, d: Any, g: Any, rate: Any) -> Any:
        return jnp.sqrt(4 * w**2 + beta**2) * d - rate * w * d**2

    return _by_kernel(momentum(recipe), leaf)


@optimizers.register
def ham(recipe: Recipe, *, alpha: float = 200.0, beta: float = 1e-3) -> optax.GradientTransformationExtraArgs:
    """HAM: after the step of `momentum` every kernel is multiplied by exp(rate (-alpha sign(w) g - beta)), the exponent cut off at +-5.

    w is what the step gives, g the gradient before it. Leaves of one axis take the step of `momentum`.

    Source: HAM (ICLR 2026, arXiv 2506.02630), algorithm 1.
    """

    def leaf(w: Any, d: Any, g: Any, rate: Any) -> Any:
        after = w - rate * d
        scaled = after * jnp.exp(jnp.clip(rate * (-alpha * jnp.sign(after) * g - beta), -5, 5))
        return jnp.where(rate > 0, (w - scaled) / jnp.where(rate > 0, rate, 1), 0)

    return _by_kernel(momentum(recipe), leaf)


def _by_kernel(inner: optax.GradientTransformation, leaf: Callable[..., Any]) -> optax.GradientTransformationExtraArgs:
    """An optimiser whose direction is changed on kernels by (weight, direction, gradient, learning rate) -> direction."""

    def update(gradients: Tree, state: Any, weights: Tree | None = None, *, rate: Any = 1.0, **_: Any) -> tuple[Tree, Any]:
        direction, state = inner.update(gradients, state, weights)
        assert weights is not None
        kernels = {path for path, weight in weights.items() if jnp.ndim(weight) > 1}
        return {path: leaf(weights[path], d, gradients[path], rate) if path in kernels else d for path, d in direction.items()}, state

    return optax.GradientTransformationExtraArgs(inner.init, update)


_ADAMS = {"adam": (1, "l2"), "adamw": (0, "decay")}
"""Optimiser -> place of Adam's state in that of its chain; what `tombola.kernels.adam.step` calls its weight decay."""
