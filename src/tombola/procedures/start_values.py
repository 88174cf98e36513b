"""Value actions that make initial values of what is at hand: of other networks, of the mask, or of training data.

Those that look at data say in passes what they cost: a pass is one evaluation of a batch of examples, a gradient counts as three
(forward, and backward twice as much), a Hessian times a vector as six. None of them changes what is not prunable, except that
`signs_of` may take it from either network.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from tombola.core import keys
from tombola.core.errors import TombolaError, unknown
from tombola.core.keys import generator
from tombola.core.parts import value_actions
from tombola.core.trees import Tree
from tombola.models.initializers import orthogonal
from tombola.models.nnx_network import key_of
from tombola.procedures.actions import Context

Rest = Literal["signs", "magnitudes"]


@value_actions.register
def signs_of(context: Context, signs: Tree, magnitudes: Tree, *, rest: Rest = "magnitudes") -> Tree:
    """The signs of one network's weights over the magnitudes of another's, each at whatever step it is given; 0 counts as positive.

    Args:
        rest: whose biases, normalisation and running statistics.

    Source: Gadhikar & Burkholz 2024 (signs of trained networks).
    """
    if rest not in ("signs", "magnitudes"):
        raise unknown("network whose rest is taken", rest, ("signs", "magnitudes"))
    base = dict(signs if rest == "signs" else magnitudes)
    return base | {path: np.where(signs[path] < 0, -1, 1).astype(np.float32) * abs(magnitudes[path]) for path in context.network.prunable}


@value_actions.register
def fan_in(context: Context, weights: Tree | None = None, *, stream: str = "init") -> Tree:
    """The initial values, each unit's times sqrt(inputs / kept inputs): as large as if its kept inputs were all that it has.

    A unit of which nothing is kept stays as it is. No data.

    Args:
        weights: the values; None: those that the stream draws, the run's initial ones if it is `init`.

    Source: Evci et al. 2022, equation 3.
    """
    found = dict(context.network.init(context.seed, stream) if weights is None else weights)
    if context.mask is None:
        raise TombolaError("value action 'fan_in' counts the kept inputs of each unit, so the run needs a mask")
    for path, leaf in context.mask.items():
        matrix = leaf.reshape(-1, leaf.shape[-1])
        found[path] = found[path] * np.sqrt(len(matrix) / np.maximum(1, matrix.sum(0))).astype(np.float32)
    return found


@value_actions.register
def givens(context: Context, *, density: float, stream: str, gain: float = math.sqrt(2)) -> Tree:
    """Exactly orthogonal kernels under the mask of the mask action `givens` with the same density and stream.

    The shorter side's rows (or columns) of a kernel / gain are orthonormal: it keeps lengths, of which ReLU takes half the square. No data.

    Raises:
        TombolaError: for kernels that are not matrices, and for another mask.

    Source: Esguerra Nowak et al. 2024, exact orthogonal initialisation by Givens rotations.
    """
    found, drawn = dict(context.network.init(context.seed)), givens_of(context, density, stream)
    for path, leaf in drawn.items():
        if context.mask is not None and ((leaf != 0) & ~context.mask[path]).any():
            raise TombolaError(
                "value action 'givens' is exact only under its own mask; give the mask action of the same density and stream"
            )
        found[path] = (gain * leaf).astype(np.float32)
    return found


def givens_of(context: Context, density: float, stream: str) -> Tree:
    """Path -> (inputs, outputs) product of random rotations of two lines each, as many as reach the density; from ``{stream}/{path}``."""
    if isinstance(density, bool) or not isinstance(density, int | float) or not 0 < density <= 1:
        raise TombolaError(f"givens: density = {density!r}; write a share above 0 and up to 1")
    found = {}
    for path in context.network.prunable:
        shape = context.network.shapes[path].shape
        if len(shape) != 2:
            raise TombolaError(f"givens: the kernel {path!r} of shape {shape} is no matrix; only fully connected networks have such values")
        found[path] = _rotated(shape[0], shape[1], density, generator(context.seed, f"{stream}/{path}"))
    return found


def _rotated(inputs: int, outputs: int, density: float, random: np.random.Generator) -> np.ndarray:
    """Orthonormal in its shorter side; its density is the first at or above the one wanted, 1 / longer side at least."""
    wide = max(inputs, outputs)
    matrix = np.eye(min(inputs, outputs), wide)[:, random.permutation(wide)]
    while np.count_nonzero(matrix) < density * matrix.size:
        side = matrix if random.random() < len(matrix) / (len(matrix) + wide) else matrix.T
        one, other = random.choice(len(side), 2, replace=False) if len(side) > 1 else (0, 0)
        if one == other:
            continue
        angle = random.uniform(0.1, 0.5 * math.pi - 0.1) * random.choice((-1, 1))
        first, second = side[one].copy(), side[other].copy()
        side[one], side[other] = math.cos(angle) * first + math.sin(angle) * second, math.cos(angle) * second - math.sin(angle) * first
    return matrix if inputs <= outputs else matrix.T


@value_actions.register
def lsuv(context: Context, *, stream: str = "init", batch: str = "0", size: int = 512, passes: int = 3, tolerance: float = 0.02) -> Tree:
    """Layer-sequential unit variance: orthogonal kernels, each scaled in forward order until the variance of its outputs is 1.

    Under a mask the variance is that of the masked network. It costs at most layers x `passes` passes over `size` examples.

    Args:
        stream: of the orthogonal draws, ``{stream}/{path}``.
        tolerance: a variance so near to 1 is not changed further. A layer whose outputs do not vary stays as it is.

    Source: Mishkin & Matas 2016, algorithm 1.
    """
    found = dict(context.network.init(context.seed))
    for path in context.network.prunable:
        drawn = orthogonal(key_of(keys.stream(context.seed, f"{stream}/{path}")), found[path].shape)
        found[path] = np.asarray(drawn, np.float32)
    for path in context.network.prunable:
        for _ in range(passes):
            variance = float(context.layers(_masked(context, found), batch, size)[path].outputs.var())
            if not 0 < variance < math.inf or abs(variance - 1) <= tolerance:
                break
            found[path] = found[path] / np.float32(math.sqrt(variance))
    return found


@value_actions.register
def metainit(context: Context, *, stream: str = "init", steps: int = 50, rate: float = 0.05, batch: str = "0", size: int = 128) -> Tree:
    """The initial kernels, each times a learnt factor, so that the gradient changes little along a step: a small gradient quotient.

    GQ = mean over the kernels' weights of |(H g)_i / (g_i + eps sign g_i)|, eps = 1e-5. Signed descent on the log of the factors,
    whose derivative is a central difference (the paper differentiates a third time), with a rate that falls linearly to 0.
    It costs steps x kernels x 18 passes over `size` training examples, where the paper has noise in their place.

    Source: Dauphin & Schoenholz 2019, equation 3 and algorithm 1.
    """
    start = dict(context.network.init(context.seed, stream))

    def quotient(logs: np.ndarray) -> float:
        now = _masked(context, _scaled(context, start, logs))
        slope = context.gradient(now, batch, size)
        vector = {path: slope[path] if path in context.network.prunable else np.zeros_like(slope[path]) for path in slope}
        bent = context.hessian_product(now, vector, batch, size)
        parts = [
            _kept(context, path, np.abs(bent[path] / (slope[path] + 1e-5 * np.where(slope[path] < 0, -1, 1)))) for path in _kernels(context)
        ]
        return float(np.mean(np.concatenate(parts)))

    return _scaled(context, start, _descend(context, steps, rate, lambda logs: _central(quotient, logs)))


@value_actions.register
def gradinit(
    context: Context,
    *,
    stream: str = "init",
    steps: int = 50,
    rate: float = 0.05,
    step_size: float = 1e-3,
    norm: float = 1.0,
    batch: str = "0",
    size: int = 128,
) -> Tree:
    """The initial kernels, each times a learnt factor, so that the loss is least after one step of an optimiser that takes signs (Adam).

    L(w - step_size sign g(w)) on another batch is lowered wherever |g|_1 <= norm x weights^(1/2), else |g|_2 is. Signed descent on the log
    of the factors, whose derivatives are exact: <g(w'), w> of the loss, <H g, w> of the norm, by kernel. It costs steps x 6 to 9 passes
    over `size` training examples.

    Source: Zhu et al. 2021, algorithm 1, with the constraint per square root of the number of weights.
    """
    start = dict(context.network.init(context.seed, stream))

    def slope_of(logs: np.ndarray) -> np.ndarray:
        now = _masked(context, _scaled(context, start, logs))
        slope = context.gradient(now, batch, size)
        flat = np.concatenate([np.ravel(leaf) for leaf in slope.values()])
        if float(np.abs(flat).sum()) > norm * math.sqrt(flat.size):
            down = context.hessian_product(now, slope, batch, size)
        else:
            moved = {path: leaf - np.float32(step_size) * np.sign(slope[path]) for path, leaf in now.items()}
            down = context.gradient(_masked(context, moved), f"{batch}/next", size)
        return np.array([float(np.vdot(down[path], now[path])) for path in _kernels(context)])

    return _scaled(context, start, _descend(context, steps, rate, slope_of))


def _kernels(context: Context) -> tuple[str, ...]:
    return context.network.prunable


def _kept(context: Context, path: str, values: np.ndarray) -> np.ndarray:
    return values.reshape(-1) if context.mask is None else values[context.mask[path]]


def _masked(context: Context, weights: Tree) -> Tree:
    return (
        weights
        if context.mask is None
        else {path: leaf * context.mask[path] if path in context.mask else leaf for path, leaf in weights.items()}
    )


def _scaled(context: Context, weights: Tree, logs: np.ndarray) -> Tree:
    return {**weights, **{path: weights[path] * np.float32(math.exp(log)) for path, log in zip(_kernels(context), logs, strict=True)}}


def _central(function: Callable[[np.ndarray], float], at: np.ndarray, apart: float = 0.01) -> np.ndarray:
    aside = apart * np.eye(len(at))
    return np.array([function(at + one) - function(at - one) for one in aside])


def _descend(context: Context, steps: int, rate: float, slope: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Logs of the kernels' factors after signed descent, at first 0."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise TombolaError(f"steps = {steps!r} of an initial value; write a whole number of at least 1")
    logs = np.zeros(len(_kernels(context)))
    for step in range(steps):
        logs = logs - rate * (1 - step / steps) * np.sign(np.nan_to_num(slope(logs)))
    return logs
