"""What networks make of examples: the one place where outputs become losses and measures, for training and measurements alike."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tombola.core.errors import TombolaError
from tombola.core.objective import WEIGHTS, Objective, Seen
from tombola.core.trees import Tree
from tombola.models.computing import PLAIN, Computing
from tombola.models.network import Computed
from tombola.training.setup import Setup


class Judged(NamedTuple):
    """What B examples come to. Where a network's outputs or its loss are not finite, loss and measures are NaN."""

    loss: Any
    """(B,) the loss, as the objective has it."""
    measures: Mapping[str, Any]
    """Name of a measure -> (B,)."""
    prediction: Any
    """(B, ...): what the network says of each example."""
    inside: Mapping[str, Any] = {}
    """Name -> (B, ...): what it says on the way, of what was asked for."""


def seen(setup: Setup, computed: Computed, weights: Tree) -> Any:
    """What an objective is given of a network: its outputs, or a `Seen`."""
    if not setup.objective.reads:
        return computed.outputs
    return Seen(computed.outputs, computed.inside, {path: weights[path] for path in setup.network.prunable})


def scorer(setup: Setup, how: Computing = PLAIN, inside: tuple[str, ...] = ()) -> Callable[[Tree, Any, Any], Judged]:
    """(weights, inputs as the network gets them (B, ...), targets (B, ...), or None where they are the inputs) -> what they come to.

    Args:
        inside: names of what the network says on the way that are to be given too.
    """
    network, objective = setup.network, setup.objective

    def judge(weights: Tree, inputs: Any, targets: Any) -> Judged:
        inputs, targets = objective.examined((inputs, inputs if targets is None else targets))
        computed = network.compute(weights, inputs, train=False, how=how)
        outputs, given = computed.outputs, seen(setup, computed, weights)
        losses, measures = objective.loss(given, targets), objective.measures(given, targets)
        finite = jnp.isfinite(losses) & jnp.isfinite(outputs).reshape(len(outputs), -1).all(-1)
        known = {name: jnp.where(finite, measures[name], jnp.nan) for name in objective.measured}
        said = {name: computed.inside[name] for name in inside}
        return Judged(jnp.where(finite, losses, jnp.nan), known, objective.prediction(outputs), said)

    return judge


def class_shares(targets: np.ndarray | None, indices: np.ndarray) -> np.ndarray:
    """(n,) float32: the weight of each example in a mean over classes of the means over their examples; of the examples at `indices`.

    >>> class_shares(np.array([0, 0, 0, 2, 1]), np.array([0, 1, 3])).tolist()
    [0.25, 0.25, 0.5]
    """
    assert targets is not None  # means over classes are of data that have some
    counts = np.bincount(own := targets[indices])
    return (1 / (np.count_nonzero(counts) * counts[own])).astype(np.float32)


def in_batches(share: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of n examples (..., n) -> places (batches, size) of the examples, and their weights there (..., batches, size).

    The last batch reaches back over the one before it, so that all have one shape; what it sees again weighs 0.
    """
    count = share.shape[-1]
    begins = range(0, count, size)
    places = np.stack([np.arange(size) + min(begin, count - size) for begin in begins])
    return places, np.where(places >= np.array(begins)[:, None], share[..., places], np.float32(0))


@lru_cache(maxsize=256)
def check(objective: Objective, setup: Setup) -> None:
    """Raise unless the methods of an objective give what they must, one number for each example."""
    inputs, targets = (
        jax.ShapeDtypeStruct((2, *shape), dtype)
        for shape, dtype in ((setup.data.shape, setup.data.dtype), (setup.target.shape, setup.target.dtype))
    )
    whole = {path: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for path, leaf in setup.network.shapes.items()}
    computed = Computed(jax.ShapeDtypeStruct((2, *setup.data.outputs), "float32"), {}, {})
    if objective.reads:
        computed = said_inside(setup, tuple(name for name in objective.reads if name != WEIGHTS), f"objective {objective.name!r}")

    def tried(computed: Computed, weights: Tree, targets: Any, inputs: Any) -> Any:
        given = seen(setup, computed, weights)
        batch = objective.batch(jax.random.key(0), (inputs, targets), lambda inputs: computed.outputs)
        losses = objective.loss(given, targets), objective.training_loss(given, targets, 0.0)
        return losses[0], dict(objective.measures(given, targets)), batch

    try:
        loss, measures, batch = jax.eval_shape(tried, computed, whole, targets, inputs)
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), "")
        raise TombolaError(f"objective {objective.name!r} does not work on this data set: {type(error).__name__}: {reason}") from error
    if wrong := sorted(measures.keys() ^ objective.measured.keys()):
        said = ", ".join(map(repr, objective.measured))
        raise TombolaError(
            f"objective {objective.name!r}: measures gives {', '.join(map(repr, measures))}, but `measured` says {said} ({wrong[0]})"
        )
    for name, given in {"loss": loss, **measures}.items():
        if (shape := getattr(given, "shape", None)) != (2,):
            raise TombolaError(
                f"objective {objective.name!r}: {name} returns shape {shape}, but one number for each example is needed, (B,)"
            )
    if not (isinstance(batch, tuple) and len(batch) == 2 and all(getattr(one, "shape", (0,))[:1] == (2,) for one in batch)):
        raise TombolaError(f"objective {objective.name!r}: batch must return (inputs, targets), of as many examples as it is given")


def said_inside(setup: Setup, names: tuple[str, ...], who: str) -> Computed:
    """What the network makes of two examples, as shapes. Raises unless it says on the way what somebody reads of it."""
    inputs = jax.ShapeDtypeStruct((2, *setup.data.shape), setup.data.dtype)
    found = jax.eval_shape(lambda weights, inputs: setup.network.compute(weights, inputs, train=False), setup.network.shapes, inputs)
    if lacking := [name for name in names if name not in found.inside]:
        raise TombolaError(
            f"{who} reads {lacking[0]!r} of a network, and this one says {', '.join(map(repr, found.inside)) or 'nothing'} on the way; "
            f'write tb.sow("{lacking[0]}", ...) into its __call__, or take a model that says it: autoencoder, vae'
        )
    return found
