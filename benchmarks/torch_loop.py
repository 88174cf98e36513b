"""The plain PyTorch loop, in a process of its own: ``torch_loop.py NETWORK smoke|full THREADS``.

It says how many parameters the network has. Then it reads lines ``OPTION STEPS``: it trains one replica so far, with that
implementation of the optimiser and that layout of images in memory, and says how long it took. Processes that are told to
go at the same moment train at the same time.
"""

import sys
import time
from collections.abc import Iterator
from functools import cache
from itertools import islice, pairwise

import torch
from networks import CLASSES, NETWORKS, Network, networks
from torch import nn
from torch.nn import functional

IMPLEMENTATIONS = {"default": {}, "fused": {"fused": True}}
LAYOUTS = {"": torch.contiguous_format, "nhwc": torch.channels_last}


def main() -> None:
    name, length, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    described = networks(length == "smoke")[name]
    print(sum(one.numel() for one in module(name).parameters()), flush=True)

    @cache
    def loop(option: str) -> "Loop":
        return Loop(name, described, *option.partition(" ")[::2])

    for line in sys.stdin:
        option, steps = line.rstrip().rsplit(" ", 1)
        print(loop(option).train(int(steps)), flush=True)


class Loop:
    """Network, optimiser and data of one option, and the plain loop over them."""

    def __init__(self, name: str, described: Network, implementation: str, layout: str) -> None:
        self.network = module(name).to(memory_format=LAYOUTS[layout])
        recipe = dict(described.recipe)
        rate, optimizer = recipe.pop("learning_rate"), recipe.pop("optimizer")
        options = {"lr": rate, **recipe, **IMPLEMENTATIONS[implementation]}
        parameters = self.network.parameters()
        self.optimizer = (
            torch.optim.Adam(parameters, **options) if optimizer == "adam" else torch.optim.SGD(parameters, momentum=0.9, **options)
        )
        inputs = torch.randn(described.train, *described.shape)
        # Images are drawn (height, width, channels): to gather a batch of them keeps a layout that lies so in memory.
        self.moved = described.convolutional and layout == "nhwc"
        self.inputs = inputs.permute(0, 3, 1, 2).contiguous() if described.convolutional and not self.moved else inputs
        self.labels = torch.randint(CLASSES, (described.train,))
        self.order = batches(described.train, described.batch)

    def train(self, steps: int) -> float:
        began = time.perf_counter()
        for batch in islice(self.order, steps):
            images = self.inputs[batch].permute(0, 3, 1, 2) if self.moved else self.inputs[batch]
            loss = functional.cross_entropy(self.network(images), self.labels[batch])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - began


def batches(examples: int, batch: int) -> Iterator[torch.Tensor]:
    """Shuffled indices, epoch after epoch, whole batches only."""
    whole = examples // batch * batch
    while True:
        yield from torch.randperm(examples)[:whole].split(batch)


# -- the same networks -------------------------------------------------------------------------------------------------


def module(name: str) -> nn.Module:
    if name == "conv2":
        images = [nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
        return nn.Sequential(*images, *dense(16 * 16 * 64, 256, 256, CLASSES))
    if name == "resnet20":
        return resnet20()
    described = NETWORKS[name]
    return nn.Sequential(*dense(*described.shape, *described.options["widths"], CLASSES))


def dense(*widths: int) -> list[nn.Module]:
    return [layer for inputs, outputs in pairwise(widths) for layer in (nn.Linear(inputs, outputs), nn.ReLU())][:-1]


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False), nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """relu(conv(relu(conv(x))) + shortcut(x)), with batch norm after each convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.body = nn.Sequential(conv(inputs, outputs, stride=stride), nn.ReLU(), conv(outputs, outputs))
        self.shortcut = nn.Identity() if stride == 1 else conv(inputs, outputs, kernel=1, stride=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.body(images) + self.shortcut(images))


def resnet20() -> nn.Module:
    channels = (16, 16, 16, 16, 32, 32, 32, 64, 64, 64)
    blocks = [Block(inputs, outputs) for inputs, outputs in pairwise(channels)]
    return nn.Sequential(conv(3, 16), nn.ReLU(), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))


if __name__ == "__main__":
    main()
