"""Which leaves of a network a recipe trains."""

from collections.abc import Iterable

from tombola.core.errors import TombolaError, unknown
from tombola.models.network import Network


def trained_paths(network: Network, frozen: Iterable[str]) -> frozenset[str]:
    """The leaves that training updates: those with gradients, but for the layers that `frozen` names, or whose block it names.

    Running statistics are never among them: they follow the data, in frozen layers too.

    Raises:
        TombolaError: for a name that is neither a layer nor a block, a layer that is frozen twice, or if nothing is left to train.
    """
    blocks = {layer.block for layer in network.layers}
    still: set[str] = set()
    for name in frozen:
        named = {layer.name for layer in network.layers if name in (layer.name, layer.block)}
        if not named:
            raise unknown("layer or block to be frozen", name, {layer.name for layer in network.layers} | blocks)
        if twice := sorted(named & still):
            raise TombolaError(f"frozen: {name!r} freezes {twice[0]!r} a second time; name each layer once, by itself or by its block")
        still |= named
    held = {path for layer in network.layers if layer.name in still for path in layer.paths}
    if not (trained := network.trainable - held):
        raise TombolaError(f"frozen: every layer is ({', '.join(sorted(still))}), so that nothing is left to train; leave one out")
    return trained
