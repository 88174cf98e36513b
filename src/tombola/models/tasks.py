"""The named tasks: data, network and the recipe that a paper gives it, at three scales.

`paper` is the paper's own protocol; `small` is the same in less time (fewer iterations, coarser evaluation), on
two cores; `smoke` only shows that everything runs.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tombola.core.errors import unknown
from tombola.core.parts import tasks as tasks
from tombola.core.task import Data, Model, Recipe, Task

SCALES = ("smoke", "small", "paper")

_LENET_RATES = {"dense": 0.2, "output": 0.1}
CONV_RATES = {"conv": 0.1, "dense": 0.2, "output": 0.1}
GLOBAL_RATES = {"conv": 0.2, "dense": 0.0, "output": 0.0, "shortcut": 0.0}


def task(name: str, scale: str = "small", **recipe: Any) -> Task:
    """A named task at a scale: `smoke` (seconds), `small` (minutes) or `paper` (the paper's protocol).

    Args:
        recipe: fields of `tombola.Recipe` that are changed. Where `steps` alone would leave no test before the end, the task is tested at
            each evaluation.

    >>> task("mnist1d-mlp", steps="1000it").recipe.steps
    '1000it'
    """
    if scale not in SCALES:
        raise unknown("scale", scale, SCALES)
    found = tasks[name](scale)
    changed = found.recipe.but(**recipe) if recipe else found.recipe
    return found.but(name=name, recipe=changed.tested() if "steps" in recipe and "test_every" not in recipe else changed)


def _at(scale: str, by_scale: Mapping[str, Mapping[str, Any]], **common: Any) -> Recipe:
    return Recipe(**{**common, **by_scale.get(scale, {})})


def named(made: Callable[..., Task], name: str, meaning: str, /, **others: Any) -> None:
    """Register the task that a function makes of a scale and of other arguments."""

    def one(scale: str) -> Task:
        return made(scale, **others)

    one.__doc__ = meaning
    tasks.add(name, one)


@tasks.register("mnist1d-mlp")
def mnist1d_mlp(scale: str) -> Task:
    """MLP 40-300-100-10 on MNIST-1D (Greydanus & Kobak 2024): 4,000 training, 1,000 validation, 1,000 test examples."""
    by_scale = {"smoke": {"steps": "200it", "evaluate_every": "50it"}, "small": {"steps": "3000it"}}
    recipe = _at(scale, by_scale, steps="5000it", batch=60, learning_rate=1.2e-3, evaluate_every="100it", test_every="500it")
    return Task(
        data=Data(name="mnist1d", fresh_test=True),
        model=Model(name="mlp", options={"widths": [300, 100]}),
        recipe=recipe,
        rates=_LENET_RATES,
    )


def _digits(scale: str, by_scale: Mapping[str, Mapping[str, Any]], label_noise: float = 0.0, **recipe: Any) -> Task:
    smoke = {"smoke": {"steps": "100it", "evaluate_every": "50it"}}
    found = _at(scale, {**smoke, **by_scale}, batch=60, evaluate_every="50it", **recipe)
    data = Data(name="digits", label_noise=label_noise, fresh_test=True)
    return Task(data=data, model=Model(name="mlp", options={"widths": [100, 50]}), recipe=found, rates=_LENET_RATES)


_LONGER: dict[str, Any] = {"by_scale": {"paper": {"steps": "3000it"}}, "steps": "2000it", "learning_rate": 1.2e-3}
named(_digits, "digits-mlp", "MLP 64-100-50-10 on scikit-learn's 8x8 digits: 1,197 training, 300 validation, 300 test examples.", **_LONGER)
named(
    _digits,
    "digits-noise-mlp",
    "The same with 40 % of the training labels replaced by uniform ones: a testbed with an unstable phase.",
    by_scale={},
    label_noise=0.4,
    steps="1500it",
    learning_rate=0.003,
)


@tasks.register("digits-autoencoder")
def digits_autoencoder(scale: str) -> Task:
    """Autoencoder 64-100-16-100-64 on the same digits, whose pixels it gives back: reconstruction by the squared error."""
    model = Model(name="mlp", options={"widths": [100, 16, 100]})
    return _digits(scale, **_LONGER).but(model=model, objective="reconstruction")


@tasks.register("diabetes-mlp")
def diabetes_mlp(scale: str) -> Task:
    """MLP 10-64-32-1 on scikit-learn's diabetes, a regression: 284 training, 70 validation, 88 test examples."""
    by_scale = {"smoke": {"steps": "100it", "evaluate_every": "50it"}, "paper": {"steps": "2000it"}}
    recipe = _at(scale, by_scale, steps="1000it", batch=32, learning_rate=1e-3, evaluate_every="20it", test_every="100it")
    model = Model(name="mlp", options={"widths": [64, 32]})
    return Task(data=Data(name="diabetes", fresh_test=True), model=model, recipe=recipe, rates=_LENET_RATES).but(objective="regression")


def _lenet(scale: str, data: str) -> Task:
    by_scale = {
        "smoke": {"steps": "60it", "evaluate_every": "30it", "test_every": "60it"},
        "small": {"steps": "4000it", "evaluate_every": "200it", "test_every": "1000it"},
    }
    common = {"steps": "50000it", "batch": 60, "learning_rate": 1.2e-3, "evaluate_every": "100it", "test_every": "500it"}
    model = Model(name="mlp", options={"widths": [300, 100]})
    return Task(data=Data(name=data), model=model, recipe=_at(scale, by_scale, **common), rates=_LENET_RATES)


named(_lenet, "lenet-mnist", "LeNet-300-100 on MNIST, 55,000/5,000/10,000 (Frankle & Carbin 2019, figure 2).", data="mnist")
named(_lenet, "lenet-fashion-mnist", "LeNet-300-100 on Fashion-MNIST, with the recipe of MNIST.", data="fashion-mnist")


@tasks.register("lenet-mnist-2020")
def lenet_mnist_2020(scale: str) -> Task:
    """LeNet-300-100 on MNIST for 24,000 iterations, kaiming normal, pruned globally (Frankle et al. 2020, table 1)."""
    found = _lenet(scale, "mnist")
    steps = {} if scale != "paper" else {"steps": "24000it"}
    model = found.model.but(initializer="kaiming_normal")
    return found.but(model=model, recipe=found.recipe.but(**steps), rates={"dense": 0.2, "output": 0.2}, scope="global")


def _conv(scale: str, name: str, steps: int, learning_rate: float, conv_rate: float = 0.1) -> Task:
    by_scale = {
        "smoke": {"steps": "4it", "evaluate_every": "2it", "test_every": "4it"},
        "small": {"steps": f"{steps // 10}it", "evaluate_every": "200it", "test_every": "1000it"},
    }
    common = {"steps": f"{steps}it", "batch": 60, "learning_rate": learning_rate, "evaluate_every": "100it", "test_every": "500it"}
    data = Data(name="cifar10", train=600, validation=200, test=200) if scale == "smoke" else Data(name="cifar10")
    return Task(data=data, model=Model(name=name), recipe=_at(scale, by_scale, **common), rates={**CONV_RATES, "conv": conv_rate})


named(
    _conv,
    "conv2-cifar10",
    "Conv-2 on CIFAR-10, 45,000/5,000/10,000 (Frankle & Carbin 2019, figure 2).",
    name="conv2",
    steps=20000,
    learning_rate=0.0002,
)
named(_conv, "conv4-cifar10", "Conv-4 on CIFAR-10 (Frankle & Carbin 2019, figure 2).", name="conv4", steps=25000, learning_rate=0.0003)
named(
    _conv,
    "conv6-cifar10",
    "Conv-6 on CIFAR-10 (Frankle & Carbin 2019, figure 2).",
    name="conv6",
    steps=30000,
    learning_rate=0.0003,
    conv_rate=0.15,
)


def _deep(
    scale: str,
    model: Model,
    learning_rate: float = 0.1,
    warmup: int = 0,
    steps: int = 63_000,
    drops: tuple[int, int] = (32_000, 48_000),
    batch: int = 128,
) -> Task:
    paper = {
        "steps": f"{steps}it",
        "milestones": tuple(f"{drop}it" for drop in drops),
        "warmup": f"{warmup}it",
        "evaluate_every": "500it",
        "test_every": "500it",
    }
    small = {**paper, "steps": f"{steps // 10}it", "milestones": tuple(f"{drop // 10}it" for drop in drops), "warmup": f"{warmup // 10}it"}
    smoke = {"steps": "4it", "milestones": ("2it", "3it"), "evaluate_every": "2it", "batch": 50}
    common = {"batch": batch, "learning_rate": learning_rate, "optimizer": "momentum", "weight_decay": 1e-4, "schedule": "stepped"}
    size: dict[str, Any] = {"train": 200, "validation": 100, "test": 100} if scale == "smoke" else {}
    data = Data(name="cifar10", augment="flip_crop", **size)
    recipe = _at(scale, {"smoke": smoke, "small": small, "paper": paper}, **common)
    return Task(data=data, model=model, recipe=recipe, rates=GLOBAL_RATES, scope="global")


_RESNET20 = Model(name="resnet", options={"depth": 20}, initializer="kaiming_normal")
_VGG16 = Model(name="vgg", options={"depth": 16}, initializer="kaiming_normal")
_2019: dict[str, Any] = {"steps": 30_000, "drops": (20_000, 25_000)}
_WARM = "The same at lr .{} after a warm-up of 30,000 iterations."
named(_deep, "resnet20-cifar10", "ResNet-20 on CIFAR-10, lr .1 (Frankle et al. 2020, table 1).", model=_RESNET20)
named(_deep, "resnet20-cifar10-low", "The same at lr .01.", model=_RESNET20, learning_rate=0.01)
named(_deep, "resnet20-cifar10-warmup", _WARM.format("03"), model=_RESNET20, learning_rate=0.03, warmup=30000)
named(_deep, "vgg16-cifar10", "VGG-16 on CIFAR-10, lr .1 (Frankle et al. 2020, table 1).", model=_VGG16)
named(_deep, "vgg16-cifar10-low", "The same at lr .01.", model=_VGG16, learning_rate=0.01)
named(_deep, "vgg16-cifar10-warmup", _WARM.format("1"), model=_VGG16, warmup=30000)
named(
    _deep,
    "resnet20-cifar10-2019",
    "The 20-layer ResNet that Frankle & Carbin 2019 (figure 8) call ResNet-18: 30,000 iterations, drops at 20K and 25K.",
    model=_RESNET20.but(initializer="glorot_normal"),
    **_2019,
)
named(
    _deep,
    "vgg19-cifar10",
    "VGG-19 on CIFAR-10: 160 epochs of batch 64, drops at epochs 80 and 120 (Frankle & Carbin 2019, figure 7).",
    model=Model(name="vgg", options={"depth": 19}),
    steps=112480,
    drops=(56240, 84360),
    batch=64,
)


@tasks.register("resnet50-imagenet")
def resnet50_imagenet(scale: str) -> Task:
    """ResNet-50 on ImageNet, 90 epochs of batch 1024, lr .4 after 5 epochs of warm-up (Frankle et al. 2020, table 1).

    `small` is a fifth of the epochs. Random parts of the images, resized, and mirror images.
    """
    paper = {"steps": "90ep", "milestones": ("30ep", "60ep", "80ep"), "warmup": "5ep", "evaluate_every": "1ep"}
    small = {**paper, "steps": "18ep", "milestones": ("6ep", "12ep", "16ep"), "warmup": "1ep"}
    smoke = {"steps": "4it", "milestones": ("2it", "3it"), "warmup": "1it", "evaluate_every": "2it", "batch": 4}
    common = {"batch": 1024, "learning_rate": 0.4, "optimizer": "momentum", "weight_decay": 1e-4, "schedule": "stepped"}
    size: dict[str, Any] = {"train": 8, "validation": 4, "test": 4} if scale == "smoke" else {}
    return Task(
        data=Data(name="imagenet", augment="resized_crop", **size),
        model=Model(name="deep_resnet", options={"depth": 50}, initializer="kaiming_normal"),
        recipe=_at(scale, {"smoke": smoke, "small": small, "paper": paper}, **common),
        rates=GLOBAL_RATES,
        scope="global",
    )


def _zhang(scale: str, data: Data, model: Model, learning_rate: float, batch: int = 128, short: bool = False, **recipe: Any) -> Task:
    """Momentum .9, 100 epochs, the rate times .2 at epochs 30, 60 and 90; `small` is a fifth of it, unless the data are `short`."""
    paper = {"steps": "100ep", "milestones": ("30ep", "60ep", "90ep"), "test_every": "10ep"}
    small = paper if short else {"steps": "20ep", "milestones": ("6ep", "12ep", "18ep"), "test_every": "5ep"}
    smoke = {"steps": "40it" if short else "4it", "milestones": ("20it",) if short else ("2it",), "evaluate_every": "2it", "batch": 20}
    common = {"optimizer": "momentum", "schedule": "stepped", "decay": 0.2, "evaluate_every": "5ep" if short else "1ep", "batch": batch}
    by_scale: dict[str, dict[str, Any]] = {"smoke": smoke, "small": small, "paper": paper}
    found = _at(scale, by_scale, **common, learning_rate=learning_rate, **recipe)
    if scale == "smoke" and not short:
        data = data.but(train=200, validation=100, test=100)
    return Task(data=data, model=model, recipe=found, rates={**_LENET_RATES, "conv": 0.2, "shortcut": 0.0})


_FCN = Model(name="mlp", options={"widths": [256, 256, 256]})
_OF_FCN: dict[str, Any] = {"model": _FCN, "learning_rate": 0.01}
_CIFAR: dict[str, Any] = {"data": Data(name="cifar10", augment="flip_crop"), "learning_rate": 0.1, "weight_decay": 5e-4}
_RESNETS = {depth: Model(name="deep_resnet", options={"depth": depth}, initializer="kaiming_normal") for depth in (18, 50)}
named(
    _zhang,
    "fcn-digits",
    "MLP of 3 hidden layers of 256 on the 8x8 digits, after Zhang et al. 2019: 100 epochs.",
    data=Data(name="digits", fresh_test=True),
    model=_FCN,
    learning_rate=0.05,
    batch=60,
    short=True,
)
named(_zhang, "fcn-mnist", "MLP of 3 hidden layers of 256 on MNIST, after Zhang et al. 2019.", data=Data(name="mnist"), **_OF_FCN)
named(_zhang, "fcn-fashion-mnist", "The same on Fashion-MNIST.", data=Data(name="fashion-mnist"), **_OF_FCN)
named(_zhang, "fcn-cifar10", "The same on CIFAR-10, after Zhang et al. 2019.", data=Data(name="cifar10"), **_OF_FCN)
named(_zhang, "vgg16-cifar10-zhang", "VGG-16 with batch norm on CIFAR-10, after Zhang et al. 2019.", **_CIFAR, model=_VGG16)
named(_zhang, "resnet18-cifar10-zhang", "ResNet-18 on CIFAR-10, after Zhang et al. 2019.", **_CIFAR, model=_RESNETS[18])
named(_zhang, "resnet50-cifar10-zhang", "ResNet-50 on CIFAR-10, after Zhang et al. 2019.", **_CIFAR, model=_RESNETS[50])
