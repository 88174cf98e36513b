"""What actions and measurements may know of the run or network that they work for, and ask of its data."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tombola.core.errors import TombolaError
from tombola.core.masks import Mask
from tombola.core.trees import Tree
from tombola.data.dataset import Dataset
from tombola.evaluation.adversary import Adversary
from tombola.evaluation.population import Population
from tombola.models.network import Network

_ASKED = {"gradient": "a gradient", "product": "a Hessian", "squares": "gradients of examples", "examples": "gradients of examples"}


class Context(NamedTuple):
    """What an action may know of the run it works for; a measurement, of its own seed and network."""

    network: Network
    seed: int
    mask: Mask | None = None
    """The run's mask; None while the mask itself is being made."""
    slopes: Callable[..., Tree] | None = None
    """(what, seed, weights, *vectors, batch, size) -> what `tombola.training.slopes` finds of the task; None where there are no data."""
    populations: Callable[[int], Population] | None = None
    """seed -> what scores many masks of the task's network at once; None where there are no data."""
    adversaries: Callable[[int, int | None], Adversary] | None = None
    """(seed, examples) -> what attacks the task's networks; None where there are no data."""
    recorded: Callable[..., Any] | None = None
    """(seed, weights, batch, size) -> `training.activations.on_training_examples` of the task; None where there are no data."""
    dataset: Callable[[], Dataset] | None = None
    """The task's data; None where there are none."""
    data_dir: Path | None = None
    """The folder of data files, into which a measurement may look."""
    tested: Callable[[int | None], tuple[Any, Any]] | None = None
    """n -> (inputs, targets) of the first n test examples of the seed; None where there are no data."""
    smaller: Callable[[Tree, Mask], tuple[Network, Tree]] | None = None
    """(weights, mask) -> the task's network without its dead units, and its weights; None where there is no task."""

    def layers(self, weights: Tree, batch: str = "0", size: int = 512) -> Any:
        """Path of a kernel -> (what its layer reads, what it gives), over training examples of the stream ``gradient/{batch}``."""
        if self.recorded is None:
            raise TombolaError("activations are asked for where there are no data; ask by tb.train, or by a study")
        return self.recorded(self.seed, weights, batch, size)

    def gradient(self, weights: Tree, batch: str = "0", size: int | None = None) -> Tree:
        """dL/dw of the mean training loss at the weights, over examples that the run's stream ``gradient/{batch}`` draws.

        Source: `tombola.training.slopes.mean_gradient`. Where nobody asks, it costs nothing.
        """
        return self._asked("gradient", weights, batch=batch, size=size)

    def squares(self, weights: Tree, batch: str = "0", size: int | None = None) -> Tree:
        """The mean of g_i^2 over the same examples, g_i the gradient of one example's loss: the diagonal of the empirical Fisher."""
        return self._asked("squares", weights, batch=batch, size=size)

    def examples(self, weights: Tree, batch: str = "0", size: int | None = None) -> Tree:
        """g_i of each of n examples, (n, *shape) of each prunable weight: `tombola.training.slopes.example_gradients`."""
        return self._asked("examples", weights, batch=batch, size=size)

    def activity(self, weights: Tree, batch: str = "0", size: int | None = None) -> Tree:
        """The mean |a| of the unit that a weight leads into, over the same examples: `tombola.training.slopes.mean_activity`."""
        return self._asked("activity", weights, batch=batch, size=size)

    @property
    def population(self) -> Population:
        """What scores many masks, or networks, on examples of the training set that the seed's streams draw."""
        if self.populations is None:
            raise TombolaError("masks are to be scored where there are no data; search by tb.search, or by a study")
        return self.populations(self.seed)

    def adversary(self, examples: int | None = None) -> Adversary:
        """What attacks networks of the task on the first test examples; None: on all."""
        if self.adversaries is None:
            raise TombolaError("networks are to be attacked where there are no data; attack by tb.attack, or by a study")
        return self.adversaries(self.seed, examples)

    def hessian_product(self, weights: Tree, vector: Tree, batch: str = "0", size: int | None = None) -> Tree:
        """H v, H the Hessian of that loss over the same examples, at the weights."""
        return self._asked("product", weights, vector, batch=batch, size=size)

    def _asked(self, what: str, *trees: Tree, batch: str, size: int | None) -> Tree:
        if self.slopes is None:
            raise TombolaError(
                f"{_ASKED.get(what, what)} of the loss is asked for where there are no data; prune by tb.imp, tb.train, or by a study"
            )
        return self.slopes(what, self.seed, *trees, batch=batch, size=size)
