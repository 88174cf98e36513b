"""A measurement as a description: networks made from weights of finished runs, and evaluated; nothing is trained.

It is to measuring what a `Run` is to training: parents are named as in a run, and what they come to is a registered
function (`tombola.procedures.measurements`).
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field

from tombola.core.errors import unknown
from tombola.core.numbers import whole
from tombola.core.parts import measurements
from tombola.core.spec import Spec
from tombola.core.task import Task
from tombola.procedures.run import RunRef

BatchNorm = Literal["recompute", "interpolate"]
"""Running statistics of networks on a path: computed anew over training examples, or interpolated as the weights are."""
BATCH_NORMS: tuple[BatchNorm, ...] = get_args(BatchNorm)
Normalisation = Literal["reset", "keep", "recompute"]
"""What becomes of a layer's own normalisation when the layer is reset: its affine parameters and statistics are reset
with it; or stay as trained; or are reset, and then all statistics computed anew over training examples."""
NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)


class Measurement(Spec):
    """(task, seed, kind, parents, options): everything that its result is a function of."""

    stored_name: ClassVar[str] = "Probe"

    task: Task
    """The task whose network and data are measured."""
    seed: int = Field(ge=0, lt=2**64)
    """The seed whose split and labels are used."""
    name: Annotated[str, BeforeValidator(measurements.described)]
    """A registered kind of measurement."""
    of: tuple[RunRef, ...]
    options: dict[str, Any] = {}

    def parents(self) -> Iterator[RunRef]:
        """What it is made from, each once, in order."""
        yield from dict.fromkeys(self.of)


def check_options(batch_norm: str, train: int | None, allowed: Sequence[str] = BATCH_NORMS) -> None:
    """Raise for what no measurement takes."""
    if batch_norm not in allowed:
        raise unknown("policy for batch norm", batch_norm, allowed)
    if train is not None:
        whole("train_examples", train, 1)
