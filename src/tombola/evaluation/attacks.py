"""Attacks on classifiers: inputs a little changed, so that a network says something else. Pure functions in JAX.

Each takes ``logits`` (a function of inputs (B, ...)), inputs, their true classes (B,), the `Ball` in which inputs may move and a key; it
returns inputs of the same shape in that ball. All attack the true class, and what they find is judged against it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

Logits = Callable[[Any], Any]


class Ball(NamedTuple):
    """The ball in which an input x may move: |x' - x| <= radius, feature by feature, within low and high; some by whole steps alone."""

    radius: Any
    """The radius, of the shape of an input, or one that fits it; 0 where it may not move."""
    low: Any
    high: Any
    """An input that is outside already may stay where it is."""
    spacing: Any = 0.0
    """Distance of neighbouring values of a feature that has whole numbers; 0: any value."""

    def project(self, moved: Any, inputs: Any) -> Any:
        """The nearest point of the ball."""
        low, high = jnp.minimum(self.low, inputs), jnp.maximum(self.high, inputs)
        return jnp.clip(jnp.clip(moved, inputs - self.radius, inputs + self.radius), low, high)

    def whole(self, moved: Any, inputs: Any) -> Any:
        """The same with features of whole numbers brought to the next one towards where they were."""
        steps = jnp.trunc((moved - inputs) / jnp.where(self.spacing > 0, self.spacing, 1.0) + 1e-4 * jnp.sign(moved - inputs))
        return jnp.where(self.spacing > 0, inputs + steps * self.spacing, moved)


def margin(outputs: Any, targets: Any) -> Any:
    """(B,) largest logit of another class less that of the true one: above 0 where a network is wrong. Its gradient never saturates."""
    own = jnp.take_along_axis(outputs, targets[:, None], axis=1)[:, 0]
    others = jnp.where(jax.nn.one_hot(targets, outputs.shape[1], dtype=bool), -jnp.inf, outputs)
    return others.max(axis=1) - own


def wrong(logits: Logits, inputs: Any, targets: Any) -> Any:
    """(B,) whether another class has the largest logit."""
    return logits(inputs).argmax(-1) != targets


def fgsm(logits: Logits, inputs: Any, targets: Any, ball: Ball, key: Any) -> Any:
    """X + radius sign(dL/dx), L the cross-entropy (Goodfellow et al. 2015, section 4)."""
    return ball.project(inputs + ball.radius * jnp.sign(_slope(_cross_entropy, logits, inputs, targets)), inputs)


def pgd(logits: Logits, inputs: Any, targets: Any, ball: Ball, key: Any, steps: int = 40, restarts: int = 5) -> Any:
    """Projected gradient ascent from uniform points of the ball: `steps` of size 2.5 radius / steps along the sign of the gradient.

    Restarts 0, 2, ... climb the cross-entropy, 1, 3, ... the margin of logits, whose gradient does not vanish where a network is sure.
    The first point of the way that fools the network is taken; else the last one of the last restart.

    Source: Madry et al. 2018, section 2.1; the margin is that of Carlini & Wagner 2017.
    """
    size = 2.5 * ball.radius / steps

    def restart(carry: tuple[Any, Any], index: Any) -> tuple[tuple[Any, Any], None]:
        found, done = carry
        drawn = jax.random.uniform(jax.random.fold_in(key, index), inputs.shape, inputs.dtype, -1, 1)
        begin = ball.project(inputs + ball.radius * drawn, inputs)

        def slope(moved: Any) -> Any:
            return jax.lax.cond(
                index % 2 == 0,
                lambda x: _slope(_cross_entropy, logits, x, targets),
                lambda x: _slope(margin, logits, x, targets),
                moved,
            )

        def one(state: tuple[Any, Any, Any], _: None) -> tuple[tuple[Any, Any, Any], None]:
            moved, found, done = state
            moved = ball.project(moved + size * jnp.sign(slope(moved)), inputs)
            tried = ball.whole(moved, inputs)
            fooled = wrong(logits, tried, targets) & ~done
            return (moved, _chosen(fooled, tried, found), done | fooled), None

        (moved, found, done), _ = jax.lax.scan(one, (begin, found, done), None, length=steps)
        return (_chosen(done, found, ball.whole(moved, inputs)), done), None

    (found, _), _ = jax.lax.scan(restart, (inputs, jnp.zeros(len(inputs), bool)), jnp.arange(restarts))
    return found


