"""Classification, by the cross-entropy."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from tombola.core.errors import TombolaError
from tombola.core.objective import Measure, Objective, register


@register("classification")
class Classification(Objective):
    """Targets are classes (n,), integers from 0; outputs are logits (B, classes). The headline is the error, in curves as accuracy."""

    targets: ClassVar[Literal["classes", "values", "inputs"]] = "classes"
    measured: ClassVar[Mapping[str, Measure]] = {"error": Measure("error", "%", 100, ("acc", "accuracy"))}

    class_weights: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] | Literal["balanced"] | None = None
    """Factor on the loss of each class's examples; ``balanced``: n / (classes n_c), n_c of the pool's n examples being of class c."""
    average: Literal["examples", "classes"] = "examples"
    """What evaluations average over: all examples count alike, or all classes that have examples, each by the mean over its own: balanced
    accuracy, and the loss by which training stops early. What is minimised is the mean over examples (`class_weights` changes that)."""

    def loss(self, outputs: Any, targets: Any) -> Any:
        """(B,) cross-entropy in nats, times the class's weight."""
        import optax

        return self._weighted(optax.softmax_cross_entropy_with_integer_labels(outputs, targets), targets)

    def training_loss(self, outputs: Any, targets: Any, smoothing: float) -> Any:
        """The loss against (1 - smoothing) onehot + smoothing / classes.

        One-hot also without smoothing: the gradient of a look-up is a scatter, which is slow on every platform.
        """
        import jax
        import optax

        if not self.smooths:  # a subclass with a loss of its own
            return self.loss(outputs, targets)
        smoothed = optax.smooth_labels(jax.nn.one_hot(targets, outputs.shape[-1]), smoothing)
        return self._weighted(optax.softmax_cross_entropy(outputs, smoothed), targets)

    def measures(self, outputs: Any, targets: Any) -> Mapping[str, Any]:
        """`error`: 1 where the largest logit is not the class's, else 0."""
        return {"error": (self.prediction(outputs) != targets).astype("float32")}

    def prediction(self, outputs: Any) -> Any:
        """(B,) int32: the class of the largest logit."""
        return outputs.argmax(-1).astype("int32")

    def disagreement(self, first: Any, second: Any) -> float:
        """Share of examples that two networks put into different classes."""
        return float(np.mean(first != second))

    def chance(self, targets: Any) -> float:
        """The error of always answering the most frequent class: the share of the others; over classes, 1 - 1 / their number."""
        counts = np.bincount(targets)
        return float(1 - (1 / np.count_nonzero(counts) if self.by_class else counts.max() / len(targets)))

    @property
    def by_class(self) -> bool:
        """Whether evaluations average over classes."""
        return self.average == "classes"

    def fitted(self, dataset: Any) -> Objective:
        """Balanced weights as numbers. Raises unless there is one for each class."""
        weights = self.class_weights
        if weights == "balanced":
            counts = np.maximum(np.bincount(dataset.targets, minlength=dataset.classes), 1)
            return self.but(class_weights=tuple((len(dataset.targets) / (dataset.classes * counts)).tolist()))
        if weights is not None and len(weights) != dataset.classes:
            raise TombolaError(
                f"class_weights: {len(weights)} numbers for {dataset.classes} classes; give one for each class, or 'balanced'"
            )
        return self

    @property
    def smooths(self) -> bool:
        """Whether label smoothing means something to it: unless a subclass has a loss of its own."""
        return type(self).loss is Classification.loss

    def _weighted(self, losses: Any, targets: Any) -> Any:
        if self.class_weights is None:
            return losses
        import jax.numpy as jnp

        return losses * jnp.array(self.class_weights, jnp.float32)[targets]
