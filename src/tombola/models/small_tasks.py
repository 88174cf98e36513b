"""Named tasks that train in seconds: a small network on the digits, and two classes in the plane."""

from tombola.core.step import Step
from tombola.core.task import Data, Model, Recipe, Task
from tombola.models.tasks import named

_STEPS = {"smoke": Step("100it"), "small": Step("2000it"), "paper": Step("3000it")}
_RATES = {"dense": 0.2, "output": 0.1}
_MODEL = Model(name="mlp", options={"widths": [20]})


def _small(scale: str, data: str, learning_rate: float) -> Task:
    recipe = Recipe(steps=_STEPS[scale], batch=60, learning_rate=learning_rate, evaluate_every=Step("50it"), test_every=Step("500it"))
    return Task(data=Data(name=data, fresh_test=True), model=_MODEL, recipe=recipe, rates=_RATES)


def _table(scale: str, data: str) -> Task:
    steps = {"smoke": Step("100it"), "small": Step("600it"), "paper": Step("1000it")}
    recipe = Recipe(steps=steps[scale], batch=32, learning_rate=1e-3, evaluate_every=Step("20it"), test_every=Step("100it"))
    model = Model(name="mlp", options={"widths": [64, 32]})
    return Task(data=Data(name=data, fresh_test=True), model=model, recipe=recipe, rates=_RATES)


named(
    _small,
    "digits-20-mlp",
    "MLP 64-20-10 on scikit-learn's digits: small enough for masks to be searched (a network in the code of Altmann et al. 2024).",
    data="digits",
    learning_rate=0.003,
)
named(
    _small,
    "moons-mlp",
    "MLP 2-20-2 on two half moons in the plane: 1,600 training, 400 validation, 500 test points.",
    data="moons",
    learning_rate=0.01,
)
named(_small, "circles-mlp", "The same on two circles.", data="circles", learning_rate=0.01)

named(
    _table,
    "cancer-mlp",
    "MLP 30-64-32-2 on scikit-learn's breast cancer, a table: 364 training, 91 validation, 114 test rows.",
    data="breast_cancer",
)
named(_table, "wine-mlp", "MLP 13-64-32-3 on scikit-learn's wines, a table: 108 training, 26 validation, 44 test rows.", data="wine")