def deepfool(logits: Logits, inputs: Any, targets: Any, ball: Ball, key: Any, steps: int = 50, overshoot: float = 0.02) -> Any:
    """The smallest step in the 2-norm to another class, if the network were linear, again and again until it says another class.

    The radius of the ball bounds nothing, but features with radius 0 stay; its low and high do.

    Source: Moosavi-Dezfooli et al. 2016, algorithm 2, from the true class.
    """
    free = (jnp.broadcast_to(ball.radius, inputs.shape[1:]) > 0).reshape(-1)

    def jacobian(moved: Any) -> tuple[Any, Any]:
        outputs = logits(moved)
        rows = jax.vmap(lambda kind: jax.grad(lambda x: logits(x)[:, kind].sum())(moved))(jnp.arange(outputs.shape[1]))
        return outputs, jnp.moveaxis(rows, 0, 1).reshape(len(moved), outputs.shape[1], -1) * free

    def one(state: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        moved, total = state
        outputs, slopes = jacobian(moved)
        own = jax.nn.one_hot(targets, outputs.shape[1], dtype=bool)
        gap = outputs - jnp.take_along_axis(outputs, targets[:, None], axis=1)
        apart = slopes - jnp.take_along_axis(slopes, targets[:, None, None], axis=1)
        size = jnp.sqrt((apart**2).sum(-1)) + 1e-12
        nearest = jnp.where(own, jnp.inf, jnp.abs(gap) / size).argmin(-1)
        take = lambda values: jnp.take_along_axis(values, nearest.reshape(-1, *[1] * (values.ndim - 1)), axis=1)[:, 0]  # noqa: E731
        total = total + ((jnp.abs(take(gap)) + 1e-6) / take(size) ** 2)[:, None] * take(apart)
        low, high = jnp.minimum(ball.low, inputs), jnp.maximum(ball.high, inputs)
        further = jnp.clip(inputs + (1 + overshoot) * total.reshape(inputs.shape), low, high)
        done = outputs.argmax(-1) != targets
        return (_chosen(done, moved, further), _chosen(done, state[1], total)), None

    (moved, _), _ = jax.lax.scan(one, (inputs, jnp.zeros((len(inputs), free.size), inputs.dtype)), None, length=steps)
    return moved


def square(logits: Logits, inputs: Any, targets: Any, ball: Ball, key: Any, steps: int = 300, share: float = 0.3) -> Any:
    """Random search without gradients: a window of the input is set to x + radius or x - radius, and stays if the margin grows.

    Windows are squares of images, runs of flat inputs; their area falls from `share` of the input by halves at 2, 10, 30 and 60 % of
    the steps. It begins with a random sign a column (a feature, of flat inputs).

    Source: Andriushchenko et al. 2020, algorithm 1 and section 3, with one sign a window and channel.
    """
    image = inputs.ndim == 4
    begin, draw = jax.random.split(key)
    first = jax.random.rademacher(begin, (len(inputs), 1, *inputs.shape[2:]) if image else inputs.shape, inputs.dtype)
    moved = ball.whole(ball.project(inputs + ball.radius * first, inputs), inputs)

    def one(state: tuple[Any, Any], index: Any) -> tuple[tuple[Any, Any], None]:
        moved, best = state
        places, signs = jax.random.split(jax.random.fold_in(draw, index))
        part = share / 2.0 ** (index >= jnp.array([0.02, 0.1, 0.3, 0.6]) * steps).sum()
        window = jnp.ones(inputs.shape, bool)
        axes = (1, 2) if image else tuple(range(1, inputs.ndim))
        for number, axis in enumerate(axes):
            length = inputs.shape[axis]
            side = jnp.maximum(1, jnp.round(length * part ** (1 / len(axes)))).astype(int)
            start = jax.random.uniform(jax.random.fold_in(places, number), (len(inputs),)) * (length - side + 1)
            place = jnp.arange(length).reshape([-1 if other == axis else 1 for other in range(inputs.ndim)])
            start = jnp.floor(start).reshape(-1, *[1] * (inputs.ndim - 1))
            window &= (place >= start) & (place < start + side)
        sign = jax.random.rademacher(
            signs, (len(inputs), *[1] * (inputs.ndim - 2), inputs.shape[-1]) if image else (len(inputs), 1), inputs.dtype
        )
        sign = sign.reshape(len(inputs), *[1] * (inputs.ndim - sign.ndim), *sign.shape[1:])
        tried = ball.whole(ball.project(jnp.where(window, inputs + ball.radius * sign, moved), inputs), inputs)
        value = margin(logits(tried), targets)
        better = value > best
        return (_chosen(better, tried, moved), jnp.where(better, value, best)), None

    (moved, _), _ = jax.lax.scan(one, (moved, margin(logits(moved), targets)), jnp.arange(steps))
    return moved


def random(logits: Logits, inputs: Any, targets: Any, ball: Ball, key: Any, steps: int = 100) -> Any:
    """The corner of the ball with the largest margin, of so many random ones: what an attack has to beat."""

    def one(state: tuple[Any, Any], index: Any) -> tuple[tuple[Any, Any], None]:
        moved, best = state
        corner = jax.random.rademacher(jax.random.fold_in(key, index), inputs.shape, inputs.dtype)
        tried = ball.whole(ball.project(inputs + ball.radius * corner, inputs), inputs)
        value = margin(logits(tried), targets)
        return (_chosen(value > best, tried, moved), jnp.maximum(value, best)), None

    return jax.lax.scan(one, (inputs, jnp.full(len(inputs), -jnp.inf)), jnp.arange(steps))[0][0]


ATTACKS: dict[str, Callable[..., Any]] = {"fgsm": fgsm, "pgd": pgd, "square": square, "random": random}
"""The attacks within the ball, by name. `deepfool` finds its own distance."""


def _cross_entropy(outputs: Any, targets: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)


def _slope(loss: Callable[[Any, Any], Any], logits: Logits, inputs: Any, targets: Any) -> Any:
    return jax.grad(lambda x: loss(logits(x), targets).sum())(inputs)


def _chosen(which: Any, one: Any, other: Any) -> Any:
    return jnp.where(which.reshape(-1, *[1] * (one.ndim - 1)), one, other)
