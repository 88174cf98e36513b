"""Named tasks that train in seconds: a small network on the digits, and two classes in the plane."""

from tombola.core.parts import tasks
from tombola.core.step import Step
from tombola.core.task import Data, Model, Recipe, Task

_STEPS = {"smoke": Step("100it"), "small": Step("2000it"), "paper": Step("3000it")}
_RATES = {"dense": 0.2, "output": 0.1}
_MODEL = Model(name="mlp", options={"widths": [20]})


def _small(scale: str, data: str, learning_rate: float) -> Task:
    recipe = Recipe(steps=_STEPS[scale], batch=60, learning_rate=learning_rate, evaluate_every=Step("50it"), test_every=Step("500it"))
    return Task(data=Data(name=data), model=_MODEL, recipe=recipe, rates=_RATES)


@tasks.register("digits-20-mlp")
def digits_20_mlp(scale: str) -> Task:
    """MLP 64-20-10 on scikit-learn's digits: small enough for masks to be searched (a network of Schönberger et al. 2024)."""
    return _small(scale, "digits", 3e-3)


@tasks.register("moons-mlp")
def moons_mlp(scale: str) -> Task:
    """MLP 2-20-2 on two half moons in the plane: 1,600 training, 400 validation, 500 test points."""
    return _small(scale, "moons", 1e-2)


@tasks.register("circles-mlp")
def circles_mlp(scale: str) -> Task:
    """The same on two circles."""
    return _small(scale, "circles", 1e-2)
