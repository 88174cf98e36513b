"""What an example is, as far as a network and an objective have to know it. No JAX, and no array."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class DataInfo:
    """A description of the data that a network is made for."""

    shape: tuple[int, ...]
    """Shape of one example's inputs; images are (height, width, channels)."""
    outputs: tuple[int, ...]
    """Shape of what the objective reads off the network for one example: (classes,) for classification."""
    dtype: str = "float32"
    """What inputs are when the network gets them: ``float32``, or ``int32`` for tokens."""
    classes: int | None = None
    """Number of classes; None where targets are no classes."""
    vocabulary: int | None = None
    """Number of different tokens; None where inputs are no tokens."""

    @classmethod
    def of_classes(cls, shape: tuple[int, ...], classes: int, dtype: str = "float32") -> Self:
        """What is known of data whose examples each belong to one of `classes` classes."""
        return cls(tuple(shape), (classes,), dtype, classes)
