"""Attention and recurrent networks."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from tombola.core.errors import TombolaError
from tombola.models.pytorch.rules_random import dropout, random
from tombola.models.pytorch.value import Value


@random("aten.scaled_dot_product_attention", rate=4)
def scaled_dot_product_attention(
    draw: Callable[[], jax.Array],
    query: Value,
    key: Value,
    value: Value,
    mask: Value | None = None,
    rate: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    """Softmax of the scaled products of queries and keys, times the values."""
    q, k, v = query.plain(), key.plain(), value.plain()
    if enable_gqa:
        k, v = (jnp.repeat(one, q.shape[-3] // one.shape[-3], -3) for one in (k, v))
    scores = jnp.einsum("...qd,...kd->...qk", q, k) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if is_causal:
        scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -jnp.inf)
    if mask is not None:
        given = mask.plain()
        scores = jnp.where(given, scores, -jnp.inf) if given.dtype == bool else scores + given
    shares = dropout(draw, Value(jax.nn.softmax(scores, -1)), rate, rate > 0)
    return Value(jnp.einsum("...qk,...kd->...qd", shares.plain(), v))


def _lstm_step(carry: tuple[Any, Any], inputs: Any, weight: Any, bias: Any) -> tuple[tuple[Any, Any], Any]:
    hidden, cell = carry
    gates = inputs + hidden @ weight.T + bias
    take, forget, new, give = jnp.split(gates, 4, -1)
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(take) * jnp.tanh(new)
    hidden = jax.nn.sigmoid(give) * jnp.tanh(cell)
    return (hidden, cell), hidden


def _gru_step(carry: tuple[Any], inputs: Any, weight: Any, bias: Any) -> tuple[tuple[Any], Any]:
    (hidden,) = carry
    reset, update, new = jnp.split(inputs, 3, -1)
    own_reset, own_update, own_new = jnp.split(hidden @ weight.T + bias, 3, -1)
    update = jax.nn.sigmoid(update + own_update)
    new = jnp.tanh(new + jax.nn.sigmoid(reset + own_reset) * own_new)
    hidden = (1 - update) * new + update * hidden
    return (hidden,), hidden


def _rnn_step(activation: Callable[[Any], Any]) -> Callable[..., Any]:
    def step(carry: tuple[Any], inputs: Any, weight: Any, bias: Any) -> tuple[tuple[Any], Any]:
        hidden = activation(inputs + carry[0] @ weight.T + bias)
        return (hidden,), hidden

    return step


def _recurrent(
    draw: Callable[[], jax.Array],
    step: Callable[..., Any],
    x: Value,
    states: Sequence[Value],
    parameters: Sequence[Value],
    biases: bool,
    layers: int,
    rate: float,
    train: bool,
    both: bool,
    batch_first: bool,
) -> tuple[Value, ...]:
    """All layers, each forwards and perhaps backwards, by ``lax.scan`` over time."""
    directions, each = 2 if both else 1, 4 if biases else 2
    if len(parameters) != layers * directions * each:
        raise TombolaError("a recurrent network with a projection (proj_size) has no rule; leave it out")
    sequence = x.plain().swapaxes(0, 1) if batch_first else x.plain()
    first = [one.plain() for one in states]
    ends: list[tuple[Any, ...]] = []
    for layer in range(layers):
        outputs = []
        for direction in range(directions):
            place = layer * directions + direction
            inside, own, *offsets = (one.plain() for one in parameters[each * place : each * (place + 1)])
            inputs = sequence @ inside.T + (offsets[0] if offsets else 0)
            bias = offsets[1] if offsets else 0.0
            carry = tuple(one[place] for one in first)
            end, hidden = jax.lax.scan(partial(step, weight=own, bias=bias), carry, inputs, reverse=direction == 1)
            outputs.append(hidden)
            ends.append(end)
        sequence = jnp.concatenate(outputs, -1)
        if layer < layers - 1:
            sequence = dropout(draw, Value(sequence), rate, train).plain()
    out = sequence.swapaxes(0, 1) if batch_first else sequence
    return Value(out), *(Value(jnp.stack([end[i] for end in ends])) for i in range(len(first)))


@random("aten.lstm", rate=5)
def lstm(draw: Callable[[], jax.Array], x: Value, states: Sequence[Value], *given: Any) -> tuple[Value, ...]:
    """Long short-term memory."""
    return _recurrent(draw, _lstm_step, x, states, *given)


@random("aten.gru", rate=5)
def gru(draw: Callable[[], jax.Array], x: Value, state: Value, *given: Any) -> tuple[Value, ...]:
    """Gated recurrent units."""
    return _recurrent(draw, _gru_step, x, [state], *given)


@random("aten.rnn_tanh", rate=5)
def rnn_tanh(draw: Callable[[], jax.Array], x: Value, state: Value, *given: Any) -> tuple[Value, ...]:
    """Plain recurrence with tanh."""
    return _recurrent(draw, _rnn_step(jnp.tanh), x, [state], *given)


@random("aten.rnn_relu", rate=5)
def rnn_relu(draw: Callable[[], jax.Array], x: Value, state: Value, *given: Any) -> tuple[Value, ...]:
    """Plain recurrence with ReLU."""
    return _recurrent(draw, _rnn_step(jax.nn.relu), x, [state], *given)
