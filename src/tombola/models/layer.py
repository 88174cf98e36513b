"""One layer of a network, as data. No JAX."""

from dataclasses import dataclass

from tombola.core.task import Kind


@dataclass(frozen=True)
class Layer:
    """Leaves that belong together: a kernel, its bias, and the normalisation that follows it."""

    name: str
    """Path of its module, e.g. "hidden1" or "stage1/block2/conv1"."""
    kind: Kind
    paths: tuple[str, ...]
    """All its leaves, in the order of declaration. Every leaf of a network is in exactly one layer."""
    prunable: tuple[str, ...]
    """The path of its kernel."""
    block: str
    """The residual block that it belongs to; its own name if there is none."""
