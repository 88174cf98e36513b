"""How likely a picture is, given what a decoder says of it."""

from typing import Any, Literal

import numpy as np

from tombola.core.errors import TombolaError

Likelihood = Literal["gaussian", "bernoulli"]
"""`gaussian`: outputs are the mean; `bernoulli`: outputs are logits, and values lie in [0, 1]."""


def flat(values: Any) -> Any:
    """An array (B, ...) as (B, values)."""
    return values.reshape(len(values), -1)


def bernoulli_nats(logits: Any, targets: Any) -> Any:
    """(B,) -sum (x log p + (1 - x) log(1 - p)), p the sigmoid of the logits: nats, summed over the values of a target."""
    import jax

    return flat(jax.nn.softplus(logits) - targets * logits).sum(-1)


def mean_picture(likelihood: Likelihood, outputs: Any) -> Any:
    """(B, ...) what the decoder expects: the outputs, or their sigmoids."""
    import jax

    return outputs if likelihood == "gaussian" else jax.nn.sigmoid(outputs)


def entropy(mean: Any) -> float:
    """Nats of the best constant picture under `bernoulli`: the entropy of its values, summed."""
    p = np.clip(np.asarray(mean, np.float64), 1e-12, 1 - 1e-12)
    return float(-(p * np.log(p) + (1 - p) * np.log(1 - p)).sum())


def check_range(name: str, likelihood: Likelihood, dataset: Any) -> None:
    """Raise for a Bernoulli likelihood of values outside [0, 1]."""
    if likelihood == "gaussian":
        return
    scaled = dataset.mean is not None
    low, high = (0.0, 1.0) if scaled else (float(dataset.inputs.min()), float(dataset.inputs.max()))
    if scaled or low < 0 or high > 1:
        said = "are standardised by channel" if scaled else f"span {low:.2g} to {high:.2g}"
        raise TombolaError(f"objective {name!r}: likelihood = 'bernoulli' needs inputs from 0 to 1, and these {said}; write 'gaussian'")
