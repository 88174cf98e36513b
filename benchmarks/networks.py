"""The networks that the benchmark times, as data: shape, recipe, matrix products of a step, and what is asked of their speed."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

CLASSES = 10

Layer = tuple[int, int, int]
"""(rows an example, inputs of a row, outputs of a row) of a layer as a matrix product: a dense layer has one row; a
convolution one for each output pixel, and kernel^2 * channels inputs (im2col)."""


@dataclass(frozen=True)
class Network:
    """A network, its recipe, and the size of the synthetic data that it is timed on."""

    title: str
    model: str
    """Its name in Tombola."""
    shape: tuple[int, ...]
    """Of an example."""
    layers: tuple[Layer, ...]
    train: int
    """Training examples. Few for convolutions: a run ends with an evaluation of all, which the subtraction then has to drop."""
    target: float
    """How many times as fast as the plain PyTorch loop it should be, on two cores."""
    options: dict[str, Any] = field(default_factory=dict)
    batch: int = 60
    recipe: dict[str, Any] = field(default_factory=lambda: {"optimizer": "adam", "learning_rate": 1.2e-3})
    torch: tuple[str, ...] = ("default", "fused")
    """PyTorch's implementations of the optimiser; with `nhwc`, images and kernels lie in memory as channels_last."""

    @property
    def convolutional(self) -> bool:
        return len(self.shape) == 3

    @property
    def prunable(self) -> int:
        """Weights of all kernels."""
        return sum(inputs * outputs for _, inputs, outputs in self.layers)

    @property
    def products(self) -> list[tuple[str, int, int, int]]:
        """(kind, m, k, n) of the matrix products (m, k) @ (k, n) of one step: forward, weight and input gradients."""
        found = []
        for index, (rows, inputs, outputs) in enumerate(self.layers):
            found += [("x @ W", self.batch * rows, inputs, outputs), ("x.T @ d", inputs, self.batch * rows, outputs)]
            if index > 0:  # nobody asks for the gradient of the data
                found.append(("d @ W.T", self.batch * rows, outputs, inputs))
        return found

    @property
    def operations(self) -> int:
        """Floating-point operations of these products."""
        return sum(2 * m * k * n for _, m, k, n in self.products)


def dense(*widths: int) -> tuple[Layer, ...]:
    return tuple((1, inputs, outputs) for inputs, outputs in pairwise(widths))


def conv(side: int, inputs: int, outputs: int, kernel: int = 3) -> Layer:
    """A convolution whose output has side x side pixels."""
    return (side * side, kernel * kernel * inputs, outputs)


def resnet20() -> tuple[Layer, ...]:
    layers, before = [conv(32, 3, 16)], 16
    for side, channels in ((32, 16), (16, 32), (8, 64)):
        for _ in range(3):
            layers += [conv(side, before, channels), conv(side, channels, channels)]
            if before != channels:
                layers.append(conv(side, before, channels, kernel=1))
            before = channels
    return (*layers, *dense(64, CLASSES))


NETWORKS = {
    "mlp": Network(
        "MLP 40-300-100-10", "mlp", (40,), dense(40, 300, 100, CLASSES), train=4_000, target=3.0, options={"widths": [300, 100]}
    ),
    "lenet": Network(
        "LeNet-300-100", "mlp", (784,), dense(784, 300, 100, CLASSES), train=55_000, target=2.0, options={"widths": [300, 100]}
    ),
    "conv2": Network(
        "Conv-2",
        "conv2",
        (32, 32, 3),
        (conv(32, 3, 64), conv(32, 64, 64), *dense(16 * 16 * 64, 256, 256, CLASSES)),
        train=300,
        target=1.0,
        recipe={"optimizer": "adam", "learning_rate": 2e-4},
        torch=("default", "fused", "default nhwc", "fused nhwc"),
    ),
    "resnet20": Network(
        "ResNet-20",
        "resnet",
        (32, 32, 3),
        resnet20(),
        train=256,
        target=1.0,
        options={"depth": 20},
        batch=128,
        recipe={"optimizer": "momentum", "learning_rate": 0.1, "weight_decay": 1e-4},
        torch=("default", "default nhwc", "fused nhwc"),
    ),
}

_SMALL: dict[str, dict[str, Any]] = {"mlp": {}, "lenet": {"train": 3_000}, "conv2": {"batch": 4, "train": 8}}


def networks(smoke: bool) -> dict[str, Network]:
    """What is timed: all of them, or some with little data."""
    return {name: replace(NETWORKS[name], **change) for name, change in _SMALL.items()} if smoke else NETWORKS
