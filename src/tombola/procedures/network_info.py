"""What of a task's network and data a report of finished runs needs: names, shapes, counts. No JAX."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any

from tombola.models.layer import Layer

if TYPE_CHECKING:
    from tombola.data.dataset import Dataset
    from tombola.training.setup import Setup


@dataclass(frozen=True)
class NetworkInfo:
    """What is known of a network: every leaf, and how leaves belong together; of the data, the length of an epoch."""

    shapes: Mapping[str, tuple[int, ...]]
    """The shape of every leaf, in the order of the network's."""
    layers: tuple[Layer, ...]
    trainable: frozenset[str]
    trained: frozenset[str]
    """The leaves that training updates: those of frozen layers are left out."""
    steps_per_epoch: int
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """What the network is given: shape (images: height, width, channels), dtype, and how values as they come are scaled; and `classes`,
    the names of the labels, where they have any."""

    @property
    def prunable(self) -> tuple[str, ...]:
        """Kernels and embeddings, in the order of `layers`."""
        return tuple(path for layer in self.layers for path in layer.prunable)

    @property
    def prunable_weights(self) -> list[tuple[Layer, int]]:
        """Each layer, and how many prunable weights it has."""
        return [(layer, sum(prod(self.shapes[path]) for path in layer.prunable)) for layer in self.layers]

    @property
    def sizes(self) -> dict[str, int]:
        """Values of each trainable leaf."""
        return {path: prod(shape) for path, shape in self.shapes.items() if path in self.trainable}

    def as_json(self) -> dict[str, Any]:
        """JSON values that `from_json` reads."""
        layers = [vars(layer) for layer in self.layers]
        leaves = {"trainable": sorted(self.trainable), "trained": sorted(self.trained)}
        return {
            "shapes": dict(self.shapes),
            "layers": layers,
            **leaves,
            "steps_per_epoch": self.steps_per_epoch,
            "inputs": dict(self.inputs),
        }


def network_info_of(setup: "Setup", dataset: "Dataset") -> NetworkInfo:
    """What is known of the network that programs are compiled for, and of its data set."""
    network = setup.network
    shapes = {path: tuple(leaf.shape) for path, leaf in network.shapes.items()}
    inputs = {"shape": list(setup.data.shape), "dtype": setup.data.dtype, **dataset.scaling._asdict()}
    if dataset.class_names:
        inputs["classes"] = list(dataset.class_names)
    return NetworkInfo(shapes, network.layers, network.trainable, setup.trained, setup.steps_per_epoch, inputs)


def from_json(found: Mapping[str, Any]) -> NetworkInfo:
    """The inverse of `NetworkInfo.as_json`. Raises KeyError or TypeError for what is none."""
    layers = tuple(Layer(one["name"], one["kind"], tuple(one["paths"]), tuple(one["prunable"]), one["block"]) for one in found["layers"])
    shapes = {path: tuple(shape) for path, shape in found["shapes"].items()}
    leaves = frozenset(found["trainable"]), frozenset(found["trained"])
    return NetworkInfo(shapes, layers, *leaves, int(found["steps_per_epoch"]), found.get("inputs", {}))
