"""The recipe by which scores train in the place of weights: by momentum, at rates far above those of weights."""

from typing import Any

from tombola.core.step import Step
from tombola.core.task import Recipe, Supermask

RATES = {"bernoulli": 100.0, "edge_popup": 0.1, "signed": 0.1, "relaxed": 10.0}
"""Method -> learning rate. Of Bernoulli masks the paper's, 10 to 100 (Zhou et al. 2019, section 5)."""
SCHEDULES = {"bernoulli": "constant", "edge_popup": "cosine", "signed": "constant", "relaxed": "constant"}
"""Method -> schedule. Edge-popup's is its paper's (Ramanujan et al. 2020): at a constant rate its masks never settle."""


def mask_recipe(
    recipe: Recipe, spec: Supermask, rate: float | None = None, steps: Step | str | None = None, batch: int | None = None
) -> Recipe:
    """The recipe with scores in the place of weights: momentum .9, no weight decay, `RATES` and `SCHEDULES`. Of `gates`, whose weights
    train too, it stays as it is.

    Args:
        steps, batch: as in the recipe, if not given.
    """
    if spec.method == "gates":
        changes: dict[str, Any] = {"learning_rate": rate or recipe.learning_rate}
        return recipe.but(**changes, supermask=spec, steps=steps or recipe.steps, batch=batch or recipe.batch)
    changes = {"optimizer": "momentum", "momentum": 0.9, "weight_decay": 0.0, "label_smoothing": 0.0}
    changes |= {"schedule": SCHEDULES[spec.method], "milestones": (), "warmup": "0it", "learning_rate": rate or RATES[spec.method]}
    return recipe.but(**changes, supermask=spec, steps=steps or recipe.steps, batch=batch or recipe.batch)
