"""Control masks: as dense as another, chosen without looking at the weights."""

from tombola.core.keys import generator
from tombola.core.masks import Mask


def shuffle(mask: Mask, seed: int, stream: str) -> Mask:
    """The same number of kept weights in each layer, at uniformly random places (Frankle & Carbin 2019, section 5).

    Each leaf is shuffled by its own stream ``{stream}/{path}`` of the seed, so no layer's draw depends on another's.
    """
    return {path: generator(seed, f"{stream}/{path}").permutation(leaf.reshape(-1)).reshape(leaf.shape) for path, leaf in mask.items()}
