"""How the masks of studies are learnt: four ways, and what they share."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

from tombola.core.task import Count, Supermask
from tombola.procedures.mask_training import RATES, mask_recipe
from tombola.studies import Action, Positive, Run, Step, Study, TombolaError, dense_run
from tombola.studies.zhou2019.common import PAPER

Learner = Literal["learned", "rescaled", "edge_popup", "signed"]
LEARNERS: tuple[Learner, ...] = get_args(Learner)
SUPERMASKS: dict[Learner, dict[str, Any]] = {
    "learned": {},
    "rescaled": {"rescale": "dynamic"},
    "edge_popup": {"method": "edge_popup", "rescale": "root"},
    "signed": {"method": "signed", "rescale": "dynamic"},
}
"""How each is learnt."""
ARMS = {
    "heuristic": "large final same sign, one shot",
    "learned": "learned mask",
    "rescaled": "learned mask, rescaled",
    "edge_popup": "edge-popup",
    "signed": "signed supermask",
    "trained": "trained weights",
}


class MaskTraining(Study):
    """A study in which masks are trained, by momentum on their scores."""

    paper = PAPER

    mask_rates: dict[Learner, Positive] = {name: RATES.get(name, RATES["bernoulli"]) for name in LEARNERS}
    """The learning rates of masks. They are constant, except that `edge_popup` follows a cosine."""
    mask_steps: Step = Step("5000it")
    """How long masks are trained."""
    mask_batch: Count = 250
    """How many training examples each step of training a mask sees."""

    def learning(self, arm: Learner, density: float, values: str, replicate: int) -> Run:
        """The run that learns a mask over initial values, or over signed constants."""
        every = self.mask_steps.times(0.1)
        supermask = Supermask(density=density, **SUPERMASKS[arm])
        recipe = mask_recipe(self.task.recipe, supermask, self.mask_rates[arm], self.mask_steps, self.mask_batch)
        kept = Action(name="signed_constant", options={"keep_sign": True}) if values == "constant" else None
        return dense_run(self, replicate, self.task.but(recipe=recipe.but(evaluate_every=every, test_every=every))).but(kept=kept)

    def has_all(self, field: str, learners: Iterable[Learner]) -> None:
        """Raise if a dictionary by learner lacks one of the learners."""
        if missing := [name for name in learners if name not in getattr(self, field)]:
            raise TombolaError(f"{field}: {missing[0]!r} has none; give a number for each of {', '.join(learners)}")
