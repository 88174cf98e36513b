"""What networks make of examples: the one place where outputs become losses and measures, for training and measurements alike."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tombola.core.errors import TombolaError
from tombola.core.objective import Objective
from tombola.core.trees import Tree
from tombola.models.computing import PLAIN, Computing
from tombola.training.setup import Setup


class Judged(NamedTuple):
    """Of B examples. Where a network's outputs or its loss are not finite, loss and measures are NaN."""

    loss: Any
    """(B,), as the objective has it."""
    measures: Mapping[str, Any]
    """Name -> (B,), the headline first."""
    prediction: Any
    """(B, ...): what the network says of each example."""


def scorer(setup: Setup, how: Computing = PLAIN) -> Callable[[Tree, Any, Any], Judged]:
    """(weights, inputs as the network gets them (B, ...), targets (B, ...), or None where they are the inputs) -> what they come to."""
    network, objective = setup.network, setup.objective

    def judge(weights: Tree, inputs: Any, targets: Any) -> Judged:
        outputs, _ = network.apply(weights, inputs, train=False, how=how)
        targets = inputs if targets is None else targets
        losses, measures = objective.loss(outputs, targets), objective.measures(outputs, targets)
        finite = jnp.isfinite(losses) & jnp.isfinite(outputs).reshape(len(outputs), -1).all(-1)
        known = {name: jnp.where(finite, measures[name], jnp.nan) for name in objective.measured}
        return Judged(jnp.where(finite, losses, jnp.nan), known, objective.prediction(outputs))

    return judge


@lru_cache(maxsize=256)
def check(objective: Objective, setup: Setup) -> None:
    """Raise unless the methods of an objective give what they must, one number for each example."""
    inputs, outputs, targets = (
        jax.ShapeDtypeStruct((2, *shape), dtype)
        for shape, dtype in (
            (setup.data.shape, setup.data.dtype),
            (setup.data.outputs, "float32"),
            (setup.target.shape, setup.target.dtype),
        )
    )

    def tried(outputs: Any, targets: Any, inputs: Any) -> Any:
        batch = objective.batch(jax.random.key(0), (inputs, targets), lambda inputs: outputs)
        return objective.loss(outputs, targets), dict(objective.measures(outputs, targets)), batch

    try:
        loss, measures, batch = jax.eval_shape(tried, outputs, targets, inputs)
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
