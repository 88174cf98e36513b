"""Tasks on CIFAR-10 averaged to 16x16 pixels: the convolutional networks of the papers, at a size that two cores train in minutes.

`small` uses 10,000 training and 1,000 validation images and all 10,000 test images, and thinner networks; `paper` has the papers' numbers
of iterations and 45,000 training images. What they answer is an answer about these networks on these images.
"""

from typing import Any

from tombola.core.step import Step
from tombola.core.task import Data, Model, Recipe, Task
from tombola.models.tasks import CONV_RATES, GLOBAL_RATES, named

FEW = {"train": 10_000, "validation": 1_000}
TINY = {"train": 200, "validation": 100, "test": 100}


def _data(scale: str, augment: str = "none", whole: bool = False) -> Data:
    size: dict[str, Any] = {"smoke": TINY, "small": {} if whole else FEW}.get(scale, {})
    return Data(name="cifar10-16", augment=augment, **size)


def _iterations(number: int) -> Step:
    return Step(f"{number}it")


def _smoke(scale: str, recipe: Recipe) -> Recipe:
    """Four iterations of 20 examples, with a learning rate that falls in the middle where it falls at all."""
    if scale != "smoke":
        return recipe
    milestones = ("2it", "3it")[: len(recipe.milestones)]
    return recipe.but(steps="4it", batch=20, evaluate_every="2it", test_every=None, warmup="0it", milestones=milestones)


def _deep(scale: str, model: Model, small: int, paper: int, learning_rate: float = 0.1, warmup: bool = False, whole: bool = False) -> Task:
    """SGD with momentum .9; the rate falls to a tenth after half and three quarters of the iterations; a warm-up takes an eighth."""
    steps = paper if scale == "paper" else small
    recipe = Recipe(
        steps=_iterations(steps),
        milestones=(_iterations(steps // 2), _iterations(3 * steps // 4)),
        warmup=_iterations(steps // 8 if warmup else 0),
        evaluate_every=_iterations(steps // 20),
        batch=64,
        learning_rate=learning_rate,
        optimizer="momentum",
        weight_decay=1e-4,
        schedule="stepped",
    )
    data = _data(scale, "flip_crop_2", whole)
    return Task(data=data, model=model, recipe=_smoke(scale, recipe), rates=GLOBAL_RATES, scope="global")


_RESNET14 = Model(name="resnet", options={"depth": 14, "width": 8}, initializer="kaiming_normal")
_RESNET26 = Model(name="resnet", options={"depth": 26}, initializer="kaiming_normal")
_VGG11 = Model(name="vgg", options={"depth": 11, "widths": [16, 32, 64, 64, 64, 64, 64, 64]}, initializer="kaiming_normal")
_WIDE = Model(name="vgg", options={"depth": 11, "width": 32}, initializer="kaiming_normal")
_RESNET: dict[str, Any] = {"model": _RESNET14, "small": 2_000, "paper": 63_000}
_VGG: dict[str, Any] = {"model": _VGG11, "small": 1_500, "paper": 63_000}
_WHOLE: dict[str, Any] = {"small": 10_000, "paper": 70_000, "whole": True}
_WARM = "The same at lr .{} after a warm-up of an eighth of the iterations."
named(
    _deep,
    "resnet14-cifar10-16",
    "ResNet-14 of width 8, lr .1, 2,000 iterations of batch 64: after Frankle et al. 2020, table 1.",
    **_RESNET,
)
named(_deep, "resnet14-cifar10-16-low", "The same at lr .01.", **_RESNET, learning_rate=0.01)
named(_deep, "resnet14-cifar10-16-warmup", _WARM.format("03"), **_RESNET, learning_rate=0.03, warmup=True)
named(
    _deep,
    "vgg11-cifar10-16",
    "VGG-11 of 16 to 64 channels, lr .1, 1,500 iterations of batch 64: after Frankle & Carbin 2019, section 4.",
    **_VGG,
)
named(_deep, "vgg11-cifar10-16-low", "The same at lr .01.", **_VGG, learning_rate=0.01)
named(_deep, "vgg11-cifar10-16-warmup", _WARM.format("1"), **_VGG, warmup=True)
named(
    _deep,
    "resnet26-cifar10-16",
    "ResNet-26 of width 16 on 45,000 images, 10,000 iterations: for layers that are put back (after Zhang et al. 2019).",
    model=_RESNET26,
    **_WHOLE,
)
named(
    _deep,
    "vgg11-wide-cifar10-16",
    "VGG-11 of 32 to 256 channels on 45,000 images, 10,000 iterations: for the same.",
    model=_WIDE,
    learning_rate=0.05,
    **_WHOLE,
)


def _conv(scale: str, name: str, small: int, paper: int) -> Task:
    steps = paper if scale == "paper" else small
    often, sometimes = _iterations(100), _iterations(500)
    recipe = Recipe(steps=_iterations(steps), batch=60, learning_rate=3e-4, evaluate_every=often, test_every=sometimes)
    model = Model(name=name, options={"width": 32})
    return Task(data=_data(scale), model=model, recipe=_smoke(scale, recipe), rates=CONV_RATES)


named(
    _conv,
    "conv2-cifar10-16",
    "Conv-2 of width 32, Adam 3e-4, 3,000 iterations of batch 60: after Frankle & Carbin 2019, figure 2.",
    name="conv2",
    small=3000,
    paper=20000,
)
named(_conv, "conv4-cifar10-16", "Conv-4 of width 32, with the recipe of Conv-2.", name="conv4", small=3000, paper=25000)
