"""Early stopping as the papers define it: found afterwards, from a run that always trains its whole budget."""

from collections.abc import Mapping

import numpy as np


def es_iteration(metrics: Mapping[str, np.ndarray]) -> tuple[float, bool]:
    """(es_it, censored): iteration of minimum validation loss, the first of equals.

    Censored: the minimum is the last evaluation, so that the true one may lie later (Frankle & Carbin 2019,
    section 2). NaN, of a run whose loss is nowhere finite.

    Args:
        metrics: `step` (n,) and `val_loss` (n,).
    """
    loss = np.where(np.isnan(metrics["val_loss"]), np.inf, metrics["val_loss"])
    index = int(np.argmin(loss))
    return (int(metrics["step"][index]), index == len(loss) - 1) if np.isfinite(loss[index]) else (float("nan"), False)


def iterations_to(metrics: Mapping[str, np.ndarray], loss: float) -> float:
    """Iterations until the validation loss is first at or below `loss` (nats); inf if it never is."""
    reached = np.flatnonzero(metrics["val_loss"] <= loss)
    return float(metrics["step"][reached[0]]) if len(reached) else float("inf")
